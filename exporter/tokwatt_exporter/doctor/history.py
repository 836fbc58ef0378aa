"""Checks of the history: is it sound, how old is its newest sample, was one moved aside. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor.finding import Finding
from tokwatt_exporter.errors import StoreError, StoreLocked

#: Clocks of one machine do not differ by this much unless one was set.
_AHEAD_SECONDS = 60.0


def history(config: Config, runs: bool) -> Iterator[Finding]:
    """What is there; `runs` says that a daemon answers, whose history should grow."""
    from tokwatt_exporter.store import care, file

    path = file.path_of(config.data_dir)
    looked = f"all of {path}"
    if not path.exists():
        yield Finding(check="history", status="absent", looked=looked, found="there is no history",
                      means="none was kept here yet")  # fmt: skip
        return
    try:
        facts = care.check(config.data_dir)
        newest = _newest(config.data_dir)
    except StoreLocked as error:
        yield Finding(check="history", status="note", looked=looked, found=str(error),
                      means="another program has it open; ask again later")  # fmt: skip
        return
    except StoreError as error:
        yield Finding(check="history", status="fault", looked=looked, found=str(error),
                      means="it cannot be read", mend="tokwatt history check")  # fmt: skip
        return
    yield _integrity(facts["problems"], facts["size_bytes"], looked)
    if aside := facts["moved_aside"]:
        yield Finding(
            check="history.moved_aside", status="note", looked=f"damaged histories in {config.data_dir}",
            found=", ".join(aside), means="a history was damaged and put away; a new one was begun",
            mend="tokwatt history restore FILE from a copy; then delete what was put away",
        )  # fmt: skip
    if not facts["problems"]:
        yield age(newest, time.time(), config.flush_interval if runs and config.history_enabled else None)


def _integrity(problems: list[str], size: int, looked: str) -> Finding:
    if problems:
        return Finding(
            check="history", status="fault", looked=looked, found="; ".join(problems),
            means="a part of it cannot be trusted", mend="tokwatt history restore FILE",
        )  # fmt: skip
    return Finding(check="history", status="ok", looked=looked, found=f"sound, {size / 2**20:.1f} MiB",
                   means="what was kept can be read")  # fmt: skip


def age(newest: float | None, now: float, flush_interval: float | None) -> Finding:
    """How old the newest sample is (Unix time); `flush_interval` in seconds where a daemon should add to it."""
    looked = "the newest sample of the history"
    if newest is None:
        return Finding(check="history.age", status="absent", looked=looked, found="there is none",
                       means="the first is kept after the first commit")  # fmt: skip
    old = now - newest
    if old < -_AHEAD_SECONDS:
        return Finding(check="history.age", status="fault", looked=looked, found=f"it is {-old:.0f} s in the future",
                       means="the clock was set back: what is measured now sorts before what is there",
                       mend="sudo date, or time synchronisation, sets it right")  # fmt: skip
    if flush_interval is not None and old > 3 * flush_interval + 60:
        return Finding(check="history.age", status="fault", looked=looked, found=f"it is {old:.0f} s old",
                       means="the daemon runs and its samples do not arrive here",
                       mend="tokwatt service logs; tokwatt history info")  # fmt: skip
    return Finding(check="history.age", status="ok", looked=looked, found=f"it is {max(old, 0):.0f} s old",
                   means="it grows" if flush_interval is not None else "no daemon adds to it now")  # fmt: skip


def _newest(data_dir: Path) -> float | None:
    from tokwatt_exporter.store import read

    with read.opened(data_dir, read.LOCK_WAIT, read.TIMEOUT) as db:
        newest = read.newest_ms(db) if db else None
    return newest / 1000 if newest is not None else None
