"""A real Prometheus that holds the past of machines from `support.scene`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tokwatt_exporter.snapshot import Reading

from .components import component
from .net import PLAIN, free_port, wait_for

#: Readings so many seconds after a start, and that start as Unix time.
Machine = Callable[[float, float], Iterable[Reading]]
STEP = 30


class Prometheus(NamedTuple):
    """Where it listens, the time its data ends, and the seconds of data before that."""

    url: str
    now: int
    seconds: int

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
def prometheus(folder: Path, machines: Mapping[str, Machine], seconds: int = 7200) -> Iterator[Prometheus]:
    """Prometheus with `seconds` of samples of each machine, under `instance`, up to now."""
    now = int(time.time()) // 60 * 60
    text = folder / "samples.om"
    text.write_text("".join(_samples(machines, now, seconds)) + "# EOF\n")
    subprocess.run(
        [component("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, folder / "data"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (folder / "prometheus.yml").write_text("{}\n")
    port = free_port()
    command = [
        str(component("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    running = Prometheus(f"http://127.0.0.1:{port}", now, seconds)
    try:
        wait_for(lambda: running.query("vector(1)"), 20, "Prometheus to answer")
        yield running
    finally:
        process.terminate()
        process.wait(20)


def _samples(machines: Mapping[str, Machine], now: int, seconds: int) -> Iterator[str]:
    for instance, machine in machines.items():
        for t in range(0, seconds + 1, STEP):
            for family, labels, value in machine(t, now - seconds):
                pairs = ",".join(
                    f'{name}="{text}"' for name, text in (*labels, ("job", "tokwatt"), ("instance", instance))
                )
                yield f"{family.name}{{{pairs}}} {value} {now - seconds + t}\n"
