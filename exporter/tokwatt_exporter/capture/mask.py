"""Takes out of texts what says whose Mac it is: serial numbers, UUIDs, names of user and host, addresses."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tokwatt_exporter.apple import iokit

_UUID = re.compile(r"\b[\dA-Fa-f]{8}-(?:[\dA-Fa-f]{4}-){3}[\dA-Fa-f]{12}\b")
_MAC = re.compile(r"\b(?:[\dA-Fa-f]{2}:){5}[\dA-Fa-f]{2}\b")
_IPV4 = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_IPV6 = re.compile(r"(?<![\w:])(?:[\dA-Fa-f]{1,4}:){1,7}(?::[\dA-Fa-f]{1,4}|:)(?::[\dA-Fa-f]{1,4})*")
_SERIAL = re.compile(r'("[^"]*[Ss]erial[^"]*"=)"[^"]*"')
_CREATOR = re.compile(r'("IOUserClientCreator" = "pid \d+),[^\n]*"')
#: What is told by its form: kind, form, and what comes in its place.
_FORMS = (
    ("UUIDs", _UUID, "00000000-0000-0000-0000-000000000000"),
    ("hardware addresses", _MAC, "00:00:00:00:00:00"),
    ("network addresses", _IPV4, "0.0.0.0"),
    ("network addresses", _IPV6, "::"),
    ("serial numbers", _SERIAL, r'\1"masked"'),
    # It may be that of a project or a person.
    ("names of processes", _CREATOR, r'\1, process"'),
)
#: Shorter names are parts of words that mean something else.
_SHORTEST = 3
#: Nor does a name that is a word of the forms say who somebody is, and without the word a form is not read.
_WORDS = {
    "apple", "battery", "brand", "class", "com", "cpu", "cpus", "dram", "gpu", "iogpu", "kern", "mac", "machdep",
    "masked", "media", "model", "name", "net", "pid", "pmgr", "power", "process", "product", "string", "system", "user",
}  # fmt: skip


class Secrets(NamedTuple):
    """Texts that must not be in a recording, by what they are."""

    names: frozenset[str]
    serials: frozenset[str]

    @classmethod
    def of_this_mac(cls) -> Secrets:
        """Names of the users at work and of the host; serial number and UUID of the board."""
        hosts = {socket.gethostname(), os.uname().nodename} - {"localhost"}
        names = {*hosts, *(host.partition(".")[0] for host in hosts), *_users()}
        return cls(frozenset(names), frozenset(_serials()))


def _users() -> Iterable[str]:
    """Account, full name and home of who runs this, and of who said sudo."""
    accounts = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    with contextlib.suppress(KeyError):
        accounts.add(pwd.getpwuid(os.getuid()).pw_name)
    for account in accounts - {"", "root"}:
        yield account
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(account)
            yield from (entry.pw_gecos.partition(",")[0], entry.pw_dir)


def _serials() -> Iterable[str]:
    for board in iokit.services("IOPlatformExpertDevice"):
        for key in ("IOPlatformSerialNumber", "IOPlatformUUID"):
            value = board.property(key)
            if isinstance(value, str):
                yield value


def _telling(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text for text in texts if len(text) >= _SHORTEST and text.lower() not in _WORDS)


class Mask:
    """Masks text after text and counts by kind what it found."""

    def __init__(self, secrets: Secrets) -> None:
        self.counts: Counter[str] = Counter()
        # The longest first, for a short one can be a part of it.
        literals = [
            (what, text, "masked")
            for what, texts in (("serial numbers", secrets.serials), ("names of user and host", secrets.names))
            for text in sorted(_telling(texts), key=len, reverse=True)
        ]
        self._rules = [
            *((what, re.compile(rf"(?<!\w){re.escape(text)}(?!\w)"), new) for what, text, new in literals),
            # Data is printed in hexadecimal.
            *((what, re.compile(text.encode().hex()), "00" * len(text.encode())) for what, text, _ in literals),
            *_FORMS,
        ]

    def __call__(self, text: str) -> str:
        """The text with each secret in it replaced."""
        for what, pattern, new in self._rules:
            text, found = pattern.subn(new, text)
            if found:
                self.counts[what] += found
        return text
