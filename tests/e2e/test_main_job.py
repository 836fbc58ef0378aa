"""The whole way with real parts: engine, daemon, Prometheus, OTLP receivers, DuckDB, and a benchmark beside them."""

import contextlib
import json
import subprocess
import time

import duckdb
import httpx
import pytest

from e2e.daemon import daemon, tokwatt
from support.components import component
from support.engine import llama_server
from support.net import free_port, get, wait_for
from tokwatt_exporter.catalogue import (
    BENCHMARK_GENERATION_SPEED,
    BENCHMARK_RUNS,
    COLLECTOR_SUCCESS,
    CPU_BUSY,
    ENGINE_INFO,
    ENGINE_UP,
    GENERATION_TOKENS,
    MEMORY_AVAILABLE,
    MEMORY_SIZE,
    PROCESS_CPU,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SCRAPES = 60


@contextlib.contextmanager
def server(name, *args, ready, cwd):
    log = (cwd / f"{name}.log").open("wb")
    process = subprocess.Popen([str(component(name)), *args], cwd=cwd, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(ready), 60, f"{name} to be ready")
        yield process
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _answers(url):
    with contextlib.suppress(httpx.TransportError):
        return get(url).status_code < 400
    return False


@contextlib.contextmanager
def prometheus(tmp_path, target):
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n- job_name: tokwatt\n  scrape_interval: 1s\n  scrape_timeout: 1s\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    url = f"http://127.0.0.1:{port}"
    with server("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
                f"--web.listen-address=127.0.0.1:{port}", ready=url + "/-/ready", cwd=tmp_path):  # fmt: skip
        yield url


@contextlib.contextmanager
def victoria_metrics(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server("victoria-metrics", "-storageDataPath=vm", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=7d",
                "-search.latencyOffset=0s", ready=url + "/health", cwd=tmp_path):  # fmt: skip
        yield url


@contextlib.contextmanager
def rotel(tmp_path, forward_to):
    """Rotel receives OTLP, logs what it got, and forwards it to VictoriaMetrics."""
    grpc, http = free_port(), free_port()
    log = (tmp_path / "rotel.log").open("wb")
    process = subprocess.Popen(
        [str(component("rotel")), "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
         "--otlp-http-endpoint", f"127.0.0.1:{http}",
         "--otlp-receiver-traces-disabled", "--otlp-receiver-logs-disabled", "--exporter", "otlp",
         "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", f"{forward_to}/opentelemetry",
         "--otlp-exporter-metrics-endpoint", f"{forward_to}/opentelemetry/v1/metrics", "--batch-timeout", "200ms",
         "--debug-log", "metrics", "--debug-log-verbosity", "detailed"],
        stdout=log, stderr=log, cwd=tmp_path,
    )  # fmt: skip
    try:
        wait_for(lambda: _listens(http), 30, "rotel to listen")
        yield f"http://127.0.0.1:{http}/v1/metrics", tmp_path / "rotel.log"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def _listens(port):
    with contextlib.suppress(httpx.TransportError):
        get(f"http://127.0.0.1:{port}/")
        return True
    return False


def promql(url, query):
    answer = get(url + "/api/v1/query", params={"query": query}).json()
    return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]


def predicted(engine):
    for line in get(engine.url + "/metrics").text.splitlines():
        if line.startswith("llamacpp:tokens_predicted_total "):
            return float(line.split()[1])
    raise AssertionError("the engine has no token counter")


def exported(vm, reading):
    """Per series of a reading in VictoriaMetrics: {time_ms: value}, and how many samples that were."""
    labels = ",".join(f'{name}="{value}"' for name, value in reading.labels)
    selector = f"{reading.family.name}{{{labels}}}"
    get(vm + "/internal/force_flush")
    text = get(vm + "/api/v1/export", params={"match[]": selector}).text
    rows = [json.loads(line) for line in text.splitlines()]
    return [(dict(zip(r["timestamps"], r["values"], strict=True)), len(r["values"])) for r in rows]


def history(data_dir, reading):
    result = tokwatt("history", "query", "--data-dir", str(data_dir), "--metric", reading.family.name,
                     "--since", "10m", "--json", *(f"--label={k}={v}" for k, v in reading.labels))  # fmt: skip
    return json.loads(result.stdout)["samples"]


def test_the_main_job_end_to_end(tmp_path, monkeypatch):
    port = free_port()
    monkeypatch.setenv("TOKWATT_DISCOVERY_ENABLED", "true")
    monkeypatch.setenv("TOKWATT_DISCOVERY_PORT", str(port))
    with (
        llama_server(tmp_path, port=port) as engine,
        victoria_metrics(tmp_path) as vm,
        rotel(tmp_path, vm) as (otlp, rotel_log),
        daemon(tmp_path / "data", "--sample-interval", "1s", "--otlp.endpoint", otlp, "--otlp.interval", "2s",
               "--discovery.interval", "2s", "--history.flush-interval", "5s") as running,
        prometheus(tmp_path, running.port) as prom,
    ):  # fmt: skip
        began = time.time()
        wait_for(lambda: running.value(ENGINE_UP(1, engine="llama_cpp")) == 1, 20, "the engine to be discovered")
        found = json.loads(tokwatt("engines", "--json", "--data-dir", str(tmp_path / "data")).stdout)["engines"]
        [listed] = [one for one in found if one["url"] == engine.url]
        assert listed["kind"] == "llama_cpp"
        assert listed["evidence"] and listed["models"] and listed["version"]

        before = predicted(engine)
        result = tokwatt("run", "--url", engine.url, "--runs", "6", "--max-tokens", "32", "--json",
                         "--data-dir", str(tmp_path / "data"), module="tokwatt_bench")  # fmt: skip
        [bench] = json.loads(result.stdout)["results"]
        wait_for(lambda: predicted(engine) > before, 10, "the engine's counter to move")
        assert bench["failures"] == []
        warmup_and_runs = stored_tokens(tmp_path / "data")
        assert predicted(engine) - before == warmup_and_runs, "our tokens are the engine's own count"

        wait_for(
            lambda: any(name == BENCHMARK_GENERATION_SPEED.name for name, _ in running.series()), 30,
            "the result on /metrics",
        )  # fmt: skip
        published = {name: value for (name, _), value in running.series().items()}
        assert published[BENCHMARK_GENERATION_SPEED.name] == pytest.approx(bench["generation_tokens_per_second"]["p50"])
        assert published[BENCHMARK_RUNS.name] == 1

        time.sleep(max(0.0, began + SCRAPES + 5 - time.time()))
        check_prometheus(prom)
        model = bench["model"]
        [(_, counted)] = promql(prom, f'{GENERATION_TOKENS.name}{{engine="llama_cpp",model="{model}"}}')
        assert counted == predicted(engine)
        assert running.stop() == 0
        wait_for(lambda: exported(vm, MEMORY_AVAILABLE(0)) != [], 30, "the pushed series to be visible")
        check_same_samples(tmp_path / "data", vm)
    assert MEMORY_SIZE.name in rotel_log.read_text()


def check_prometheus(prom):
    assert promql(prom, f"min_over_time(up[{SCRAPES}s])") == [
        ({"instance": promql(prom, "up")[0][0]["instance"], "job": "tokwatt"}, 1.0)
    ]
    [target] = get(prom + "/api/v1/targets").json()["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert promql(prom, f"sum(rate({CPU_BUSY.name}[30s]))")[0][1] > 0
    assert promql(prom, f"{MEMORY_SIZE.name}")[0][1] > 2**30
    assert promql(prom, f'{COLLECTOR_SUCCESS.name}{{collector="engines"}}')[0][1] == 1
    assert promql(prom, f'{ENGINE_INFO.name}{{kind="llama_cpp"}}')


def check_same_samples(data_dir, vm):
    """What was pushed is what is kept: same names, same times, same values, each once."""
    for reading in (MEMORY_AVAILABLE(0), PROCESS_CPU(0), ENGINE_UP(0, engine="llama_cpp")):
        kept = {row["time"]: row["value"] for row in history(data_dir, reading)}
        [(pushed, count)] = exported(vm, reading)
        assert count == len(pushed), f"{reading.family.name} has samples twice"
        by_time = {iso_ms(time): value for time, value in kept.items()}
        assert set(pushed) <= set(by_time)
        # The first snapshot may be taken before OTLP starts counting from "now"; nothing after it is missing.
        assert len(by_time) - len(pushed) <= 1
        assert {t: pytest.approx(by_time[t]) for t in pushed} == pushed


def iso_ms(text):
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * 1000)


def stored_tokens(data_dir):
    tokwatt("history", "info", "--data-dir", str(data_dir))
    for _ in range(100):
        try:
            with duckdb.connect(str(data_dir / "history.duckdb"), read_only=True) as db:
                [(total,)] = db.execute("SELECT sum(generated_tokens) FROM bench_request").fetchall()
                return total
        except duckdb.IOException:
            time.sleep(0.05)
    raise AssertionError("the history stayed locked")
