"""Which service a command is about: whose, and by which manager."""

import os
import pwd
from pathlib import Path

import pytest

from tokwatt_exporter.errors import ServiceError, UsageError
from tokwatt_exporter.service import find
from tokwatt_exporter.service.launchd import Launchd
from tokwatt_exporter.service.systemd import Systemd


@pytest.fixture
def a_user(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 501)


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_USER", raising=False)


@pytest.fixture
def launchd_here(monkeypatch, tmp_path):
    program = tmp_path / "launchctl"
    program.touch()
    monkeypatch.setattr(find, "LAUNCHCTL", str(program))


@pytest.fixture
def systemd_here(monkeypatch, tmp_path):
    program = tmp_path / "systemctl"
    program.touch()
    monkeypatch.setattr(find, "LAUNCHCTL", "/nowhere")
    monkeypatch.setattr(find, "SYSTEMCTL", (str(program),))


def test_a_machine_with_neither_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(find, "LAUNCHCTL", "/nowhere")
    monkeypatch.setattr(find, "SYSTEMCTL", ("/nowhere",))
    with pytest.raises(ServiceError, match="neither launchd nor systemd; let what it has run `tokwatt run`"):
        find.service("status", system=False)


def test_a_user_has_an_agent(a_user, launchd_here):
    service = find.service("install", system=False)
    assert isinstance(service, Launchd)
    assert service.file == Path.home() / "Library/LaunchAgents/tokwatt.exporter.plist"


def test_a_user_has_a_unit(a_user, systemd_here):
    service = find.service("install", system=False)
    assert isinstance(service, Systemd)
    assert service.file == Path.home() / ".config/systemd/user/tokwatt.service"


@pytest.mark.parametrize("verb", ["install", "uninstall", "start", "stop", "restart"])
def test_what_changes_the_machine_needs_root_and_says_how(a_user, launchd_here, verb):
    with pytest.raises(UsageError, match=rf"--system needs root: sudo /.*/tokwatt service {verb} --system"):
        find.service(verb, system=True)


@pytest.mark.parametrize("verb", ["status", "logs"])
def test_looking_needs_no_root(a_user, launchd_here, verb):
    assert find.service(verb, system=True).system


def test_root_has_no_agent(root, launchd_here):
    with pytest.raises(UsageError, match="root has no service of its own, only that of the machine: sudo /"):
        find.service("install", system=False)
    assert find.service("status", system=False).system


@pytest.fixture
def in_the_machine(monkeypatch, tmp_path, systemd_here):
    """A unit of the machine, in a folder that stands for /etc."""
    made = Systemd(system=True, folder=tmp_path)
    (tmp_path / "tokwatt.service").touch()
    monkeypatch.setattr(find, "_daemon", lambda *_: made)
    return made


def test_who_has_none_looks_at_that_of_the_machine(a_user, in_the_machine):
    assert find.service("status", system=False) is in_the_machine
    assert find.service("logs", system=False) is in_the_machine


def test_who_has_none_changes_that_of_the_machine_only_when_saying_so(a_user, in_the_machine):
    with pytest.raises(UsageError, match=r"a service of the machine here .*sudo /.* service stop --system"):
        find.service("stop", system=False)
    with pytest.raises(UsageError, match="a service of the machine here"):
        find.service("install", system=False)


def test_who_has_one_means_that(a_user, in_the_machine):
    own = Path.home() / ".config/systemd/user/tokwatt.service"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find.service("stop", system=False).file == own


def test_a_daemon_runs_as_who_said_sudo(root, launchd_here, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "nobody")
    runs_as = find.service("install", system=True).runs_as
    assert runs_as.environ["USER"] == "nobody"
    assert runs_as.user[0] == pwd.getpwnam("nobody").pw_uid


def test_a_daemon_whose_user_nobody_named_is_refused(root, launchd_here):
    with pytest.raises(UsageError, match="--user NAME is needed"):
        find.service("install", system=True)
    with pytest.raises(UsageError, match="--user: this machine has no user nobody-at-all"):
        find.service("install", system=True, user="nobody-at-all")
    assert find.service("install", system=True, user="nobody").runs_as.environ["USER"] == "nobody"


def test_a_user_is_for_daemons_of_launchd(root, systemd_here, monkeypatch):
    with pytest.raises(UsageError, match="--user: a unit of systemd has a user of its own"):
        find.service("install", system=True, user="nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    with pytest.raises(UsageError, match="--user is for --system"):
        find.service("install", system=False, user="nobody")


def test_two_on_one_machine_are_refused(root, systemd_here, monkeypatch, tmp_path):
    monkeypatch.setenv("SUDO_USER", "nobody")
    monkeypatch.setattr(find, "_agent", lambda *_: Systemd(folder=tmp_path))
    find.service("install", system=True)
    (tmp_path / "tokwatt.service").touch()
    with pytest.raises(UsageError, match=r"a service of nobody already .*`tokwatt service uninstall` first"):
        find.service("install", system=True)


# --- arguments


def test_paths_are_made_absolute_since_the_service_starts_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find.arguments("a/../b.toml", "~/data", ["--log.level", "debug"]) == (
        "--config.file", str(tmp_path / "b.toml"), "--data-dir", str(Path.home() / "data"), "--log.level", "debug",
    )  # fmt: skip


@pytest.mark.parametrize("words", [["--otlp.header", "Authorization=hunter2"], ["--otlp.header=Authorization=hunter2"]])
def test_a_secret_does_not_go_where_everybody_sees_it(words):
    with pytest.raises(UsageError, match=r"--otlp\.header would be seen by everybody") as error:
        find.arguments(None, None, words)
    assert "hunter2" not in str(error.value)


def test_an_argument_that_no_file_can_hold_is_refused():
    with pytest.raises(UsageError, match="has characters"):
        find.arguments(None, None, ["a\nExecStartPre=/bin/evil"])


def test_settings_of_the_shell_are_told_to_be_unseen():
    assert find.unseen({"PATH": "/bin"}) == []
    [warning] = find.unseen({"TOKWATT_LOG_LEVEL": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": "y", "HOME": "/"})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT, TOKWATT_LOG_LEVEL" in warning
