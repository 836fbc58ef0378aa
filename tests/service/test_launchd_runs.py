"""What status says of an agent that does not run, and one that really does."""

import json
import socket
import stat

import pytest

from support.net import free_port, wait_for
from tokwatt_exporter.service.base import Command


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
