"""An agent's and a daemon's life, with a launchd that refuses and delays as the real one does."""

import plistlib
import stat
from pathlib import Path

import pytest

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import plist


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


def test_an_agent_of_the_background_is_loaded_there_again_though_somebody_sits_there_now(mac, command):
    mac.set(domains=[mac.user])
    agent = mac.agent()
    agent.install(command)
    mac.set(domains=[mac.user, mac.gui], services={})
    agent.start()
    assert list(mac["services"]) == [f"{mac.user}/tokwatt.exporter"]


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
