"""Taking the journal into the history, each record exactly once.

The rows of a segment and how far it was read are committed together. A crash before the commit leaves both as they
were; a crash after it leaves a segment that is known to be read. A segment is deleted after the commit, and what is
known of it is forgotten after that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokwatt_exporter.errors import StoreError
from tokwatt_exporter.store import file, schema, segment
from tokwatt_exporter.store.backup import before_migration
from tokwatt_exporter.store.batch import Batch
from tokwatt_exporter.store.segment import Segment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

#: A commit is made after so many rows or segments: memory and open files stay few, however much has piled up.
ROWS_PER_COMMIT = 200_000
SEGMENTS_PER_COMMIT = 64


@dataclass(slots=True)
class Ingested:
    """What one ingestion did. `skipped` are records that were damaged or made no sense."""

    rows: int = 0
    bench_runs: int = 0
    skipped: int = 0
    moved_aside: str | None = None


def ingest(
    data_dir: Path,
    *,
    wait: float = 5.0,
    then: Callable[[DuckDBPyConnection], None] = lambda db: None,
    step: Callable[[str], None] = lambda name: None,
) -> Ingested:
    """Take every complete record of the journal into the history, and make the history where there is none.

    `then` is called with the history still open. `StoreLocked` when another process holds it for `wait` seconds.
    `step` is called before each thing that changes a file.
    """
    done = Ingested()
    path = file.path_of(data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.store_lock(data_dir, wait):
            try:
                _ingest(data_dir, path, wait, done, then, step)
            except file.StoreDamaged as error:
                step("aside")
                kept = file.aside(path)
                log.error("%s; it was moved to %s and a new history is begun", error, kept.name)
                done.moved_aside = str(kept)
                _ingest(data_dir, path, wait, done, then, step)
    except OSError as error:
        raise StoreError(f"{data_dir}: {error.strerror or error}") from error
    return done


def _ingest(
    data_dir: Path, path: Path, wait: float, done: Ingested, then: Callable[[DuckDBPyConnection], None],
    step: Callable[[str], None],
) -> None:  # fmt: skip
    if not path.exists():
        step("create")
        file.create(path)
    with file.connection(path, wait) as db:
        known = schema.check(db, path)
        if known == len(schema.MIGRATIONS):
            _take_in(data_dir, db, done, then, step)
            return
    if known:
        step("backup")
        log.info("%s is of schema %d; it stays as %s", path, known, before_migration(path, known, wait, step).name)
    with file.connection(path, wait) as db:
        step("migrate")
        schema.migrate(db, path)
        _take_in(data_dir, db, done, then, step)


def _take_in(
    data_dir: Path, db: DuckDBPyConnection, done: Ingested, then: Callable[[DuckDBPyConnection], None],
    step: Callable[[str], None],
) -> None:  # fmt: skip
    _Reading(data_dir, db, done, step).run()
    then(db)
    step("checkpoint")


class _Reading:
    """Goes through the segments of a journal and commits what is new."""

    def __init__(self, data_dir: Path, db: DuckDBPyConnection, done: Ingested, step: Callable[[str], None]) -> None:
        self._folder = segment.folder(data_dir)
        self._names = segment.names(data_dir)
        self._db = db
        self._done = done
        self._step = step
        self._offsets: dict[str, int] = dict(db.execute('SELECT name, "offset" FROM journal_segment').fetchall())

    def run(self) -> None:
        """Read all segments, and commit a bounded number of rows at a time."""
        self._forget_deleted()
        batch = Batch()
        opened: list[Segment] = []
        try:
            for name in self._names:
                try:
                    opened.append(Segment(self._folder / name, claim=True))
                except OSError as error:
                    # One that root left here, say: it waits, the others go on.
                    log.warning("%s cannot be read: %s", name, error.strerror)
                    continue
                self._read(opened[-1], batch)
                if batch.rows >= ROWS_PER_COMMIT or len(opened) >= SEGMENTS_PER_COMMIT:
                    self._commit(batch, opened)
                    batch = Batch()
            self._commit(batch, opened)
        finally:
            for one in opened:
                one.close()

    def _forget_deleted(self) -> None:
        gone = sorted(self._offsets.keys() - set(self._names))
        if not gone:
            return
        # A deletion that a power failure takes back must not find its segment forgotten: it would be read again.
        if self._folder.exists():
            file.sync(self._folder)
        self._step("forget")
        self._db.execute("DELETE FROM journal_segment WHERE name IN (SELECT unnest($1::VARCHAR[]))", [gone])

    def _read(self, opened: Segment, batch: Batch) -> None:
        known = self._offsets.get(opened.name, 0)
        reader = batch.reader()
        damaged = 0
        for line in opened.lines():
            if line.record is None:
                damaged += line.end > known
            elif line.end <= known:
                reader.learn(line.record)
            else:
                damaged += not reader.add(line.record)
        if opened.size > known:
            batch.offsets[opened.name] = opened.size
        if damaged:
            log.error("%s: %d damaged records were left out", opened.name, damaged)
        if opened.finished and opened.torn_bytes:
            log.warning("%s ends in a record that was never finished; it is left out", opened.name)
        batch.skipped += damaged

    def _commit(self, batch: Batch, opened: list[Segment]) -> None:
        if batch.offsets:
            self._step("begin")
            self._db.execute("BEGIN")
            rows, runs, useless = batch.insert(self._db, self._step)
            self._step("offsets")
            self._db.execute(
                "INSERT OR REPLACE INTO journal_segment SELECT unnest($1::VARCHAR[]), unnest($2::BIGINT[])",
                [list(batch.offsets), list(batch.offsets.values())],
            )
            self._step("commit")
            self._db.execute("COMMIT")
            self._done.rows += rows
            self._done.bench_runs += runs
            self._done.skipped += batch.skipped + useless
        while opened:
            with closing(opened.pop()) as one:
                if one.finished:
                    self._step("remove")
                    one.remove()
