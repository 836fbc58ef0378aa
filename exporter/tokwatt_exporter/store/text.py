"""Samples as text: DuckDB makes the lines out of what a format says of each series, and Python only passes them on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.store import file
from tokwatt_exporter.store.extract import LOCK_WAIT, Extract, extract
from tokwatt_exporter.store.read import take_in

_LINES = 20_000
_ISO = "strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ')"


class Series(NamedTuple):
    """A series whose samples are written."""

    series_id: int
    metric: str
    labels: Mapping[str, str]
    host: str


class Block(NamedTuple):
    """A heading, and the series whose samples follow; those of one group are written together, time by time."""

    head: str
    #: series_id, what its lines have beside time and value.
    groups: list[list[tuple[int, str]]]


class Format(Protocol):
    """How samples are written."""

    #: SQL of a line out of `time`, `value`, and `text`, which a block has of the series.
    line: str
    #: What stands between two lines, and after all of them.
    separator: str
    tail: str

    def blocks(self, series: list[Series]) -> Iterable[Block]:
        """The series in the order they are written; they come in the order of metric, labels and host."""
        ...


class Wanted(NamedTuple):
    """Which samples are written: no metric is every metric, and both times are in it."""

    since_ms: int
    until_ms: int
    metrics: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


def text(data_dir: Path, wanted: Wanted, format: Format, *, wait: float = LOCK_WAIT) -> Iterator[str]:
    """What was asked for in a format, a piece at a time; by the first one the history is closed again."""
    import duckdb

    take_in(data_dir, wait)
    file.existing(data_dir)
    try:
        with TemporaryDirectory() as folder, extract(data_dir, Path(folder), wait=wait) as source:
            source.take_range(wanted.metrics, wanted.labels, wanted.since_ms, wanted.until_ms)
            yield from _pieces(source, format)
    except duckdb.Error as error:
        raise StoreError(" ".join(str(error).split())[:300]) from error
    yield format.tail


def _pieces(source: Extract, format: Format) -> Iterator[str]:
    run = source.db.execute
    # What has no sample in that time has no heading either.
    found = run(
        """SELECT series_id, metric, labels, host FROM named WHERE series_id IN (SELECT series_id FROM staged)
        ORDER BY metric, map_entries(labels), host"""
    ).fetchall()
    blocks = list(format.blocks([Series(*row) for row in found]))
    places = [
        (number, group, place, series_id, text)
        for number, block in enumerate(blocks)
        for group, members in enumerate(block.groups)
        for place, (series_id, text) in enumerate(members)
    ]
    run(
        """CREATE TABLE texts AS SELECT unnest($1::INTEGER[]) AS block, unnest($2::INTEGER[]) AS part,
        unnest($3::INTEGER[]) AS place, unnest($4::INTEGER[]) AS series_id, unnest($5::VARCHAR[]) AS text""",
        [list(column) for column in zip(*places, strict=True)] or [[]] * 5,
    )
    for number, block in enumerate(blocks):
        yield block.head
        rows = run(
            f"""SELECT {format.line} FROM staged JOIN texts USING (series_id) WHERE block = $1
            ORDER BY part, time, place""",
            [number],
        )
        between = ""
        while lines := rows.fetchmany(_LINES):
            yield between + format.separator.join(line for (line,) in lines)
            between = format.separator


class Csv:
    """A line a sample, with a column a label; the first line names the columns."""

    line = f"{_ISO} || text || value || chr(10)"
    separator = ""
    tail = ""

    def blocks(self, series: list[Series]) -> Iterable[Block]:
        """All in one: its lines have the same columns."""
        names = sorted({name for one in series for name in one.labels})
        return [
            Block(
                _row(("time", "host", "metric", *names, "value")) + "\n",
                [[(one.series_id, _row(("", one.host, one.metric, *(one.labels.get(n, "") for n in names), "")))]
                 for one in series],
            )
        ]  # fmt: skip


class Json:
    """One document, `{"samples": [{"time", "value", "metric", "labels", "host"}]}`."""

    line = f"""'{{"time": "' || {_ISO} || '", "value": ' || value || text"""
    separator = ",\n"
    tail = "]}\n"

    def blocks(self, series: list[Series]) -> Iterable[Block]:
        """All in one, as a list has no two beginnings."""
        return [Block('{"samples": [\n', [[(one.series_id, _rest(one))] for one in series])]


def _row(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _rest(one: Series) -> str:
    known = {"metric": one.metric, "labels": one.labels, "host": one.host}
    return ", " + json.dumps(known, ensure_ascii=False)[1:]
