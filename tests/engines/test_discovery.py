"""Discovery: who is found where, why, and how long it may take."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fakes import engines as fake
from fakes.engines import FakeEngine
from support.captures import shared_captures
from support.net import free_port, wait_for
from tokwatt_exporter.config import Config, EngineConfig, load
from tokwatt_exporter.engines import discovery
from tokwatt_exporter.engines.discovery import Found
from tokwatt_exporter.engines.scan import Scan
from tokwatt_exporter.engines.sockets import Listener, Sockets

ENGINES = Path(fake.__file__)


def config(*engines: EngineConfig) -> Config:
    base = load({}, {})
    return Config(**{f: getattr(base, f) for f in base.__dataclass_fields__} | {"engines": engines})


def scan(*ports: int, settings: Config | None = None) -> Scan:
    """A scan that sees nothing but these ports, of processes that are not visible."""
    return Scan(settings or config(), lambda: [Listener("127.0.0.1", port) for port in ports], ports)


def find(seen: Scan | tuple[int, ...], *engines: EngineConfig) -> list[Found]:
    settings = config(*engines)
    return asyncio.run(
        discovery.find(settings, scan=seen if isinstance(seen, Scan) else scan(*seen, settings=settings))
    )


def llama() -> FakeEngine:
    return fake.llama_cpp(shared_captures() / "engines/llama.cpp")


def ollama() -> FakeEngine:
    return fake.ollama(shared_captures() / "engines/ollama-real")


@contextmanager
def process(kind: str, port: int, child_port: str = "") -> Iterator[int]:
    """A recorded engine in a process of its own; its pid."""
    command = [sys.executable, str(ENGINES), kind, str(shared_captures() / "engines"), str(port), child_port]
    with subprocess.Popen([part for part in command if part]) as server:
        try:
            for waited in filter(None, (port, child_port and int(child_port))):
                wait_for(lambda waited=waited: [one for one in Sockets().listeners() if one.port == waited])
            yield server.pid
        finally:
            server.terminate()


def test_engines_are_found_with_version_models_and_evidence():
    with llama() as one, ollama() as two:
        found = find(scan(one.port, two.port))
        by_kind = {engine.kind: engine for engine in found}
    assert by_kind["llama_cpp"].url == one.url
    assert by_kind["llama_cpp"].models == ("tiny.gguf",)
    assert by_kind["llama_cpp"].version == "b1-0c1e570"
    assert by_kind["ollama"].models == ("tiny:latest",)
    assert all(engine.evidence and engine.up for engine in found)


def test_json_has_the_six_keys_and_null_for_an_unknown_version():
    found = [Found("openai_compatible", "openai_compatible", "http://127.0.0.1:1", None, ("m",), ("why",))]
    assert discovery.as_json(found) == {
        "engines": [
            {
                "kind": "openai_compatible", "name": "openai_compatible", "url": "http://127.0.0.1:1",
                "version": None, "models": ["m"], "evidence": ["why"],
            }
        ]
    }  # fmt: skip


def test_several_instances_are_numbered_by_port():
    with llama() as one, llama() as two, llama() as three:
        found = find(scan(one.port, two.port, three.port))
    assert [engine.name for engine in found] == ["llama_cpp", "llama_cpp-2", "llama_cpp-3"]
    assert [engine.url for engine in found] == sorted(engine.url for engine in (one, two, three))


def test_ports_that_accept_and_never_answer_cost_at_most_a_second_and_a_half():
    with FakeEngine({}, fake.silence) as one, FakeEngine({}, fake.trickle) as two, llama() as good:
        began = time.monotonic()
        found = find(scan(one.port, two.port, good.port))
        seconds = time.monotonic() - began
    assert [engine.kind for engine in found] == ["llama_cpp"]
    assert seconds < 1.7


@pytest.mark.parametrize("behaviour", [fake.garbage, fake.hang_up, fake.endless, fake.endless_headers, fake.too_short])
def test_what_misbehaves_is_no_engine(behaviour: fake.Behaviour):
    with FakeEngine({}, behaviour) as server:
        assert find(scan(server.port)) == []


def test_a_configured_identity_wins_over_every_guess():
    with ollama() as engine:
        (found,) = find((engine.port,), EngineConfig(engine.url, name="mine", kind="openai_compatible"))
    assert (found.kind, found.name, found.url) == ("openai_compatible", "mine", engine.url)
    assert found.evidence[0] == "configured as openai_compatible"


def test_a_configured_engine_that_also_listens_is_listed_once():
    with llama() as engine:
        found = find((engine.port,), EngineConfig(f"http://localhost:{engine.port}"))
    assert [one.url for one in found] == [f"http://localhost:{engine.port}"]
    assert found[0].kind == "llama_cpp"


def test_a_configured_engine_is_listed_when_it_is_down():
    url = f"http://127.0.0.1:{free_port()}"
    (found,) = find((), EngineConfig(url, name="mine", kind="ollama"))
    assert (found.name, found.kind, found.up, found.models) == ("mine", "ollama", False, ())
    assert "refuses connections" in found.evidence[-1]


@pytest.mark.parametrize("kind", ["ollama", None])
def test_a_configured_engine_that_hangs_is_listed_as_down_in_time(kind: str | None):
    with FakeEngine({}, fake.silence) as engine:
        began = time.monotonic()
        (found,) = find((), EngineConfig(engine.url, "mine", kind))
        assert time.monotonic() - began < 1.7
    assert (found.kind, found.up) == (kind, False)
    assert found.evidence[-1] == "did not answer in time"


def test_an_engine_that_hangs_after_it_was_recognised_is_listed_without_a_version():
    with llama() as engine:
        engine.routes["/props"] = fake.silence
        (found,) = find(scan(engine.port))
    assert (found.kind, found.version, found.models) == ("llama_cpp", None, ())
    assert found.evidence[-1] == "did not answer in time"


def test_a_configured_engine_without_name_and_kind_is_named_by_its_address():
    url = f"http://127.0.0.1:{free_port()}"
    (found,) = find((), EngineConfig(url))
    assert (found.name, found.kind) == (url.removeprefix("http://"), None)


def test_a_url_is_looked_at_alone():
    with llama() as one, ollama() as two:
        found = discovery.find_now(config(EngineConfig(two.url)), one.url)
    assert [(engine.kind, engine.name, engine.url) for engine in found] == [("llama_cpp", "llama_cpp", one.url)]
    assert found[0].evidence == ("answers carry the header Server: llama.cpp",)


def test_a_url_where_no_engine_answers_gives_nothing_and_says_why(caplog: pytest.LogCaptureFixture):
    url = f"http://127.0.0.1:{free_port()}"
    assert discovery.find_now(config(), url) == []
    assert caplog.messages == [f"{url}: refuses connections"]


def test_a_server_that_is_no_engine_is_asked_once_and_never_again():
    one = Listener("127.0.0.1", 0, os.getpid(), 1.0)
    with FakeEngine({}) as server:
        seen = Scan(config(), lambda: [one._replace(port=server.port)], ())
        for _ in range(3):
            assert asyncio.run(seen.round(())).sightings == ()
        assert len(server.requests) == 1


def test_another_process_on_the_port_is_asked_anew():
    with FakeEngine({}) as server:
        process = Listener("127.0.0.1", server.port, os.getpid(), 1.0)
        processes = [process, process, process._replace(started=2.0)]
        seen = Scan(config(), lambda: [processes.pop(0)], ())
        for _ in range(3):
            asyncio.run(seen.round(()))
        assert len(server.requests) == 2


def test_a_silent_port_is_asked_again_later_and_not_in_every_round():
    with FakeEngine({}, fake.silence) as server:
        seen = scan(server.port)
        for _ in range(3):
            asyncio.run(seen.round((), 0.2))
        assert server.connections == 1


def test_a_known_engine_is_not_asked_by_discovery():
    with llama() as engine:
        known = Listener("127.0.0.1", engine.port)
        assert asyncio.run(scan(engine.port).round([known])).sightings == ()
        assert engine.requests == []


def test_our_own_ports_those_of_the_system_and_other_users_are_left_alone():
    asked: list[int] = []
    settings = config()
    ports = {settings.web_listen_address[0].port: os.getpid(), 631: os.getpid(), 5432: None}
    listeners = [Listener("127.0.0.1", port, pid, 1.0 if pid else None) for port, pid in ports.items()]
    seen = Scan(settings, lambda: listeners, ())
    seen._probe = lambda one: asked.append(one.port)  # type: ignore[method-assign,assignment,return-value]
    asyncio.run(seen.round(()))
    assert asked == []


def test_where_ports_are_named_no_other_is_touched():
    with llama() as one, llama() as two:
        listeners = [Listener("127.0.0.1", one.port), Listener("127.0.0.1", two.port, os.getpid(), 1.0)]
        seen = Scan(load({"discovery.port": [one.port]}, {}), lambda: listeners, [two.port])
        assert [sighting.listener.port for sighting in asyncio.run(seen.round(())).sightings] == [one.port]
        assert two.connections == 0


def test_a_process_of_the_users_own_is_found_on_any_port():
    port = free_port()

    def listeners() -> list[Listener]:
        """What really listens there, and nothing of the tests that run beside this one."""
        return [one for one in Sockets().listeners() if one.port == port]

    with process("llama_cpp", port) as pid:
        found = find(Scan(config(), listeners, ()))
    assert [(engine.kind, engine.pid) for engine in found] == [("llama_cpp", pid)]
    assert f"process {pid} listens on port {port}" in found[0].evidence


def test_a_llama_server_that_an_engine_started_is_part_of_that_engine():
    port, child = free_port(), free_port()
    with process("ollama", port, str(child)):
        listed = [one for one in Sockets().listeners() if one.port in (port, child)]
        assert len(listed) == 2
        found = find(Scan(config(), lambda: listed, ()))
    assert [engine.kind for engine in found] == ["ollama"]


def test_sockets_of_this_process_are_not_listed():
    with FakeEngine({}) as server:
        assert [one for one in Sockets().listeners() if one.port == server.port and one.pid == os.getpid()] == []


def test_the_list_of_sockets_follows_what_listens():
    sockets, port = Sockets(), free_port()
    assert [one for one in sockets.listeners() if one.port == port] == []
    with process("llama_cpp", port) as pid:
        (one,) = [one for one in sockets.listeners() if one.port == port]
        assert (one.host, one.pid) == ("127.0.0.1", pid)
        assert one.started is not None
    with suppress(ProcessLookupError):
        assert [one for one in sockets.listeners() if one.port == port] == []
