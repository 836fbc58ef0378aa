"""A real watch beside a real daemon: an engine that goes away and comes back is said to a real receiver."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from e2e.daemon import daemon
from fakes.engines import FakeEngine, response
from support.engine import llama_server
from support.net import free_port, wait_for
from tokwatt_exporter import catalogue as c

pytestmark = pytest.mark.e2e

RULE = {
    "alert": "EngineDown", "expr": f"{c.ENGINE_UP.name} == 0", "for": "1s", "labels": {"severity": "warning"},
    "annotations": {"summary": "Engine {{ $labels.engine }} is down"},
}  # fmt: skip


def test_an_engine_that_stops_and_starts_again_is_said_once_each(tmp_path):
    data, port = tmp_path / "data", free_port()
    rules, settings = tmp_path / "rules.yml", tmp_path / "tokwatt.toml"
    rules.write_text(json.dumps({"groups": [{"name": "mine", "rules": [RULE]}]}))
    settings.write_text(f'[[engine]]\nname = "mine"\nkind = "llama_cpp"\nurl = "http://127.0.0.1:{port}"\n')
    command = [
        sys.executable,
        "-m",
        "tokwatt_exporter",
        "watch",
        f"--data-dir={data}",
        f"--rules={rules}",
        "--every=500ms",
    ]
    with FakeEngine({"/hook": response(200, b"", "text/plain")}) as receiver:
        environ = {**os.environ, "TOKWATT_WATCH_WEBHOOK": f"{receiver.url}/hook"}

        def told():
            return [(one["status"], one["commonAnnotations"]["summary"]) for one in map(json.loads, bodies(receiver))]

        with contextlib.ExitStack() as machine:
            machine.enter_context(daemon(data, "--sample-interval", "500ms", "--config.file", str(settings)))
            with llama_server(tmp_path, port=port):
                watch = machine.enter_context(
                    subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
                )
                machine.callback(watch.kill)
                wait_for((data / "watch.json").exists, 30, "the watch to look")
            wait_for(lambda: told() == [("firing", "Engine mine is down")], 60, "the end of the engine to be told")
            with llama_server(tmp_path, port=port):
                wait_for(lambda: len(told()) > 1, 60, "its return to be told")
            watch.send_signal(signal.SIGTERM)
            out, err = watch.communicate(timeout=20)
        assert told() == [("firing", "Engine mine is down"), ("resolved", "Engine mine is down")]
    assert watch.returncode == 0, err
    assert [line.split(" ")[1] for line in out.splitlines()] == ["firing", "resolved"]
    assert receiver.url not in err
    assert "told is webhook" in err


def bodies(receiver):
    return [request.body for request in list(receiver.requests)]
