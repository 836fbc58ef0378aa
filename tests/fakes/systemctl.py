"""A `systemctl` (and `loginctl`, `journalctl`) whose systemd is one JSON file: `python systemctl.py STATE …`.

It runs what was in the unit's file at the last `daemon-reload`, as systemd does, and refuses in its words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NAME = "tokwatt.service"


class Refused(Exception):
    """The code to end with, and what to say."""


class Systemd:
    """The state in the file, and the verbs that change it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.state: dict[str, Any] = json.loads(file.read_text())
        self.state.setdefault("facts", {})

    def save(self) -> None:
        """Keep it for the next call."""
        self.file.write_text(json.dumps(self.state))

    def do(self, *words: str) -> None:
        """One call of systemctl, without `--user`, which is kept with it."""
        self.state["calls"].append([word for word in words if word != "--user"])
        self.state["of_user"] = "--user" in words
        if self.state["broken"]:
            raise Refused(1, self.state["broken"])
        verb, *arguments = (word for word in words if word != "--user")
        if (codes := self.state["codes"].get(verb)) and (code := codes.pop(0)):
            raise Refused(code, f"Job for {NAME} failed")
        getattr(self, verb.replace("-", "_"))(*arguments)

    def show(self, *arguments: str) -> None:
        """The manager's version, or the unit's properties."""
        if arguments[0].startswith("--"):
            sys.stdout.write("Version=252\n")
            return
        facts = self._facts()
        wanted = arguments[1].removeprefix("--property=").split(",")
        sys.stdout.write("".join(f"{key}={facts[key]}\n" for key in wanted))

    def daemon_reload(self) -> None:
        """Read the unit again."""
        path = Path(self.state["folder"], NAME)
        self.state["unit"] = path.read_text() if path.exists() else None

    def enable(self, *arguments: str) -> None:
        """With the machine or session, and with --now at once."""
        self._known()
        self.state["enabled"] = True
        if "--now" in arguments and not self.state.get("pid"):
            self.start(NAME)

    def disable(self, *arguments: str) -> None:
        """Not any more."""
        self.state["enabled"] = False
        if "--now" in arguments:
            self.stop(NAME)

    def start(self, name: str) -> None:
        """Run what was read."""
        self._known()
        self.state["started"] = self.state["unit"]
        self.state["next_pid"] += 1
        if self.state["ends_with"] is None:
            self.state["pid"], self.state["facts"] = self.state["next_pid"], {}
        else:
            active, sub = ("failed", "failed") if self.state["ends_with"] == 2 else ("activating", "auto-restart")
            self.state["facts"] = {"ActiveState": active, "SubState": sub, "ExecMainCode": "1",
                                   "ExecMainStatus": str(self.state["ends_with"])}  # fmt: skip

    def stop(self, name: str) -> None:
        """End it."""
        self._known()
        self.state["pid"], self.state["facts"] = None, {"ExecMainCode": "1"} if self.state.get("pid") else {}

    def restart(self, name: str) -> None:
        """End and run."""
        self.stop(name)
        self.start(name)

    def _known(self) -> None:
        if self.state["unit"] is None:
            raise Refused(5, f"Failed to start {NAME}: Unit {NAME} not found.")

    def _facts(self) -> dict[str, str]:
        pid = self.state.get("pid")
        return {
            "LoadState": "loaded" if self.state["unit"] is not None else "not-found",
            "ActiveState": "active" if pid else "inactive",
            "SubState": "running" if pid else "dead",
            "UnitFileState": "" if self.state["unit"] is None else "enabled" if self.state["enabled"] else "disabled",
            "MainPID": str(pid or 0), "NRestarts": "0", "ExecMainCode": "0", "ExecMainStatus": "0",
            "FragmentPath": str(Path(self.state["folder"], NAME)) if self.state["unit"] is not None else "",
            **self.state["facts"],
        }  # fmt: skip


def main(file: str, *arguments: str) -> int:
    """One call, and its exit code."""
    systemd = Systemd(Path(file))
    if arguments[0] == "show-user":
        sys.stdout.write("yes\n" if systemd.state["linger"] else "no\n")
        return 0
    if arguments[0] in ("--unit", "--user-unit"):
        sys.stdout.write(f"journal of {' '.join(arguments)}\n")
        return 0
    try:
        systemd.do(*arguments)
    except Refused as error:
        code, said = error.args
        sys.stderr.write(f"{said}\n")
        return int(code)
    finally:
        systemd.save()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
