"""The settings as the service sees them: its own program, user, folder and environment say what they are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_exporter.errors import ServiceError, UsageError
from tokwatt_exporter.shell import WRONG_USAGE

_SECONDS = 60.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


class RunsAs(NamedTuple):
    """User, folder and environment of a service."""

    environ: Mapping[str, str]
    folder: Path
    #: (uid, gid, groups) where the service is not of the user who asks, and there is such a user.
    user: tuple[int, int, tuple[int, ...]] | None = None
    #: Whether the files that the settings name are where the service will find them; credentials of systemd are not.
    has_files: bool = True


class Seen(NamedTuple):
    """Some settings of an installed service."""

    data_dir: Path
    #: `HOST:PORT` to ask from this machine; None where the system picks the port.
    place: str | None
    may_use_tls: bool
    log_file: Path | None

    @classmethod
    def of(cls, program: str, arguments: Sequence[str], runs_as: RunsAs) -> Seen | None:
        """The settings that this command has; None where the program does not tell them."""
        try:
            rows = json.loads(_ask(program, ("show", "--json"), arguments, runs_as))["settings"]
        except (UsageError, ServiceError, ValueError):
            return None
        values = {row["key"]: row["value"] for row in rows}
        host, _, port = values["web.listen-address"][0].rpartition(":")
        return cls(
            data_dir=Path(values["data-dir"]),
            place=f"{_ANYWHERE.get(host, host)}:{port}" if port != "0" else None,
            may_use_tls=values["web.config.file"] is not None,
            log_file=Path(values["log.file"]) if values["log.file"] else None,
        )


def check(program: str, arguments: Sequence[str], runs_as: RunsAs) -> None:
    """Whether the service could start with these settings; `UsageError` that says why it could not."""
    _ask(program, ("check",) if runs_as.has_files else ("show",), arguments, runs_as)


def _ask(program: str, what: Sequence[str], arguments: Sequence[str], runs_as: RunsAs) -> str:
    other: dict[str, Any] = {}
    if runs_as.user and os.geteuid() == 0:
        other = dict(zip(("user", "group", "extra_groups"), runs_as.user, strict=True))
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [program, "config", *what, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_SECONDS, check=False, cwd=runs_as.folder, env=dict(runs_as.environ), **other,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ServiceError(f"{program} did not read its settings within {_SECONDS:g} s") from None
    except OSError as error:
        raise ServiceError(f"{program} cannot be run in {runs_as.folder}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = lines[-1].removeprefix("tokwatt: ") if lines else f"{program} ended with {done.returncode}"
        raise (UsageError if done.returncode == WRONG_USAGE else ServiceError)(why)
    return done.stdout
