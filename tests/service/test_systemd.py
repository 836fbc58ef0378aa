"""A unit's life, with a systemd that runs what it last read."""

import stat

import pytest

from tokwatt_exporter.errors import ServiceError, UsageError
from tokwatt_exporter.service import unit
from tokwatt_exporter.service.base import Command


def test_the_users_unit_is_written_read_enabled_and_started(linux, command):
    service = linux.service()
    said = service.install(command)
    assert stat.S_IMODE(service.file.stat().st_mode) == 0o600
    assert linux.verbs() == ["daemon-reload", "enable", "restart"]
    assert linux["started"] == service.file.read_text()
    assert linux["of_user"] is True
    assert said[:2] == [f"wrote {service.file}", "enabled and started tokwatt.service"]
    status = service.status()
    assert (status.running, status.enabled, status.state, status.pid) == (True, True, "running", 401)


def test_the_machines_unit_is_not_of_the_user(linux, tokwatt, command, monkeypatch):
    monkeypatch.setattr("tokwatt_exporter.service.unit.HIDDEN", ())
    service = linux.service(system=True)
    service.install(command)
    assert linux["of_user"] is False
    assert stat.S_IMODE(service.file.stat().st_mode) == 0o644


def test_only_groups_that_are_here_are_asked_for(linux, command, monkeypatch):
    monkeypatch.setattr("tokwatt_exporter.service.unit.HIDDEN", ())
    monkeypatch.setattr("tokwatt_exporter.service.unit.GROUPS", ("root", "nobodys-group"))
    service = linux.service(system=True)
    service.install(command)
    assert "SupplementaryGroups=root\n" in service.file.read_text()


def test_a_program_that_a_system_unit_cannot_see_is_refused(linux, command, tmp_path, monkeypatch):
    monkeypatch.setattr("tokwatt_exporter.service.unit.HIDDEN", (str(tmp_path),))
    with pytest.raises(UsageError, match="a system service cannot see"):
        linux.service(system=True).install(command)
    assert linux.verbs() == []


def test_installing_the_same_again_only_sees_that_it_runs(linux, command):
    linux.service().install(command)
    linux.set(calls=[])
    said = linux.service().install(command)
    assert "already" in said[0]
    assert linux.verbs() == ["enable"]
    assert linux.service().status().pid == 401


def test_a_change_is_read_before_it_is_started(linux, command):
    linux.service().install(command)
    linux.service().install(command._replace(arguments=("--log.level", "debug")))
    assert linux["started"].count("--log.level debug") == 1
    assert linux.service().status().pid == 402


@pytest.mark.parametrize(("linger", "said"), [(False, "enable-linger"), (True, "your user lingers")])
def test_who_installs_it_hears_what_a_logout_does(linux, command, linger, said):
    linux.set(linger=linger)
    assert said in linux.service().install(command)[-1]


def test_starting_stopping_and_restarting(linux, command):
    service = linux.service()
    service.install(command)
    service.stop()
    status = service.status()
    assert (status.running, status.loaded, status.pid) == (False, True, None)
    assert status.problem == "it was stopped: `tokwatt service start`"
    service.start()
    service.restart()
    assert service.status().pid == 403


def test_uninstalling_says_where_the_history_stays(linux, command, tmp_path):
    service = linux.service()
    service.install(command._replace(arguments=("--data-dir", str(tmp_path / "watts"))))
    assert service.uninstall() == [f"removed {service.file}", f"the history stays in {tmp_path / 'watts'}"]
    assert linux.verbs()[-2:] == ["disable", "daemon-reload"]
    assert linux["unit"] is None
    assert "not installed" in service.uninstall()[0]


def test_nothing_installed_has_no_state(linux):
    status = linux.service().status()
    assert (status.installed, status.loaded, status.state, status.enabled) == (False, False, None, None)
    assert status.problem == "not installed: `tokwatt service install`"
    with pytest.raises(ServiceError, match="not installed"):
        linux.service().installed()


def test_settings_that_cannot_be_used_are_said(linux, tokwatt, tmp_path):
    settings = tmp_path / "tokwatt.toml"
    settings.write_text('sample-interval = "soon"\n')
    linux.set(ends_with=2)
    service = linux.service()
    service.install(Command(tokwatt, ("--config.file", str(settings))))
    status = service.settled(30)
    assert (status.running, status.last_exit_code) == (False, 2)
    assert "only once they are mended and you say so: sample-interval: 'soon'" in status.problem


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "last ended with 1; the log says more"),
        (203, "systemd cannot run /"),
        (216, "`systemd-analyze exit-status 216`"),
    ],
)
def test_an_exit_is_said_with_where_to_look(linux, command, code, said):
    linux.set(ends_with=code)
    service = linux.service()
    service.install(command)
    status = service.status()
    assert (status.state, status.last_exit_code) == ("auto-restart", code)
    assert said in status.problem


def test_an_end_by_a_signal_is_no_exit_code(linux, command):
    service = linux.service()
    service.install(command)
    linux.set(
        pid=None, facts={"ActiveState": "failed", "SubState": "failed", "ExecMainCode": "2", "ExecMainStatus": "9"}
    )
    status = service.status()
    assert status.last_exit_code is None
    assert "last ended by signal 9" in status.problem


@pytest.mark.parametrize(("load", "said"), [("masked", "systemctl --user unmask"), ("bad-setting", "cannot use")])
def test_a_unit_that_systemd_does_not_take(linux, command, load, said):
    service = linux.service()
    service.install(command)
    linux.set(pid=None, facts={"LoadState": load})
    assert said in service.status().problem


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("System has not been booted with systemd as init system (PID 1). Can't operate.", "can run `tokwatt run`"),
        ("Failed to connect to bus: No medium found", "`sudo loginctl enable-linger "),
    ],
)
def test_a_systemd_that_is_not_there_is_one_line(linux, command, words, said):
    linux.set(broken=words)
    for act in (lambda s: s.status(), lambda s: s.install(command), lambda s: s.uninstall()):
        with pytest.raises(ServiceError, match="systemd does not answer") as error:
            act(linux.service())
        assert said in str(error.value)
    assert not linux.service().file.exists()


def test_what_systemd_refuses_is_passed_on(linux, command):
    service = linux.service()
    service.install(command)
    linux.set(codes={"restart": [1]})
    with pytest.raises(ServiceError, match=r"systemctl --user restart tokwatt\.service: Job for .* failed; the log"):
        service.restart()


@pytest.mark.parametrize(("system", "flag"), [(False, "--user-unit"), (True, "--unit")])
def test_the_log_is_the_journals(linux, capfd, system, flag):
    linux.service(system=system).logs(7, follow=True)
    assert capfd.readouterr().out == f"journal of {flag} {unit.NAME} --no-pager --lines 7 --follow\n"


def test_the_log_is_a_file_where_the_settings_name_one(linux, command, capsys, tmp_path):
    log = tmp_path / "own.log"
    log.write_text("one\ntwo\n")
    service = linux.service()
    service.install(command._replace(arguments=("--log.file", str(log))))
    service.logs(1, follow=False)
    assert capsys.readouterr().out == "two\n"
