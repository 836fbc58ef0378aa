"""A real engine, a proxy before it and the daemon beside them."""

import json
import subprocess

import pytest

from bench.test_llama_server import counters
from e2e.daemon import daemon, tokwatt
from proxy.proxying import proxy
from support.components import component
from support.engine import llama_server
from support.net import get, wait_for
from tokwatt_exporter import catalogue as c

pytestmark = pytest.mark.e2e


def test_the_daemon_publishes_what_passed_as_the_engine_counted_it(tmp_path):
    with (
        llama_server(tmp_path) as engine,
        daemon(tmp_path / "data", "--sample-interval", "500ms") as running,
        proxy(tmp_path, engine.url, name="llama_cpp") as passing,
    ):
        before = counters(engine)
        result = tokwatt("run", "--url", passing.url, "--runs", "4", "--max-tokens", "32", "--json", "--model",
                         engine.model, "--data-dir", str(tmp_path / "bench"), module="tokwatt_bench")  # fmt: skip
        [bench] = json.loads(result.stdout)["results"]
        assert bench["failures"] == []
        after = counters(engine)
        generated = after["llamacpp:tokens_predicted_total"] - before["llamacpp:tokens_predicted_total"]
        labels = {"engine": "llama_cpp", "model": engine.model}
        wait_for(lambda: running.value(c.PROXY_GENERATION_TOKENS(0, **labels)) == generated, 20, "the engine's count")
        requests = running.value(c.PROXY_REQUESTS(0, status="2xx", **labels))
        page = running.series()
        for family in (c.PROXY_TIME_TO_FIRST_TOKEN, c.PROXY_REQUEST_DURATION):
            counted = [value for (name, _), value in page.items() if name == family.count.name]
            assert counted == [requests]
        check = subprocess.run([component("promtool"), "check", "metrics"], input=running.get("/metrics").content,
                               capture_output=True, timeout=60, check=False)  # fmt: skip
        assert (check.returncode, check.stdout + check.stderr) == (0, b"")

        passing.process.kill()
        gone = c.PROXY_CONNECTIONS(0, engine="llama_cpp")
        wait_for(lambda: running.value(gone) is None, 20, "the proxy's series to vanish")
        assert not [name for name, _ in running.series() if name.startswith(c.PREFIX + "proxy_")]
        assert get(engine.url + "/health").status_code == 200
        assert running.stop() == 0
