"""tokwatt as an agent or a daemon of launchd."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import files, plist, trouble
from tokwatt_exporter.service.base import Account, Command, Service, Status, as_run
from tokwatt_exporter.service.explain import Case, explain
from tokwatt_exporter.service.launchctl import Launchctl, Refused
from tokwatt_exporter.service.printed import Printed
from tokwatt_exporter.service.view import RunsAs, Seen


class Launchd(Service):
    """The agent of `account` or, with `system`, the daemon that runs as it; `library` is where launchd looks.

    A daemon that is only looked at needs no account: its property list names it.
    """

    manager = "launchd"

    def __init__(
        self, account: Account | None, *, system: bool = False, launchctl: Launchctl | None = None,
        library: Path | None = None,
    ) -> None:  # fmt: skip
        self.system = system
        self._given = account
        self._launchctl = launchctl or Launchctl()
        assert system or account, "an agent has a user"
        self._library = library or (Path("/Library") if system or not account else account.home / "Library")

    @property
    def file(self) -> Path:
        """The property list."""
        return self._library / ("LaunchDaemons" if self.system else "LaunchAgents") / f"{plist.LABEL}.plist"

    @property
    def folder(self) -> Path:
        """Where the logs are."""
        return self._library / "Logs" / "tokwatt"

    @property
    def runs_as(self) -> RunsAs:
        """User, folder and environment; the last as the property list says it."""
        account = self._account()
        content = plist.read(self.file) or {}
        own = content.get("EnvironmentVariables", plist.ENVIRONMENT)
        environ = {**own, "HOME": str(account.home), "USER": account.name, "LOGNAME": account.name}
        user = (account.uid, account.gid, tuple(os.getgrouplist(account.name, account.gid))) if self.system else None
        return RunsAs(environ, account.home, user)

    def command(self) -> Command | None:
        """What the property list runs."""
        words = (plist.read(self.file) or {}).get("ProgramArguments", [])
        return as_run([str(word) for word in words]) if isinstance(words, list) else None

    def install(self, command: Command) -> list[str]:
        """Write the property list and load it, ending what was loaded before."""
        account = self._account()
        domain = self._choose()
        text = plist.make(plist.Job(
            self._with_log(command), home=str(account.home), logs=str(self.folder),
            user=account.name if self.system else None, background=domain.startswith("user/"),
        ))  # fmt: skip
        mode = 0o644 if self.system else 0o600
        loaded = self._loaded()
        files.own_folder(self.folder, account.uid, account.gid)
        if files.is_same(self.file, text, mode=mode) and [where for where, _ in loaded] == [domain]:
            self.start()
            return [f"{self.file} is already what it should be"]
        self._unload(loaded)
        files.write(self.file, text, mode=mode)
        self._load(domain)
        return [f"wrote {self.file}", f"loaded {domain}/{plist.LABEL}", *_starts(domain)]

    def uninstall(self) -> list[str]:
        """Unload it and remove the property list."""
        seen = self.seen()
        loaded = self._loaded()
        self._unload(loaded)
        if not files.remove(self.file) and not loaded:
            return [f"not installed: there is no {self.file}"]
        return [f"removed {self.file}", *self._kept(seen), f"the log stays in {self.folder}"]

    def start(self) -> None:
        """Load it where it is not loaded; else start its process."""
        loaded = self._loaded()
        if not loaded:
            self._load(self._domain())
        for domain, known in loaded:
            if not known.running:
                with self._explained(domain) as case:
                    self._launchctl.kickstart(case.target)

    def stop(self) -> None:
        """Ask it to end. What ends otherwise than well is unloaded, since launchd would start it again."""
        for domain, known in self._loaded():
            with self._explained(domain) as case:
                after: Printed | None = known
                if known.running:
                    self._launchctl.terminate(case.target)
                    after = self._after(case.target, known.pid)
                if after and (after.running or after.last_exit_code or after.state != "not running"):
                    self._launchctl.bootout(case.target)

    def restart(self) -> None:
        """End it and start it."""
        loaded = self._loaded()
        if not loaded:
            self._load(self._domain())
        for domain, _ in loaded:
            with self._explained(domain) as case:
                self._launchctl.kickstart(case.target, again=True)

    def status(self) -> Status:
        """What `launchctl print` says, and what the daemon says."""
        loaded = self._loaded()
        domain, known = loaded[0] if loaded else (self._domain(), None)
        seen = self.seen()
        health = self._health(bool(known and known.running))
        off = self._launchctl.is_disabled(domain, plist.LABEL)
        return Status(
            manager=self.manager,
            name=f"{domain}/{plist.LABEL}",
            file=self.file,
            installed=self.file.exists(),
            loaded=known is not None,
            running=bool(known and known.running),
            enabled=None if off is None else not off,
            state=known.state if known else None,
            pid=known.pid if known else None,
            runs=known.runs if known else None,
            last_exit_code=known.last_exit_code if known else None,
            healthy=health.healthy if health else None,
            url=health.url if health else None,
            data_dir=seen.data_dir if seen else None,
            logs=self._logs(seen),
            problem=trouble.of(self, self._case(domain), known, off=bool(off), health=health),
        )

    def logs(self, lines: int, follow: bool) -> None:
        """The daemon's own log, and what it said when it crashed."""
        self._show(self._logs(self.seen()), lines, follow)

    def _account(self) -> Account:
        name = (plist.read(self.file) or {}).get("UserName") if self.system else None
        if self._given:
            return self._given
        try:
            entry = pwd.getpwnam(str(name))
        except KeyError:
            raise ServiceError(f"{self.file} names no user of this machine") from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))

    def _with_log(self, command: Command) -> Command:
        """The command with a log of its own, unless its settings have one."""
        given = Seen.of(command.program, command.arguments, self.runs_as)
        if given and given.log_file:
            return command
        return command._replace(arguments=("--log.file", str(self.folder / plist.LOG), *command.arguments))

    def _logs(self, seen: Seen | None) -> tuple[Path, ...]:
        own = seen.log_file if seen and seen.log_file else self.folder / plist.LOG
        return own, self.folder / plist.CRASHES

    def _domains(self) -> tuple[str, ...]:
        if self.system:
            return ("system",)
        uid = self._account().uid
        return f"gui/{uid}", f"user/{uid}"

    def _choose(self) -> str:
        """Where to load it: `gui/UID` is not there on a Mac that nobody sits at."""
        first, *rest = self._domains()
        with self._explained(first):
            return first if not rest or self._launchctl.has_domain(first) else rest[0]

    def _domain(self) -> str:
        """Where the property list belongs."""
        first, *rest = self._domains()
        background = (plist.read(self.file) or {}).get("LimitLoadToSessionType") == "Background"
        return rest[0] if background and rest else first

    def _loaded(self) -> list[tuple[str, Printed]]:
        """Where it is loaded; in both domains when somebody installed it at the screen and then by ssh."""
        found = []
        for domain in self._domains():
            with self._explained(domain) as case:
                known = self._launchctl.printed(case.target)
            if known is not None:
                found.append((domain, known))
        return found

    def _load(self, domain: str) -> None:
        with self._explained(domain) as case:
            # Who says install or start has changed their mind.
            if self._launchctl.is_disabled(domain, plist.LABEL):
                self._launchctl.enable(case.target)
            self._launchctl.bootstrap(domain, self.file)

    def _after(self, target: str, pid: int | None) -> Printed | None:
        """What launchd knows once this process has ended."""
        known = self._launchctl.until(
            lambda: self._launchctl.printed(target), lambda now: now is None or not now.running or now.pid != pid
        )
        if known and known.running and known.pid == pid:
            raise ServiceError(
                f"{target} (pid {pid}) does not end; `launchctl kill KILL {target}` ends it, and what it has in hand"
            )
        return known

    def _unload(self, loaded: list[tuple[str, Printed]]) -> None:
        for domain, _ in loaded:
            with self._explained(domain) as case:
                self._launchctl.bootout(case.target)

    def _case(self, domain: str) -> Case:
        return Case(self._launchctl, domain, self.file, (0, 0) if self.system else (os.geteuid(), os.getegid()))

    @contextmanager
    def _explained(self, domain: str) -> Iterator[Case]:
        case = self._case(domain)
        try:
            yield case
        except Refused as error:
            raise ServiceError(explain(error, case)) from None


def _starts(domain: str) -> list[str]:
    if domain.startswith("gui/"):
        return ["it starts when you log in; `sudo tokwatt service install --system` starts with the Mac"]
    if domain.startswith("user/"):
        return ["nobody is logged in at the screen: it starts with the first login, by ssh too, and not with the Mac "
                "(`sudo tokwatt service install --system` does)"]  # fmt: skip
    return ["it starts with the Mac"]
