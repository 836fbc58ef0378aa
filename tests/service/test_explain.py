"""Every exit code of launchctl, in words that end with what mends it."""

import os
import plistlib
from pathlib import Path

import pytest

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import plist


@pytest.fixture
def refused(mac, command):
    """What the user reads when launchctl ends with this code."""

    def refused(code, verb="bootstrap", act=lambda agent: agent.start()):
        agent = mac.agent()
        agent.install(command)
        if verb == "bootstrap":
            mac.set(services={})
        # What keeps coming, however often it is tried.
        mac.set(codes={verb: [code] * 2000})
        with pytest.raises(ServiceError) as error:
            act(agent)
        said = str(error.value)
        assert said.startswith("launchd: ")
        assert "\n" not in said
        return said

    return refused


@pytest.mark.parametrize("code", [112, 125])
def test_a_domain_that_is_missing_is_a_mac_nobody_sits_at(refused, mac, code):
    said = refused(code)
    assert f"nobody is logged in at the screen, so there is no {mac.gui}" in said
    assert "`tokwatt service install`" in said
    assert "`sudo tokwatt service install --system`" in said
    assert said.endswith(f"(launchctl bootstrap: {code})")


def test_113_is_a_service_that_is_not_loaded(refused):
    # It was there when it was looked for, and is gone now.
    said = refused(113, "kickstart", lambda agent: agent.restart())
    assert "tokwatt.exporter is not loaded: `tokwatt service start` loads it" in said


@pytest.mark.parametrize("code", [36, 37])
def test_36_and_37_are_a_launchd_that_is_busy(refused, mac, code):
    said = refused(code)
    assert "it is still starting or ending" in said
    assert "takes up to 30 s: try again then" in said
    assert f"`launchctl print {mac.gui}/tokwatt.exporter`" in said


def test_17_is_a_label_that_is_loaded_already(refused, mac):
    said = refused(17)
    assert f"is loaded already: `launchctl bootout {mac.gui}/tokwatt.exporter`, then again" in said


def test_3_is_no_process(refused):
    said = refused(3, "kickstart", lambda agent: agent.restart())
    assert "has no process: `tokwatt service start` starts one" in said


def test_another_code_is_left_to_launchctl_to_name(refused):
    said = refused(134)
    assert "ended with 134: Bootstrap failed: 134: scripted" in said
    assert "`launchctl error 134`" in said


# --- 5 is four things


@pytest.fixture
def io_error(mac, command):
    """What the user reads for a 5, after something was done to the installed agent."""

    def io_error(spoil=lambda agent: None, **state):
        agent = mac.agent()
        agent.install(command)
        mac.set(services={}, sticky=True, **state)
        spoil(agent)
        with pytest.raises(ServiceError) as error:
            agent.start()
        return str(error.value)

    return io_error


def test_5_is_a_service_that_was_switched_off(io_error, mac):
    said = io_error(disabled={plist.LABEL: True})
    assert "is switched off (in System Settings, General, Login Items" in said
    assert f"`launchctl enable {mac.gui}/tokwatt.exporter`" in said


def test_5_is_a_file_that_others_may_write_to(io_error):
    said = io_error(lambda agent: agent.file.chmod(0o666))
    assert "others may write to" in said
    assert "`chmod go-w " in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_5_is_a_file_of_another_user(io_error):
    said = io_error(lambda agent: os.chown(agent.file, 12345, 12345))
    assert "belongs to the wrong user: `sudo chown 0:0 " in said


@pytest.mark.parametrize("content", [b"<plist", b"", plistlib.dumps({"Label": "another"}), plistlib.dumps([])])
def test_5_is_a_file_that_is_no_property_list_of_ours(io_error, content):
    said = io_error(lambda agent: agent.file.write_bytes(content))
    assert "is not a valid property list: `tokwatt service install` writes it anew" in said


def test_5_is_a_program_that_is_gone(io_error, command, mac):
    mac.set(codes={"bootstrap": [0, 5]})
    said = io_error(lambda agent: Path(command.program).unlink())
    assert f"its program {command.program} is not there" in said


def test_5_is_what_is_loaded_already(mac, command):
    agent = mac.agent()
    agent.install(command)
    known = mac["services"]
    mac.set(services={})
    # Somebody else loads it just when we do.
    mac.set(codes={"bootstrap": [5], "print": [113, 113]}, services=known)
    with pytest.raises(ServiceError, match="is loaded already: `launchctl bootout"):
        agent.start()


def test_5_without_a_reason_is_left_to_the_tools_that_may_know(mac, command):
    agent = mac.agent()
    agent.install(command)
    mac.set(services={}, codes={"bootstrap": [5]})
    with pytest.raises(ServiceError, match=r"`plutil -lint .*`log show"):
        agent.start()


def test_what_mends_a_daemon_needs_root(mac, command):
    daemon = mac.daemon()
    daemon.install(command)
    mac.set(services={}, codes={"bootstrap": [17]})
    with pytest.raises(ServiceError, match=r"`sudo launchctl bootout system/tokwatt\.exporter`"):
        daemon.start()
