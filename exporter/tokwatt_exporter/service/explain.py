"""What launchctl's exit codes mean here, and what mends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tokwatt_exporter.service import launchctl, plist
from tokwatt_exporter.service.launchctl import Launchctl, Refused


class Case(NamedTuple):
    """Where it happened: the domain, the property list, and (uid, gid) that should own it."""

    launchctl: Launchctl
    domain: str
    file: Path
    owner: tuple[int, int]

    @property
    def target(self) -> str:
        """The service as launchctl takes it."""
        return f"{self.domain}/{plist.LABEL}"

    def command(self, words: str) -> str:
        """A command to type, with what it needs to be allowed."""
        return f"`{'sudo ' if self.domain == 'system' else ''}{words}`"

    def tokwatt(self, verb: str) -> str:
        """A command of ours to type."""
        return self.command(f"tokwatt service {verb}{' --system' if self.domain == 'system' else ''}")


def explain(error: Refused, case: Case) -> str:
    """What went wrong, in one line that ends with the command that mends it."""
    words = _WORDS.get(error.code)
    why = words(case) if words else f"{error}; `launchctl error {error.code}` names it"
    return f"launchd: {why} (launchctl {error.verb}: {error.code})" if words else f"launchd: {why}"


def _no_domain(case: Case) -> str:
    if case.domain.startswith("gui/"):
        return (
            f"nobody is logged in at the screen, so there is no {case.domain}: {case.tokwatt('install')} makes an "
            "agent that starts with any login, by ssh too, and `sudo tokwatt service install --system` a daemon that "
            "starts with the Mac"
        )
    return f"there is no {case.domain} here: `sudo tokwatt service install --system` needs no login"


def _not_loaded(case: Case) -> str:
    return f"{case.target} is not loaded: {case.tokwatt('start')} loads it"


def _no_process(case: Case) -> str:
    return f"{case.target} has no process: {case.tokwatt('start')} starts one"


def _busy(case: Case) -> str:
    return (
        f"it is still starting or ending {case.target}, which takes up to {plist.EXIT_TIMEOUT} s: try again then; "
        f"`launchctl print {case.target}` shows its state"
    )


def _exists(case: Case) -> str:
    known = case.launchctl.printed(case.target)
    other = f" from {known.path}" if known and known.path and known.path != str(case.file) else ""
    return f"{case.target} is loaded already{other}: {case.command(f'launchctl bootout {case.target}')}, then again"


def _io_error(case: Case) -> str:
    """5 stands for four things; which one it is shows elsewhere."""
    if case.launchctl.printed(case.target) is not None:
        return _exists(case)
    if case.launchctl.is_disabled(case.domain, plist.LABEL):
        return (
            f"{case.target} is switched off (in System Settings, General, Login Items, or by `launchctl disable`): "
            f"switch it on there, or with {case.command(f'launchctl enable {case.target}')}; then "
            f"{case.tokwatt('start')}"
        )
    return _file_problem(case) or (
        f"it does not say what is wrong with {case.file}: {case.command(f'plutil -lint {case.file}')}, and "
        "`log show --last 2m --predicate 'process == \"launchd\"'`"
    )


def _file_problem(case: Case) -> str | None:
    try:
        status = case.file.stat()
    except OSError:
        return f"{case.file} is not there: {case.tokwatt('install')}"
    uid, gid = case.owner
    if status.st_uid != uid or (uid == 0 and case.domain == "system" and status.st_gid != gid):
        return f"{case.file} belongs to the wrong user: {_sudo(f'chown {uid}:{gid} {case.file}')}"
    if status.st_mode & 0o022:
        return f"others may write to {case.file}: {case.command(f'chmod go-w {case.file}')}"
    content = plist.read(case.file)
    words = content and content.get("ProgramArguments")
    if not content or content.get("Label") != plist.LABEL or not isinstance(words, list) or not words:
        return f"{case.file} is not a valid property list: {case.tokwatt('install')} writes it anew"
    if not os.access(words[0], os.X_OK):
        return f"its program {words[0]} is not there: install tokwatt again, then {case.tokwatt('install')}"
    return None


def _sudo(words: str) -> str:
    return f"`sudo {words}`"


_WORDS: dict[int, Callable[[Case], str]] = {
    launchctl.NO_PROCESS: _no_process,
    launchctl.IO_ERROR: _io_error,
    launchctl.EXISTS: _exists,
    launchctl.IN_PROGRESS: _busy,
    launchctl.ALREADY: _busy,
    launchctl.NO_DOMAIN: _no_domain,
    launchctl.NO_SERVICE: _not_loaded,
    launchctl.WRONG_DOMAIN: _no_domain,
}
