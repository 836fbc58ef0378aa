"""Write the unit and the property list from the templates of `tokwatt service`; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from tokwatt_exporter.service import plist, unit
from tokwatt_exporter.service.base import Command

HERE = Path(__file__).parent
#: What docs/deploy.md replaces.
TOKWATT, HOME = "__TOKWATT__", "__HOME__"
LOGS = f"{HOME}/Library/Logs/tokwatt"

FILES = {
    "systemd/tokwatt.service": lambda: unit.make(Command("/opt/tokwatt/bin/tokwatt"), system=True),
    "launchd/tokwatt.exporter.plist": lambda: plist.make(
        plist.Job(Command(TOKWATT, ("--log.file", f"{LOGS}/{plist.LOG}")), home=HOME, logs=LOGS)
    ),
}


def main(arguments: list[str], folder: Path = HERE) -> int:
    """Write the files, or with `--check` compare them: 1 when one is not what the code says."""
    stale = 0
    for name, make in FILES.items():
        path = folder / name
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(make())
        elif not path.exists() or path.read_text() != make():
            stale = 1
            sys.stderr.write(f"deploy/{name} is not what the code says: run `make docs`\n")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
