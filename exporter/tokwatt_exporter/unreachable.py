"""Why another machine cannot be reached, where the system's own words mislead."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

#: EHOSTUNREACH of macOS; the number is another error's on Linux.
_MACOS_EHOSTUNREACH = 65


def explain_unreachable(error: BaseException, host: str | None) -> str | None:
    """What is behind a "no route to host" on a Mac; None where that is not what went wrong.

    Local Network Privacy (macOS 15) refuses connections of background agents to the local network with this error and
    no question to anybody. Daemons, root and what a terminal started are exempt, as are loopback and the internet.
    """
    if not isinstance(error, OSError) or error.errno != _MACOS_EHOSTUNREACH or not _may_be_local(host):
        return None
    return (
        "no route to host: macOS lets no background agent reach the local network; "
        "`sudo tokwatt service install --system` makes tokwatt a LaunchDaemon, which may, or run it from a terminal"
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything wrapped in it; requests and urllib3 wrap in arguments and attributes."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if any(current is known for known in seen):
            continue
        seen.append(current)
        yield current
        inner = (*current.args, current.__cause__, current.__context__, getattr(current, "reason", None))
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def explained(error: BaseException, host: str | None) -> str | None:
    """What is behind an error or anything wrapped in it; None where nothing here explains it."""
    return next((known for cause in causes(error) if (known := explain_unreachable(cause, host))), None)


def _may_be_local(host: str | None) -> bool:
    # A zone belongs to an address of the link.
    bare = (host or "").partition("%")[0].strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        # A name may stand for anything.
        return True
    return address.is_private and not address.is_loopback
