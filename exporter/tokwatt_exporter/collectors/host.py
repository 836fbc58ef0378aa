"""Identity of the machine and of this build."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from tokwatt_exporter import __version__
from tokwatt_exporter.catalogue import BUILD_INFO, HOST_INFO
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.linux_cpuinfo import cpu_identity
from tokwatt_exporter.collectors.linux_files import text
from tokwatt_exporter.snapshot import Reading

#: What board makers leave in the firmware when nobody filled the form in.
_PLACEHOLDERS = ("", "none", "default string", "not specified", "not applicable", "system product name", "undefined")


class Host(Collector):
    """What never changes while the exporter runs, read once."""

    name = "host"

    def __init__(
        self,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        etc: Path = Path("/etc"),
        system: Any = platform,
    ) -> None:
        self._proc, self._sys, self._etc = proc, sys, etc
        self._platform = system
        self._readings: tuple[Reading, ...] = ()

    def read(self) -> Iterator[Reading]:
        """One info series each for the host and the build."""
        if not self._readings:
            self._readings = (self._build(), self._host())
        yield from self._readings

    def _build(self) -> Reading:
        python = self._platform.python_version()
        return BUILD_INFO(version=__version__, revision=installed_revision(), python_version=python)

    def _host(self) -> Reading:
        return HOST_INFO(
            os=self._platform.system().lower(),
            os_version=os_release(self._etc / "os-release"),
            arch=self._platform.machine(),
            chip=cpu_identity(self._proc).model,
            machine_model=self._machine_model(),
        )

    def _machine_model(self) -> str | None:
        """The product's name and never its serial number; a board of one's own has only the board's name."""
        dmi = self._sys / "class/dmi/id"
        for path in (dmi / "product_name", dmi / "board_name", self._sys / "firmware/devicetree/base/model"):
            name = text(path) or ""
            if name.lower() not in _PLACEHOLDERS and not name.lower().startswith("to be filled"):
                return name
        return None


def os_release(path: Path) -> str | None:
    """Name and version of the distribution (`Debian GNU/Linux 12`), or None where there is no such file."""
    fields = {}
    for line in (text(path) or "").splitlines():
        key, _, value = line.partition("=")
        if not key.startswith("#"):
            fields[key] = " ".join(shlex.split(value))
    return " ".join(filter(None, (fields.get("NAME"), fields.get("VERSION_ID")))) or None


def installed_revision(distribution: str = "tokwatt") -> str | None:
    """The commit the package was installed from, when the installer wrote it down (`pip install git+https://…`)."""
    try:
        origin = metadata.distribution(distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    commit = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None
