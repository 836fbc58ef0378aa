"""What a service is, whoever looks after it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter.errors import ServiceError, UsageError
from tokwatt_exporter.service import health, tail, view
from tokwatt_exporter.service.health import Health
from tokwatt_exporter.service.view import RunsAs, Seen


class Command(NamedTuple):
    """What the service runs: `PROGRAM run ARGUMENTS`; the program's path is absolute."""

    program: str
    arguments: tuple[str, ...] = ()


class Account(NamedTuple):
    """The user that the service runs as."""

    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True, kw_only=True)
class Status:
    """How the service is doing; None is not known."""

    manager: str
    #: Its name as the manager's own tools take it: `gui/501/tokwatt.exporter`, `tokwatt.service`.
    name: str
    file: Path
    installed: bool
    loaded: bool = False
    running: bool = False
    enabled: bool | None = None
    state: str | None = None
    pid: int | None = None
    #: How often a process was started, since it was loaded (launchd) or last started by hand (systemd).
    runs: int | None = None
    last_exit_code: int | None = None
    #: What `/-/healthy` says; None where nobody was asked, or who was asked did not say.
    healthy: bool | None = None
    url: str | None = None
    data_dir: Path | None = None
    logs: tuple[Path, ...] = ()
    #: What is wrong, and what mends it.
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {name: _plain(value) for name, value in asdict(self).items()}


class Service(ABC):
    """tokwatt as one manager runs it. Everything raises `ServiceError` where the manager refuses."""

    manager: str
    system: bool
    _known: tuple[Command, Seen | None] | None = None

    @property
    @abstractmethod
    def file(self) -> Path:
        """Where the manager reads what to run."""

    @property
    @abstractmethod
    def runs_as(self) -> RunsAs:
        """User, folder and environment of the service."""

    @abstractmethod
    def command(self) -> Command | None:
        """What is installed; None where nothing is, or nothing that tokwatt wrote."""

    @abstractmethod
    def install(self, command: Command) -> list[str]:
        """Write the file and start the service; what was done, in lines for the user."""

    @abstractmethod
    def uninstall(self) -> list[str]:
        """End the service and take the file away; history and log stay."""

    @abstractmethod
    def start(self) -> None:
        """Start it, unless it runs."""

    @abstractmethod
    def stop(self) -> None:
        """End it, until `start` or the next start of the session or machine."""

    @abstractmethod
    def restart(self) -> None:
        """End it where it runs, and start it."""

    @abstractmethod
    def status(self) -> Status:
        """How it is doing, from the manager and from its own `/-/healthy`."""

    @abstractmethod
    def logs(self, lines: int, follow: bool) -> None:
        """Print the last lines of its log on stdout, and what comes next until interrupted."""

    def seen(self) -> Seen | None:
        """The settings of what is installed, as the service itself sees them; None where they cannot be used."""
        command = self.command()
        if command is None:
            return None
        if self._known is None or self._known[0] != command:
            self._known = command, Seen.of(command.program, command.arguments, self.runs_as)
        return self._known[1]

    def check(self) -> None:
        """Whether it is installed, and could start with the settings there are now."""
        command = self.installed()
        view.check(command.program, command.arguments, self.runs_as)

    def installed(self) -> Command:
        """What is installed; `ServiceError` where nothing is."""
        command = self.command()
        if command is None:
            what = "is not what tokwatt writes" if self.file.exists() else "is not there"
            raise ServiceError(f"not installed: {self.file} {what}; {self.hint('install')} makes it")
        return command

    def settled(self, patience: float = 15.0, every: float = 0.3) -> Status:
        """The status once the daemon answers, or when the patience is over."""
        end = time.monotonic() + patience
        while True:
            status = self.status()
            answers = status.running and status.healthy is not False
            if answers or status.state == "failed" or time.monotonic() > end:
                return status
            time.sleep(every)

    def hint(self, verb: str) -> str:
        """A command of ours to type."""
        return f"`sudo tokwatt service {verb} --system`" if self.system else f"`tokwatt service {verb}`"

    def _health(self, running: bool) -> Health | None:
        seen = self.seen() if running else None
        return health.ask(seen.place, seen.may_use_tls) if seen and seen.place else None

    def settings_problem(self) -> str | None:
        """What a start would say of the settings; None where they are fine."""
        try:
            self.check()
        except (UsageError, ServiceError) as error:
            return str(error)
        return None

    def _show(self, paths: Sequence[Path], lines: int, follow: bool) -> None:
        try:
            tail.show(paths, lines, follow)
        except OSError as error:
            raise ServiceError(f"{error.filename} cannot be read: {error.strerror}") from None

    def _kept(self, seen: Seen | None) -> list[str]:
        """Where the history is that an uninstallation leaves."""
        return [f"the history stays in {seen.data_dir}" if seen else "the history stays where it is"]


def as_run(words: Sequence[str]) -> Command | None:
    """The command in `PROGRAM run …`; None for anything else."""
    if len(words) < 2 or words[1] != "run":
        return None
    return Command(words[0], tuple(words[2:]))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
