"""Prompts and traces of the user's: a text is one prompt; JSON and lines of JSON are many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_bench.scenarios.base import Ask, Scenario
from tokwatt_bench.scenarios.records import ROLES, ask_of
from tokwatt_exporter.errors import UsageError

#: Larger than any set of prompts that is sent to one machine.
MAX_BYTES = 256 * 2**20
_LINES, _WHOLE = (".jsonl", ".ndjson"), (".json",)


class Record(NamedTuple):
    """What stands in a file, checked, and its time; the request is made of it when its turn comes."""

    raw: Any
    at_seconds: float | None = None


class Prompts(Scenario):
    """Prompts of a file, in its order, from the first one again after the last."""

    def __init__(self, name: str, records: Sequence[Record]) -> None:
        self.name, self._records = name, records
        self.description = f"{len(records)} {'prompt' if len(records) == 1 else 'prompts'} of a file"

    def asks(self, seed: int) -> Iterator[Ask]:
        """The file's order, whatever the seed."""
        return (ask_of(record.raw) for record in cycle(self._records))


class Trace(Scenario):
    """Requests with the times at which they are meant to be sent; it ends with the last one."""

    # What requests shared when they were recorded is part of the trace.
    unique_prefix = False

    def __init__(self, name: str, records: Sequence[Record]) -> None:
        self.name = name
        # Stable: requests of one moment keep the file's order.
        ordered = sorted((record.at_seconds or 0.0, number) for number, record in enumerate(records))
        self._begun = ordered[0][0]
        self._records = [records[number] for _, number in ordered]
        self.description = f"a trace of {len(records)} requests over {ordered[-1][0] - self._begun:.0f} s"

    def asks(self, seed: int) -> Iterator[Ask]:
        """The requests by their times, the first one at 0."""
        for record in self._records:
            at = (record.at_seconds or 0.0) - self._begun
            yield replace(ask_of(record.raw), at_seconds=at, reuses_prefix=True)


def from_file(path: Path) -> Scenario:
    """The prompts or the trace in a file; `UsageError` names the file, the line and what is wrong with it."""
    text = _read(path)
    name = path.stem
    if path.suffix.lower() in _LINES:
        return _scenario(path, name, list(_lines(path, text)))
    if path.suffix.lower() in _WHOLE:
        return _scenario(path, name, _json(path, text))
    if "\0" in text:
        raise UsageError(f"{path}: has a NUL in it, so it is no text")
    return Prompts(name, [Record(text)])


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or type(error).__name__}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: is larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: line {data.count(10, 0, error.start) + 1} is not UTF-8") from None
    if not text.strip():
        raise UsageError(f"{path}: is empty")
    return text


def _scenario(path: Path, name: str, listed: list[Record]) -> Scenario:
    timed = sum(record.at_seconds is not None for record in listed)
    if 0 < timed < len(listed):
        raise UsageError(f"{path}: {len(listed) - timed} of {len(listed)} requests have no time, the others have one")
    return Trace(name, listed) if timed else Prompts(name, listed)


def _lines(path: Path, text: str) -> Iterator[Record]:
    # Not splitlines: JSON may have characters in it that end lines elsewhere.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _record(path, f"line {number}", _loaded(path, number, line))


def _json(path: Path, text: str) -> list[Record]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        # Lines of JSON under the other name are common.
        if error.msg == "Extra data" and "\n" in text.strip():
            return list(_lines(path, text))
        raise UsageError(f"{path}: line {error.lineno} is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: is JSON that no prompt is in: nested too deeply, or a number too long") from None
    if not isinstance(found, list) or _is_conversation(found):
        return [_record(path, "it", found)]
    if not found:
        raise UsageError(f"{path}: has no prompt in it")
    return [_record(path, f"item {number}", record) for number, record in enumerate(found, 1)]


def _is_conversation(found: list[Any]) -> bool:
    return bool(found) and all(isinstance(one, dict) and one.get("role") in ROLES for one in found)


def _loaded(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: line {number} is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: line {number} is nested too deeply, or has a number that is too long") from None


def _record(path: Path, where: str, raw: Any) -> Record:
    try:
        return Record(raw, ask_of(raw, check=True).at_seconds)
    except ValueError as error:
        raise UsageError(f"{path}: {where}: {error}") from None
