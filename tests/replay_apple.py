"""Every recording of a folder through the real bindings, the fake of Apple's libraries and the daemon's sampler.

    python tests/replay_apple.py FOLDER

A tab-separated line each: the file, and the series that are read from it, or `none: ` and the reason why there are
none. A recording holds a part of a Mac; what collectors need beside it is made up, and series that have anything made
up in them are left out (`fakes/apple/scaffold.py`). Lists of energy counters have no values: each runs at 1 W.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from fakes.apple import build, pretend
from fakes.apple.recordings import NoSensor, Recording, read
from fakes.apple.scaffold import complete
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors import registry
from tokwatt_exporter.collectors.apple_powermetrics import ApplePowermetrics
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.sampler import Sampler
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.snapshot import Reading

DEFAULT = Path(__file__).resolve().parents[2] / "shared/captures/macos"
#: They tell of this process and of engines, of which a recording of a Mac has nothing.
_NOT_OF_THE_MAC = ("process", "engines", "benchmark", "proxy", "powermetrics", "clpc")
_SELF = (c.BUILD_INFO, c.COLLECTOR_SUCCESS, c.COLLECTOR_DURATION, c.COLLECTOR_LAST_SUCCESS, c.COLLECTOR_FAILURES,
         c.COLLECTOR_PROBLEM, c.SAMPLE_INTERVAL, c.SAMPLES_DROPPED)  # fmt: skip
#: What is in a recording, and the collector that is there for it.
_READERS = {
    "thermal pressure": "thermal", "keys of the SMC": "temperature", "HID thermometers": "temperature",
    "the power mode": "power_mode", "the battery's charge": "battery", "AppleSmartBattery": "battery",
    "interfaces": "network", "IOBlockStorageDriver": "disk", "energy counters": "energy",
}  # fmt: skip
#: Longer than any recording takes on a slow machine.
_LIMIT_SECONDS = 120.0
_SALTS = (3, 11)


def main(arguments: list[str]) -> int:
    """Print the lines, sorted; 2 where the folder does not exist, 1 where the fake cannot be built."""
    folder = Path(arguments[0]) if arguments else DEFAULT
    if not folder.is_dir():
        print(f"no recordings at {folder}: CAPTURES=DIR names a folder that exists", file=sys.stderr)
        return 2
    try:
        build.library()
    except (pytest.skip.Exception, pytest.fail.Exception) as why:
        print(why, file=sys.stderr)
        return 1
    # Before the processes part, so that it is done once.
    _made_up()
    for line in sorted(f"{path.relative_to(folder)}\t{apart(path)}" for path in recordings(folder)):
        print(line)
    return 0


def recordings(folder: Path) -> list[Path]:
    """The files in a folder and below that may be recordings."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.suffix != ".source"
        and not path.name.upper().startswith(("README", "INDEX"))
    ]


def apart(path: Path) -> str:
    """`replay` in a process of its own: what breaks there costs one line."""
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 2)
            code = 1
            try:
                answer.write(replay(path).encode())
                answer.flush()
                code = 0
            except BaseException as error:
                said.write(f"{type(error).__name__}: {error}\n".encode())
                said.flush()
            finally:
                os._exit(code)
        status = _reap(child)
        said.seek(0)
        answer.seek(0)
        last = (said.read().decode(errors="replace").strip().splitlines() or ["no word"])[-1]
        return answer.read().decode() if status == 0 else f"none: crashed, {last}"


def _reap(child: int) -> int:
    end = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.01)
    os.kill(child, 9)
    return os.waitpid(child, 0)[1]


def replay(path: Path) -> str:
    """The series of a recording, or why there are none. Once in a process."""
    try:
        recording = read(path.read_bytes())
    except NoSensor as why:
        return f"none: {why}"
    except OSError as error:
        return f"none: {error.strerror}"
    if recording.powermetrics:
        held, without = _powermetrics(recording.powermetrics), set()
    else:
        recording.fit()
        one, other = (_run(complete(recording, salt)) for salt in _SALTS)
        held, without = one & other, _made_up()
    found = [reading for reading in held - without if reading.family not in _SELF]
    if found:
        return "; ".join(sorted(map(_text, found)))
    return f"none: {', '.join(recording.holds)}: {_reasons(recording, held, without)}"


def _reasons(recording: Recording, held: set[Reading], without: set[Reading]) -> str:
    """What collectors said that they do not say of a Mac without the recording, or those that read what is in it."""
    readers = {_READERS.get(what) for what in recording.holds}
    problems = [(reading, dict(reading.labels)) for reading in held if reading.family is c.COLLECTOR_PROBLEM]
    new = {labels["reason"] for reading, labels in problems if reading not in without}
    of_readers = {labels["reason"] for _, labels in problems if labels["collector"] in readers}
    return "; ".join(sorted(new or of_readers)) or "no series comes of this alone"


@cache
def _made_up() -> set[Reading]:
    """What is read from a Mac of which nothing was recorded."""
    return set().union(*(_run(complete(Recording(), salt)) for salt in _SALTS))


def _run(recording: Recording) -> set[Reading]:
    """What the second of two samples holds."""
    fake, clock = pretend.be_a_mac()
    # From the same time each run: the last digits of a rate depend on it.
    clock.begin()
    fake.show(recording.machine)
    sampler = Sampler(_collectors(), SelfMetrics(), recording.seconds, deadline=30)
    try:
        sampler.sample()
        clock.pass_time(recording.seconds)
        fake.show(recording.later())
        return set(sampler.sample())
    finally:
        _stop(sampler)


def _powermetrics(stream: bytes) -> set[Reading]:
    """What is known after a child wrote this and then nothing more."""
    with tempfile.TemporaryDirectory() as scratch:
        written, done = Path(scratch, "written"), Path(scratch, "done")
        written.write_bytes(stream)
        command = ["/bin/sh", "-c", 'cat "$0"; touch "$1"; exec sleep 60', str(written), str(done)]
        sampler = Sampler([ApplePowermetrics(command, user=lambda: 0)], SelfMetrics(), 1.0, deadline=30)
        try:
            sampler.sample()
            while not done.exists():
                time.sleep(0.01)
            # What is in the pipe by now is read by a thread of the collector.
            time.sleep(0.5)
            return set(sampler.sample())
        finally:
            _stop(sampler)


def _stop(sampler: Sampler) -> None:
    """Wait until the collectors have closed what they opened."""
    sampler.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("collector-"):
            thread.join(10)


def _collectors() -> Iterable[Collector]:
    return registry.build(lambda name, _: name not in _NOT_OF_THE_MAC)


def _text(reading: Reading) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in reading.labels)
    value = f"{reading.value:.0f}" if reading.value.is_integer() else f"{reading.value:.12g}"
    return f"{reading.family.name}{{{labels}}}={value}" if labels else f"{reading.family.name}={value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
