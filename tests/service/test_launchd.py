"""An agent's and a daemon's life, with a launchd that refuses and delays as the real one does."""

import json
import plistlib
import socket
import stat
from pathlib import Path

import pytest

from support.net import free_port, wait_for
from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import plist
from tokwatt_exporter.service.base import Command


def job(service):
    return plistlib.loads(service.file.read_bytes())


def test_an_agent_is_written_for_its_user_only_and_loaded_where_the_user_is_logged_in(mac, command):
    agent = mac.agent()
    said = agent.install(command)
    assert agent.file == mac.home / "Library/LaunchAgents/tokwatt.exporter.plist"
    assert stat.S_IMODE(agent.file.stat().st_mode) == 0o600
    assert list(mac["services"]) == [f"{mac.gui}/tokwatt.exporter"]
    assert "LimitLoadToSessionType" not in job(agent)
    assert "UserName" not in job(agent)
    assert said[0] == f"wrote {agent.file}"
    assert list(agent.file.parent.iterdir()) == [agent.file]


def test_the_folder_of_the_log_is_made_since_launchd_does_not(mac, command):
    agent = mac.agent()
    agent.install(command)
    for path in (job(agent)["StandardErrorPath"], job(agent)["ProgramArguments"][3]):
        folder = Path(path).parent
        assert folder == mac.home / "Library/Logs/tokwatt"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("code", [112, 125])
def test_a_mac_that_nobody_sits_at_gets_an_agent_of_the_background(mac, command, code):
    mac.set(domains=[mac.user, "system"], no_domain=code)
    agent = mac.agent()
    said = agent.install(command)
    assert list(mac["services"]) == [f"{mac.user}/tokwatt.exporter"]
    assert job(agent)["LimitLoadToSessionType"] == "Background"
    assert "ssh" in said[-1]
    agent.stop()
    agent.start()
    assert agent.status().name == f"{mac.user}/tokwatt.exporter"
    assert agent.status().running


def test_an_agent_moves_to_the_screen_when_installed_there(mac, command):
    mac.set(domains=[mac.user])
    mac.agent().install(command)
    mac.set(domains=[mac.user, mac.gui])
    mac.agent().install(command)
    assert list(mac["services"]) == [f"{mac.gui}/tokwatt.exporter"]


def test_installing_the_same_again_changes_nothing_and_says_so(mac, command):
    mac.agent().install(command)
    before = mac["services"]
    mac.set(calls=[])
    said = mac.agent().install(command)
    assert "already" in said[0]
    assert mac.verbs() == []
    assert mac["services"] == before


def test_installing_the_same_again_starts_what_was_stopped(mac, command):
    agent = mac.agent()
    agent.install(command)
    agent.stop()
    assert not agent.status().running
    assert "already" in agent.install(command)[0]
    assert agent.status().running


def test_a_change_is_loaded_once_launchd_has_forgotten_what_was_there(mac, command):
    mac.set(leaving=5)
    agent = mac.agent()
    agent.install(command)
    mac.set(calls=[])
    agent.install(command._replace(arguments=(*command.arguments, "--log.level", "debug")))
    assert mac.verbs() == ["bootout", "bootstrap"]
    [service] = mac["services"].values()
    assert service["job"]["ProgramArguments"][-1] == "debug"
    # It was asked until it no longer knew the service.
    calls = [call[0] for call in mac["calls"]]
    assert calls[calls.index("bootout") :].count("print") >= 5


def test_a_launchd_that_is_still_busy_is_waited_for(mac, command):
    mac.set(codes={"bootstrap": [37, 36, 37]})
    mac.agent().install(command)
    assert mac.verbs() == ["bootstrap"] * 4
    assert mac.agent().status().running


def test_a_bootout_that_has_only_begun_is_waited_for(mac, command):
    agent = mac.agent()
    agent.install(command)
    mac.set(codes={"bootout": [36]}, services={k: {**v, "leaving": 3} for k, v in mac["services"].items()})
    agent.uninstall()
    assert mac["services"] == {}


def test_a_launchd_that_never_lets_go_is_told_and_not_waited_for_for_ever(mac, command):
    agent = mac.agent()
    agent.install(command)
    mac.set(leaving=1_000_000)
    with pytest.raises(ServiceError, match=r"still ends .*launchctl kill KILL"):
        agent.uninstall()
    assert agent.file.exists()


def test_neither_load_nor_unload_is_ever_used(mac, command):
    agent = mac.agent()
    agent.install(command)
    agent.restart()
    agent.stop()
    agent.start()
    agent.install(command._replace(arguments=()))
    agent.uninstall()
    assert set(mac.verbs()) <= {"bootstrap", "bootout", "kickstart", "kill", "enable"}


def test_uninstalling_says_where_the_history_stays(mac, command):
    agent = mac.agent()
    agent.install(command._replace(arguments=("--data-dir", str(mac.home / "watts"))))
    (mac.home / "watts").mkdir()
    said = agent.uninstall()
    assert said == [
        f"removed {agent.file}",
        f"the history stays in {mac.home / 'watts'}",
        f"the log stays in {mac.home / 'Library/Logs/tokwatt'}",
    ]
    assert (mac.home / "watts").is_dir()
    assert mac["services"] == {}


def test_uninstalling_what_is_not_there_is_no_error(mac):
    assert "not installed" in mac.agent().uninstall()[0]


def test_stopping_asks_and_does_not_unload(mac, command):
    agent = mac.agent()
    agent.install(command)
    agent.stop()
    assert mac.verbs() == ["bootstrap", "kill"]
    assert ["kill", "TERM", f"{mac.gui}/tokwatt.exporter"] in mac["calls"]
    status = agent.status()
    assert (status.loaded, status.running, status.last_exit_code) == (True, False, 0)
    assert status.problem == "it was stopped: `tokwatt service start`"


def test_what_ends_badly_when_stopped_is_unloaded_since_launchd_would_start_it_again(mac, command):
    mac.set(term_exit=1)
    agent = mac.agent()
    agent.install(command)
    agent.stop()
    assert mac["services"] == {}
    assert agent.status().problem == "not loaded: `tokwatt service start`"


def test_what_launchd_is_about_to_start_again_is_stopped_too(mac, command):
    mac.set(ends_with=1)
    agent = mac.agent()
    agent.install(command)
    assert agent.status().state == "spawn scheduled"
    agent.stop()
    assert mac["services"] == {}


def test_a_daemon_that_does_not_end_is_told(mac, command):
    mac.set(deaf=True)
    agent = mac.agent()
    agent.install(command)
    with pytest.raises(ServiceError, match="does not end; `launchctl kill KILL"):
        agent.stop()


def test_starting_what_runs_changes_nothing(mac, command):
    agent = mac.agent()
    agent.install(command)
    mac.set(calls=[])
    agent.start()
    assert mac.verbs() == []


def test_restarting_gives_a_new_process(mac, command):
    agent = mac.agent()
    agent.install(command)
    before = agent.status()
    agent.restart()
    after = agent.status()
    assert ["kickstart", "-k", f"{mac.gui}/tokwatt.exporter"] in mac["calls"]
    assert after.pid != before.pid
    assert after.runs == 2


def test_a_service_that_was_switched_off_is_switched_on_by_who_installs_it(mac, command):
    mac.set(disabled={plist.LABEL: True})
    agent = mac.agent()
    agent.install(command)
    assert mac.verbs() == ["enable", "bootstrap"]
    assert agent.status().enabled is True


def test_a_service_that_was_switched_off_says_so(mac, command):
    agent = mac.agent()
    agent.install(command)
    agent.stop()
    mac.set(services={}, disabled={plist.LABEL: True})
    status = agent.status()
    assert status.enabled is False
    assert status.problem.startswith("switched off")


def test_a_daemon_runs_as_its_user_and_everybody_may_read_how(mac, command):
    daemon = mac.daemon()
    daemon.install(command)
    assert job(daemon)["UserName"] == mac.account.name
    assert job(daemon)["WorkingDirectory"] == str(mac.home)
    assert stat.S_IMODE(daemon.file.stat().st_mode) == 0o644
    assert list(mac["services"]) == ["system/tokwatt.exporter"]
    assert daemon.status().name == "system/tokwatt.exporter"


def test_a_log_that_the_settings_name_is_left_to_them(mac, command, tmp_path):
    agent = mac.agent()
    own = tmp_path / "own.log"
    agent.install(command._replace(arguments=(*command.arguments, "--log.file", str(own))))
    assert job(agent)["ProgramArguments"].count("--log.file") == 1
    assert agent.status().logs == (own, mac.home / "Library/Logs/tokwatt/crashes.log")


def test_a_property_list_of_another_program_is_none_of_ours(mac, tmp_path):
    agent = mac.agent()
    agent.file.parent.mkdir(parents=True)
    agent.file.write_bytes(plistlib.dumps({"Label": plist.LABEL, "ProgramArguments": ["/bin/true", "walk"]}))
    assert agent.command() is None
    assert "is not what tokwatt writes" in agent.status().problem
    with pytest.raises(ServiceError, match="is not what tokwatt writes"):
        agent.check()


# --- what is wrong with it


def test_settings_that_cannot_be_used_are_said_with_how_launchd_goes_on(mac, tokwatt, tmp_path):
    settings = tmp_path / "tokwatt.toml"
    settings.write_text("")
    agent = mac.agent()
    agent.install(Command(tokwatt, ("--config.file", str(settings))))
    settings.write_text('sample-interval = "soon"\n')
    mac.set(ends_with=2)
    agent.restart()
    status = agent.status()
    assert (status.running, status.last_exit_code) == (False, 2)
    assert "tries again every 60 s: sample-interval: 'soon' is not a duration" in status.problem


def test_a_crash_is_said_with_where_to_look(mac, command):
    mac.set(ends_with=1)
    agent = mac.agent()
    agent.install(command)
    assert agent.status().problem == (
        "it ended with 1, and launchd starts it again within 60 s; the log says more: `tokwatt service logs`"
    )


@pytest.mark.parametrize("lost", ["program", "log", "nothing"])
def test_what_launchd_cannot_start_is_looked_for(mac, command, tmp_path, lost):
    program = tmp_path / "tokwatt"
    program.symlink_to(command.program)
    mac.set(ends_with=78)
    agent = mac.agent()
    agent.install(command._replace(program=str(program)))
    if lost == "program":
        program.unlink()
        said = f"there is no program {program}"
    elif lost == "log":
        agent.folder.rmdir()
        said = f"there is no folder {agent.folder}"
    else:
        said = "78, EX_CONFIG"
    assert said in agent.status().problem


# --- a job that really runs


@pytest.mark.e2e
def test_an_installed_exporter_answers_logs_to_its_file_and_ends_well(mac, tokwatt):
    mac.set(spawn=True)
    port = free_port()
    command = Command(tokwatt, ("--web.listen-address", f"127.0.0.1:{port}", "--no-collector.engines"))
    agent = mac.agent()
    agent.install(command)
    status = agent.settled(30)
    assert status.healthy is True, status
    assert status.url == f"http://127.0.0.1:{port}"
    assert status.problem is None
    assert status.as_json() == json.loads(json.dumps(status.as_json()))

    log = agent.folder / "tokwatt.log"
    assert "serves" in wait_for(log.read_text)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert (agent.folder / "crashes.log").read_text() == ""

    agent.stop()
    status = agent.status()
    assert (status.running, status.last_exit_code, status.healthy) == (False, 0, None)
    assert mac.verbs() == ["bootstrap", "kill"]
    assert status.data_dir.is_dir()
    assert mac.home in status.data_dir.parents


@pytest.mark.e2e
def test_a_port_that_is_taken_is_in_the_log_of_crashes(mac, tokwatt, capsys):
    mac.set(spawn=True)
    agent = mac.agent()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = Command(tokwatt, ("--web.listen-address", f"127.0.0.1:{taken.getsockname()[1]}"))
        agent.install(command)
        wait_for(lambda: agent.status().last_exit_code == 2, timeout=30)
        assert "its port" in agent.status().problem
        agent.logs(10, follow=False)
    assert "web.listen-address" in capsys.readouterr().out
