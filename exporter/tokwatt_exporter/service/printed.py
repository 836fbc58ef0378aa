"""Reading what `launchctl print` and `print-disabled` print, which Apple calls no interface."""

from __future__ import annotations

import re
from typing import NamedTuple


class Printed(NamedTuple):
    """What launchd knows of a service; None where it does not say."""

    state: str | None = None
    pid: int | None = None
    runs: int | None = None
    last_exit_code: int | None = None
    path: str | None = None

    @property
    def running(self) -> bool:
        """Whether a process runs."""
        return self.pid is not None


def parse(text: str) -> Printed:
    """What `launchctl print DOMAIN/LABEL` says."""
    facts = _facts(text)
    state = facts.get("state")
    return Printed(
        state=state,
        pid=_number(facts.get("pid")) if state != "not running" else None,
        runs=_number(facts.get("runs")),
        last_exit_code=_number(facts.get("last exit code")),
        path=facts.get("path"),
    )


def is_disabled(text: str, label: str) -> bool | None:
    """What `launchctl print-disabled` says of a label: `disabled`, or `true` on older systems; None where nothing."""
    found = re.search(rf'^\s*"{re.escape(label)}" => (\w+)', text, re.M)
    return found[1] in ("disabled", "true") if found else None


def _facts(text: str) -> dict[str, str]:
    """The `key = value` lines of the service itself; blocks in it have a `state` and a `pid` of their own.

    Arguments and variables are printed raw, with braces and line ends: only a brace after exactly one tab closes a
    block. Should one be in an argument, what looks like a fact after it is undone: of what is said after the first
    block, the last counts, and what was said before it stands.
    """
    facts: dict[str, str] = {}
    first: set[str] = set()
    inside = False
    for line in text.splitlines():
        if inside:
            inside = line != "\t}"
        elif match := re.fullmatch(r"\t([^\t=][^=]*?) =(?: (.*))?", line):
            key, value = match[1], match[2] or ""
            if value == "{":
                inside = True
                first = first or set(facts)
            elif key not in first:
                facts[key] = value
    return facts


def _number(value: str | None) -> int | None:
    found = re.match(r"-?\d+", value or "")
    return int(found[0]) if found else None
