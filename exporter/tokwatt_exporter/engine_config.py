"""One `[[engine]]` table of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter import parse
from tokwatt_exporter.errors import UsageError

#: Where the API key comes from: one of these, or nowhere.
KEY_SOURCES = ("api-key-file", "api-key-env", "api-key-command")


class KeyCommand(NamedTuple):
    """A program that prints the API key, with its arguments. Shown without them: they can hold what is secret."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.argv[0]} <hidden>" if self.argv[1:] else self.argv[0]


class EngineConfig(NamedTuple):
    """An engine the user named, which wins over any guess."""

    url: str
    name: str | None = None
    kind: str | None = None
    api_key_file: Path | None = None
    allow_insecure: bool = False
    api_key_env: str | None = None
    api_key_command: KeyCommand | None = None


def engine_config(table: Any, path: Path) -> EngineConfig:
    """The table as it was written into the file at `path`; `UsageError` says what is wrong with it."""
    from tokwatt_exporter.engines.registry import KINDS

    if not isinstance(table, Mapping) or "url" not in table:
        raise UsageError(f"{path}: each [[engine]] needs a url")
    if unknown := table.keys() - {name.replace("_", "-") for name in EngineConfig._fields}:
        raise UsageError(f"{path}: [[engine]] has an unknown key {sorted(unknown)[0]}")
    kind = table.get("kind")
    if kind is not None and kind not in KINDS:
        raise UsageError(f"{path}: [[engine]] kind {kind!r} is not one of {', '.join(KINDS)}")
    given = [name for name in KEY_SOURCES if name in table]
    if len(given) > 1:
        raise UsageError(f"{path}: [[engine]] has {' and '.join(given)}; one of them is enough")
    try:
        return EngineConfig(
            url=parse.engine_url(table["url"]),
            name=parse.label(table["name"]) if "name" in table else None,
            kind=kind,
            api_key_file=parse.path(table["api-key-file"]) if "api-key-file" in table else None,
            allow_insecure=parse.boolean(table.get("allow-insecure", False)),
            api_key_env=_variable(table["api-key-env"]) if "api-key-env" in table else None,
            api_key_command=_command(table["api-key-command"]) if "api-key-command" in table else None,
        )
    except ValueError as error:
        raise UsageError(f"{path}: [[engine]] {error}") from None


def _variable(value: Any) -> str:
    if not isinstance(value, str) or not value.isidentifier() or not value.isascii():
        # Not repeated: a key that was put here by mistake would be printed.
        raise ValueError("api-key-env is not the name of an environment variable; the key itself does not go here")
    return value


def _command(value: Any) -> KeyCommand:
    words = value if isinstance(value, list) else []
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
        raise ValueError('api-key-command is not a list like ["security", "find-generic-password", "-w"]')
    return KeyCommand(tuple(words))
