"""The property list that tells launchd what to run; `deploy/launchd` has it with placeholders."""

from __future__ import annotations

import plistlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

from tokwatt_exporter.service.base import Command

LABEL = "tokwatt.exporter"
LOG, CRASHES = "tokwatt.log", "crashes.log"
#: launchd's own PATH, said aloud; nothing of Homebrew's is run. LANG is for the tools that are.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONUNBUFFERED": "1",
}
#: Seconds between two starts.
THROTTLE = 60
#: Seconds to write what has been sampled to the history.
EXIT_TIMEOUT = 30

_HEAD = "What `tokwatt service install` writes. Keys belong in files that the configuration names, not in here."


class Job(NamedTuple):
    """What differs from one installation to another."""

    command: Command
    home: str
    logs: str
    #: The user of a LaunchDaemon; None makes it an agent.
    user: str | None = None
    #: An agent of a Mac where nobody logs in at the screen.
    background: bool = False


class _Entry(NamedTuple):
    key: str
    value: Any
    comment: str = ""


def make(job: Job) -> str:
    """The property list as text, with a comment above each key that needs one."""
    entries = list(_entries(job))
    text = plistlib.dumps({entry.key: entry.value for entry in entries}, sort_keys=False).decode()
    for entry in entries:
        if entry.comment:
            # plistlib writes no comments, and indents the keys of the outermost dictionary by one tab.
            key = f"\n\t<key>{entry.key}</key>\n"
            text = text.replace(key, f"\n\t<!-- {entry.comment} -->{key}")
    return text.replace("<plist ", f"<!-- {_HEAD} -->\n<plist ", 1)


def read(path: Path) -> Mapping[str, Any] | None:
    """What is in a property list; None where it is not there or none."""
    try:
        content = plistlib.loads(path.read_bytes())
    except (OSError, plistlib.InvalidFileException, ValueError, OverflowError, ExpatError):
        return None
    return content if isinstance(content, dict) else None


def _entries(job: Job) -> Iterator[_Entry]:
    yield _Entry("Label", LABEL)
    yield _Entry("ProgramArguments", [job.command.program, "run", *job.command.arguments],
                 "launchd knows neither a shell nor ~.")  # fmt: skip
    if job.user is not None:
        yield _Entry("UserName", job.user, "Nothing that tokwatt reads needs root.")
    if job.background:
        yield _Entry("LimitLoadToSessionType", "Background", "A Mac without a session at the screen.")
    yield _Entry("RunAtLoad", True)
    yield _Entry("KeepAlive", {"SuccessfulExit": False}, "Again after a crash, not after a stop.")
    yield _Entry("ThrottleInterval", THROTTLE,
                 "To launchd, unusable settings are a crash: it tries again, and finds them mended.")  # fmt: skip
    yield _Entry("ProcessType", "Standard",
                 "Background (and Adaptive, which is that without XPC) would sample and answer late.")  # fmt: skip
    yield _Entry("LegacyTimers", True, "Else timers wait to share a wake-up, and samples come late and in pairs.")
    yield _Entry("Nice", 5)
    yield _Entry("SoftResourceLimits", {"NumberOfFiles": 1024}, "launchd gives 256.")
    yield _Entry("ExitTimeOut", EXIT_TIMEOUT, "Time to write what has been sampled to the history.")
    yield _Entry("Umask", 0o077, "0077")
    yield _Entry("WorkingDirectory", job.home)
    yield _Entry("EnvironmentVariables", ENVIRONMENT)
    yield _Entry("StandardErrorPath", f"{job.logs}/{CRASHES}",
                 f"Crashes only: launchd does not rotate it. tokwatt rotates its own {LOG}.")  # fmt: skip
