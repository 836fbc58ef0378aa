"""tokwatt as a unit of systemd: of the user, or of the system with a user of its own."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import files, tool, unit
from tokwatt_exporter.service.base import Command, Service, Status
from tokwatt_exporter.service.program import check_reachable
from tokwatt_exporter.service.view import RunsAs
from tokwatt_exporter.shell import WRONG_USAGE

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "ExecMainCode", "ExecMainStatus",
    "FragmentPath",
)  # fmt: skip
#: CLD_EXITED: what ExecMainStatus says is an exit code, and not a signal.
_EXITED = "1"
#: What systemd notes for a program that is not there.
_EXEC_FAILED = 203


class Systemd(Service):
    """The unit in `folder`, looked after by these programs."""

    manager = "systemd"

    def __init__(
        self, *, system: bool = False, systemctl: str = "/usr/bin/systemctl", journalctl: str = "/usr/bin/journalctl",
        loginctl: str = "/usr/bin/loginctl", folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.system = system
        self._systemctl, self._journalctl, self._loginctl = systemctl, journalctl, loginctl
        self._folder = folder or (Path("/etc/systemd/system") if system else _user_folder())

    @property
    def file(self) -> Path:
        """The unit's file."""
        return self._folder / unit.NAME

    @property
    def runs_as(self) -> RunsAs:
        """User, folder and environment; a system unit has credentials that are there only while it runs."""
        path = os.environ.get("PATH", os.defpath)
        if self.system:
            state = {"STATE_DIRECTORY": f"/var/lib/{unit.STATE}"}
            return RunsAs({"PATH": path, **unit.SYSTEM_ENVIRONMENT, **state}, Path("/"), has_files=False)
        return RunsAs({"PATH": path, "HOME": str(Path.home())}, Path.home())

    def command(self) -> Command | None:
        """What the unit runs; a drop-in is not looked at."""
        return unit.read(self.file)

    def install(self, command: Command) -> list[str]:
        """Write the unit, enable and start it; a running one is started anew where the unit changed."""
        self._need()
        if self.system:
            check_reachable(command.program, unit.HIDDEN)
        text = unit.make(command, system=self.system, groups=[name for name in unit.GROUPS if _is_group(name)])
        mode = 0o644 if self.system else 0o600
        said = [f"{self.file} is already what it should be"]
        if not files.is_same(self.file, text, mode=mode):
            files.write(self.file, text, mode=mode)
            self._do("daemon-reload")
            self._do("enable", unit.NAME)
            self._do("restart", unit.NAME)
            said = [f"wrote {self.file}", f"enabled and started {unit.NAME}"]
        else:
            self._do("enable", "--now", unit.NAME)
        return [*said, self._starts()]

    def uninstall(self) -> list[str]:
        """End and disable the unit, and remove its file."""
        self._need()
        seen = self.seen()
        if not self.file.exists():
            return [f"not installed: there is no {self.file}"]
        self._do("disable", "--now", unit.NAME)
        files.remove(self.file)
        self._do("daemon-reload")
        return [f"removed {self.file}", *self._kept(seen)]

    def start(self) -> None:
        """Start the unit."""
        self._do("start", unit.NAME)

    def stop(self) -> None:
        """Stop the unit."""
        self._do("stop", unit.NAME)

    def restart(self) -> None:
        """Stop and start the unit."""
        self._do("restart", unit.NAME)

    def status(self) -> Status:
        """What `systemctl show` says, and what the daemon says."""
        facts = self._facts()
        loaded = facts.get("LoadState") == "loaded"
        running = facts.get("ActiveState") in ("active", "reloading") and facts.get("MainPID", "0") != "0"
        exited = facts.get("ExecMainCode") == _EXITED and not running
        seen, health = self.seen(), self._health(running)
        problem = (health.problem if health else None) if running else self._problem(facts)
        return Status(
            manager=self.manager,
            name=unit.NAME,
            file=self.file,
            installed=self.file.exists(),
            loaded=loaded,
            running=running,
            enabled={"enabled": True, "disabled": False}.get(facts.get("UnitFileState", "")),
            state=facts.get("SubState") if loaded else None,
            pid=int(facts["MainPID"]) if running else None,
            runs=int(facts["NRestarts"]) + 1 if running and facts.get("NRestarts", "").isdigit() else None,
            last_exit_code=int(facts["ExecMainStatus"]) if exited else None,
            healthy=health.healthy if health else None,
            url=health.url if health else None,
            data_dir=seen.data_dir if seen else None,
            logs=(seen.log_file,) if seen and seen.log_file else (),
            problem=problem,
        )

    def logs(self, lines: int, follow: bool) -> None:
        """The journal's, or those of the file that the settings name."""
        seen = self.seen()
        if seen and seen.log_file:
            self._show((seen.log_file,), lines, follow)
            return
        which = "--unit" if self.system else "--user-unit"
        words = [self._journalctl, which, unit.NAME, "--no-pager", "--lines", str(lines), *["--follow"] * follow]
        try:
            code = subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode
        except OSError as error:
            raise ServiceError(f"{self._journalctl} cannot be run: {error.strerror}") from None
        if code:
            raise ServiceError(f"{self._journalctl} ended with {code}")

    def _facts(self) -> Mapping[str, str]:
        self._need()
        out = self._do("show", unit.NAME, f"--property={','.join(_PROPERTIES)}")
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def _problem(self, facts: Mapping[str, str]) -> str | None:
        load, code = facts.get("LoadState"), facts.get("ExecMainStatus")
        if load == "masked":
            return f"masked: `{self._words()} unmask {unit.NAME}`"
        if load == "not-found" or not (self.file.exists() or facts.get("FragmentPath")):
            return f"not installed: {self.hint('install')}"
        if load != "loaded":
            return f"systemd cannot use {self.file} ({load}): {self.hint('install')} writes it anew"
        active = facts.get("ActiveState")
        if active == "inactive":
            return f"it was stopped: {self.hint('start')}"
        if facts.get("ExecMainCode") != _EXITED:
            return f"it is {active} ({facts.get('SubState')}), last ended by signal {code}; {self._log()}"
        if code == str(WRONG_USAGE) and (why := self.settings_problem()):
            return f"its settings cannot be used, and systemd starts it only once they are mended and you say so: {why}"
        if code == str(_EXEC_FAILED):
            return f"systemd cannot run {getattr(self.command(), 'program', 'its program')}; {self._log()}"
        # Codes of systemd's own, for what went wrong before the program ran.
        named = f" (`systemd-analyze exit-status {code}` names it)" if int(code or 0) >= 200 else ""
        return f"it is {active} ({facts.get('SubState')}), last ended with {code}{named}; {self._log()}"

    def _starts(self) -> str:
        if self.system:
            return "it starts with the machine"
        name = getpass.getuser()
        result = tool.run(self._loginctl, "show-user", name, "--property=Linger", "--value")
        if result.out.strip() == "yes":
            return "it starts with the machine, since your user lingers"
        return f"it runs while you are logged in; `sudo loginctl enable-linger {name}` makes it start with the machine"

    def _log(self) -> str:
        return f"the log says more: {self.hint('logs')}"

    def _words(self) -> str:
        return "sudo systemctl" if self.system else "systemctl --user"

    def _need(self) -> None:
        result = self._run("show", "--property=Version")
        if result.code:
            raise ServiceError(
                f"systemd does not answer: {result.said.rstrip('.') or result.code}{self._why(result.said)}"
            )

    def _why(self, said: str) -> str:
        if "not been booted" in said:
            return "; something else starts the services of this machine, and can run `tokwatt run`"
        if self.system or "connect to bus" not in said:
            return ""
        return (
            f"; a login makes a systemd of your user (su and sudo do not), or `sudo loginctl enable-linger "
            f"{getpass.getuser()}`"
        )

    def _do(self, *arguments: str) -> str:
        result = self._run(*arguments)
        if result.code:
            raise ServiceError(f"{self._words()} {' '.join(arguments)}: {result.said or result.code}; {self._log()}")
        return result.out

    def _run(self, *arguments: str) -> tool.Result:
        if self.system:
            return tool.run(self._systemctl, *arguments)
        runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
        return tool.run(self._systemctl, "--user", *arguments, environ={"XDG_RUNTIME_DIR": runtime})


def _is_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False


def _user_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
