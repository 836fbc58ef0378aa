"""What demo machines would have said before now, and a database that has it: `make demo` and pictures of boards."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.demo import NAMES, collectors
from tokwatt_exporter.sampler import Sampler
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading

from .net import free_port, get, wait_for
from .tsdb import Machine, prometheus

PORT, DATABASE_PORT = 10031, 9090
HOURS = 3


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def wall(self) -> float:
        """Unix time in seconds."""
        return self.now

    def awake(self) -> float:
        """The same: nobody sleeps."""
        return self.now


@contextmanager
def played(name: str) -> Iterator[Machine]:
    """A demo machine at any time, sampled as the daemon samples it."""
    clock, metrics = SetClock(), SelfMetrics()
    sampler = Sampler(collectors(name, clock), metrics, 5, clock=clock, deadline=5)

    def machine(t: float, started: float) -> Iterable[Reading]:
        clock.now = started + t
        metrics.set(c.STORE_LAST_FLUSH, clock.now - clock.now % 120)
        return sampler.sample()

    try:
        yield machine
    finally:
        sampler.stop()


@contextmanager
def daemon(name: str, folder: Path, port: int, *flags: str) -> Iterator[str]:
    """A daemon that plays the machine; the URL where it is ready."""
    command = [
        sys.executable, "-m", "tokwatt_exporter", "run", "--demo", name, "--data-dir", str(folder / name),
        "--web.listen-address", f"127.0.0.1:{port}", *flags,
    ]  # fmt: skip
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: get(f"{url}/-/ready").status_code == 200, 30, f"the demo {name} to be ready")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def main(wait: Callable[[], None] | None = None) -> int:
    """Bring up a daemon for each demo machine and a Prometheus with their last hours, and say where, until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Demo machines and a Prometheus that scrapes them.")
    parser.add_argument("--port", type=int, default=PORT, help="of the first daemon; 0: any")
    parser.add_argument("--prometheus-port", type=int, default=DATABASE_PORT, help="0: any")
    given = parser.parse_args()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        ports = [given.port + number if given.port else free_port() for number, _ in enumerate(NAMES)]
        for name, port in zip(NAMES, ports, strict=True):
            print(f"{name:11s} {stack.enter_context(daemon(name, Path(folder), port))}/metrics", flush=True)
        database = stack.enter_context(
            prometheus(
                Path(folder), {name: stack.enter_context(played(name)) for name in NAMES}, HOURS * 3600, every="15s",
                scrape=dict(zip(NAMES, ports, strict=True)), port=given.prometheus_port or None,
            )
        )  # fmt: skip
        print(f"Prometheus  {database.url}\n\n{GRAFANA.format(port=database.url.rpartition(':')[2])}", flush=True)
        try:
            (wait or _for_ever)()
        except KeyboardInterrupt:
            print("stopping")
    return 0


def _for_ever() -> None:
    while True:
        time.sleep(3600)


GRAFANA = """\
For Grafana, in another terminal:
  docker run --rm --network host -e GF_AUTH_ANONYMOUS_ENABLED=true -e GF_AUTH_ANONYMOUS_ORG_ROLE=Admin \\
    -v $PWD/grafana/provisioning:/etc/grafana/provisioning \\
    -v $PWD/grafana/dashboards:/var/lib/grafana/dashboards/tokwatt grafana/grafana
  or `brew install grafana`, copy the files as docs/deploy.md says, and `brew services start grafana`
Then open http://127.0.0.1:3000/d/tokwatt-fleet. The data source asks port 9090; this Prometheus has port {port}."""


if __name__ == "__main__":
    sys.exit(main())
