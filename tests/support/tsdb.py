"""Real databases that hold the past of machines, such as those of `support.scene`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from tokwatt_exporter.sinks.otlp_send import Sender
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings
from tokwatt_exporter.snapshot import Reading, Snapshot

from .components import component
from .net import PLAIN, free_port, get, wait_for

#: Readings so many seconds after a start, and that start as Unix time.
Machine = Callable[[float, float], Iterable[Reading]]
STEP = 30
JOB = "tokwatt"
#: Snapshots in one OTLP request.
BATCH = 20
RELABELLED = Path(__file__).parents[2] / "grafana/victoriametrics-relabel.yml"


class Prometheus(NamedTuple):
    """Where it listens, the time its data ends, the seconds of data before that, and whether it came by OTLP."""

    url: str
    now: int
    seconds: int
    otlp: bool = False

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result at a time; AssertionError with Prometheus' own words where the expression is wrong."""
        return self._ask("query", {"query": expression, "time": at or self.now})

    def query_range(self, expression: str, step: int = 2 * STEP) -> list[dict[str, Any]]:
        """The result over all of the data."""
        start = self.now - self.seconds
        return self._ask("query_range", {"query": expression, "start": start, "end": self.now, "step": step})

    def _ask(self, what: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = httpx.post(
            f"{self.url}/api/v1/{what}", data=parameters, timeout=30, trust_env=False, verify=PLAIN
        ).json()  # fmt: skip
        if answer["status"] != "success":
            raise AssertionError(f"{parameters['query']}: {answer['error']}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


@contextmanager
def prometheus(
    folder: Path, machines: Mapping[str, Machine], seconds: int = 7200, *, now: int | None = None,
    scrape: Mapping[str, int] | None = None, every: str = "1s", port: int | None = None,
    options: Iterable[str] = (),
) -> Iterator[Prometheus]:  # fmt: skip
    """Prometheus with `seconds` of samples of each machine, under `instance`, up to now.

    It goes on with what the exporters in `scrape` say, port by instance. `options` are flags of its own.
    """
    now = now or int(time.time()) // 60 * 60
    if machines:
        _past(folder, machines, now, seconds)
    jobs = [_job(instance, target, every) for instance, target in (scrape or {}).items()]
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": jobs}))
    port = port or free_port()
    command = [
        str(component("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *options,
    ]
    running = Prometheus(f"http://127.0.0.1:{port}", now, seconds)
    with _process(command, folder / "prometheus.log"):
        wait_for(lambda: running.query("vector(1)"), 20, "Prometheus to answer")
        yield running


@contextmanager
def victoria_metrics(folder: Path, machines: Mapping[str, Machine], seconds: int = 7200) -> Iterator[Prometheus]:
    """VictoriaMetrics to which the same samples were pushed by OTLP; it answers as Prometheus does."""
    now = int(time.time()) // 60 * 60
    port = free_port()
    running = Prometheus(f"http://127.0.0.1:{port}", now, seconds, otlp=True)
    command = [
        str(component("victoria-metrics")), f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=7d", "-search.latencyOffset=0s", f"-relabelConfig={RELABELLED}",
    ]  # fmt: skip
    with _process(command, folder / "victoria-metrics.log"):
        wait_for(lambda: get(f"{running.url}/health").status_code == 200, 30, "VictoriaMetrics to answer")
        for instance, machine in machines.items():
            _push(running, instance, machine)
        get(f"{running.url}/internal/force_flush")
        yield running


def _push(to: Prometheus, instance: str, machine: Machine) -> None:
    resource = {"service.name": JOB, "service.instance.id": instance}
    sender = Sender(OtlpSettings(url=f"{to.url}/opentelemetry/v1/metrics", resource=resource), 0)
    start = to.now - to.seconds
    times = range(0, to.seconds + 1, STEP)
    for first in range(0, len(times), BATCH):
        sent = [Snapshot.of((start + t) * 1000, machine(t, start)) for t in times[first : first + BATCH]]
        answer = sender(sent)
        assert not answer.why, answer
    sender.close()


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _past(folder: Path, machines: Mapping[str, Machine], now: int, seconds: int) -> None:
    text = folder / "samples.om"
    text.write_text("".join(_samples(machines, now, seconds)) + "# EOF\n")
    subprocess.run(
        [component("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, folder / "data"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    text.unlink()


def _job(instance: str, port: int, every: str) -> dict[str, Any]:
    target = {"targets": [f"127.0.0.1:{port}"], "labels": {"job": JOB, "instance": instance}}
    return {"job_name": instance, "scrape_interval": every, "scrape_timeout": every, "static_configs": [target]}


def _samples(machines: Mapping[str, Machine], now: int, seconds: int) -> Iterator[str]:
    for instance, machine in machines.items():
        for t in range(0, seconds + 1, STEP):
            for family, labels, value in machine(t, now - seconds):
                pairs = ",".join(
                    f'{name}="{text}"' for name, text in (*labels, ("job", JOB), ("instance", instance))
                )  # fmt: skip
                yield f"{family.name}{{{pairs}}} {value} {now - seconds + t}\n"
