"""A real tokwatt daemon for tests: a process of its own, on a free port, with its own data directory."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from support.net import free_port, get, wait_for


class RunningDaemon:
    def __init__(self, process: subprocess.Popen, port: int, data_dir: Path, log: Path):
        self.process, self.port, self.data_dir, self.log = process, port, data_dir, log
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **options) -> httpx.Response:
        return get(self.url + path, **options)

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log.read_text()}")
        with contextlib.suppress(httpx.TransportError):
            return self.get("/-/ready").status_code == 200
        return False

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every series on /metrics, by name and sorted labels."""
        text = self.get("/metrics").raise_for_status().text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, reading) -> float | None:
        """The value on /metrics of the series that a catalogue constant's reading names."""
        return self.series().get((reading.family.name, tuple(sorted(reading.labels))))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def daemon(
    data_dir: Path,
    *args: str,
    environ: dict[str, str] | None = None,
    wait: bool = True,
    module: tuple[str, ...] = ("tokwatt_exporter",),
):
    """Run `tokwatt run ARGS`, or a module that ends in it; stopped at the end where it still runs."""
    port = free_port()
    log = data_dir.with_name(f"{data_dir.name}.{time.time_ns()}.log")
    command = [sys.executable, "-m", *module, "run", "--data-dir", str(data_dir),
               "--web.listen-address", f"127.0.0.1:{port}", *args]  # fmt: skip
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdout=stderr, stderr=stderr, stdin=subprocess.DEVNULL, env={**os.environ, **(environ or {})}
        )
    running = RunningDaemon(process, port, data_dir, log)
    try:
        if wait:
            wait_for(running.ready, 30, "the daemon to be ready")
        yield running
    finally:
        if process.poll() is None:
            running.kill()


def tokwatt(*args: str, module: str = "tokwatt_exporter", timeout: float = 120, check: bool = True):
    """Run a command of ours to its end."""
    result = subprocess.run(
        [sys.executable, "-m", module, *args], capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and result.returncode:
        raise AssertionError(f"{module} {args} ended with {result.returncode}:\n{result.stderr}")
    return result
