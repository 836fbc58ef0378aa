"""Why launchd's service is not running or does not answer, and what mends it."""

from __future__ import annotations

import os
from typing import Protocol

from tokwatt_exporter.service import plist
from tokwatt_exporter.service.base import Command
from tokwatt_exporter.service.explain import Case
from tokwatt_exporter.service.health import Health
from tokwatt_exporter.service.printed import Printed
from tokwatt_exporter.shell import WRONG_USAGE

#: What launchd notes for a process that it could not start.
_EX_CONFIG = 78


class Looked(Protocol):
    """What is asked of the service."""

    def command(self) -> Command | None:
        """What the property list runs."""

    def settings_problem(self) -> str | None:
        """What a start would say of the settings."""


def of(service: Looked, case: Case, known: Printed | None, *, off: bool, health: Health | None) -> str | None:
    """What is wrong, in one line that ends with what mends it; None where nothing is."""
    if known is None:
        return _not_loaded(service, case, off)
    if known.running:
        return health.problem if health else None
    code = known.last_exit_code
    if code == WRONG_USAGE:
        why = service.settings_problem()
        return f"{_again(case)}: {why}" if why else f"it could not use its settings or its port; {_log(case)}"
    if code == _EX_CONFIG:
        return f"launchd could not start it: {_not_startable(service, case)}"
    if code:
        return f"it ended with {code}, and launchd starts it again within {plist.THROTTLE} s; {_log(case)}"
    if known.state not in (None, "not running"):
        return f"launchd waits to start it, up to {plist.THROTTLE} s after the last start"
    return f"it was stopped: {case.tokwatt('start')}"


def _not_loaded(service: Looked, case: Case, off: bool) -> str:
    if not case.file.exists():
        return f"not installed: {case.tokwatt('install')}"
    if off:
        return (
            "switched off, in System Settings (General, Login Items) or by `launchctl disable`: switch it on there, or "
            f"{case.tokwatt('start')}"
        )
    if service.command() is None:
        return f"{case.file} is not what tokwatt writes: {case.tokwatt('install')}"
    return f"not loaded: {case.tokwatt('start')}"


def _again(case: Case) -> str:
    return f"its settings cannot be used, and launchd tries again every {plist.THROTTLE} s"


def _not_startable(service: Looked, case: Case) -> str:
    command = service.command()
    content = plist.read(case.file) or {}
    if command and not os.access(command.program, os.X_OK):
        return f"there is no program {command.program}; install tokwatt again, then {case.tokwatt('install')}"
    for key in ("WorkingDirectory", "StandardErrorPath"):
        path = str(content.get(key, ""))
        folder = path if key == "WorkingDirectory" else os.path.dirname(path)  # noqa: PTH120 - may be empty
        if folder and not os.path.isdir(folder):  # noqa: PTH112
            return f"there is no folder {folder}; {case.tokwatt('install')} makes it"
    return f"its program, folders or user are not there (78, EX_CONFIG); {case.tokwatt('install')} looks at each"


def _log(case: Case) -> str:
    return f"the log says more: {case.tokwatt('logs')}"
