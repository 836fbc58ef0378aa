"""Log lines on stderr: one line each, as text or JSON."""

import json
import logging
import sys
from datetime import UTC, datetime

_TEXT = "time={} level={} logger={} msg={}"


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


def configure(level: str, format: str) -> None:
    """Log to stderr from `level` up. Libraries are heard from warning up: httpx would log URLs with their secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(format == "json"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("tokwatt_exporter", "tokwatt_bench"):
        logging.getLogger(name).setLevel(level.upper())
