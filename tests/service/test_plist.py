"""The property list: what launchd.plist(5) takes, and nothing that launchd would hold against a sampler."""

import plistlib
import re
import xml.etree.ElementTree as ET

import pytest

from tokwatt_exporter.service import plist
from tokwatt_exporter.service.base import Command

#: The keys of launchd.plist(5) that may be used, with their types.
KEYS = {
    "Label": str, "ProgramArguments": list, "UserName": str, "LimitLoadToSessionType": str, "RunAtLoad": bool,
    "KeepAlive": dict, "ThrottleInterval": int, "ProcessType": str, "LegacyTimers": bool, "Nice": int,
    "SoftResourceLimits": dict, "ExitTimeOut": int, "Umask": int, "WorkingDirectory": str,
    "EnvironmentVariables": dict, "StandardErrorPath": str,
}  # fmt: skip

AGENT = plist.Job(Command("/opt/tokwatt/bin/tokwatt"), home="/Users/me", logs="/Users/me/Library/Logs/tokwatt")
JOBS = {"agent": AGENT, "background": AGENT._replace(background=True), "daemon": AGENT._replace(user="me")}


@pytest.fixture(params=JOBS)
def job(request):
    return plistlib.loads(plist.make(JOBS[request.param]).encode(), fmt=plistlib.FMT_XML)


def test_every_key_is_one_of_launchds_with_its_type(job):
    assert {key: type(value) for key, value in job.items()} == {key: KEYS[key] for key in job}


def test_every_path_is_absolute_and_nothing_needs_a_shell(job):
    paths = [job["ProgramArguments"][0], job["WorkingDirectory"], job["StandardErrorPath"]]
    assert all(path.startswith("/") for path in paths)
    assert not any(re.search(r"[~$`]", word) for word in (*paths, *job["ProgramArguments"]))


def test_it_is_started_again_after_a_crash_but_not_over_and_over(job):
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["RunAtLoad"] is True
    assert job["ThrottleInterval"] >= 60


def test_launchd_does_not_slow_it_down_or_let_it_run_out_of_files(job):
    assert job["ProcessType"] == "Standard"
    assert job["LegacyTimers"] is True
    assert job["SoftResourceLimits"] == {"NumberOfFiles": 1024}


def test_its_environment_is_said_and_holds_no_secret(job):
    assert job["EnvironmentVariables"].keys() == {"PATH", "LANG", "LC_ALL", "PYTHONUNBUFFERED"}
    assert job["EnvironmentVariables"]["PATH"] == "/usr/bin:/bin:/usr/sbin:/sbin"
    assert job["Umask"] == 0o077


def test_only_a_daemon_names_a_user_and_only_the_background_a_session():
    made = {name: plistlib.loads(plist.make(job).encode()) for name, job in JOBS.items()}
    assert {name: job.get("UserName") for name, job in made.items()} == {
        "agent": None, "background": None, "daemon": "me"}  # fmt: skip
    assert {name: job.get("LimitLoadToSessionType") for name, job in made.items()} == {
        "agent": None, "background": "Background", "daemon": None}  # fmt: skip


def test_no_key_is_there_twice():
    [top] = ET.fromstring(plist.make(AGENT._replace(user="me", background=True)))
    keys = [element.text for element in top if element.tag == "key"]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("word", ["a b", "<&>\"'", "--x=]]>", "é⚡", " edge ", "<!-- -->"])
def test_every_argument_comes_out_as_it_went_in(word):
    text = plist.make(AGENT._replace(command=Command("/x/tok watt", (word,))))
    assert plistlib.loads(text.encode())["ProgramArguments"] == ["/x/tok watt", "run", word]


def test_what_is_no_property_list_is_nothing(tmp_path):
    path = tmp_path / "x.plist"
    for content in (b"", b"<plist", b"\xff\xfe\x00", plistlib.dumps([1])):
        path.write_bytes(content)
        assert plist.read(path) is None
    assert plist.read(tmp_path / "missing") is None
