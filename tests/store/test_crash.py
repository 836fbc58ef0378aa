"""Processes that die at any moment: what was acknowledged is in the history, once."""

import random
import subprocess
import sys
import time

import pytest

from store.helpers import dying, rows_of, segments, snapshot, stored
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal

_DIE_AT = """
from tokwatt_exporter.store.ingest import ingest
ingest(pathlib.Path(sys.argv[1]), step=step)
"""


def prepare(data):
    """A history that knows a segment that is gone, a finished and a grown one; and a new one with a torn tail."""
    gone, live, done, new = Journal(data), Journal(data), Journal(data), Journal(data)
    gone.append_snapshot(snapshot(7), "box")
    gone.close()
    live.append_snapshot(snapshot(0), "box")
    done.append_snapshot(snapshot(1), "box")
    ingest(data)
    done.close()
    live.append_snapshot(snapshot(2, series=5), "box")
    for number in range(3, 6):
        new.append_snapshot(snapshot(number, series=7), "box")
    new.close()
    with segments(data)[-1].open("ab") as torn:
        torn.write(b"12345678 {")
    return live, rows_of(
        [*map(snapshot, (0, 1, 7)), snapshot(2, series=5), *(snapshot(number, series=7) for number in (3, 4, 5))]
    )


@pytest.fixture(scope="module")
def die_at(tmp_path_factory):
    """Ingest in a process that ends without a word at the given step; the step's name, empty where it got through."""
    with dying(tmp_path_factory.mktemp("warm"), _DIE_AT, "tokwatt_exporter.store.ingest") as die_at:
        yield die_at


def test_a_crash_at_any_step_of_ingestion_loses_nothing_and_doubles_nothing(tmp_path, die_at):
    names = []
    for number in range(100):
        data = tmp_path / str(number)
        live, expected = prepare(data)
        names.append(die_at(data, number))
        # Once more at the same place: what the first crash left is another state to start from.
        again = die_at(data, number)
        live.append_snapshot(snapshot(6), "box")
        live.close()
        ingest(data)
        assert stored(data) == sorted([*expected, *rows_of([snapshot(6)])]), f"died at step {number}: {names[-1]}"
        ingest(data)
        assert segments(data) == []
        if not names[-1] and not again:
            break
    assert set(names) == {
        "forget", "begin", "series", "samples", "offsets", "commit", "remove", "checkpoint", "",
    }  # fmt: skip
    assert names.count("remove") >= 2


@pytest.mark.parametrize("number", range(3))
def test_a_crash_while_the_history_is_made_leaves_none_or_a_whole_one(tmp_path, die_at, number):
    journal = Journal(tmp_path)
    journal.append_snapshot(snapshot(0), "box")
    die_at(tmp_path, number)
    ingest(tmp_path)
    assert stored(tmp_path) == rows_of([snapshot(0)])
    assert not list(tmp_path.glob("*corrupt*")) and not list(tmp_path.glob("*.new*"))
    journal.close()


_WRITER = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[3])
from store.helpers import snapshot
from tokwatt_exporter.store.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    journal.append_snapshot(snapshot(number), "box")
    print(number, flush=True)
    number += 1
    if number % 7 == 0:
        journal.rotate()
    time.sleep(0.002)
"""
_INGESTER = """
import pathlib, sys
from tokwatt_exporter.store.ingest import ingest
print("ready", flush=True)
while True:
    ingest(pathlib.Path(sys.argv[1]), wait=30)
"""


@pytest.mark.timeout(180)
def test_kill_9_of_writer_and_ingester_at_random_moments_loses_nothing_and_doubles_nothing(tmp_path):
    chance = random.Random(11)
    data, tests = tmp_path / "data", str(__file__).rsplit("/", 2)[0]
    acknowledged, begun = [], []
    for round in range(8):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(data), str(round * 100_000), tests],
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
        ingester = subprocess.Popen([sys.executable, "-c", _INGESTER, str(data)], stdout=subprocess.PIPE, text=True)
        assert ingester.stdout.readline() == "ready\n"
        acknowledged.append(int(writer.stdout.readline()))
        time.sleep(0.1 + chance.random() / 2)
        for victim in chance.sample([writer, ingester], 2):
            victim.kill()
            time.sleep(chance.random() / 20)
        # The last line may have been cut off in the pipe, never one before it.
        acknowledged += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        for process in (writer, ingester):
            process.stdout.close()
            process.wait(timeout=10)
        begun.append(acknowledged[-1] + 1)
    ingest(data)
    kept = stored(data)
    times = {row[0] for row in kept}
    # The record in flight at each kill may have got to the disk or not.
    in_flight = [number for number in begun if snapshot(number).time_ms in times]
    assert kept == rows_of(map(snapshot, [*acknowledged, *in_flight]))
    assert len(acknowledged) > 50
