"""A fleet: many exporters, one Prometheus that scrapes them, evaluates the rules and answers the boards.

BENCH_FLEET=200 says how many, BENCH_FLEET_SECONDS=60 how long they are watched, BENCH_FLEET_PAST=3600 how many seconds
Prometheus has of them before that, at its default interval, so that boards have something to read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import psutil
import yaml
from tests.support.boards import BOARDS, GRAFANA, filled_in, panels
from tests.support.components import install
from tests.support.net import PLAIN, free_port, get, wait_for
from tests.support.tsdb import JOB

from tokwatt_exporter import fleet

from . import fleet_exporters
from .report import Row, below, megabytes, milliseconds, quantile

ROOT = Path(__file__).parents[2]
EXPORTERS = int(os.environ.get("BENCH_FLEET") or 200)
SECONDS = float(os.environ.get("BENCH_FLEET_SECONDS") or 60)
PAST = int(os.environ.get("BENCH_FLEET_PAST") or 3600)
SCRAPE = 5
#: As Grafana asks for the shown time at the data source's interval of 15 s.
STEP, WINDOW = 15, "1m"
QUERY_SECONDS, TRIES = 1.0, 3


class Cost(NamedTuple):
    """CPU seconds so far, and resident bytes."""

    cpu: float
    resident: int


def rows() -> Iterator[Row]:
    """The scraping, then the boards."""
    with fleet_and_prometheus() as (url, exporters, prometheus):
        yield from scraping(url, exporters, prometheus)
        yield from answering(url)


@contextmanager
def fleet_and_prometheus() -> Iterator[tuple[str, psutil.Process, psutil.Process]]:
    """The URL of a Prometheus that scrapes the fleet, and the processes of both sides."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        ports = [free_port() for _ in range(EXPORTERS)]
        (folder / "ports").write_text("\n".join(map(str, ports)))
        instances = [f"127.0.0.1:{port}" for port in ports]
        remember(folder, instances)
        listed = fleet.groups([fleet.Target(fleet.address(place)) for place in instances], {})
        (folder / "tokwatt.json").write_text(json.dumps(listed))
        exporters = stack.enter_context(exporting(folder / "ports"))
        url, prometheus = stack.enter_context(scraped(folder))
        wait_for(lambda: ask(url, "count(up == 1)", time.time()) == EXPORTERS, 60, "every exporter to be scraped")
        yield url, exporters, prometheus


def remember(folder: Path, instances: list[str]) -> None:
    """Give Prometheus the past."""
    end = int(time.time()) // STEP * STEP
    with (folder / "past.om").open("w") as text:
        text.writelines(fleet_exporters.past(instances, end, PAST))
    subprocess.run(
        [install("promtool"), "tsdb", "create-blocks-from", "openmetrics", folder / "past.om", folder / "data"],
        check=True, capture_output=True, timeout=900,
    )  # fmt: skip
    (folder / "past.om").unlink()


@contextmanager
def exporting(ports: Path) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "tests.performance.fleet_exporters", str(ports)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the exporters did not start")
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def scraped(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    job = {"job_name": JOB, "file_sd_configs": [{"files": [str(folder / "tokwatt.json")]}]}
    settings = {
        "global": {"scrape_interval": f"{SCRAPE}s", "evaluation_interval": "15s"},
        "rule_files": [str(GRAFANA / "rules/tokwatt.rules.yml")],
        "scrape_configs": [job],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [install("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
             f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: get(f"{url}/-/ready").status_code == 200, 60, "Prometheus to be ready")
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def scraping(url: str, exporters: psutil.Process, prometheus: psutil.Process) -> Iterator[Row]:
    """Samples, failures and what they cost."""
    began, before = time.time(), {"exporters": cost(exporters), "Prometheus": cost(prometheus)}
    appended = own(url, "prometheus_tsdb_head_samples_appended_total")
    time.sleep(SECONDS)
    seconds, now = time.time() - began, time.time()
    speed = (own(url, "prometheus_tsdb_head_samples_appended_total") - appended) / seconds
    within = f"[{seconds:.0f}s]"
    tried = ask(url, f'sum(count_over_time(up{{job="{JOB}"}}{within}))', now)
    failed = tried - ask(url, f'sum(sum_over_time(up{{job="{JOB}"}}{within}))', now)
    took = [float(row["value"][1]) for row in series(url, "scrape_duration_seconds", now)]
    what = f"{ask(url, 'sum(scrape_samples_scraped)', now):,.0f} series, rules evaluated every 15 s"
    yield Row(f"{EXPORTERS} exporters every {SCRAPE} s, {seconds:.0f} s: samples a second", f"{speed:,.0f}", note=what)
    yield Row("scrapes / failed", f"{tried:,.0f} / {failed:,.0f}", "0 failed", failed == 0)
    yield Row("a scrape: p50 / p99", f"{milliseconds(quantile(took, 0.5))} / {milliseconds(quantile(took, 0.99))}")
    yield Row("evaluations of rules that failed", f"{own(url, 'prometheus_rule_evaluation_failures_total'):.0f}", "0",
              own(url, "prometheus_rule_evaluation_failures_total") == 0)  # fmt: skip
    for name, process in (("exporters", exporters), ("Prometheus", prometheus)):
        after = cost(process)
        share = 100 * (after.cpu - before[name].cpu) / seconds
        yield Row(f"{name}: CPU, share of a core / memory", f"{share:.1f} % / {megabytes(after.resident)}")
    each = (cost(exporters).cpu - before["exporters"].cpu) / seconds / EXPORTERS
    what = "sampled, rendered and compressed every 5 s; its sources are made up, so that reading them costs little"
    yield Row("one exporter of them: CPU, share of a core", f"{100 * each:.3f} %", note=what)


def answering(url: str) -> Iterator[Row]:
    """The slowest query of each board, with one machine chosen and with all of them."""
    end = time.time() // STEP * STEP
    one = series(url, f'up{{job="{JOB}"}}', end)[0]["metric"]["instance"]
    for name, board in BOARDS.items():
        for chosen, instance in (("all machines", ".+"), ("one machine", one)):
            took: dict[str, float] = {}
            for panel in panels(board):
                for target in panel["targets"]:
                    expression = filled_in(target["expr"], instance, PAST, WINDOW)
                    tries = [timed(url, expression, end, instant=target["instant"]) for _ in range(TRIES)]
                    took[panel["title"]] = max(took.get(panel["title"], 0), median(tries))
            slowest = max(took, key=lambda title: took[title])
            row = below(f"{name}, {chosen}: slowest query", took[slowest], QUERY_SECONDS, "{:.3f} s")
            yield row._replace(note=f"{slowest}; {len(took)} panels, {sum(took.values()):.2f} s one after the other")


def timed(url: str, expression: str, end: float, *, instant: bool) -> float:
    """Seconds to the whole answer, over the past and up to `end`."""
    given: dict[str, str | float] = {"query": expression}
    given |= {"time": end} if instant else {"start": end - PAST, "end": end, "step": STEP}
    began = time.perf_counter()
    what = "query" if instant else "query_range"
    answer = httpx.post(f"{url}/api/v1/{what}", data=given, timeout=60, trust_env=False, verify=PLAIN)
    took = time.perf_counter() - began
    if answer.status_code != 200:
        raise RuntimeError(f"{expression}: {answer.text[:300]}")
    return took


def series(url: str, expression: str, at: float) -> list[dict[str, Any]]:
    found = get(f"{url}/api/v1/query", params={"query": expression, "time": at}).json()["data"]["result"]
    return list(found)


def ask(url: str, expression: str, at: float) -> float:
    """The one value that an expression has."""
    [row] = series(url, expression, at)
    return float(row["value"][1])


def own(url: str, name: str) -> float:
    """A counter of Prometheus' own, summed over its labels."""
    page = get(f"{url}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE))


def cost(process: psutil.Process) -> Cost:
    times = process.cpu_times()
    return Cost(times.user + times.system, process.memory_info().rss)
