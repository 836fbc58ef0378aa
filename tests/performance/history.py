"""The history beside a real Prometheus and a real VictoriaMetrics that were given the same samples: bytes a sample.

What they are asked, and how fast they answer, is in `history_speed`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from tests.support import cache
from tests.support.components import install
from tests.support.net import PLAIN, free_port, wait_for

from tokwatt_exporter.store import file
from tokwatt_exporter.store.ingest import ingest
from tokwatt_exporter.store.upkeep import Retention, upkeep

from .history_day import MIDNIGHT, samples
from .report import Row

ROOT = Path(__file__).parents[2]
#: Hours of each machine. They are recorded once, which takes a quarter of a minute for each of them, and kept in the
#: cache of the tests.
HOURS = float(os.environ.get("BENCH_HISTORY_HOURS") or 6)
MACHINES = ("here", "m3-max_macos26", "m1-macbook-air_macos15")
DAY = 86_400


def rows() -> Iterator[Row]:
    """Bytes a sample, of the same samples in each."""
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        count = record(folder)
        yield Row("samples of this machine and two Macs at 5 s", f"{count:,}")
        ours = {what: size / count for what, size in ours_of(folder)}
        theirs = {}
        for server, measure in (("Prometheus", prometheus_size), ("VictoriaMetrics", victoria_size)):
            try:
                theirs[server] = measure(folder, stack) / count
            except Exception as error:
                yield Row(server, "not measured", note=str(error))
        for what, size in {**ours, **theirs}.items():
            yield Row(f"{what}: bytes a sample", f"{size:.2f} B")
        if "Prometheus" in theirs:
            ratio = ours["history, packed"] / theirs["Prometheus"]
            yield Row("packed against Prometheus", f"{ratio:.2f} x", "<= 1.00 x", ratio <= 1)


def record(folder: Path) -> int:
    """Put the journals of the machines into `folder`, recorded now if need be; gives the number of samples."""
    text = (Path(__file__).with_name("history_day.py").read_text(), MACHINES, HOURS)
    kept = cache.made(f"history-day-{hashlib.sha256(repr(text).encode()).hexdigest()[:10]}", _record)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return sum(len(values) for _, _, values in samples(folder))


def _record(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
    command = [sys.executable, "-m", f"{__package__}.history_day"]
    running = [
        subprocess.Popen([*command, machine, str(folder), str(round(HOURS * 720))], env=environment, cwd=ROOT)
        for machine in MACHINES
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError("a machine could not be recorded")


def ours_of(folder: Path) -> Iterator[tuple[str, int]]:
    """Bytes of the samples as they arrive, once packed, and with their roll-ups."""
    write_text(folder)
    ingest(folder)
    path = file.path_of(folder)
    yield "history, as it arrives", used(path, "sample_row")
    while upkeep(folder, Retention(None, None, None), now=MIDNIGHT + 2 * DAY).more:
        pass
    yield "history, packed", used(path, "sample_day", "sample_tick")
    yield "history, packed, with roll-ups", used(path, "sample_day", "sample_tick", "rollup_1m", "rollup_1h")


def used(path: Path, *tables: str) -> int:
    """Bytes of the blocks of a file that holds these tables alone."""
    import duckdb

    alone = path.with_name("alone.duckdb")
    with duckdb.connect(config={"threads": 1}) as db:
        db.execute(f"ATTACH '{path}' AS whole (READ_ONLY)")
        db.execute(f"ATTACH '{alone}' AS alone (STORAGE_VERSION '{file.STORAGE}')")
        for table in tables:
            db.execute(f"CREATE TABLE alone.{table} AS SELECT * FROM whole.{table}")
        db.execute("CHECKPOINT alone")
    size = alone.stat().st_size
    alone.unlink()
    return size


def write_text(folder: Path) -> None:
    """The samples in OpenMetrics, and as VictoriaMetrics imports them."""
    found: dict[str, tuple[dict[str, str], list[float], list[int]]] = {}
    with (folder / "samples.om").open("w") as out:
        for time_ms, host, values in samples(folder):
            for (metric, pairs), value in values:
                labels = {**dict(pairs), "job": "tokwatt", "instance": host}
                text = ",".join(f"{name}={json.dumps(label, ensure_ascii=False)}" for name, label in labels.items())
                series = f"{metric}{{{text}}}"
                out.write(f"{series} {value!r} {time_ms / 1000:.3f}\n")
                _, kept, times = found.setdefault(series, ({"__name__": metric, **labels}, [], []))
                kept.append(value)
                times.append(time_ms)
        out.write("# EOF\n")
    with (folder / "samples.jsonl").open("w") as out:
        for labels, kept, times in found.values():
            out.write(json.dumps({"metric": labels, "values": kept, "timestamps": times}) + "\n")


def prometheus_size(folder: Path, stack: ExitStack) -> int:
    """Bytes of its blocks, once it has made one of what lies in a day, as it does in the end."""
    blocks = folder / "prometheus"
    subprocess.run(
        [install("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=24h",
         folder / "samples.om", blocks],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    return sum(path.stat().st_size for path in blocks.rglob("*") if path.is_file())


def victoria_size(folder: Path, stack: ExitStack) -> int:
    """Bytes of its data and indexes after it has merged all parts."""
    port = free_port()
    data = folder / "victoria"
    stack.enter_context(
        serving(
            [str(install("victoria-metrics")), f"-storageDataPath={data}", f"-httpListenAddr=127.0.0.1:{port}",
             "-retentionPeriod=100y", "-loggerLevel=ERROR"],
            f"http://127.0.0.1:{port}/health",
        )
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=300) as client:
        client.post(f"{url}/api/v1/import", content=(folder / "samples.jsonl").read_bytes()).raise_for_status()
        client.get(f"{url}/internal/force_flush").raise_for_status()
        client.get(f"{url}/internal/force_merge").raise_for_status()

        def merged() -> bool:
            text = client.get(f"{url}/metrics").text
            return not any("active_merges" in line and not line.endswith(" 0") for line in text.splitlines())

        wait_for(merged, 120, "the merge")
    with suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in (data / "data").rglob("*") if path.is_file()) + sum(
            path.stat().st_size for path in (data / "indexdb").rglob("*") if path.is_file()
        )
    raise RuntimeError("its files changed while they were counted")


@contextmanager
def serving(command: list[str], health: str) -> Iterator[None]:
    """A server while the block runs, from when it answers."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(health, trust_env=False, verify=PLAIN).is_success
        return False

    try:
        wait_for(answers, 60, Path(command[0]).name)
        yield
    finally:
        process.terminate()
        process.wait(30)
