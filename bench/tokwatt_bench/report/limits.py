"""What results may hold beyond their shape: numbers that can be reckoned with, and text that can be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokwatt_bench.measured import Measured
from tokwatt_exporter.errors import UsageError

#: Thirty years in nanoseconds, and more bytes than there are.
LARGEST = 1e18
DEEPEST = 30
#: More results than these are no page that somebody reads.
MOST_RESULTS = 40


def check(measured: Sequence[Measured]) -> None:
    """`UsageError` for results that no measurement has, such as those of a file that was made to break its reader."""
    for one in measured:
        for value in (one.result, *one.requests):
            if wrong := _wrong(value, 0):
                raise UsageError(f"the result of run {str(one.result['run_id'])[:40]!r} holds {wrong}")


def _wrong(value: Any, depth: int) -> str | None:
    if depth > DEEPEST:
        return f"more than {DEEPEST} things within each other"
    if isinstance(value, int | float):
        # A NaN is not less than anything.
        return None if abs(value) <= LARGEST else "a number that cannot have been measured"
    if isinstance(value, str):
        return None if _writable(value) else "text that is not Unicode"
    if isinstance(value, Mapping):
        found = (_wrong(part, depth + 1) for pair in value.items() for part in pair)
    elif isinstance(value, Sequence):
        found = (_wrong(part, depth + 1) for part in value)
    else:
        return None
    return next(filter(None, found), None)


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
