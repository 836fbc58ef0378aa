"""The history as the daemon uses it: through a child that may hang, die or be refused, and never DuckDB itself."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from store.helpers import FAN_SPEED, NOON, bench, held, rows_of, snapshot, sql, stored
from support.net import wait_for
from tokwatt_exporter.errors import StoreError, StoreLocked, UsageError
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal


@pytest.fixture
def data(tmp_path):
    data = tmp_path / "data"
    journal = Journal(data)
    for number in range(3):
        journal.append_snapshot(snapshot(number), "box")
    journal.append(bench())
    journal.close()
    return data


def test_a_flush_says_what_it_did_and_what_the_history_holds(data):
    result = Store(data).flush()
    [latest] = result.pop("bench_latest")
    assert (latest["run_id"], latest["runs_total"]) == ("run-1", 1)
    assert result == {
        "rows": 18, "bench_runs": 1, "skipped": 0, "moved_aside": None, "newest_ms": NOON + 2000,
        "due": True, "damaged_at": None, "size_bytes": (data / "history.duckdb").stat().st_size,
    }  # fmt: skip
    assert stored(data) == rows_of(map(snapshot, range(3)))


def test_a_flush_of_nothing_makes_an_empty_history(tmp_path):
    result = Store(tmp_path / "new").flush()
    assert (result["rows"], result["newest_ms"], result["bench_latest"]) == (0, None, [])
    assert sql(tmp_path / "new", "SELECT count(*) FROM sample") == [(0,)]


def test_a_query_gives_its_rows(data):
    rows = Store(data).query("samples", {"metric": FAN_SPEED.name, "since": str(NOON), "labels": ["fan=left"]})
    assert [row["value"] for row in rows] == [1200.0] * 3


def test_a_query_that_makes_no_sense_is_refused_without_a_child(data):
    with pytest.raises(UsageError, match="there is no query"):
        Store(data, worker=("/does/not/exist",)).query("everything")


def test_rows_that_are_too_many_are_refused_by_the_child_as_wrong_usage(data):
    with pytest.raises(UsageError, match="more than 2 rows"):
        Store(data).query("samples", {"metric": FAN_SPEED.name, "since": str(NOON), "limit": "2"})


def test_a_lock_of_another_program_is_named(data):
    ingest(data)
    with held(data / "history.duckdb") as pid, pytest.raises(StoreLocked, match=f"pid {pid}"):
        Store(data).flush(timeout=8.0)


def test_a_child_that_hangs_is_killed_at_the_timeout_with_what_it_started(data, tmp_path):
    script = tmp_path / "hang.py"
    script.write_text(
        "import os, pathlib, subprocess, sys, time\n"
        "grandchild = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(f'{{os.getpid()}} {{grandchild.pid}}')\n"
        "time.sleep(60)\n"
    )
    began = time.monotonic()
    with pytest.raises(StoreError, match="did not answer within 1 s"):
        Store(data, worker=(sys.executable, str(script))).flush(timeout=1.0)
    assert time.monotonic() - began < 5
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        wait_for(lambda pid=pid: not alive(pid), 5, "the child to be gone")


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "print('nonsense')", "print('[]')", "print('{}')",
                                  "import os; os.kill(os.getpid(), 9)"])  # fmt: skip
def test_a_child_that_answers_nonsense_is_one_line(data, code):
    with pytest.raises(StoreError) as failed:
        Store(data, worker=(sys.executable, "-c", code)).flush()
    assert "flush ended with exit status" in str(failed.value) and "\n" not in str(failed.value)


def test_what_the_child_warns_of_is_in_the_daemons_log(data, caplog):
    [made] = (data / "journal").iterdir()
    with made.open("ab") as file:
        file.write(b"00000000 {}\n")
    assert Store(data).flush()["skipped"] == 1
    assert f"{made.name}: 1 damaged" in caplog.text


def test_ctrl_c_in_the_terminal_does_not_reach_a_flush(data, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text('import time; time.sleep(1); print(\'{"result": "done"}\')')
    code = (
        "import pathlib, signal, sys\n"
        "from tokwatt_exporter.store.client import Store\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "print('ready', flush=True)\n"
        "print(Store(pathlib.Path('x'), worker=(sys.executable, sys.argv[1])).flush(), flush=True)\n"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(script)], stdout=subprocess.PIPE, text=True,
                              start_new_session=True)  # fmt: skip
    assert daemon.stdout.readline() == "ready\n"
    time.sleep(0.5)
    os.killpg(daemon.pid, signal.SIGINT)
    assert daemon.communicate(timeout=20)[0] == "done\n"


def test_queries_wait_for_one_another_so_that_there_are_never_many_children(data, tmp_path):
    ingest(data)
    script = tmp_path / "count.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r}) / f'running-{{os.getpid()}}'\n"
        "here.touch(); time.sleep(0.2)\n"
        "count = len(list(here.parent.glob('running-*'))); here.unlink()\n"
        "print('{\"result\": [' + str(count) + ']}')\n"
    )
    store = Store(data, worker=(sys.executable, str(script)))
    seen = []
    threads = [threading.Thread(target=lambda: seen.extend(store.query("series"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6 and max(seen) <= 2


def test_duckdb_is_never_loaded_into_the_daemon(data):
    code = (
        "import pathlib, sys\n"
        "from tokwatt_exporter.sinks.history import HistorySink\n"
        "from tokwatt_exporter.store.client import Store\n"
        "from tokwatt_exporter.store.journal import Journal\n"
        "store = Store(pathlib.Path(sys.argv[1]))\n"
        "store.flush(); store.query('series')\n"
        "print([name for name in sys.modules if 'duckdb' in name])"
    )
    result = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True, timeout=60,
                            check=True)  # fmt: skip
    assert result.stdout == "[]\n"


@pytest.fixture
def children():
    """The children that this process has got since the test began."""
    before = psutil.Process().children()
    return lambda: [child for child in psutil.Process().children() if child not in before]


def test_a_child_that_answered_is_asked_again_and_has_no_file_open_meanwhile(data, children):
    ingest(data)
    store = Store(data)
    for _ in range(3):
        store.query("series")
        [child] = children()
        ingest(data, wait=0.1)
        assert not any(file.path.endswith("duckdb") for file in child.open_files())
    with pytest.raises(UsageError, match="more than 2 rows"):
        store.query("samples", {"metric": FAN_SPEED.name, "since": str(NOON), "limit": "2"})
    assert children() == [child]
    child.kill()
    assert len(store.query("series")) == 6
    del store
    wait_for(lambda: not children(), 5, "the child to end with its store")


def test_a_child_that_nobody_asks_any_more_ends(data, children):
    ingest(data)
    code = (
        "import sys; from tokwatt_exporter.store import worker; worker.IDLE_SECONDS = 0.05;"
        "sys.exit(worker.main(sys.argv[1:]))"
    )
    store = Store(data, worker=(sys.executable, "-c", code))
    store.query("series")
    [child] = children()
    wait_for(lambda: child.status() == psutil.STATUS_ZOMBIE, 10, "the child to end")
    assert len(store.query("series")) == 6


def test_a_query_that_hangs_ends_its_child(data, children):
    store = Store(data, worker=(sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(StoreError, match=r"did not answer within 0\.5 s"):
        store.query("series", timeout=0.5)
    assert children() == []
