"""The client: no answer leads it elsewhere, fills the memory or holds it for longer than its deadline."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from fakes import engines as fake
from fakes.engines import FakeEngine, as_json, response
from support.net import free_port
from tokwatt_exporter.config import EngineConfig
from tokwatt_exporter.engines.base import Answer
from tokwatt_exporter.engines.client import Client, NoAnswer, Refused, connect
from tokwatt_exporter.engines.keys import Key
from tokwatt_exporter.errors import EngineError, UsageError

T = TypeVar("T")


def ask(url: str, path: str = "/x", key: str | None = None, deadline: float = 2.0) -> Answer:
    async def once() -> Answer:
        async with Client(url, key=Key(lambda: key) if key else None, deadline=deadline) as client:
            return await client.get(path)

    return asyncio.run(once())


def asking(url: str, work: Callable[[Client], Awaitable[T]]) -> T:
    async def once() -> T:
        async with Client(url) as client:
            return await work(client)

    return asyncio.run(once())


def key_file(tmp_path: Path, text: str = "sk-secret\n", mode: int = 0o600) -> Path:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_any_status_is_an_answer_with_lower_case_headers():
    with FakeEngine({"/x": as_json({"a": 1}, 418, X_Thing="yes")}) as engine:
        answer = ask(engine.url)
    assert (answer.status, answer.headers["x-thing"], answer.json()) == (418, "yes", {"a": 1})


def test_a_base_path_stays_in_front_of_every_path():
    with FakeEngine({"/engines/v1/models": as_json({})}) as engine:
        assert ask(engine.url + "/engines", "/v1/models").status == 200


def test_only_identity_is_asked_for_and_a_query_is_kept():
    with FakeEngine({"/x": as_json({})}) as engine:
        ask(engine.url, "/x?model=a%2Fb&autoload=false")
        request = engine.requests[0]
    assert request.headers["accept-encoding"] == "identity"
    assert request.target == "/x?model=a%2Fb&autoload=false"


def test_a_redirect_is_refused_and_the_key_does_not_follow_it():
    with FakeEngine({"/x": as_json({})}) as other, FakeEngine({"/x": fake.redirect(f"{other.url}/x?k=1")}) as engine:
        with pytest.raises(EngineError, match=f"redirects to {other.url}/x;"):
            ask(engine.url, key="sk-secret")
        assert engine.requests[0].headers["authorization"] == "Bearer sk-secret"
        assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
def test_every_kind_of_redirect_is_refused(status: int):
    with FakeEngine({"/x": fake.redirect("/y", status)}) as engine:
        with pytest.raises(EngineError, match="redirects to /y;"):
            ask(engine.url)
        assert engine.asked() == ["/x"]


def test_secrets_in_the_target_of_a_redirect_are_not_repeated():
    target = fake.redirect("https://me:hush@example.org/a?token=hush")
    with FakeEngine({"/x": target}) as engine, pytest.raises(EngineError) as caught:
        ask(engine.url)
    assert "hush" not in str(caught.value)
    assert "https://example.org/a" in str(caught.value)


def test_a_gzip_bomb_is_refused_before_it_is_unpacked():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    packed = fake.bomb()
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with FakeEngine({"/x": packed}) as engine, pytest.raises(EngineError, match="compressed answer"):
        ask(engine.url)
    assert len(packed) < 400_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - max(made, before) < 20_000  # kB


def test_a_body_that_never_ends_stops_at_4_mb():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with FakeEngine({"/x": fake.endless}) as engine, pytest.raises(EngineError, match="more than 4 MB"):
        ask(engine.url)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # kB


@pytest.mark.parametrize("behaviour", [fake.silence, fake.trickle, fake.endless_headers])
def test_whatever_a_server_does_a_request_ends_with_its_deadline(behaviour: fake.Behaviour):
    with FakeEngine({"/x": behaviour}) as engine:
        began = time.monotonic()
        with pytest.raises(EngineError):
            ask(engine.url, deadline=0.4)
        assert time.monotonic() - began < 1.0


def test_silence_says_what_was_not_answered_and_for_how_long():
    with FakeEngine({"/x": fake.silence}) as engine, pytest.raises(NoAnswer, match=r"did not answer /x within 0\.2 s"):
        ask(engine.url, "/x?model=private", deadline=0.2)


@pytest.mark.parametrize("behaviour", [fake.garbage, fake.hang_up, fake.too_short])
def test_what_is_not_http_is_one_line(behaviour: fake.Behaviour):
    with FakeEngine({"/x": behaviour}) as engine, pytest.raises(EngineError, match="does not speak HTTP") as caught:
        ask(engine.url)
    assert str(caught.value).isprintable()


def test_huge_headers_are_refused():
    big = response(200, b"{}", X_Big="x" * 60_000)
    with FakeEngine({"/x": big}) as engine, pytest.raises(EngineError, match="kB of headers"):
        ask(engine.url)


def test_a_port_where_nobody_listens_is_told_apart_from_silence():
    with pytest.raises(Refused, match="refuses connections"):
        ask(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("body", [b"\xff\xfe", b"{", b"", b"[" * 100_000, b"1" * 10_000])
def test_a_body_that_is_not_json_is_an_engine_error(body: bytes):
    with FakeEngine({"/x": response(200, body)}) as engine, pytest.raises(EngineError, match="not JSON"):
        ask(engine.url).json()


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch):
    with FakeEngine({}) as proxy, FakeEngine({"/x": as_json({})}) as engine:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert ask(engine.url).status == 200
        assert proxy.requests == []


def test_an_answer_is_given_again_within_its_age_and_no_longer_after_forget():
    async def work(client: Client) -> int:
        for _ in range(3):
            await client.get("/x", max_age=60)
        client.forget()
        await client.get("/x", max_age=60)
        await client.get("/x")
        return len(engine.requests)

    with FakeEngine({"/x": as_json({})}) as engine:
        assert asking(engine.url, work) == 3


def test_one_connection_serves_many_requests():
    async def work(client: Client) -> None:
        for _ in range(5):
            await client.get("/x")

    with FakeEngine({"/x": as_json({})}) as engine:
        asking(engine.url, work)
        assert engine.connections == 1


def test_a_key_comes_from_a_file_and_is_sent_as_a_bearer_token_only(tmp_path: Path):
    async def once() -> None:
        async with connect(EngineConfig(engine.url, api_key_file=key_file(tmp_path))) as client:
            await client.post("/x", {"a": 1})

    with FakeEngine({"/x": as_json({})}) as engine:
        asyncio.run(once())
        request = engine.requests[0]
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in request.target
    assert request.body == b'{"a":1}'


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [("k", 0o644, "chmod 600"), ("k", 0o660, "chmod 600"), ("", 0o600, "one key"), ("a\nb\n", 0o600, "one key"),
     ("k" * 5000, 0o600, "one key"), ("clé", 0o600, "one key")],
)  # fmt: skip
def test_a_key_file_that_others_can_read_or_that_holds_no_key_is_a_usage_error(
    tmp_path: Path, text: str, mode: int, why: str
):
    with pytest.raises(UsageError, match=why):
        connect(EngineConfig("http://127.0.0.1:1", api_key_file=key_file(tmp_path, text, mode)))


def test_a_key_file_that_is_not_there_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match="No such file"):
        connect(EngineConfig("http://127.0.0.1:1", api_key_file=tmp_path / "none"))


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org", "127.0.0.1.example.org", "[2001:db8::1]"])
def test_a_key_is_not_sent_unencrypted_to_another_machine(tmp_path: Path, host: str):
    file = key_file(tmp_path)
    with pytest.raises(UsageError, match="unencrypted"):
        connect(EngineConfig(f"http://{host}:8080", api_key_file=file))
    connect(EngineConfig(f"https://{host}:8080", api_key_file=file))
    connect(EngineConfig(f"http://{host}:8080", api_key_file=file, allow_insecure=True))
    connect(EngineConfig(f"http://{host}:8080"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_a_key_may_be_sent_to_this_machine(tmp_path: Path, host: str):
    connect(EngineConfig(f"http://{host}:8080", api_key_file=key_file(tmp_path)))


def test_neither_url_nor_key_reach_the_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    with FakeEngine({"/x": as_json({})}) as engine:
        ask(engine.url, "/x?api_key=hush", key="hush")
    assert "hush" not in caplog.text
