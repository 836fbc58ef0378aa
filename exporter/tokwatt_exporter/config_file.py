"""The configuration file: TOML, by dotted key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokwatt_exporter.errors import UsageError


def read_file(path: Path, known: set[str], *, must_exist: bool) -> dict[str, Any]:
    """The values of the TOML file by dotted key, of which all must be known; empty where there is and need be none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must_exist:
            raise UsageError(f"{path}: no such configuration file") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    flat = dict(_flat(tables))
    _check_keys(flat, known, path)
    return flat


def _check_keys(tables: Mapping[str, Any], known: set[str], path: Path) -> None:
    for key, value in tables.items():
        if key == "engine" and isinstance(value, list):
            continue
        if key not in known:
            raise UsageError(f"{path}: unknown key {key}{_did_you_mean(key, known)}")


def _did_you_mean(key: str, known: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _flat(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tables.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
