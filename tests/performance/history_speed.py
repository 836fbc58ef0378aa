"""The history as it grows: what a flush costs, and how fast it answers beside a real Prometheus with the same samples.

The days are the recorded one again and again, as upkeep leaves them: lists and roll-ups of it, a day earlier each
time. The year is hours alone, of a machine that serves three models, since samples and minutes have gone by then.
Prometheus gets the series that are asked for, and no others: of the days at 5 s, of the year by the minute, as that is
what can be loaded in minutes. BENCH_HISTORY_SAMPLES=600 grows the history to so many million samples,
BENCH_HISTORY_DAYS=30 asks both for a whole month.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from tests.support.components import install
from tests.support.net import PLAIN, free_port

from tokwatt_exporter.catalogue import GENERATION_TOKENS, POWER, SYSTEM_ENERGY, TEMPERATURE
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.store import file, read
from tokwatt_exporter.store.client import Store
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.journal import Journal
from tokwatt_exporter.store.upkeep import Retention, upkeep

from .flush import children_cpu
from .history import DAY, record, serving
from .history_day import MIDNIGHT, samples
from .report import Row, milliseconds, quantile
from .servers import readings

MILLIONS = float(os.environ.get("BENCH_HISTORY_SAMPLES") or 100)
DAYS = int(os.environ.get("BENCH_HISTORY_DAYS") or 4)
MODELS, YEAR = ("qwen3:8b", "llama-3.1-8b", "gemma3:27b"), 365
TIMES, DAYS_AT_ONCE = 30, 10
END = MIDNIGHT + DAY


def rows() -> Iterator[Row]:
    """Flushes at growing sizes, then questions."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        of_a_day = record(folder)
        write_text(folder, DAYS)
        ingest(folder)
        while upkeep(folder, Retention(None, None, None), now=END + DAY).more:
            pass
        days = 1
        for millions in (1.0, min(100.0, MILLIONS)):
            days = grow(folder, days, round(millions * 1e6 / of_a_day))
            yield from flush_row(folder, days * of_a_day)
        a_year(folder)
        yield from questions(folder, prometheus(folder, stack))
        if MILLIONS > 100:
            days = grow(folder, days, round(MILLIONS * 1e6 / of_a_day))
            yield from flush_row(folder, days * of_a_day)


def grow(folder: Path, days: int, wanted: int) -> int:
    """Make at least `wanted` days of the first `days`, which end with the recorded one; gives how many there are."""
    for first in range(days, wanted, DAYS_AT_ONCE):
        _grow(folder, first, min(first + DAYS_AT_ONCE, wanted))
    return max(days, wanted)


def _grow(folder: Path, days: int, wanted: int) -> None:
    with file.connection(file.path_of(folder), 5) as db:
        recorded = f"day = make_timestamp_ms({int(MIDNIGHT) * 1000})::DATE"
        [(tick_id,)] = db.execute(f"SELECT max(tick_id) FROM sample_day WHERE {recorded}").fetchall()
        earlier = f"range({days}, {wanted}) AS earlier(n)"
        db.execute(f"INSERT INTO sample_tick SELECT tick_id + 1000 * n, list_transform(times, lambda t:"
                   f" (t - to_days(n::INTEGER))::TIMESTAMP_MS) FROM sample_tick, {earlier}"
                   f" WHERE tick_id <= {tick_id}")  # fmt: skip
        db.execute(
            f"INSERT INTO sample_day SELECT series_id, (day - to_days(n::INTEGER))::DATE, tick_id + 1000 * n,"
            f' first_tick, ticks, "values", floats FROM (SELECT * FROM sample_day WHERE {recorded}), {earlier}'
        )
        of_the_day = f"time::{recorded.replace('day =', 'DATE =')}"
        for table, limit in (("rollup_1m", 90), ("rollup_1h", 365)):
            db.execute(
                f"INSERT INTO {table} SELECT series_id, time - to_days(n::INTEGER), min, max, mean, last, count,"
                f" increase FROM (SELECT * FROM {table} WHERE {of_the_day}), {earlier} WHERE n < {limit}"
            )


def flush_row(folder: Path, count: int) -> Iterator[Row]:
    """One minute of samples, 300 series, into a history of that size."""
    journal, store = Journal(folder), Store(folder)
    spent, used = [], []
    for flush in range(8):
        for sample in range(12):
            at = int((END + DAY + 60 * flush + 5 * sample) * 1000)
            journal.append_snapshot(Snapshot.of(at, readings(300, sample)), "bench")
        journal.rotate()
        before, began = children_cpu(), time.perf_counter()
        store.flush(120)
        spent.append(time.perf_counter() - began)
        used.append(children_cpu() - before)
    journal.close()
    size = file.size_of(file.path_of(folder)) / 1e6
    yield Row(f"flush of 3,600 rows into {count / 1e6:,.0f} M samples, {size:,.0f} MB: wall / CPU",
              f"{milliseconds(quantile(spent, 0.5))} / {quantile(used, 0.5):.3f} s")  # fmt: skip
    with file.connection(file.path_of(folder), 5) as db:
        db.execute(f"DELETE FROM sample_row WHERE time >= make_timestamp_ms({int(END + DAY) * 1000})")


def hours() -> Iterator[tuple[int, float, dict[str, float]]]:
    """Unix time of each hour of the year, the machine's joules in it, and the tokens of each model."""
    chance = random.Random(1)
    for hour in range(24 * YEAR):
        busy = chance.random() ** 3
        tokens = {model: float(round(busy * chance.random() * 2e5)) for model in MODELS if chance.random() < 0.7}
        yield int(END) - 3600 * (24 * YEAR - hour), 3600 * (12 + 60 * busy * chance.uniform(0.9, 1.1)), tokens


def a_year(folder: Path) -> None:
    """Hours of a machine that serves models, beside all other series."""
    with file.connection(file.path_of(folder), 5) as db:
        [(top,)] = db.execute("SELECT max(series_id) FROM series").fetchall()
        made: list[tuple[str, dict[str, str]]] = [(SYSTEM_ENERGY.name, {})]
        made += [(GENERATION_TOKENS.name, {"engine": "ollama", "model": model}) for model in MODELS]
        for number, (metric, labels) in enumerate(made, top + 1):
            db.execute("INSERT INTO series VALUES (?, ?, ?, 'server')", [number, metric, labels])
        ids: list[int] = []
        times: list[int] = []
        amounts: list[float] = []
        for at, joules, tokens in hours():
            for number, grown in enumerate([joules, *(tokens.get(model, 0.0) for model in MODELS)], top + 1):
                ids.append(number)
                times.append(at * 1000)
                amounts.append(grown)
        db.execute(
            "INSERT INTO rollup_1h SELECT id, make_timestamp_ms(ms), NULL, NULL, NULL, sum(grown) OVER (PARTITION BY id"
            " ORDER BY ms), 720, grown FROM (SELECT unnest($1::INTEGER[]) AS id, unnest($2::BIGINT[]) AS ms,"
            " unnest($3::DOUBLE[]) AS grown)",
            [ids, times, amounts],
        )


def write_text(folder: Path, days: int) -> None:
    """OpenMetrics of what is asked: a metric and all rails, that many days, and the year by the minute."""
    wanted = {TEMPERATURE.name, POWER.name}
    with (folder / "samples.om").open("w") as out:
        day = [
            (at, host, [row for row in values if row[0][0] in wanted])
            for at, host, values in samples(folder)
            if at < END * 1000
        ]
        for earlier in reversed(range(days)):
            for at, host, values in day:
                for (metric, pairs), value in values:
                    text = _labels({**dict(pairs), "instance": host})
                    out.write(f"{metric}{text} {value!r} {at / 1000 - DAY * earlier:.3f}\n")
        out.write("# EOF\n")
    with (folder / "year.om").open("w") as out:
        sums: dict[str, float] = dict.fromkeys([SYSTEM_ENERGY.name + _labels({"instance": "server"}), *(
            GENERATION_TOKENS.name + _labels({"engine": "ollama", "model": model, "instance": "server"})
            for model in MODELS)], 0.0)  # fmt: skip
        for at, joules, tokens in hours():
            grown = [joules, *(tokens.get(model, 0.0) for model in MODELS)]
            for minute in range(60):
                for series, amount in zip(sums, grown, strict=True):
                    sums[series] += amount / 60
                    out.write(f"{series} {sums[series]!r} {at + 60 * minute + 59}\n")
        out.write("# EOF\n")


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def prometheus(folder: Path, stack: ExitStack) -> str:
    """The URL of a Prometheus that holds both texts."""
    for text in ("samples.om", "year.om"):
        subprocess.run(
            [install("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=240h",
             folder / text, folder / "prometheus"],
            check=True, capture_output=True, timeout=900,
        )  # fmt: skip
    (folder / "prometheus.yml").write_text("{}\n")
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(install("prometheus")), f"--config.file={folder / 'prometheus.yml'}", "--log.level=error",
               f"--storage.tsdb.path={folder / 'prometheus'}", "--storage.tsdb.retention.time=50y",
               f"--web.listen-address={url.removeprefix('http://')}"]  # fmt: skip
    stack.enter_context(serving(command, f"{url}/-/ready"))
    return url


def questions(folder: Path, url: str) -> Iterator[Row]:
    """Each one to both, in turns."""
    store = Store(folder)
    tokens = f"increase({GENERATION_TOKENS.name}[1h])"
    average = f"avg by (device) (avg_over_time({POWER.name}[5m]))"
    share = f"{tokens} / ignoring(model) group_left sum by (instance, engine) ({tokens})"
    asked: list[tuple[str, float | None, str, dict[str, object], str, float, int]] = [
        (f"{DAYS}-day panel of one metric, step 30m", 2, "samples", {"metric": TEMPERATURE.name, "step": "30m"},
         TEMPERATURE.name, DAYS * DAY, 1800),
        ("24-hour panel of all power rails, step 1m", None, "samples", {"metric": POWER.name, "step": "1m"}, POWER.name,
         DAY, 60),
        ("24-hour panel of power by device, an expression, step 5m", None, "expression",
         {"expr": average, "step": "5m"}, average, DAY, 300),
        ("joules per token by model, a year", 1, "model_energy", {},
         f"{share} * ignoring(model, engine) group_left increase({SYSTEM_ENERGY.name}[1h])", YEAR * DAY, 3600),
    ]  # fmt: skip
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=120) as client:
        for what, most, name, params, expression, seconds, step in asked:
            given = {**params, "since": int(END - seconds) * 1000, "until": int(END) * 1000}
            range_ = {"query": expression, "start": END - seconds, "end": END, "step": max(step, seconds / 10_900)}

            def theirs(range_: dict[str, object] = range_) -> object:
                answer = client.post(f"{url}/api/v1/query_range", data=range_).json()
                if not answer.get("data", {}).get("result"):
                    raise RuntimeError(f"Prometheus has nothing to say: {str(answer)[:200]}")
                return answer

            def alone(name: str = name, given: dict[str, object] = given) -> object:
                return read.query(folder, name, given)

            def ours(name: str = name, given: dict[str, object] = given) -> object:
                return store.query(name, given)

            found = in_turns({"history": alone, "through the daemon": ours, "Prometheus": theirs})
            if not alone():
                raise RuntimeError(f"{what}: the history has nothing to say")
            for who, (median, worst) in found.items():
                yield Row(f"{what}; {who}: p50 / p99", f"{milliseconds(median)} / {milliseconds(worst)}")
            ratio = found["history"][0] / found["Prometheus"][0]
            target, met = ("", None) if most is None else (f"<= {most:.2f} x", ratio <= most)
            yield Row("  history against Prometheus, p50", f"{ratio:.2f} x", target, met)


def in_turns(calls: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile of each, in seconds; in turns, so that a busy moment hits all of them."""
    spent: dict[str, list[float]] = {who: [] for who in calls}
    for turn in range(TIMES + 2):
        for who, call in calls.items():
            began = time.perf_counter()
            call()
            if turn >= 2:
                spent[who].append(time.perf_counter() - began)
    return {who: (quantile(times, 0.5), quantile(times, 0.99)) for who, times in spent.items()}
