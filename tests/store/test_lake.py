"""Many machines in one DuckLake on a real PostgreSQL: whatever is killed, nothing is lost and nothing is doubled."""

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.helpers import NOON, bench
from support.ducklake import python, reader
from support.net import free_port, wait_for
from support.postgres import postgres
from tokwatt_exporter.catalogue import ENERGY, FAN_SPEED, TEMPERATURE
from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import fleet
from tokwatt_exporter.store.fleet import Attachment
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Retention, upkeep

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DAY = 86_400
HOSTS = [f"box-{number}" for number in range(10)]
#: An hour at 5 s.
TICKS = 720
KILLS = 4


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with postgres() as connection:
        yield Attachment(f"ducklake:postgres:{connection}", str(tmp_path_factory.mktemp("lake")), python())


@pytest.fixture(scope="module")
def ask(lake):
    """The rows of a query, of a lake that is there already."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def started():
            return stack.enter_context(reader(lake.attach))

        def ask(query):
            return started()(query)

        yield ask


@pytest.fixture
def warm(child, monkeypatch):
    """One process that has the lake attached, for all appends of a test: to load the extension takes it a second."""
    monkeypatch.setattr(fleet, "_lake", lambda to: contextlib.nullcontext(child))


@pytest.fixture(scope="module")
def child(lake):
    with fleet._lake(lake) as child:
        yield child


def tick(number, offset):
    """What a host says at a tick: a few series, no value like another one's."""
    return Snapshot.of(
        NOON + 5000 * number,
        [TEMPERATURE(number + offset / 16, device="cpu", sensor="core 0"), ENERGY(5.5 * number, device="cpu"),
         FAN_SPEED(1200 + offset, fan="left")],
    )  # fmt: skip


def keep(data, ticks, host, offset=0, *records):
    journal = Journal(data)
    for number in ticks:
        journal.append_snapshot(tick(number, offset), host)
    for record in records:
        journal.append(record)
    journal.close()
    ingest(data)


def in_lake(ask, host):
    """Every row of a host, as the lake's own DuckDB says it."""
    rows = ask(
        "SELECT epoch_ms(time), metric, map_entries(labels)::JSON, value FROM sample"
        f" WHERE host = '{host}' ORDER BY ALL"
    )
    return [
        (time_ms, metric, tuple((pair["key"], pair["value"]) for pair in json.loads(labels)), value)
        for time_ms, metric, labels, value in rows
    ]


def expected(ticks, offset=0):
    snapshots = [tick(number, offset) for number in ticks]
    return sorted((s.time_ms, f.name, tuple(sorted(labels)), value) for s in snapshots for f, labels, value in s)


_APPEND = """
import pathlib, sys
from tokwatt_exporter.store import fleet
attach, data_path, python, data = sys.argv[1:]
fleet.append(pathlib.Path(data), fleet.Attachment(attach, data_path, pathlib.Path(python)))
"""


def killed_while_it_appends(lake, data, chance):
    """Start an append in processes of its own, and kill them all about when the rows are on their way."""
    with subprocess.Popen(
        [sys.executable, "-c", _APPEND, lake.attach, lake.data_path, lake.python, data], start_new_session=True
    ) as process:
        rows = data / "export/new.parquet"
        # On a busy machine an append may be over before anybody has seen its rows.
        wait_for(lambda: rows.exists() or process.poll() is not None, 60, "rows to be on their way", every=0.002)
        time.sleep(chance.random() * 0.15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def test_ten_hosts_write_an_hour_and_one_is_killed_again_and_again(lake, tmp_path, ask):
    chance = random.Random(5)
    folders = [tmp_path / host for host in HOSTS]
    killed = []

    def host(number):
        data, name = folders[number], HOSTS[number]
        steps = KILLS if number == 0 else 1 + number // 7
        for step in range(steps):
            keep(data, range(step * TICKS // steps, (step + 1) * TICKS // steps), name, number)
            if number == 0:
                killed.append(killed_while_it_appends(lake, data, chance))
            else:
                fleet.append(data, lake)

    with ThreadPoolExecutor(len(HOSTS)) as threads:
        list(threads.map(host, range(len(HOSTS))))
    assert sum(killed) >= KILLS / 2
    fleet.append(folders[0], lake)
    assert ask(
        "SELECT host, count(*), count(DISTINCT (time, metric, labels::VARCHAR)), sum(value) FROM sample"
        " WHERE host LIKE 'box-%' GROUP BY host ORDER BY host"
    ) == [
        [name, 3 * TICKS, 3 * TICKS, sum(row[-1] for row in expected(range(TICKS), number))]
        for number, name in enumerate(HOSTS)
    ]
    assert in_lake(ask, HOSTS[0]) == expected(range(TICKS))


def test_only_what_the_lake_lacks_is_sent_and_what_came_late_joins_its_day(lake, tmp_path, warm, ask):
    data = tmp_path / "data"
    keep(data, [*range(50), 70], "late", 0, bench())
    first = fleet.append(data, lake)
    assert (first.written, first.rows) == (3, 3 * 51 + 1 + 2)
    assert (fleet.append(data, lake).kept, fleet.append(data, lake).written) == (3, 0)
    keep(data, range(71, 80), "late")
    assert fleet.append(data, lake).rows == 3 * 9
    upkeep(data, Retention(None, None, None), now=NOON / 1000 + 2 * DAY)
    # Packed they are the same rows.
    assert (fleet.append(data, lake).rows, fleet.append(data, lake).kept) == (0, 3)
    keep(data, range(50, 70), "late")
    assert fleet.append(data, lake).rows == 3 * 80
    assert in_lake(ask, "late") == expected(range(80))
    assert ask("SELECT run_id, host, (SELECT count(*) FROM bench_request) FROM bench_run") == [["run-1", "box", 2]]


def test_a_history_that_was_lost_costs_the_lake_nothing_and_adds_what_is_new(lake, tmp_path, warm, ask):
    keep(tmp_path / "whole", range(20), "lost")
    fleet.append(tmp_path / "whole", lake)
    for ticks, had in ((range(15, 25), 25), (range(25, 60), 60)):
        keep(tmp_path / "new", ticks, "lost")
        fleet.append(tmp_path / "new", lake)
        assert in_lake(ask, "lost") == expected(range(had))
    fleet.append(tmp_path / "whole", lake)
    assert in_lake(ask, "lost") == expected(range(60))


def test_two_who_write_for_one_host_at_once_double_nothing(lake, tmp_path, warm, ask, monkeypatch):
    keep(tmp_path / "one", range(30), "twin")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    fleet.append(tmp_path / "one", lake)
    for data in (tmp_path / "one", tmp_path / "two"):
        keep(data, range(30, 60), "twin")
    other = ThreadPoolExecutor(1)
    real, meanwhile = fleet._Child.append, []

    def append(self, *rest, **more):
        # Between what one has read of the lake and what it writes, the other one is done.
        if not meanwhile:
            meanwhile.append(None)
            other.submit(fleet.append, tmp_path / "two", lake).result()
        return real(self, *rest, **more)

    monkeypatch.setattr(fleet._Child, "append", append)
    assert fleet.append(tmp_path / "one", lake).written == 0
    assert in_lake(ask, "twin") == expected(range(60))
    other.shutdown()


def test_what_does_not_work_costs_one_line_without_the_password(lake, tmp_path):
    keep(tmp_path, range(3), "box")
    nowhere = f"ducklake:postgres:host=127.0.0.1 port={free_port()} password=pw-1"
    with pytest.raises(StoreError, match=r"the lake takes nothing: .*onnection refused") as refused:
        fleet.append(tmp_path, lake._replace(attach=nowhere))
    assert "pw-1" not in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(UsageError, match=r"DuckDB 2\S* of .* has no extension ducklake; history.attach-python"):
        fleet.append(tmp_path, lake._replace(python=None))
    with pytest.raises(UsageError, match=r"history.attach-python: /nowhere: No such file"):
        fleet.append(tmp_path, lake._replace(python=Path("/nowhere")))
    with pytest.raises(StoreError, match=r"ended, which had the lake attached: ModuleNotFoundError: .*duckdb"):
        fleet.append(tmp_path, lake._replace(python=Path(sys.base_prefix, "bin/python3")))


_AT_ONCE = """
import importlib.util, sys, duckdb
spec = importlib.util.spec_from_file_location("lake", sys.argv[1])
lake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lake)
duckdb.execute("COPY (SELECT TIMESTAMP '2026-09-21' AS time, 'm' AS metric, MAP{'a': 'b'} AS labels, 1.0 AS value)"
               f" TO '{sys.argv[4]}'")
both = [lake.Lake(sys.argv[2], sys.argv[3]) for _ in range(2)]
# A lake without tables of the host, a day that is new to it, one that is not; and hosts beside each other.
for day, hosts in ((21, ("one", "one")), (22, ("one", "one")), (22, ("one", "one")), (22, ("one", "two"))):
    date = f"2026-09-{day}"
    states = [[state for state in one.states(host) if state[1] == date] for one, host in zip(both, hosts)]
    for one, host, before in zip(both, hosts, states):
        one._db.execute("BEGIN")
        assert one._append(host=host, before=before[0] if before else None, file=sys.argv[4], merge=False,
                           after=["sample", date, (before[0][2] if before else 0) + 1, 0, "mark"])
    for one in both:
        try:
            one._db.execute("COMMIT")
            print("kept", end=" ")
        except duckdb.TransactionException:
            print("refused", end=" ")
"""


def test_of_two_commits_for_one_host_at_once_one_is_kept_and_hosts_do_not_meet(lake, tmp_path, ask):
    done = subprocess.run(
        [lake.python, "-I", "-c", _AT_ONCE, fleet.__file__.replace("fleet.py", "lake.py"), lake.attach, lake.data_path,
         tmp_path / "new.parquet"], check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    # Also of a process that was killed: its commit may be on its way while the next one starts.
    assert done.stdout.split() == ["kept", "refused"] * 3 + ["kept"] * 2, done.stderr
    assert ask("SELECT host, count(*) FROM sample WHERE metric = 'm' GROUP BY ALL ORDER BY ALL") == [
        ["one", 4], ["two", 1],
    ]  # fmt: skip
