"""How far each receiver has got, kept over restarts in a small file beside the history."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FILE = "otlp-watermark.json"
#: Receivers that are remembered; the one that waited longest is forgotten first.
_RECEIVERS = 16


class Watermark:
    """Time of the newest sample one receiver is done with, in Unix milliseconds."""

    def __init__(self, data_dir: Path, receiver: str) -> None:
        self._path = data_dir / FILE
        self._receiver = receiver
        self._others, self.time_ms = self._read()
        self._failed = False

    def advance(self, time_ms: int) -> None:
        """Remember it on disk before returning; where the disk is full it is remembered in memory only."""
        if time_ms == self.time_ms:
            return
        self.time_ms = time_ms
        receivers = {**self._others, self._receiver: time_ms}
        newest = dict(sorted(receivers.items(), key=lambda item: item[1])[-_RECEIVERS:])
        try:
            self._write(json.dumps({"acknowledged_ms": newest}))
        except OSError as error:
            if not self._failed:
                log.warning("otlp: %s cannot be written, kept in memory: %s", self._path, error.strerror)
            self._failed = True
        else:
            self._failed = False

    def _read(self) -> tuple[dict[str, int], int | None]:
        try:
            receivers = _times(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return {}, None
        except (OSError, ValueError) as error:
            log.warning("otlp: %s cannot be used, starting from now: %s", self._path, error)
            return {}, None
        time_ms = receivers.pop(self._receiver, None)
        return receivers, time_ms

    def _write(self, text: str) -> None:
        new = self._path.with_name(self._path.name + ".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _times(content: Any) -> dict[str, int]:
    receivers = content.get("acknowledged_ms") if isinstance(content, dict) else None
    if not isinstance(receivers, dict):
        raise ValueError("not a watermark")
    for time_ms in receivers.values():
        if not isinstance(time_ms, int) or isinstance(time_ms, bool) or time_ms < 0:
            raise ValueError("a time is not a number of milliseconds")
    return receivers
