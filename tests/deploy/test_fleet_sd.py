"""`tokwatt fleet sd`: host names become what Prometheus reads, and what is none costs one line."""

import json
import stat
import subprocess
import sys

import pytest

from deploy.fleet_command import served
from support.net import free_port, get
from tokwatt_exporter import fleet, fleet_cli
from tokwatt_exporter.config import DEFAULT_PORT
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.fleet import Target
from tokwatt_exporter.shell import run_app

HOSTS = """
# the lab
mac-1 room=lab
mac-2.example.org:9999 room=lab   # another port
10.0.0.7 room=lab chip=m4

[fd00::1]
"""
GROUPS = [
    {"targets": [f"mac-1:{DEFAULT_PORT}", "mac-2.example.org:9999"], "labels": {"room": "lab"}},
    {"targets": [f"10.0.0.7:{DEFAULT_PORT}"], "labels": {"chip": "m4", "room": "lab"}},
    {"targets": [f"[fd00::1]:{DEFAULT_PORT}"], "labels": {"room": "office"}},
]  # fmt: skip


@pytest.fixture
def hosts(tmp_path):
    path = tmp_path / "hosts.txt"
    path.write_text(HOSTS)
    return path


@pytest.fixture
def sd(monkeypatch, capsys):
    """Run `tokwatt fleet sd ARGS` in this process: exit code, what it printed, what it complained about."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["tokwatt", "sd", *map(str, args)])
        return (run_app(fleet_cli.app, "tokwatt"), *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mac", f"mac:{DEFAULT_PORT}"),
        ("Mac-Studio.local", f"Mac-Studio.local:{DEFAULT_PORT}"),
        ("gpu_box.example.:1", "gpu_box.example.:1"),
        ("10.0.0.7:80", "10.0.0.7:80"),
        ("[::1]", f"[::1]:{DEFAULT_PORT}"),
        ("[FD00:0::1]:65535", "[fd00::1]:65535"),
    ],
)
def test_a_host_without_a_port_gets_that_of_the_exporter(written, meant):
    assert fleet.address(written) == meant


@pytest.mark.parametrize(
    "written",
    ["", " ", "http://mac:1", "mac/metrics", "user@mac", "mac:", "mac:0", "mac:65536", "mac:x", "::1", "[::1", "[]",
     "[mac]", "10.0.0", "10.0.0.256", "-mac", "mac..x", "mäc", "mac 2", "m" * 64, ".".join(["mac"] * 70), "[::1]x",
     "[fe80::1%en0]"],
)  # fmt: skip
def test_what_is_no_host_is_refused(written):
    with pytest.raises(ValueError):
        fleet.address(written)


def test_hosts_with_the_same_labels_are_one_group(sd, hosts):
    code, printed, said = sd("--file", hosts, "--label", "room=office")
    assert (code, json.loads(printed), said) == (0, GROUPS, "")


def test_a_host_that_is_there_twice_is_listed_once():
    assert fleet.groups([Target("mac:1"), Target("mac:1")], {}) == [{"targets": ["mac:1"], "labels": {}}]
    with pytest.raises(UsageError, match="mac:1 is there twice, with different labels"):
        fleet.groups([Target("mac:1", (("a", "1"),)), Target("mac:1")], {})


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "which machines? --target HOST or --file FILE says it"),
        (["--target", "http://mac"], "--target: 'http://mac' is not HOST or HOST:PORT"),
        (["--target", "fd00::1"], "--target: 'fd00::1' needs brackets around the IPv6 address"),
        (["--target", "mac", "--label", "1a=b"], "--label: '1a=b' is not NAME=VALUE"),
        (["--target", "mac", "--label", "a="], "--label: '' is not a name of 1 to 200"),
        (["--file", "/nowhere/hosts"], "--file: /nowhere/hosts: No such file or directory"),
        (["--target", "mac", "--listen", "everywhere"], "--listen: 'everywhere' is not HOST:PORT"),
        (["--target", "mac", "--listen", "127.0.0.1:1", "--output", "x"], "give one of them"),
        (["--target", "mac", "--listen", "0.0.0.0:0"], "--listen: lets everybody read the list"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(sd, args, said):
    code, printed, complained = sd(*args)
    assert (code, printed) == (2, "")
    [line] = complained.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"mac-1\nmac:x\n", "line 2: 'x' is not a port"),
        (b"mac-1 room\n", "line 1: 'room' is not NAME=VALUE"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"\xef\xbb\xbf# nobody\n", "names no host"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(sd, tmp_path, content, said):
    path = tmp_path / "hosts.txt"
    path.write_bytes(content)
    code, _, complained = sd("--file", path)
    assert code == 2
    assert f"--file: {path}: {said}" in complained


def test_the_list_is_written_whole_and_for_everybody_to_read(sd, hosts, tmp_path):
    output = tmp_path / "targets/tokwatt.json"
    assert sd("--file", hosts, "--output", output, "--label", "room=office") == (0, "", "")
    assert json.loads(output.read_text()) == GROUPS
    assert stat.S_IMODE(output.stat().st_mode) == 0o644
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    hosts.write_text("http://\n")
    assert sd("--file", hosts, "--output", output)[0] == 2
    assert json.loads(output.read_text()) == GROUPS


def test_a_list_that_cannot_be_written_costs_one_line(sd, tmp_path):
    (tmp_path / "folder").mkdir()
    code, _, complained = sd("--target", "mac", "--output", tmp_path / "folder")
    assert code == 1
    assert complained.startswith(f"tokwatt: {tmp_path / 'folder'} cannot be written: ")


def test_a_list_is_printed_without_what_takes_long_to_import():
    code = (
        "from tokwatt_exporter.fleet_cli import _listing; _listing(['mac'], None, []); import sys; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"duckdb", "httpx", "hypercorn", "prometheus_client"} & set(done.stdout.split())


@pytest.mark.e2e
def test_http_sd_follows_the_file_and_says_nothing_rather_than_something_broken(hosts, tmp_path):
    log, token, known = tmp_path / "sd.log", tmp_path / "token", {"Authorization": "Bearer 0123456789abcdef"}
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    flags = ("--file", str(hosts), "--label", "room=office", "--web.bearer-token-file", str(token))
    with served(free_port(), log, *flags, headers=known) as url:
        answer = get(url, headers=known)
        assert (answer.json(), answer.headers["content-type"]) == (GROUPS, "application/json")
        assert get(url).status_code == 401
        assert get(url, headers={**known, "Host": "evil.example"}).status_code == 421
        assert get(url.replace("/sd", "/metrics"), headers=known).status_code == 404
        hosts.write_text("mac:x\n")
        alive = url.replace("/sd", "/-/healthy")
        assert [get(page, headers=known).status_code for page in (url, alive, url)] == [500, 500, 500]
        hosts.write_text("mac\n")
        assert get(url, headers=known).json()[0]["targets"] == [f"mac:{DEFAULT_PORT}"]
        assert get(alive, headers=known).status_code == 200
    # What stays broken is said once.
    assert log.read_text().count("line 1: 'x' is not a port") == 1
