"""Expressions beside a real Prometheus that holds the same samples."""

import random

import pytest

from support.tsdb import STEP, prometheus
from tokwatt_exporter.catalogue import ENERGY, TEMPERATURE
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import read
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Retention, upkeep

pytestmark = pytest.mark.e2e

COUNTER, GAUGE = ENERGY.name, TEMPERATURE.name
#: A whole hour, the hours of samples that end then, and what a counter grows in a sample interval at most.
END, SECONDS, MOST = 1_790_002_800, 7200, 3000
#: Samples are taken so long after the minute and its half.
OFFSET = 7
WINDOW = 300


def walk(seed, reset=None):
    """A counter's value at each sample, which begins anew at `reset`, and a gauge's."""
    dice = random.Random(seed)
    total, heat = 5000.0, 50.0
    for number in range(SECONDS // STEP + 1):
        total = 0.0 if number == reset else total + dice.randrange(MOST)
        heat += dice.uniform(-2, 2)
        yield total, heat


PAST = {"cpu": list(walk(1)), "gpu0": list(walk(2, reset=130)), "gpu1": list(walk(3))}


def machine(t, start):
    for device, values in PAST.items():
        total, heat = values[int(t) // STEP]
        yield ENERGY(total, device=device)
        yield TEMPERATURE(heat, device=device, sensor="core")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A history, packed and rolled up, and a Prometheus."""
    data = tmp_path_factory.mktemp("history")
    now = END + OFFSET
    journal = Journal(data)
    for t in range(0, SECONDS + 1, STEP):
        journal.append_snapshot(Snapshot.of((now - SECONDS + t) * 1000, list(machine(t, 0))), "box")
    journal.close()
    ingest(data)
    upkeep(data, Retention(), now=END + 2 * 86_400)
    with prometheus(tmp_path_factory.mktemp("prometheus"), {"box": machine}, SECONDS, now=now) as server:
        # From when the first window is whole.
        yield data, server._replace(now=END, seconds=SECONDS - 1800)


def answers(both, expr, step):
    """Values by time and labels, of ours and of Prometheus."""
    data, server = both
    rows = read.query(data, "expression", {"expr": expr, "since": server.now - server.seconds, "until": server.now,
                                           "step": f"{step}s"})  # fmt: skip
    ours = {(read_time(row["time"]), *sorted(row["labels"].items())): row["value"] for row in rows}
    theirs = {}
    for series in server.query_range(expr, step):
        labels = sorted((name, text) for name, text in series["metric"].items()
                        if name not in ("__name__", "job", "instance"))  # fmt: skip
        theirs |= {(time, *labels): float(value) for time, value in series["values"]}
    assert len(theirs) > 10
    return ours, theirs


def read_time(text):
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp())


# A step of 90 s is told by samples, one of a minute by roll-ups.
@pytest.mark.parametrize("step", [90, 60])
@pytest.mark.parametrize(
    "expr",
    [
        GAUGE, COUNTER, f'{GAUGE}{{device=~"gpu.*",sensor!=""}}', f"sum by (sensor) ({GAUGE})", f"max({GAUGE})",
        f"avg_over_time({GAUGE}[3m])", f"max_over_time({GAUGE}[3m])", f"avg by (device) (min_over_time({GAUGE}[3m]))",
    ],
)  # fmt: skip
def test_what_is_no_rate_is_what_prometheus_says(both, expr, step):
    ours, theirs = answers(both, expr, step)
    assert ours == pytest.approx(theirs, rel=1e-9)


# Prometheus estimates what a counter grew between the ends of the window and the samples next to them.
@pytest.mark.parametrize("step", [90, 60])
@pytest.mark.parametrize(
    ("expr", "series", "seconds"),
    [
        (f"rate({COUNTER}[{WINDOW}s])", 1, WINDOW), (f"increase({COUNTER}[{WINDOW}s])", 1, 1),
        (f'sum(rate({COUNTER}{{device!="cpu"}}[{WINDOW}s]))', 2, WINDOW),
        (f"sum by (device) (increase({COUNTER}[{WINDOW}s]))", 1, 1),
    ],
)  # fmt: skip
def test_a_rate_differs_by_what_a_counter_grows_in_a_sample_interval(both, expr, series, seconds, step):
    ours, theirs = answers(both, expr, step)
    assert ours == pytest.approx(theirs, abs=series * MOST / seconds)
    # Over the whole it is the same.
    assert sum(ours.values()) == pytest.approx(sum(theirs.values()), rel=0.02)
