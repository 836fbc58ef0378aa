"""Missed samples are sent by a short-lived process, so that the daemon never holds what reading the history takes."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.sinks.otlp_deliver import Answer, Delivery, Verdict
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings

MODULE = "tokwatt_exporter.sinks.otlp_backfill"
#: A child that says nothing for so long hangs: one request and one query are far shorter.
_SILENCE_SECONDS = 120.0


class HistoryUnavailable(TokwattError):
    """Missed samples could not be read; trying later helps."""


class Backfill:
    """Runs the child that sends a stretch of the history."""

    def __init__(
        self, settings: OtlpSettings, data_dir: Path, started_ns: int, silence: float = _SILENCE_SECONDS
    ) -> None:
        self._job = {"settings": asdict(settings), "data_dir": str(data_dir.absolute()), "started_ns": started_ns}
        self._silence = silence + settings.timeout

    def __call__(
        self,
        after_ms: int,
        until_ms: int,
        must_end_there: bool,
        done: Callable[[int], None],
        account: Callable[[Delivery], None],
        stop: threading.Event,
    ) -> Answer | None:
        """Send what lies after `after_ms` and not after `until_ms`; the answer that ended it early, if any.

        `done` is told each time up to which nothing is left to send. `HistoryUnavailable` where it cannot be read, or
        has no sample at `until_ms` yet though there must be one.
        """
        job = {**self._job, "after_ms": after_ms, "until_ms": until_ms, "must_end_there": must_end_there}
        try:
            return self._run(job, done, account, stop)
        except (OSError, ValueError) as error:
            raise HistoryUnavailable(f"the backfill cannot be run: {error}") from error

    def _run(
        self,
        job: dict[str, Any],
        done: Callable[[int], None],
        account: Callable[[Delivery], None],
        stop: threading.Event,
    ) -> Answer | None:
        with _child() as (process, errors):
            for message in self._messages(process, json.dumps(job), stop):
                if "done_ms" in message:
                    done(message["done_ms"])
                elif "delivery" in message:
                    delivery = _delivery(message["delivery"])
                    account(delivery)
                    if delivery.later:
                        return delivery.later
                elif "unavailable" in message:
                    raise HistoryUnavailable(message["unavailable"])
                elif "complete" in message:
                    return None
            if stop.is_set():
                return None
            raise HistoryUnavailable(_last_words(process, errors))

    def _messages(self, process: subprocess.Popen[bytes], job: str, stop: threading.Event) -> Iterator[dict[str, Any]]:
        assert process.stdin and process.stdout
        process.stdin.write(job.encode() + b"\n")
        process.stdin.flush()
        yield from map(json.loads, _lines(process.stdout, self._silence, stop))


@contextmanager
def _child() -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile() as errors:
        # The job goes by stdin, since everybody may read the arguments of a process.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C in the terminal is for the daemon, which ends this one itself.
            start_new_session=True,
        )
        try:
            yield process, errors
        finally:
            process.kill()
            process.communicate()


def _lines(pipe: IO[bytes], silence: float, stop: threading.Event) -> Iterator[bytes]:
    """Whole lines, until the pipe ends, nothing comes for `silence` seconds, or the daemon stops."""
    held = b""
    heard = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while time.monotonic() - heard < silence and not stop.is_set():
            if not selector.select(0.2):
                continue
            data = os.read(pipe.fileno(), 65536)
            if not data:
                return
            heard = time.monotonic()
            *lines, held = (held + data).split(b"\n")
            yield from lines


def _delivery(values: dict[str, Any]) -> Delivery:
    later = values.pop("later")
    return Delivery(**values, later=Answer(**{**later, "verdict": Verdict(later["verdict"])}) if later else None)


def _last_words(process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    code = process.poll()
    errors.seek(0)
    lines = errors.read()[-4096:].decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the backfill {'hangs' if code is None else f'ended with code {code}'}" + (
        f": {last[:200]}" if last else ""
    )
