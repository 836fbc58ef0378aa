"""Machines with a launchd or a systemd that are no more than a file and a program."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from fakes import launchctl as fake_launchctl
from fakes import systemctl as fake_systemctl
from support.captures import shared_captures
from tokwatt_exporter.service import tool
from tokwatt_exporter.service.base import Account, Command
from tokwatt_exporter.service.launchctl import Launchctl
from tokwatt_exporter.service.launchd import Launchd
from tokwatt_exporter.service.systemd import Systemd

PRINTS = "macos/launchd"


#: Fakes and their states, by the path of their program.
PROGRAMS: dict[str, tuple[ModuleType, Path]] = {}


def program(path: Path, module: ModuleType, state: Path) -> str:
    """A program that runs a fake's module with a state of its own."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{module.__file__}" "{state}" "$@"\n')
    path.chmod(0o755)
    PROGRAMS[str(path)] = module, state
    return str(path)


@pytest.fixture(autouse=True)
def _fakes_run_here(request, monkeypatch):
    """A fake that is called from this process runs in it, in a twentieth of the time; end-to-end tests start it."""
    real = tool.run

    def run(path, *arguments, environ=None):
        if str(path) not in PROGRAMS:
            return real(path, *arguments, environ=environ)
        module, state = PROGRAMS[str(path)]
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, environ or {}), redirect_stdout(out), redirect_stderr(err):
            code = module.main(str(state), *arguments)
        return tool.Result(code, out.getvalue(), err.getvalue())

    if not request.node.get_closest_marker("e2e"):
        monkeypatch.setattr(tool, "run", run)
    yield
    PROGRAMS.clear()


class Fake:
    """What a fake keeps in its file: `fake["key"]` reads it, `fake.set(key=…)` changes it."""

    def __init__(self, file: Path, **state) -> None:
        self.file = file
        file.write_text(json.dumps({"calls": [], "codes": {}, **state}))

    def __getitem__(self, key):
        return json.loads(self.file.read_text())[key]

    def set(self, **changes) -> None:
        state = json.loads(self.file.read_text())
        self.file.write_text(json.dumps({**state, **changes}))

    def verbs(self) -> list[str]:
        """What changed something, in order."""
        return [call[0] for call in self["calls"] if not call[0].startswith(("print", "show"))]


class Mac(Fake):
    """A Mac with one user, logged in at the screen."""

    def __init__(self, folder: Path) -> None:
        prints = shared_captures() / PRINTS
        self.uid = os.getuid()
        self.gui, self.user = f"gui/{self.uid}", f"user/{self.uid}"
        super().__init__(
            folder / "launchd.json", domains=[self.gui, self.user, "system"], services={}, disabled={}, sticky=False,
            words=["enabled", "disabled"], owner=self.uid, leaving=2, next_pid=400,
            spawn=False, ends_with=None, deaf=False, term_exit=0, no_domain=125,
            captures={"running": (prints / "gui_agent_running_print.txt").read_text(),
                      "not running": (prints / "user_domain_not_running_print.txt").read_text()},
        )  # fmt: skip
        self.launchctl = Launchctl(program(folder / "launchctl", fake_launchctl, self.file), patience=3, every=0.01)
        self.home = folder / "home"
        self.home.mkdir()
        self.account = Account(getpass.getuser(), self.uid, os.getgid(), self.home)

    def agent(self) -> Launchd:
        """The user's service."""
        return Launchd(self.account, launchctl=self.launchctl)

    def daemon(self) -> Launchd:
        """The machine's."""
        return Launchd(self.account, system=True, launchctl=self.launchctl, library=self.home / "root")

    def end_all(self) -> None:
        """End what really runs."""
        for service in self["services"].values():
            if service.get("note") and service["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(service["pid"], signal.SIGKILL)


@pytest.fixture
def mac(tmp_path):
    machine = Mac(tmp_path)
    yield machine
    machine.end_all()


class Linux(Fake):
    """A machine with systemd."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "systemd.json", folder=str(folder / "units"), unit=None, enabled=False, linger=False,
                         ends_with=None, broken=None, next_pid=400)  # fmt: skip
        tool = program(folder / "systemctl", fake_systemctl, self.file)
        self._tools = {"systemctl": tool, "journalctl": tool, "loginctl": tool, "folder": folder / "units"}

    def service(self, *, system: bool = False) -> Systemd:
        """The unit of the user, or of the machine."""
        return Systemd(system=system, **self._tools)


@pytest.fixture
def linux(tmp_path):
    return Linux(tmp_path)


@pytest.fixture
def tokwatt():
    """The real program."""
    path = Path(sys.executable).parent / "tokwatt"
    assert path.exists()
    return str(path)


#: What `tokwatt config` would say, hundreds of times quicker.
STAND_IN = """\
#!/bin/sh
log=null data="$HOME/data"
while [ $# -gt 0 ]; do
    case $1 in
    --log.file) log="\\"$2\\"" ;;
    --data-dir) data=$2 ;;
    esac
    shift
done
echo '{"settings": ['
echo "{\\"key\\": \\"data-dir\\", \\"value\\": \\"$data\\"}, {\\"key\\": \\"log.file\\", \\"value\\": $log},"
echo '{"key": "web.listen-address", "value": ["127.0.0.1:0"]}, {"key": "web.config.file", "value": null}]}'
"""


@pytest.fixture
def command(tmp_path):
    """A program that knows its settings as the real one does, and listens nowhere."""
    path = tmp_path / "bin/tokwatt"
    path.parent.mkdir()
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return Command(str(path), ("--web.listen-address", "127.0.0.1:0"))
