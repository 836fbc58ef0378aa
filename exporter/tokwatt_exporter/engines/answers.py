"""Reading what an engine sent: every value is a stranger's until it has passed one of these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

#: Longest label value; longer names are cut.
NAME_CHARACTERS = 200
#: An unload time further away than this is the engine's way to say never.
FOREVER_SECONDS = 100 * 365.25 * 86400


def clean(value: object) -> str | None:
    """A name fit for labels and terminals: printable characters only, at most 200; None where nothing is left."""
    if not isinstance(value, str):
        return None
    # Cut first: a name of megabytes must not cost a pass over megabytes.
    return "".join(c for c in value[: 4 * NAME_CHARACTERS] if c.isprintable()).strip()[:NAME_CHARACTERS] or None


def known(value: object) -> str | None:
    """A cleaned name, or None where the engine wrote that it does not know."""
    name = clean(value)
    return None if name is None or name.lower() == "unknown" else name


def number(value: object) -> float | None:
    """A finite number that is not negative, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) and result >= 0 else None


def positive(value: object) -> float | None:
    """A finite number above zero, or None: engines write 0 for sizes that they do not know."""
    return number(value) or None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """The objects in a JSON list; anything else in it is skipped."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def unload_time(value: object, now: float) -> float | None:
    """Unix time of an RFC 3339 text; None where it is not one, or means never."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        time = moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return time if time is not None and 0 < time < now + FOREVER_SECONDS else None
