"""API keys from a file, the environment or a program: had once, had anew after a refusal, and never said to anybody."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fakes.engines import FakeEngine, as_json, redirect
from support.net import wait_for
from tokwatt_exporter.engine_config import EngineConfig, KeyCommand
from tokwatt_exporter.engines import keys
from tokwatt_exporter.engines.client import Client, connect
from tokwatt_exporter.engines.keys import Key, key_of
from tokwatt_exporter.errors import EngineError, UsageError

LOCAL = "http://127.0.0.1:1"


def program(tmp_path: Path, code: str) -> KeyCommand:
    """A program of its own, so that no other test has had its key."""
    file = tmp_path / "get-key.py"
    file.write_text(code)
    return KeyCommand((sys.executable, str(file), "sk-argument"))


def printing(tmp_path: Path, key: str = "sk-one") -> tuple[KeyCommand, Path]:
    """One that prints what is in a file, and adds a line to another one each time it runs."""
    secret, ran = tmp_path / "secret", tmp_path / "ran"
    secret.write_text(key)
    return program(tmp_path, f"open({str(ran)!r}, 'a').write('x\\n'); print(open({str(secret)!r}).read())"), secret


def asking(engine: EngineConfig, work: Callable[[Client], Awaitable[None]]) -> None:
    async def once() -> None:
        async with connect(engine) as client:
            await work(client)

    asyncio.run(once())


def sent(engine: FakeEngine) -> list[str]:
    return [request.headers["authorization"] for request in engine.requests]


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "sk-env\n")
    key = key_of(EngineConfig(LOCAL, api_key_env="MY_KEY"))
    assert key and key.value == "sk-env"


@pytest.mark.parametrize(("value", "why"), [(None, "is not set"), ("", "one key"), ("sk secret", "one key")])
def test_a_variable_without_a_key_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, value: str | None, why: str):
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UsageError, match=f"^api-key-env MY_KEY: .*{why}") as error:
        key_of(EngineConfig(LOCAL, api_key_env="MY_KEY"))
    assert "secret" not in str(error.value)


def test_a_program_prints_the_key_and_runs_once_for_all_clients(tmp_path: Path):
    command, _ = printing(tmp_path)

    async def ask(client: Client) -> None:
        await client.get("/x")
        await client.get("/x")

    with FakeEngine({"/x": as_json({})}) as engine:
        for _ in range(2):
            asking(EngineConfig(engine.url, api_key_command=command), ask)
        assert sent(engine) == ["Bearer sk-one"] * 4
    assert (tmp_path / "ran").read_text() == "x\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [("import sys; print('sk-secret'); sys.exit(44)", "ended with 44"), ("", "one key"),
     ("print('sk-secret'); print('more')", "one key"), ("print('sk-secret' * 1000)", "one key")],
)  # fmt: skip
def test_a_program_that_gives_no_key_is_wrong_usage_and_nothing_it_knows_is_said(tmp_path: Path, code: str, why: str):
    with pytest.raises(UsageError, match=f"^api-key-command {sys.executable}: .*{why}") as error:
        key_of(EngineConfig(LOCAL, api_key_command=program(tmp_path, code)))
    assert "sk-" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_program_that_is_not_there_is_wrong_usage(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be run: No such file"):
        key_of(EngineConfig(LOCAL, api_key_command=KeyCommand((str(tmp_path / "none"),))))


def test_a_program_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 0.3)
    with pytest.raises(UsageError, match=r"did not end within 0\.3 s"):
        key_of(EngineConfig(LOCAL, api_key_command=program(tmp_path, "import time; time.sleep(60)")))


def test_no_shell_reads_the_command(tmp_path: Path):
    command = KeyCommand((sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME;`id`|x"))
    key = key_of(EngineConfig(LOCAL, api_key_command=command))
    assert key and key.value == "$HOME;`id`|x"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_had_anew_beside_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int):
    monkeypatch.setattr(keys, "AGAIN_SECONDS", 0.0)
    command, secret = printing(tmp_path)
    config = EngineConfig(LOCAL, api_key_command=command)
    key = key_of(config)
    assert key
    secret.write_text("sk-two")

    async def ask(client: Client) -> None:
        await client.get("/x")
        await asyncio.to_thread(wait_for, lambda: key.value == "sk-two")
        await client.get("/y")

    with FakeEngine({"/x": as_json({}, status), "/y": as_json({})}) as engine:
        asking(config._replace(url=engine.url), ask)
        assert sent(engine) == ["Bearer sk-one", "Bearer sk-two"]


def test_a_key_that_is_always_refused_is_not_fetched_each_time():
    fetched: list[int] = []

    def fetch() -> str:
        fetched.append(1)
        return "sk"

    key = Key(fetch)
    for _ in range(50):
        key.refused()
    assert len(fetched) == 1


def test_fetching_holds_nobody_and_happens_once_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "AGAIN_SECONDS", 0.0)
    first, go, threads = threading.Event(), threading.Event(), []

    def fetch() -> str:
        threads.append(threading.current_thread())
        if first.is_set():
            assert go.wait(10)
        first.set()
        return f"sk-{len(threads)}"

    key = Key(fetch)
    key.refused()
    wait_for(lambda: len(threads) == 2)
    key.refused()
    assert (key.value, len(threads), threads[1] is threading.current_thread()) == ("sk-1", 2, False)
    go.set()
    wait_for(lambda: key.value == "sk-2")


def test_the_old_key_stays_where_no_new_one_can_be_had_and_the_log_has_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(keys, "AGAIN_SECONDS", 0.0)
    caplog.set_level(logging.DEBUG)
    command, secret = printing(tmp_path)
    key = key_of(EngineConfig(LOCAL, api_key_command=command))
    assert key
    secret.write_text("")
    key.refused()
    wait_for(lambda: "there is no new one" in caplog.text)
    assert key.value == "sk-one"
    assert "sk-" not in caplog.text


def test_a_redirect_gets_no_key_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "sk-env")

    async def ask(client: Client) -> None:
        with pytest.raises(EngineError, match="redirects to"):
            await client.get("/x")

    with FakeEngine({"/x": as_json({})}) as other, FakeEngine({"/x": redirect(f"{other.url}/x")}) as engine:
        asking(EngineConfig(engine.url, api_key_env="MY_KEY"), ask)
        assert (sent(engine), other.requests) == (["Bearer sk-env"], [])


def test_a_key_for_another_machine_is_not_even_fetched_for_plain_http(tmp_path: Path):
    command, _ = printing(tmp_path)
    with pytest.raises(UsageError, match="unencrypted"):
        connect(EngineConfig("http://192.0.2.1:8080", api_key_command=command))
    assert not (tmp_path / "ran").exists()
