"""API keys of engines: where they come from, and how one is had anew after the engine refused it."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tokwatt_exporter import credentials
from tokwatt_exporter.engine_config import EngineConfig, KeyCommand
from tokwatt_exporter.errors import UsageError

log = logging.getLogger(__name__)

COMMAND_SECONDS = 10.0
#: A key that is simply wrong is refused with every question.
AGAIN_SECONDS = 60.0


class Key:
    """One API key. What fetches it may take seconds, so after the first time it runs in a thread of its own."""

    def __init__(self, fetch: Callable[[], str]) -> None:
        """`UsageError` from `fetch`, which must not say anything of the key."""
        self._fetch = fetch
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.value = fetch()
        self._fetched = time.monotonic()

    def refused(self) -> None:
        """The engine did not take it: fetch it anew, at most once a minute; returns at once."""
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if busy or time.monotonic() - self._fetched < AGAIN_SECONDS:
                return
            self._fetched = time.monotonic()
            self._thread = threading.Thread(target=self._again, name="api-key", daemon=True)
            self._thread.start()

    def _again(self) -> None:
        try:
            self.value = self._fetch()
        except UsageError as error:
            log.warning("the engine refused its API key, and there is no new one: %s", error)


def key_of(engine: EngineConfig) -> Key | None:
    """The key of a configured engine, or None where it has none; `UsageError` where it cannot be had."""
    if engine.api_key_file:
        path = engine.api_key_file
        return Key(lambda: read_api_key(path))
    if engine.api_key_env:
        variable = engine.api_key_env
        return Key(lambda: _from_environment(variable))
    return _of_command(engine.api_key_command) if engine.api_key_command else None


def read_api_key(path: Path) -> str:
    """The API key in a file that only this user can read; `UsageError` says what to mend."""
    return credentials.read_secret(path, f"api-key-file {path}", "key").decode("ascii")


@functools.cache
def _of_command(command: KeyCommand) -> Key:
    # Once for all clients of an engine, and all engines with the same one: a keychain may ask the user each time.
    return Key(lambda: _from_command(command))


def _from_environment(variable: str) -> str:
    value = os.environ.get(variable)
    if value is None:
        raise UsageError(f"api-key-env {variable}: is not set")
    return credentials.checked(os.fsencode(value), f"api-key-env {variable}", "key").decode("ascii")


def _from_command(command: KeyCommand) -> str:
    where = f"api-key-command {command.argv[0]}"
    try:
        done = subprocess.run(
            command.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        # From None: the exception has the arguments and what was printed so far.
        raise UsageError(f"{where}: did not end within {COMMAND_SECONDS:g} s") from None
    except OSError as error:
        raise UsageError(f"{where}: cannot be run: {error.strerror}") from None
    if done.returncode:
        raise UsageError(f"{where}: ended with {done.returncode}")
    return credentials.checked(done.stdout, where, "key").decode("ascii")
