"""The whole daemon, with two real engines and a real OTLP receiver: CPU, memory, and what is in them."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil
from tests.support.components import install
from tests.support.engine import llama_server
from tests.support.net import NeverWill, free_port, wait_for

from tokwatt_exporter.catalogue import ENGINE_UP

from .report import Row, below, megabytes
from .scrape import scrape

ENGINES, SCRAPE_EVERY = 2, 15.0


class Usage(NamedTuple):
    """CPU seconds of the daemon and of the children it waited for, and resident bytes."""

    main: float
    children: float
    resident: int


class Course(NamedTuple):
    """A measured stretch of a daemon's life."""

    seconds: float
    first: Usage
    last: Usage
    highest: int
    child_peak: int

    @property
    def cpu(self) -> float:
        return (self.last.main - self.first.main) + (self.last.children - self.first.children)


def idle_rows(seconds: float) -> Iterator[Row]:
    """CPU at the default interval with two engines, history on, scraped every 15 s."""
    with running(interval=5) as process:
        course = watch(process, seconds)
    share = 100 * course.cpu / course.seconds
    flushes = 100 * (course.last.children - course.first.children) / course.seconds
    samples = course.seconds / 5
    yield below(f"CPU at 5 s with {ENGINES} engines, {course.seconds:.0f} s, share of a core", share, 1.0, "{:.2f} %")
    yield Row("of it in the flush's child process", f"{flushes:.2f} %")
    yield Row("CPU seconds a sample, everything included", f"{course.cpu / samples * 1e3:.1f} ms")
    yield Row("resident memory at the end", megabytes(course.last.resident))


def busy_rows(seconds: float) -> Iterator[Row]:
    """Memory at 1 s with OTLP on and DuckDB flushing."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(receiver())
        process = stack.enter_context(running("--otlp.endpoint", endpoint, interval=1))
        course = watch(process, seconds)
        maps = Path(f"/proc/{process.pid}/maps")
        parts = mapped(process.pid) if maps.exists() else {}
        duckdb = "duckdb" in maps.read_text() if maps.exists() else None
    what = f"memory at 1 s, OTLP on, flushing, after {course.seconds / 60:.1f} min"
    yield below(f"{what}: highest", course.highest / 1e6, 100, "{:.1f} MB")
    yield Row("at the start / at the end", f"{megabytes(course.first.resident)} / {megabytes(course.last.resident)}")
    for name, size in parts.items():
        yield Row(f"of it {name}", megabytes(size))
    if duckdb is not None:
        yield Row(
            "DuckDB in the daemon's own memory", "loaded" if duckdb else "never loaded", "never loaded", not duckdb
        )
    yield Row("peak of the flush's child, which is gone after it", megabytes(course.child_peak))
    yield Row("CPU at 1 s, share of a core", f"{100 * course.cpu / course.seconds:.2f} %")
    yield Row("CPU seconds a sample, everything included", f"{course.cpu / course.seconds * 1e3:.1f} ms")


@contextmanager
def running(*flags: str, interval: float) -> Iterator[psutil.Process]:
    """The daemon with two engines, all of them known to it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for _ in range(ENGINES):
            stack.enter_context(llama_server(folder))
        port = free_port()
        log = stack.enter_context((folder / "daemon.log").open("w+"))
        process = subprocess.Popen(
            [sys.executable, "-m", "tokwatt_exporter", "run", "--data-dir", str(folder / "data"),
             "--sample-interval", f"{interval:g}s", "--web.listen-address", f"127.0.0.1:{port}", *flags],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        stack.callback(end, process)
        wait_for(lambda: engines(process, port, log.name) >= ENGINES, 60, "both engines on /metrics", every=0.2)
        stop = threading.Event()
        scraper = threading.Thread(target=lambda: [scrape(port) for _ in iter(lambda: stop.wait(SCRAPE_EVERY), True)])
        scraper.start()
        try:
            yield psutil.Process(process.pid)
        finally:
            stop.set()
            scraper.join()


def engines(process: subprocess.Popen[bytes], port: int, log: str) -> int:
    """How many engines the daemon says are up."""
    if process.poll() is not None:
        lines = Path(log).read_text().strip().splitlines() or ["no output"]
        raise NeverWill(f"the daemon ended with {process.returncode}: {lines[-1]}")
    return len(re.findall(rf"^{ENGINE_UP.name}{{.*}} 1(?:\.0)?$", scrape(port)[1].decode(), re.MULTILINE))


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def watch(process: psutil.Process, seconds: float) -> Course:
    """Follow the daemon for that long, its children more closely than itself, as they live only for moments."""
    time.sleep(3)
    first, began = usage(process), time.monotonic()
    highest = child_peak = 0
    while (now := time.monotonic()) < began + seconds:
        highest = max(highest, process.memory_info().rss)
        pause = now + 1.0
        while time.monotonic() < pause:
            child_peak = max(child_peak, children_resident(process))
            time.sleep(0.03)
    last = usage(process)
    return Course(time.monotonic() - began, first, last, max(highest, last.resident), child_peak)


def usage(process: psutil.Process) -> Usage:
    times = process.cpu_times()
    return Usage(times.user + times.system, times.children_user + times.children_system, process.memory_info().rss)


def children_resident(process: psutil.Process) -> int:
    """Resident bytes of the children that are there now."""
    tasks = Path(f"/proc/{process.pid}/task")
    if tasks.exists():
        # The kernel's own list, thread by thread: psutil would read all processes, thirty times a second.
        pids = [int(pid) for listing in tasks.glob("*/children") for pid in read(listing).split()]
    else:
        pids = [child.pid for child in process.children()]
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue
    return total


def read(path: Path) -> str:
    """The file's text; empty where the thread or process is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def mapped(pid: int) -> dict[str, int]:
    """Resident bytes by kind, from the kernel."""
    text = Path(f"/proc/{pid}/status").read_text()
    kinds = {"RssAnon": "own (heap and stacks)", "RssFile": "files (code of Python and libraries)"}
    return {name: int(found[1]) * 1024 for key, name in kinds.items() if (found := re.search(rf"{key}:\s+(\d+)", text))}


@contextmanager
def receiver() -> Iterator[str]:
    """The OTLP endpoint of a VictoriaMetrics."""
    port = free_port()
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [install("victoria-metrics"), f"-storageDataPath={folder}/vm", f"-httpListenAddr=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(lambda: scrape(port)[1], 20, "VictoriaMetrics")
            yield f"http://127.0.0.1:{port}/opentelemetry/v1/metrics"
        finally:
            end(process)
