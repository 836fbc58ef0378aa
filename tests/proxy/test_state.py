"""The file between proxy and daemon: whose it is, when it counts, and what else may lie there."""

import json
import logging
import math
import os
import re

import pytest

from proxy.proxying import engine, post, proxy, read_request
from support.net import wait_for
from support.snapshots import reasons
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.proxy import Proxy
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.proxy.counts import ITL_BOUNDS, REASONS, STATUSES, TTFT_BOUNDS, Counts, Seen, Spread
from tokwatt_exporter.proxy.exchange import PATHS
from tokwatt_exporter.proxy.state import FOLDER, SCHEMA, StateFile, living, ports
from tokwatt_exporter.snapshot import Snapshot

WHO = {"engine": "ollama", "model": "m"}


def state(data_dir, counted=None, name="ollama"):
    made = StateFile(data_dir, name, {"listen": ["127.0.0.1:11435"], "url": "http://127.0.0.1:11434"})
    made.write({"connections": 1, **(counted or Counts()).as_json()})
    return made


def spread(*gaps):
    found = Spread(ITL_BOUNDS)
    for seconds, times in gaps:
        found.add(seconds, times)
    return found


def read(data_dir):
    return Snapshot.of(0, Proxy(data_dir).read())


def test_what_a_living_proxy_counted_is_published(tmp_path):
    counts = Counts()
    counts.add(Seen("m", "2xx", 0.3, 2.0, spread((0.01, 3), (0.02, 1)), 7, 2, 5))
    counts.add(Seen("m", "cut", None, 400.0))
    held = state(tmp_path, counts)
    seen = read(tmp_path)
    assert seen.get(c.PROXY_REQUESTS(0, status="2xx", **WHO)) == 1
    assert seen.get(c.PROXY_REQUESTS(0, status="5xx", **WHO)) == 0
    assert seen.get(c.PROXY_PROMPT_TOKENS(0, **WHO)) == 7
    assert seen.get(c.PROXY_CACHED_PROMPT_TOKENS(0, **WHO)) == 2
    assert seen.get(c.PROXY_GENERATION_TOKENS(0, **WHO)) == 5
    [first] = c.PROXY_TIME_TO_FIRST_TOKEN.distributions(seen.values).values()
    held_to = [(bound, float(bound >= 0.3)) for bound in (*TTFT_BOUNDS, math.inf)]
    assert first == Distribution(tuple(held_to), 0.3)
    [gaps] = c.PROXY_INTER_TOKEN_LATENCY.distributions(seen.values).values()
    assert (gaps.count, gaps.sum) == (4, pytest.approx(0.05))
    durations = c.PROXY_REQUEST_DURATION.distributions(seen.values)
    assert {dict(labels)["status"]: (one.count, one.sum) for labels, one in durations.items()} == {
        "2xx": (1, 2.0), "cut": (1, 400.0)
    }  # fmt: skip
    held.remove()


def test_what_is_not_known_is_absent(tmp_path):
    counts = Counts()
    counts.add(Seen("m", "2xx"))
    held = state(tmp_path, counts)
    families = set(read(tmp_path).values)
    assert families == {c.PROXY_CONNECTIONS, c.PROXY_REQUESTS, c.PROXY_UNOBSERVED}
    held.remove()


def test_where_no_proxy_runs_a_row_says_so_and_the_next_sample_looks_again(tmp_path):
    collector = Proxy(tmp_path)
    assert reasons(Snapshot.of(0, collector.read())) == ["no tokwatt proxy runs"]
    assert list(tmp_path.iterdir()) == []
    held = state(tmp_path)
    assert reasons(Snapshot.of(0, collector.read())) == []
    held.remove()
    assert reasons(Snapshot.of(0, collector.read())) == ["no tokwatt proxy runs"]


def test_the_series_of_a_proxy_that_was_killed_vanish_and_the_next_one_begins_at_zero(tmp_path):
    def serve(sock):
        while read_request(sock):
            sock.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")

    with engine(serve) as behind:
        with proxy(tmp_path, behind.url) as running:
            with running.connect() as sock:
                sock.sendall(post("/v1/completions", b"{}"))
                running.ended(server_error=1)
            running.process.kill()
            running.process.wait()
            [left] = (tmp_path / "data" / FOLDER).glob("*.json")
            assert json.loads(left.read_bytes())["schema"] == SCHEMA
            assert set(running.counted().values) == {c.COLLECTOR_PROBLEM}
        with proxy(tmp_path, behind.url) as running:
            wait_for(lambda: running.value(c.PROXY_CONNECTIONS(0, engine="engine")) == 0)
            assert running.statuses() == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not the state of a proxy"),
        (b'{"schema": 1, "engine": 3}', "is not the state of a proxy"),
        (b'{"schema": 2, "engine": "x"}', "is of another version of tokwatt (schema 2)"),
        (b'{"engine": "' + b"x" * 2**20 + b'"}', "is larger than any state"),
    ],
)
def test_a_file_that_is_no_state_is_one_row_and_one_line_and_costs_nobody_else(tmp_path, caplog, content, why):
    import fcntl

    caplog.set_level(logging.WARNING, "tokwatt_exporter")
    held = state(tmp_path)
    collector = Proxy(tmp_path)
    with (tmp_path / FOLDER / "other.json").open("wb") as other:
        other.write(content)
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        for _ in range(3):
            seen = Snapshot.of(0, collector.read())
            assert seen.get(c.PROXY_CONNECTIONS(0, engine="ollama")) == 1
            assert reasons(seen) == [f"a file in proxy/ {why}"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"proxy/other.json {why}"
    ]
    held.remove()


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": "many"}, {"connections": -1}, {"connections": True}, {"models": {"a": 1}}, {"models": [3]},
        {"models": [{"model": "m", "requests": {"2xx": "1", "odd": 5}, "tokens": [], "durations": 4}]},
        {"models": [{"model": "m", "ttft": {"bounds": [1, 0.5], "counts": [1, 1, 1], "sum": 1}}]},
        {"models": [{"model": "m", "ttft": {"bounds": [1], "counts": [1], "sum": 1}}]},
        {"models": [{"model": "m", "ttft": {"bounds": [1], "counts": [1, -1], "sum": 1}}]},
        {"models": [{"model": "m", "ttft": {"bounds": list(range(100)), "counts": [0] * 101, "sum": 1}}]},
        {"unobserved": {"path": "x", "odd": 1}},
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_right_has_no_series(tmp_path, wrong):
    held = StateFile(tmp_path, "ollama", {})
    held.write(wrong)
    assert list(Proxy(tmp_path).read()) == []
    held.remove()


def test_a_link_or_a_folder_in_place_of_a_state_is_not_followed(tmp_path):
    held = state(tmp_path)
    (tmp_path / FOLDER / "link.json").symlink_to(tmp_path / FOLDER / "ollama.json")
    (tmp_path / FOLDER / "folder.json").mkdir()
    os.mkfifo(tmp_path / FOLDER / "pipe.json")
    states, problems = living(tmp_path)
    assert (len(states), {problem.name for problem in problems}) == (1, {"link.json", "folder.json", "pipe.json"})
    held.remove()


def test_a_name_belongs_to_one_proxy_at_a_time(tmp_path):
    held = state(tmp_path)
    with pytest.raises(UsageError, match=rf"pid {os.getpid()}\) observes ollama on 127.0.0.1:11435; .*--name"):
        state(tmp_path)
    other = state(tmp_path, name="ollama-2")
    assert len(living(tmp_path)[0]) == 2
    held.remove()
    state(tmp_path).remove()
    other.remove()


def test_the_file_is_for_its_owner_and_locked_in_every_version_of_it(tmp_path):
    held = state(tmp_path)
    for number in range(50):
        held.write({"connections": number})
        [found] = living(tmp_path)[0]
        assert found["connections"] == number
    path = tmp_path / FOLDER / "ollama.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert ports(tmp_path) == {11435}
    held.remove()
    assert not path.exists()


def test_names_that_only_failed_take_no_place_and_more_models_than_there_is_room_for_are_counted_without(tmp_path):
    counts = Counts()
    for number in range(1000):
        counts.add(Seen(f"typo-{number}", "4xx"))
    for number in range(c.MODELS_PER_ENGINE + 5):
        counts.add(Seen(f"m{number}", "2xx"))
    counts.add(Seen("m0", "4xx"))
    held = state(tmp_path, counts)
    seen = read(tmp_path)
    models = {dict(labels).get("model") for labels in seen.values[c.PROXY_REQUESTS]}
    assert models == {None, *(f"m{number}" for number in range(c.MODELS_PER_ENGINE))}
    nameless = {dict(k)["status"]: v for k, v in seen.values[c.PROXY_REQUESTS].items() if "model" not in dict(k)}
    assert (nameless["4xx"], nameless["2xx"]) == (1000, 5)
    assert seen.get(c.PROXY_UNOBSERVED(0, engine="ollama", reason="model_limit")) == 5
    assert seen.get(c.PROXY_REQUESTS(0, engine="ollama", model="m0", status="4xx")) == 1
    held.remove()


def test_every_status_and_reason_is_explained():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/proxy.md").read_text()
    assert [word for word in (*STATUSES, *REASONS) if f"`{word}`" not in page] == []
    assert set(re.findall("`…(/.*?)`", page)) == set(PATHS)
