"""A truth server for the tests of a module, and requests to it."""

from __future__ import annotations

import json
import threading

import pytest

from fakes.sysfs import Machine
from fakes.truth_server import truth_server
from tokwatt_bench.request import examine
from tokwatt_bench.stream import record


@pytest.fixture(scope="module")
def server():
    with truth_server() as running:
        yield running


@pytest.fixture
def ask(server):
    """Ask for a model of the truth server, by which it knows what to do; the request as it turned out."""

    def ask(model, tokens=64, timeout=10.0, path="/v1/chat/completions", prompt="eins zwei drei " * 10):
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": tokens,
                "stream_options": {"include_usage": True}, "options": {"num_predict": tokens}}  # fmt: skip
        recording = record(server.url + path, json.dumps(body).encode(), {}, timeout)
        return examine(recording, "ollama" if path.startswith("/api/") else "openai", 0, "measured")

    return ask


@pytest.fixture
def truth(server):
    """What the truth server sent in its last answer."""
    return lambda: server.truths()[-1]


@pytest.fixture
def rapl(tmp_path):
    """A package that uses 40 W while the test runs."""
    machine = Machine(tmp_path / "machine")
    machine.rapl("intel-rapl:0", "package-0", 1_000_000)
    file = machine.sys / "class/powercap/intel-rapl:0/energy_uj"
    stop = threading.Event()

    def burn():
        joules = 1.0
        while not stop.wait(0.01):
            joules += 0.4
            new = file.with_name("new")
            new.write_text(f"{round(joules * 1e6)}\n")
            new.replace(file)

    thread = threading.Thread(target=burn)
    thread.start()
    yield machine
    stop.set()
    thread.join()
