"""`launchctl` by its verbs, with the waiting that launchd leaves to whoever calls it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import printed, tool
from tokwatt_exporter.service.printed import Printed

T = TypeVar("T")

#: What launchctl exits with, by what it means.
NO_PROCESS, IO_ERROR, EXISTS, IN_PROGRESS, ALREADY = 3, 5, 17, 36, 37
NO_DOMAIN, NO_SERVICE, WRONG_DOMAIN = 112, 113, 125


class Refused(ServiceError):
    """launchctl ended with a code other than 0."""

    def __init__(self, verb: str, target: str, result: tool.Result) -> None:
        super().__init__(f"launchctl {verb} {target} ended with {result.code}: {result.said}".rstrip(": "))
        self.verb, self.target, self.code, self.said = verb, target, result.code, result.said


class Launchctl:
    """The program at `path`; `patience` is how many seconds launchd may take to end or start something."""

    def __init__(self, path: str = "/bin/launchctl", *, patience: float = 45.0, every: float = 0.2) -> None:
        self._path = path
        self._patience = patience
        self._every = every

    def has_domain(self, domain: str) -> bool:
        """Whether there is such a domain: `gui/UID` is there while its user is logged in at the screen."""
        result = self._run("print", domain)
        if result.code in (NO_DOMAIN, NO_SERVICE, WRONG_DOMAIN):
            return False
        return bool(self._accept("print", domain, result))

    def printed(self, target: str) -> Printed | None:
        """What launchd knows of a service; None where it is not loaded."""
        result = self._run("print", target)
        if result.code in (NO_DOMAIN, NO_SERVICE, WRONG_DOMAIN):
            return None
        return printed.parse(self._accept("print", target, result))

    def is_disabled(self, domain: str, label: str) -> bool | None:
        """Whether the user switched the service off, which outlives its file; None where nothing is kept of it."""
        result = self._run("print-disabled", domain)
        return None if result.code else printed.is_disabled(result.out, label)

    def bootstrap(self, domain: str, path: Path) -> None:
        """Load a property list; waits for one of the same label that is still ending."""
        result = self.until(
            lambda: self._run("bootstrap", domain, str(path)), lambda r: r.code not in (IN_PROGRESS, ALREADY)
        )
        self._accept("bootstrap", domain, result)

    def bootout(self, target: str) -> None:
        """Unload a service, ending it; returns when launchd has forgotten it."""
        result = self._run("bootout", target)
        if result.code not in (0, IN_PROGRESS, ALREADY) and self.printed(target) is not None:
            raise Refused("bootout", target, result)
        if self.until(lambda: self.printed(target), lambda known: known is None) is not None:
            raise ServiceError(
                f"launchd still ends {target} after {self._patience:g} s; look with `launchctl print {target}`, "
                f"and force it with `launchctl kill KILL {target}`"
            )

    def kickstart(self, target: str, *, again: bool = False) -> None:
        """Start a loaded service; with `again`, end it first where it runs."""
        arguments = ("-k", target) if again else (target,)
        result = self._run("kickstart", *arguments)
        if result.code != ALREADY or again:
            self._accept("kickstart", target, result)

    def terminate(self, target: str) -> None:
        """Send SIGTERM to a service; fine where it has no process."""
        result = self._run("kill", "TERM", target)
        if result.code != NO_PROCESS:
            self._accept("kill", target, result)

    def enable(self, target: str) -> None:
        """Undo that the service was switched off."""
        self._accept("enable", target, self._run("enable", target))

    def until(self, look: Callable[[], T], done: Callable[[T], bool], patience: float | None = None) -> T:
        """What `look` gives once it is `done`, or when the patience is over."""
        end = time.monotonic() + (self._patience if patience is None else patience)
        while not done(seen := look()) and time.monotonic() < end:
            time.sleep(self._every)
        return seen

    def _run(self, *arguments: str) -> tool.Result:
        return tool.run(self._path, *arguments)

    def _accept(self, verb: str, target: str, result: tool.Result) -> str:
        if result.code:
            raise Refused(verb, target, result)
        return result.out
