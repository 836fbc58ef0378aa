"""Versions of engines: what runs, what is installed and what there is, and what that means."""

import json
import plistlib

import pytest

from fakes.engines import FakeEngine, response
from tokwatt_exporter import cli, shell, versions
from tokwatt_exporter.engines.discovery import Found
from tokwatt_exporter.versions import Installed, Source, collect, installed, older
from tokwatt_exporter.versions_online import Publishers


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("0.12.3", "0.12.10", True), ("v0.12.10", "0.12.3", False), ("0.12.3", "v0.12.3", False),
        ("1.0", "1.0.0", None),
        ("b6123-1a2b3c4", "b11669", True), ("b11669-Debian", "b11669", False), ("b1-0c1e570", "b11669", None),
        ("0.5.0rc1", "0.5.0", None), ("0.32.0+cpu", "0.33.0", True), ("b11669", "0.7.0", None), ("head", "0.7", None),
        (None, "1.0", None), ("1.0", None, None),
    ],
)  # fmt: skip
def test_which_version_is_older_is_said_only_where_the_two_can_be_compared(one, other, said):
    assert older(one, other) is said


def found(kind, version, **more):
    return Found(kind, more.pop("name", kind), "http://127.0.0.1:1", version, **more)


def test_what_runs_and_is_older_than_what_is_installed_is_to_be_started_again():
    there = {"ollama": Installed("0.13.0", "/bin/ollama")}
    rows = collect([found("ollama", "0.12.0")], lambda kind, pid: there.get(kind), lambda kind: ("v0.13.1", None))
    [row] = [row.as_json() for row in rows]
    assert (row["running_is_older"], row["update_available"], row["newest"]) == (True, True, "v0.13.1")


def test_what_is_installed_and_does_not_run_is_listed_and_what_is_neither_is_not():
    look = {"vllm": Installed("0.32.0", "/venv")}
    rows = collect([], lambda kind, pid: look.get(kind), None)
    assert [(row.name, row.running, row.installed, row.newest) for row in rows] == [("vllm", None, "0.32.0", None)]
    [down] = collect([found("ollama", None, up=False, problem="refused")], lambda kind, pid: None, None)
    assert (down.problem, down.running_is_older) == ("refused", None)


def program(folder, name, said):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{said}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("kind", "name", "said", "version"),
    [
        ("ollama", "ollama", "echo ollama version is 0.12.3", "0.12.3"),
        ("ollama", "ollama", "echo ollama version is 0.12.3; echo Warning: client version is 0.13.0", "0.13.0"),
        ("ollama", "ollama", "echo Warning: client version is 0.13.0", "0.13.0"),
        ("llama_cpp", "llama-server", "echo 'version: 0.7.0 (build 11669, commit Debian)' >&2", "b11669"),
        ("llama_cpp", "llama-server", "echo 'version: 6123 (1a2b3c4)' >&2", "b6123"),
        ("llama_swap", "llama-swap", "echo version: 1.2.3", "1.2.3"),
        ("ollama", "ollama", "exit 3", None),
        ("ollama", "ollama", "exec sleep 60", None),
    ],
)  # fmt: skip
def test_a_program_on_path_says_which_version_it_is_or_nothing(tmp_path, monkeypatch, kind, name, said, version):
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(versions, "PATIENCE", 0.5)
    program(tmp_path, name, said)
    assert installed(kind) == (Installed(version, str(tmp_path / name)) if version else None)


def test_a_package_is_that_of_the_environment_of_the_program(tmp_path, monkeypatch):
    for environment, version in (("one", "0.32.0"), ("two", "0.33.0")):
        place = tmp_path / environment / "lib/python3.11/site-packages" / f"mlx_lm-{version}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mlx-lm\nVersion: {version}\n")
        (tmp_path / environment / "bin").mkdir()
    program(tmp_path / "two/bin", "mlx_lm.server", "exit 0")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mlx_lm.server").symlink_to(tmp_path / "two/bin/mlx_lm.server")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert installed("mlx_lm") == Installed("0.33.0", str(tmp_path / "two"))
    # The process's own wins: what else is on PATH is not what will run when it is started again.
    monkeypatch.setattr(versions, "_python", lambda pid: str(tmp_path / "one/bin/python"))
    assert installed("mlx_lm", 4711) == Installed("0.32.0", str(tmp_path / "one"))


def test_an_application_says_its_version(tmp_path):
    place = tmp_path / "LM Studio.app/Contents"
    place.mkdir(parents=True)
    assert versions._of_application("LM Studio.app", [tmp_path]) is None
    (place / "Info.plist").write_bytes(plistlib.dumps({"CFBundleShortVersionString": "0.4.1"}))
    assert versions._of_application("LM Studio.app", [tmp_path]) == Installed("0.4.1", str(tmp_path / "LM Studio.app"))
    (place / "Info.plist").write_bytes(b"bplist00 broken")
    assert versions._of_application("LM Studio.app", [tmp_path]) is None


def test_the_newest_is_what_those_who_publish_say_and_each_is_asked_once():
    routes = {
        "/repos/ollama/ollama/releases/latest": response(200, b'{"tag_name": "v0.13.1"}', "application/json"),
        "/pypi/mlx-lm/json": response(200, b'{"info": {"version": "0.33.0"}}', "application/json"),
        "/pypi/vllm/json": response(200, b'{"info": {"version": 7}}', "application/json"),
        "/pypi/sglang/json": response(200, b"not json", "application/json"),
        "/repos/mudler/LocalAI/releases/latest": response(403, b"", "text/plain"),
    }
    with FakeEngine(routes) as server:
        publishers = Publishers(server.url, server.url)
        try:
            told = {
                kind: publishers.newest(kind)
                for kind in ("ollama", "mlx_lm", "vllm", "sglang", "localai", "lm_studio", "ollama")
            }
        finally:
            publishers.close()
        assert len(server.requests) == 5
    assert told["ollama"] == ("v0.13.1", None)
    assert told["mlx_lm"] == ("0.33.0", None)
    assert told["vllm"] == told["sglang"] == (None, "127.0.0.1 does not say which one is the newest")
    assert told["localai"] == (None, "127.0.0.1 answers with HTTP 403 (asked too often)")
    assert told["lm_studio"] == (None, "nobody who publishes it can be asked")


def test_who_cannot_be_reached_is_said():
    publishers = Publishers("http://127.0.0.1:1", "http://127.0.0.1:1")
    try:
        version, why = publishers.newest("ollama")
    finally:
        publishers.close()
    assert version is None
    assert why.startswith("127.0.0.1 does not answer")


def test_every_source_is_of_a_kind_that_there_is():
    from tokwatt_exporter.engines.registry import KINDS

    assert versions.SOURCES.keys() <= set(KINDS)
    assert all(source != Source() for source in versions.SOURCES.values())


def test_nobody_is_asked_unless_the_user_wants_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tokwatt_exporter.versions_online.Publishers", lambda: pytest.fail("somebody is asked"))
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "ollama", "echo ollama version is 0.12.3")
    monkeypatch.setenv("TOKWATT_DISCOVERY_ENABLED", "false")
    monkeypatch.setattr("sys.argv", ["tokwatt", "versions", "--json", f"--data-dir={tmp_path}"])
    assert shell.run_app(cli.app, "tokwatt") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["engines"]}
    assert (rows["ollama"]["installed"], rows["ollama"]["newest"], rows["ollama"]["running"]) == ("0.12.3", None, None)


@pytest.mark.e2e
def test_the_version_of_a_real_server_that_runs_is_the_one_installed(tmp_path, monkeypatch):
    from support.components import component
    from support.engine import llama_server
    from tokwatt_exporter.engines.discovery import find_now
    from web.serving import settings

    program(tmp_path, "llama-server", f'exec "{component("llama-server")}" "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with llama_server(tmp_path) as server:
        rows = collect(find_now(settings(), server.url), installed, None)
    [row] = [row for row in rows if row.kind == "llama_cpp"]
    assert (row.running_is_older, row.installed) == (False, row.running.partition("-")[0])
