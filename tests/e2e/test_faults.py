"""Breaking the daemon on purpose: what it lost, what it doubled, what it said."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from e2e.daemon import daemon, tokwatt
from support.net import wait_for
from tokwatt_exporter.catalogue import ENGINE_UP, MEMORY_AVAILABLE, STORE_BUFFERED_ROWS, STORE_FAILURES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

INTERVAL = 0.2
QUICK = ("--sample-interval", "200ms", "--no-collector.engines", "--history.flush-interval", "400ms")


def kept_times(data_dir):
    """Times of one gauge in the history, in seconds, in order."""
    from datetime import datetime

    result = tokwatt("history", "query", "--data-dir", str(data_dir), "--metric", MEMORY_AVAILABLE.name,
                     "--since", "1h", "--json")  # fmt: skip
    return [datetime.fromisoformat(row["time"]).timestamp() for row in json.loads(result.stdout)["samples"]]


def test_kill_9_loses_at_most_the_sample_in_flight_and_doubles_none(tmp_path):
    chance = random.Random(7)
    spans = []
    for _ in range(6):
        with daemon(tmp_path / "data", *QUICK) as running:
            began = time.time()
            time.sleep(1.0 + chance.random())
            running.kill()
            spans.append((began, time.time()))
    times = kept_times(tmp_path / "data")
    assert len(times) == len(set(times)), "no sample is kept twice"
    for began, ended in spans:
        run = [t for t in times if began - 5 <= t <= ended and t >= began - INTERVAL * 3]
        assert run, "a run left nothing"
        gaps = [b - a for a, b in itertools.pairwise(run)]
        assert max(gaps) < 3 * INTERVAL + 0.5, "a sample inside the run is missing"
        assert ended - run[-1] < 3 * INTERVAL + 0.5, "more than the sample in flight was lost"


def test_a_history_locked_by_another_program_delays_and_loses_nothing(tmp_path):
    data = tmp_path / "data"
    with daemon(data, *QUICK) as running:
        wait_for((data / "history.duckdb").exists, 20, "the first flush")
        holder = subprocess.Popen(
            [sys.executable, "-c",
             "import duckdb, sys, time\n"
             "for _ in range(200):\n"
             "    try: c = duckdb.connect(sys.argv[1]); break\n"
             "    except duckdb.IOException: time.sleep(0.02)\n"
             "print('held', flush=True); sys.stdin.read()",
             str(data / "history.duckdb")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        wait_for(lambda: (running.value(STORE_FAILURES(0)) or 0) >= 1, 60, "a flush to fail on the lock")
        assert running.value(STORE_BUFFERED_ROWS(0)) > 0
        assert running.value(MEMORY_AVAILABLE(0)) is not None, "sampling goes on meanwhile"
        holder.communicate("")
        held_until = time.time()
        wait_for(lambda: running.value(STORE_BUFFERED_ROWS(0)) < 200, 60, "the journal to be taken in")
        assert running.stop() == 0
    times = kept_times(data)
    assert len(times) == len(set(times))
    assert max(b - a for a, b in itertools.pairwise(times)) < 1.0, "samples taken under the lock are there"
    assert times[-1] > held_until


def test_a_second_daemon_on_the_same_history_is_refused_in_one_line(tmp_path):
    with daemon(tmp_path / "data", *QUICK) as running:
        second = tokwatt(
            "run", "--data-dir", str(tmp_path / "data"), "--web.listen-address", "127.0.0.1:0", check=False
        )
        assert second.returncode == 2
        [line] = second.stderr.splitlines()
        assert f"in use by another tokwatt (pid {running.process.pid})" in line


def test_a_port_that_is_taken_is_refused_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = tokwatt("run", "--data-dir", str(tmp_path / "data"), "--web.listen-address", f"127.0.0.1:{port}",
                         check=False)  # fmt: skip
    assert result.returncode == 2
    assert f"127.0.0.1:{port}" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_keeps_everything_that_was_sampled(tmp_path, number):
    with daemon(tmp_path / "data", "--sample-interval", "200ms", "--no-collector.engines") as running:
        time.sleep(1.5)
        stopped_at = time.time()
        os.kill(running.process.pid, number)
        assert running.process.wait(30) == 0
    assert not list((tmp_path / "data" / "journal").glob("*")), "a clean stop leaves nothing in the journal"
    assert stopped_at - kept_times(tmp_path / "data")[-1] < 0.7


def test_a_dead_engine_and_one_that_answers_garbage_cost_only_themselves(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = tmp_path / "tokwatt.toml"
        config.write_text(
            '[[engine]]\nurl = "http://127.0.0.1:9"\nname = "dead"\nkind = "ollama"\n'
            f'[[engine]]\nurl = "http://127.0.0.1:{mute.getsockname()[1]}"\nname = "mute"\nkind = "llama_cpp"\n'
        )
        with daemon(tmp_path / "data", "--sample-interval", "1s", "--config.file", str(config)) as running:
            wait_for(lambda: running.value(ENGINE_UP(0, engine="mute")) == 0, 30, "the mute engine to be down")
            assert running.value(ENGINE_UP(0, engine="dead")) == 0
            assert running.value(MEMORY_AVAILABLE(0)) is not None
            assert running.get("/-/healthy").status_code == 200
