"""docs/history-export.md and docs/fleet.md: what they show works, and their sums are right."""

import re
from pathlib import Path

import duckdb
import pytest

from store.helpers import snapshot
from tokwatt_exporter import config
from tokwatt_exporter.catalogue import SERIES
from tokwatt_exporter.store.export import export
from tokwatt_exporter.store.journal import Journal

pytestmark = pytest.mark.text

DOCS = Path(__file__).parents[2] / "docs"
EXPORT, FLEET = ((DOCS / f"{name}.md").read_text() for name in ("history-export", "fleet"))
#: Samples of a machine of 300 series in a day, at 5 s.
DAY = 300 * 86_400 / 5


def test_the_query_over_an_export_works(tmp_path):
    journal = Journal(tmp_path / "data")
    journal.append_snapshot(snapshot(0), "box")
    journal.close()
    export(tmp_path / "data", str(tmp_path / "out"))
    [query] = re.findall(r"```sql\n(SELECT.*?)```", EXPORT, re.DOTALL)
    query = query.replace("/mnt/archive/tokwatt", str(tmp_path / "out"))
    [(host, _, rows)] = duckdb.connect().execute(query).fetchall()
    assert (host, rows) == ("box", 6)


def test_settings_and_metrics_are_those_of_the_code():
    known = {field.metadata["key"] for field in config.options()}
    for table in re.findall(r"```toml\n\[history\]\n(.*?)```", EXPORT, re.DOTALL):
        assert {f"history.{line.split(' = ')[0]}" for line in table.splitlines()} <= known
    assert set(re.findall(r"`(history\.[a-z0-9-]+|otlp\.[a-z0-9-]+|web\.[a-z0-9-]+)`", EXPORT + FLEET)) <= known
    assert set(re.findall(r"tokwatt_[a-z_]+_(?:total|celsius)", EXPORT)) <= SERIES.keys()


def test_a_machines_day_is_its_samples_times_their_bytes():
    rows = re.findall(r"\| ([^|]*) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) MB", FLEET)
    assert len(rows) == 4
    for _, size, least, most in rows:
        assert float(most) == round(DAY * float(size) / 1e6, 1)
        assert float(least) == pytest.approx(float(most) / 2, abs=0.051)


def test_the_sums_over_machines_are_right():
    sizes = dict(re.findall(r"\| (Prometheus|VictoriaMetrics|Parquet, a file a day) \| ([\d.]+) \|", FLEET))
    rows = re.findall(r"\| ([\d,]+) \| ([\d,]+) \| ([\d,]+)" + r" \| ([\d.]+) (.B)" * 3, FLEET)
    assert len(rows) == 3
    for machines, rate, series, *sums in rows:
        number = int(machines.replace(",", ""))
        assert (int(rate.replace(",", "")), int(series.replace(",", ""))) == (number * 60, number * 300)
        for (text, unit), size, days in zip(
            (sums[:2], sums[2:4], sums[4:]), (float(size) for size in sizes.values()), (30, 30, 365), strict=True
        ):
            wanted = number * DAY * size * days / {"GB": 1e9, "TB": 1e12}[unit]
            assert float(text) == pytest.approx(wanted, rel=0.02)
