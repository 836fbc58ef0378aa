"""The machines of a fleet as Prometheus' service discovery reads them, file_sd and http_sd, from names of hosts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter import parse
from tokwatt_exporter.config import DEFAULT_PORT, MCP_PORT
from tokwatt_exporter.errors import UsageError

#: For the documented http_sd; nothing listens there unless it is told to.
SD_PORT = MCP_PORT + 1
_HOST = re.compile(r"(?=.{1,253}\.?$)(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Target(NamedTuple):
    """An exporter, `HOST:PORT`, and the labels that its series get."""

    address: str
    labels: tuple[tuple[str, str], ...] = ()


def address(raw: str) -> str:
    """`HOST:PORT` of a host, with tokwatt's port where none is given; `ValueError` for what is none."""
    text = raw.strip()
    if re.search("[/@%]", text):
        raise ValueError(f"{text[:60]!r} is not HOST or HOST:PORT")
    host, port = text, str(DEFAULT_PORT)
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", text):
        host, port = bracketed[1], port if bracketed[2] is None else bracketed[2]
        return str(parse.Address(str(ipaddress.IPv6Address(host)), parse.port(port)))
    if text.count(":") > 1:
        raise ValueError(f"{text[:60]!r} needs brackets around the IPv6 address")
    if ":" in text:
        host, _, port = text.partition(":")
    if re.fullmatch(r"[\d.]+", host):
        host = str(ipaddress.IPv4Address(host))
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{host[:60]!r} is not the name or address of a host")
    return str(parse.Address(host, parse.port(port)))


def label(raw: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`."""
    name, equals, value = raw.partition("=")
    if not equals or not _LABEL.fullmatch(name):
        raise ValueError(f"{raw[:60]!r} is not NAME=VALUE with a name of letters, digits and _")
    return name, parse.label(value)


def read_hosts(path: Path) -> list[Target]:
    """The hosts of a file, `HOST[:PORT] [NAME=VALUE …]` a line, `#` begins a comment; `UsageError` names the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--file: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--file: {path}: is not UTF-8") from None
    targets = []
    for number, line in enumerate(lines, 1):
        host, *labels = line.partition("#")[0].split() or [""]
        if host:
            try:
                targets.append(Target(address(host), tuple(map(label, labels))))
            except ValueError as error:
                raise UsageError(f"--file: {path}: line {number}: {error}") from None
    if not targets:
        # An empty list would take every machine out of the monitoring, most likely because a write was cut off.
        raise UsageError(f"--file: {path}: names no host")
    return targets


def groups(targets: Iterable[Target], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The list that file_sd and http_sd read, a group for each set of labels; a target's own win over `labels`."""
    known: dict[str, dict[str, str]] = {}
    for target in targets:
        own = {**labels, **dict(target.labels)}
        if known.setdefault(target.address, own) != own:
            raise UsageError(f"{target.address} is there twice, with different labels")
    return list(_grouped(known))


def _grouped(known: Mapping[str, dict[str, str]]) -> Iterator[dict[str, Any]]:
    sets: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for place, labels in known.items():
        sets.setdefault(tuple(sorted(labels.items())), []).append(place)
    for pairs, places in sets.items():
        yield {"targets": places, "labels": dict(pairs)}
