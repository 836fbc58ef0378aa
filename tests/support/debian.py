"""Packages of any Debian suite, unpacked into a folder: no root, and the system's apt is left alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import cache

OS_RELEASE = Path("/etc/os-release")
KEYRINGS = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")


class NotInstallable(Exception):
    """Why a component cannot be had on this machine, in one line."""


def unpack(suite: str, packages: Sequence[str], into: Path, *, with_dependencies: bool = False) -> dict[str, str]:
    """Unpack `packages` of `suite` into the folder; package name → version of what was unpacked.

    With dependencies the folder becomes a tree that has its own libc. `NotInstallable` where this is no Debian, or the
    archive does not answer or does not have them.
    """
    with cache.locked(f"apt-{suite}"):
        archives = _Archive(suite).download(packages, with_dependencies=with_dependencies)
        try:
            for archive in archives:
                _run("dpkg-deb", "--extract", archive, into)
        finally:
            for archive in archives:
                archive.unlink()
    return dict(sorted(archive.name.split("_")[:2] for archive in archives))


class _Archive:
    """One suite of the mirror this machine is set up for, with package lists of our own."""

    def __init__(self, suite: str) -> None:
        for tool in ("apt-get", "dpkg-deb"):
            if not shutil.which(tool):
                raise NotInstallable(f"components are taken from Debian's archive, and this machine has no {tool}")
        self._state = cache.root() / f"apt-{suite}"
        for part in ("lists/partial", "cache/archives/partial", "sources"):
            (self._state / part).mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        keyring = next((path for name in KEYRINGS if (path := Path("/usr/share/keyrings", name)).is_file()), None)
        if keyring is None:
            raise NotInstallable("components are taken from Debian's archive, and this machine has no keyring of it")
        (self._state / "sources/suite.sources").write_text(
            f"Types: deb\nURIs: {mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {keyring}\n"
        )

    def download(self, packages: Sequence[str], *, with_dependencies: bool) -> list[Path]:
        """The package files, in this suite's own folder."""
        folder = self._state / "cache/archives"
        for leftover in folder.glob("*.deb"):
            leftover.unlink()
        # Always: files of a suite that moves disappear from the archive soon after the lists were read.
        self._apt("update")
        if with_dependencies:
            self._apt("install", "--yes", "--download-only", "--no-install-recommends", *packages)
        else:
            self._apt("download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _apt(self, *arguments: str, cwd: Path | None = None) -> None:
        options = {
            "Dir::State::Lists": self._state / "lists",
            "Dir::State::status": self._state / "status",
            "Dir::Cache": self._state / "cache",
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": self._state / "sources",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Acquire::Languages": "none",
            "APT::Update::Error-Mode": "any",
            # Mirrors that are snapshots have old release files; their signature counts here, not their age.
            "Acquire::Check-Valid-Until": "false",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "",
        }
        given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        _run("apt-get", "-qq", *given, *arguments, cwd=cwd)


def mirror() -> str:
    """Where this machine gets its own Debian from."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', OS_RELEASE.read_text(), re.MULTILINE))
    if release.get("ID") != "debian":
        raise NotInstallable("components are taken from Debian's archive, and this machine is no Debian")
    own = {release.get("VERSION_CODENAME"), "stable", "testing", "unstable", "sid"}
    targets = _run("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)")
    found = [uri for uri, suite, part in map(str.split, targets.splitlines()) if suite in own and part == "main"]
    if not found:
        raise NotInstallable("apt of this machine has no source of Debian's main archive")
    return next((uri for uri in found if uri.rstrip("/").endswith("/debian")), found[0])


def _run(*command: object, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, check=False, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotInstallable(f"{Path(words[0]).name}: {lines[-1]}")
    return done.stdout
