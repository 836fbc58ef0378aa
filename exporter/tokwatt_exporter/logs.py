"""Log lines on stderr or in a file that rotates: one line each, as text or JSON."""

import json
import logging
import os
import stat
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from tokwatt_exporter.errors import UsageError

_TEXT = "time={} level={} logger={} msg={}"
#: Three files in all.
_FILE_BYTES, _OLDER_FILES = 10_000_000, 2


class _Line(logging.Formatter):
    """logfmt, as Prometheus writes it, or one JSON object a line; a traceback becomes part of the line."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """One line of one record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        level, logger = record.levelname.lower(), record.name.removeprefix("tokwatt_exporter.")
        if self._as_json:
            return json.dumps({"time": time, "level": level, "logger": logger, "msg": message}, ensure_ascii=False)
        return _TEXT.format(time, level, logger, json.dumps(message, ensure_ascii=False))


def configure(level: str, format: str, file: Path | None = None) -> None:
    """Log to stderr, or to `file`, from `level` up; `UsageError` where the file cannot be used.

    Libraries are heard from warning up: httpx would log URLs with their secrets.
    """
    handler = _file(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(format == "json"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("tokwatt_exporter", "tokwatt_bench"):
        logging.getLogger(name).setLevel(level.upper())


class _OwnFile(RotatingFileHandler):
    """A log for its owner's eyes only; somebody else's file, or a link to one, is not written to."""

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=_open)


def _file(path: Path) -> logging.Handler:
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _OwnFile(path, maxBytes=_FILE_BYTES, backupCount=_OLDER_FILES, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"log.file: {path} cannot be written: {error.strerror}") from None


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(1, "it is not a file of this user", path)
    os.fchmod(descriptor, 0o600)
    return descriptor
