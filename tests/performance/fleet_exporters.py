"""Many exporters in one process: `python -m … FILE`, with a port a line; and what they would have said before.

Each has a web server of its own, with the real application and renderer, and a machine of its own: one of the demo's,
some time earlier in its life than the one before. They are sampled one after the other by the real sampler.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.demo import played
from tests.support.tsdb import JOB, Machine

from tokwatt_exporter import config
from tokwatt_exporter.demo import NAMES
from tokwatt_exporter.demo.load import BEGAN
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading, Snapshot
from tokwatt_exporter.web.server import Server

#: Seconds between two samples of an exporter, and by which each of a kind is behind the one before.
INTERVAL, APART = 5.0, 15
#: Seconds between two samples of the past.
STEP = 15


class Exporter:
    """What a server wants to know of a daemon."""

    latest: Snapshot | None = None

    def stalled(self) -> bool:
        return False


def kind(number: int) -> tuple[str, int]:
    """Which machine the exporter with this number plays, and how many seconds it is behind."""
    return NAMES[number % len(NAMES)], number // len(NAMES) * APART


def serve(ports: Sequence[int], folder: Path) -> None:
    """Serve and sample for ever; says so when the first samples are there."""
    with ExitStack() as stack:
        machines = {name: stack.enter_context(played(name)) for name in NAMES}
        exporters = [Exporter() for _ in ports]
        sample(exporters, machines)
        for port, exporter in zip(ports, exporters, strict=True):
            flags = {"web.listen-address": [f"127.0.0.1:{port}"], "data-dir": str(folder)}
            Server(config.load(flags, environ={}), exporter, SelfMetrics(), query=lambda *_: []).start()
        print("ready", flush=True)
        while True:
            began = time.monotonic()
            sample(exporters, machines)
            time.sleep(max(INTERVAL - (time.monotonic() - began), 0))


def sample(exporters: Sequence[Exporter], machines: dict[str, Machine]) -> None:
    """A new snapshot for each."""
    now = time.time()
    for number, exporter in enumerate(exporters):
        name, behind = kind(number)
        exporter.latest = Snapshot.of(int(now * 1000), machines[name](now - behind - BEGAN, BEGAN))


def past(instances: Sequence[str], end: int, seconds: int) -> Iterator[str]:
    """OpenMetrics text of the `seconds` before `end`, as if each instance had been scraped."""
    most = max(kind(number)[1] for number, _ in enumerate(instances)) // STEP
    steps = range(-most, seconds // STEP)
    began = end - seconds
    for name in NAMES:
        with played(name) as machine:
            pages = [list(map(_line, machine(began + step * STEP - BEGAN, BEGAN))) for step in steps]
        for number, instance in enumerate(instances):
            machine_of, behind = kind(number)
            if machine_of != name:
                continue
            labels = f'job="{JOB}",instance="{instance}"}} '
            for step in range(seconds // STEP):
                at = f" {began + step * STEP}\n"
                page = pages[step + most - behind // STEP]
                yield "".join([f"{head}{labels}{value}{at}" for head, value in page])
    yield "# EOF\n"


def _line(reading: Reading) -> tuple[str, float]:
    family, labels, value = reading
    return family.name + "{" + "".join(f'{name}="{text}",' for name, text in labels), value


if __name__ == "__main__":
    logging.disable()
    with TemporaryDirectory() as folder:
        serve([int(line) for line in Path(sys.argv[1]).read_text().split()], Path(folder))
