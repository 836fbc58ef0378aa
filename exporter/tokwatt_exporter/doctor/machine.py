"""Checks of the machine: disk, clock, files, sensors."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor.finding import Finding
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.snapshot import Snapshot

#: A day of samples is some 10 MB; upkeep needs the room of the file once more.
LITTLE_BYTES, TOO_LITTLE_BYTES = 2 * 2**30, 200 * 2**20
#: adjtime(3)'s word for a clock that nothing keeps right.
_UNSYNCHRONISED = 5


def settings(config: Config) -> Finding:
    """Whether every file that the configuration names can be used."""
    from tokwatt_exporter.daemon import check

    try:
        check(config)
    except UsageError as error:
        return Finding(
            check="settings", status="fault", looked="the configuration and the files it names", found=str(error),
            means="the daemon does not start with these settings", mend="tokwatt config check",
        )  # fmt: skip
    return Finding(
        check="settings", status="ok", looked="the configuration and the files it names",
        found="all of them can be used", means="the daemon can start with them",
    )  # fmt: skip


def permissions(data_dir: Path) -> Finding:
    """Whether the data directory is its user's alone, and can be written."""
    looked = f"who may use {data_dir}"
    try:
        found = data_dir.stat()
    except FileNotFoundError:
        return Finding(
            check="permissions", status="absent", looked=looked, found="it is not there",
            means="nothing was kept yet; the daemon makes it for its user only",
        )  # fmt: skip
    except OSError as error:
        return Finding(
            check="permissions", status="fault", looked=looked, found=f"it cannot be looked at: {error.strerror}",
            means="neither the daemon nor this user can keep a history there", mend="tokwatt run --data-dir DIR",
        )  # fmt: skip
    mode = stat.S_IMODE(found.st_mode)
    if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
        owner = found.st_uid != os.geteuid()
        return Finding(
            check="permissions", status="note" if owner else "fault", looked=looked,
            found=f"mode {mode:04o}, of user {found.st_uid}; this user may not write there",
            means="the history is another user's: ask as that user" if owner else "nothing can be kept",
            mend=f"sudo -u '#{found.st_uid}' tokwatt doctor" if owner else f"chmod 700 {data_dir}",
        )  # fmt: skip
    if mode & 0o077:
        return Finding(
            check="permissions", status="note", looked=looked, found=f"mode {mode:04o}",
            means="others of this machine can see which models were used when", mend=f"chmod 700 {data_dir}",
        )  # fmt: skip
    return Finding(
        check="permissions", status="ok", looked=looked, found=f"mode {mode:04o}",
        means="only its user can read what was kept",
    )  # fmt: skip


def disk(data_dir: Path) -> Finding:
    """Whether the disk of the data directory has room."""
    import psutil

    folder = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    free = psutil.disk_usage(str(folder)).free
    looked, found = f"free room on the disk of {data_dir}", f"{free / 2**30:.1f} GiB free"
    if free < LITTLE_BYTES:
        full = free < TOO_LITTLE_BYTES
        return Finding(
            check="disk", status="fault" if full else "note", looked=looked, found=found,
            means="samples are lost once it is full" if full else "that is little for a history and its upkeep",
            mend="tokwatt history compact --history.retention-raw 3d",
        )  # fmt: skip
    return Finding(check="disk", status="ok", looked=looked, found=found, means="there is room for the history")


def clock() -> Finding:
    """Whether something keeps the clock right."""
    looked = "whether the clock is kept right (ntp_adjtime)"
    state = _clock_state()
    if state is None:
        return Finding(check="clock", status="absent", looked=looked, found="the system does not say",
                       means="samples have the time of this clock")  # fmt: skip
    if state == _UNSYNCHRONISED:
        return Finding(
            check="clock", status="note", looked=looked, found="nothing synchronises it",
            means="samples of several machines may not be of the time they say; a guest may have its host's clock",
            mend="sudo timedatectl set-ntp true" if os.uname().sysname == "Linux" else
            "sudo systemsetup -setusingnetworktime on",
        )  # fmt: skip
    return Finding(check="clock", status="ok", looked=looked, found="it is synchronised", means="times can be trusted")


def _clock_state() -> int | None:
    # Room for the struct of either system, all zero: modes 0 only reads.
    room = ctypes.create_string_buffer(512)
    try:
        state = int(ctypes.CDLL(None).ntp_adjtime(room))
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None


def sensors(snapshot: Snapshot, source: str) -> Iterator[Finding]:
    """A finding for each collector that does not read, and one for those that do."""
    problems = [dict(labels) for labels in snapshot.values.get(c.COLLECTOR_PROBLEM, {})]
    silent = {problem["collector"] for problem in problems}
    successes = snapshot.values.get(c.COLLECTOR_SUCCESS, {})
    reading = sorted({dict(labels)["collector"] for labels, ok in successes.items() if ok} - silent)
    looked = f"what each collector reads, {source}"
    yield Finding(
        check="sensors", status="ok" if reading else "fault", looked=looked, found=", ".join(reading) or "nothing",
        means="these have readings now" if reading else "nothing of this machine is measured",
        mend=None if reading else "tokwatt sample",
    )  # fmt: skip
    for problem in problems:
        yield _sensor(problem["collector"], problem["problem"], problem.get("reason", "no reason given"), looked)


def _sensor(name: str, problem: str, reason: str, looked: str) -> Finding:
    page = f"docs/collectors/{name}.md says what it needs"
    if problem != "not_available":
        return Finding(
            check=f"sensors.{name}", status="fault", looked=looked, found=f"{problem}: {reason}",
            means="its series are absent until it reads again", mend=f"tokwatt run --no-collector.{name}; {page}",
        )  # fmt: skip
    # Only where a right is missing can a user do something: a GPU that is not there is no trouble.
    forbidden = any(word in reason for word in ("root", "may not", "permission"))
    return Finding(
        check=f"sensors.{name}", status="note" if forbidden else "absent", looked=looked, found=reason,
        means="its series are absent" + (" until it may read" if forbidden else ": this machine has no such source"),
        mend=page if forbidden else None,
    )  # fmt: skip
