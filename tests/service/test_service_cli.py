"""The commands as a user meets them: what they print, and the exit code."""

import json
import os
import subprocess
import sys

import pytest

from tokwatt_exporter.cli import app
from tokwatt_exporter.service import find, program
from tokwatt_exporter.shell import run_app


@pytest.fixture
def tokwatt_cli(mac, command, monkeypatch, capsys):
    """Run `tokwatt service ARGS` on the fake Mac; (exit code, stdout, stderr)."""
    monkeypatch.setattr(find, "service", lambda verb, *, system, user=None: mac.daemon() if system else mac.agent())
    monkeypatch.setattr(program, "installed", lambda: command.program)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tokwatt", "service", *words])
        code = run_app(app, "tokwatt")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_installing_says_what_was_done_and_that_it_runs(tokwatt_cli, mac):
    code, out, err = tokwatt_cli("install")
    assert code == 0
    assert f"wrote {mac.agent().file}\n" in out
    assert out.endswith("running (pid 401)\n")
    assert "temporary" in err


def test_what_is_given_to_install_is_given_to_run(tokwatt_cli, mac, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = tokwatt_cli(
        "install", "--config.file", "my.toml", "--data-dir", "watts", "--", "--log.level", "debug", "--no-collector.gpu"
    )
    assert code == 0, err
    assert mac.agent().command().arguments[2:] == (
        "--config.file", str(tmp_path / "my.toml"), "--data-dir", str(tmp_path / "watts"), "--log.level", "debug",
        "--no-collector.gpu",
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["install", "start", "restart"])
def test_settings_that_cannot_be_used_start_nothing_and_end_nothing(
    tokwatt_cli, mac, tokwatt, tmp_path, monkeypatch, verb
):
    settings = tmp_path / "tokwatt.toml"
    settings.write_text("")
    monkeypatch.setattr(program, "installed", lambda: tokwatt)
    if verb != "install":
        nowhere = ("--", "--web.listen-address", "127.0.0.1:0")
        assert tokwatt_cli("install", "--config.file", str(settings), *nowhere)[0] == 0
    settings.write_text('sample-interval = "soon"\n')
    mac.set(calls=[])
    code, out, err = tokwatt_cli(verb, *(["--config.file", str(settings)] if verb == "install" else []))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("tokwatt: sample-interval: 'soon' is not a duration")
    assert mac.verbs() == []


def test_a_wrong_flag_for_run_is_wrong_usage(tokwatt_cli, mac, tokwatt, monkeypatch):
    monkeypatch.setattr(program, "installed", lambda: tokwatt)
    code, _, err = tokwatt_cli("install", "--", "--colector.cpu")
    assert code == 2
    assert "no such option" in err.lower()
    assert mac.verbs() == []


def test_what_does_not_come_up_fails_with_why(tokwatt_cli, mac, monkeypatch):
    from tokwatt_exporter.service.base import Service

    settled = Service.settled
    monkeypatch.setattr(Service, "settled", lambda self: settled(self, 0.1))
    mac.set(ends_with=1)
    code, _, err = tokwatt_cli("install")
    assert code == 1
    assert err.splitlines()[-1].startswith("tokwatt: it ended with 1, and launchd starts it again")


def test_status_as_json_has_every_fact_and_null_for_what_is_not_known(tokwatt_cli, mac):
    code, out, _ = tokwatt_cli("status", "--json")
    facts = json.loads(out)["service"]
    assert code == 1
    assert list(facts) == [
        "manager", "name", "file", "installed", "loaded", "running", "enabled", "state", "pid", "runs",
        "last_exit_code", "healthy", "url", "data_dir", "logs", "problem",
    ]  # fmt: skip
    assert (facts["installed"], facts["pid"], facts["last_exit_code"]) == (False, None, None)
    tokwatt_cli("install")
    code, out, _ = tokwatt_cli("status", "--json")
    facts = json.loads(out)["service"]
    assert (code, facts["running"], facts["pid"], facts["runs"], facts["problem"]) == (0, True, 401, 1, None)
    assert facts["data_dir"] == str(mac.home / "data")


def test_status_as_a_table(tokwatt_cli):
    tokwatt_cli("install")
    code, out, _ = tokwatt_cli("status")
    assert code == 0
    assert "running  True" in " ".join(out.split("\n")).replace("    ", "  ")
    assert "None" not in out


def test_stopping_and_uninstalling(tokwatt_cli, mac):
    assert tokwatt_cli("stop")[0] == 1
    tokwatt_cli("install")
    assert tokwatt_cli("stop")[:2] == (0, "stopped\n")
    code, out, _ = tokwatt_cli("uninstall")
    assert code == 0
    assert f"the history stays in {mac.home / 'data'}\n" in out
    assert tokwatt_cli("uninstall")[0] == 0


def test_the_log_is_shown(tokwatt_cli, mac):
    tokwatt_cli("install")
    (mac.agent().folder / "tokwatt.log").write_text("one\ntwo\nthree\n")
    assert tokwatt_cli("logs", "-n", "2") == (0, "two\nthree\n", "")


def test_a_daemon_is_another_service_than_the_agent(tokwatt_cli, mac):
    tokwatt_cli("install", "--system")
    assert list(mac["services"]) == ["system/tokwatt.exporter"]
    assert tokwatt_cli("status")[0] == 1
    assert tokwatt_cli("status", "--system")[0] == 0


def test_the_real_command_has_one_line_for_a_machine_where_it_cannot_be_a_service():
    script = (
        "from tokwatt_exporter.service import find; find.LAUNCHCTL = '/nowhere'; find.SYSTEMCTL = ();"
        "from tokwatt_exporter.__main__ import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", script, "service", "status"], capture_output=True, text=True,
                            timeout=60, check=False, env=os.environ)  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "tokwatt: this machine has neither launchd nor systemd; let what it has run `tokwatt run`\n"
    )
