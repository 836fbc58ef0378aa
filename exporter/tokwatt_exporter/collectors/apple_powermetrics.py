"""Energy of CPU, GPU and Neural Engine from Apple's powermetrics, which needs root and is off unless asked for.

It is one child that runs for hours and is read by a thread of its own; a sample only takes what came since the last.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, ENERGY, POWER
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.apple_powermetrics_plist import Sample, Splitter, parse
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

log = logging.getLogger(__name__)

#: Lines at a time: what it holds back for a block would come with the next document only.
COMMAND = ("/usr/bin/powermetrics", "-f", "plist", "-b", "1", "--samplers", "cpu_power,gpu_power,ane_power,thermal")
#: Numbers with a decimal point, whatever the language of the system.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}

#: A document is too old after this many intervals; the first one of a child, or after a sleep, may take longer.
_STALE_INTERVALS = 3
_START_SECONDS = 2.0
#: A CPU that runs uses energy: when none was added for so long, the counters behind it stand still.
_STILL_SECONDS = 10.0
#: powermetrics grows while it runs.
_LIFE_SECONDS = 6 * 3600.0
#: A child that died is started again after this long, doubled each time it does not live for the longest wait.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
#: A wall clock this far ahead of the awake clock between two documents means that the second one spans a sleep.
_JUMP_SECONDS = 2.0
#: A document comes in hundreds of writes: they are left to gather.
_REST_SECONDS = 0.05
_END_SECONDS = 2.0

_NOT_ROOT = "powermetrics must run as root: see docs/collectors/powermetrics.md"
_NO_PROGRAM = "no /usr/bin/powermetrics on this system"
_DEAD = "powermetrics ended; it is started again after a wait"
_GARBAGE = "powermetrics wrote a document that cannot be read"
_SILENT = "powermetrics has given no document for three intervals"
_STILL = "the energy of the CPU stands still in powermetrics"
_NO_ENERGY = "powermetrics gives no energy on this machine"


class ApplePowermetrics(Collector):
    """Joules since the first document, and mean watts over the documents since the last read."""

    name = "powermetrics"

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        interval: float = 1.0,
        clock: Clock | None = None,
        user: Callable[[], int] = os.geteuid,
    ) -> None:
        self._command = [*command, "-i", str(round(interval * 1000))]
        self._clock = clock or SystemClock()
        self._user = user
        self._tally = _Tally(self._clock, interval)
        self._child: _Child | None = None
        self._started = 0.0
        self._restart_at = 0.0
        self._wait = _FIRST_WAIT
        self._logged = ""

    def read(self) -> Iterator[Reading]:
        """What the documents told. `NotAvailable` where the exporter is not root or the program is missing."""
        if self._user() != 0:
            raise NotAvailable(_NOT_ROOT)
        self._supervise()
        known, problems = self._tally.take(alive=self._child is not None)
        for device, (joules, watts) in known.items():
            yield ENERGY(joules, device=device)
            if watts is not None:
                yield POWER(watts, device=device)
        for problem, reason in problems:
            yield COLLECTOR_PROBLEM(collector=self.name, problem=problem, reason=reason)

    def rebase(self) -> None:
        """A document from before the machine slept says nothing of now."""
        self._tally.rebase()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        atexit.unregister(self.close)
        if child:
            child.close()

    def _supervise(self) -> None:
        now = self._clock.awake()
        if self._child and self._child.ended:
            self._bury(now)
        elif self._child and now - self._started >= _LIFE_SECONDS:
            self.close()
            self._restart_at = now
        if self._child is None and now >= self._restart_at:
            self._tally.begin()
            try:
                self._child = _Child(self._command, self._tally)
            except FileNotFoundError:
                raise NotAvailable(_NO_PROGRAM) from None
            self._started = now
            # An exporter that ends does not wait for its collectors.
            atexit.register(self.close)

    def _bury(self, now: float) -> None:
        assert self._child
        words = self._child.close()
        self._child = None
        atexit.unregister(self.close)
        self._wait = _FIRST_WAIT if now - self._started >= _LONGEST_WAIT else self._wait
        self._restart_at = now + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        if words != self._logged:
            log.warning("%s", words)
        self._logged = words


class _Tally:
    """What the documents said so far; filled by the thread that reads them, taken by the sampler's."""

    def __init__(self, clock: Clock, interval: float) -> None:
        self._clock = clock
        self._stale = _STALE_INTERVALS * interval
        self._lock = threading.Lock()
        self._totals: dict[str, float] = {}
        self._since: dict[str, tuple[float, float]] = {}
        self._watts: dict[str, float] = {}
        self._newest: dict[str, float] | None = None
        self._fresh_until = self._due = 0.0
        self._ahead = 0.0
        self._grew = False
        self._still = 0.0
        self._garbage = False

    def begin(self) -> None:
        """A child starts: its first document is about the time from now on."""
        with self._lock:
            self._ahead = self._clock.wall() - self._clock.awake()
            self._due = self._clock.awake() + self._stale + _START_SECONDS

    def add(self, document: bytes) -> None:
        """Count a document, unless it spans a sleep or is none."""
        try:
            sample = parse(document)
        except ValueError as error:
            log.debug("powermetrics: %s", error)
            return self.spoilt()
        with self._lock:
            before, self._ahead = self._ahead, self._clock.wall() - self._clock.awake()
            if abs(self._ahead - before) < _JUMP_SECONDS:
                self._count(sample)
        return None

    def spoilt(self) -> None:
        """Something came that is no document."""
        with self._lock:
            self._garbage = True

    def rebase(self) -> None:
        """Keep the totals only."""
        with self._lock:
            self._forget()
            self._due = self._clock.awake() + self._stale + _START_SECONDS

    def take(self, *, alive: bool) -> tuple[dict[str, tuple[float, float | None]], list[tuple[str, str]]]:
        """Joules and watts by device, and problems with their reasons; `alive` is whether there is a child."""
        now = self._clock.awake()
        with self._lock:
            problems = [("failed", _GARBAGE)] if self._garbage else []
            self._garbage = False
            if not alive:
                problems.append(("failed", _DEAD))
            elif now > self._due:
                problems.append(("failed", _SILENT))
            if self._newest is None or now > self._fresh_until:
                self._forget()
                return {}, problems
            if not self._newest:
                problems.append(("not_available", _NO_ENERGY))
            if self._still >= _STILL_SECONDS:
                problems.append(("not_available", _STILL))
            # Where no document came since the last read, the newest ones there are were of the last read.
            self._watts.update((device, joules / seconds) for device, (joules, seconds) in self._since.items())
            self._since.clear()
            return {d: (self._totals[d], self._watts.get(d)) for d in self._newest if self._moves(d)}, problems

    def _forget(self) -> None:
        self._newest = None
        self._since.clear()
        self._watts.clear()

    def _count(self, sample: Sample) -> None:
        self._newest = sample.joules
        self._fresh_until = self._due = self._clock.awake() + self._stale
        for device, joules in sample.joules.items():
            self._totals[device] = self._totals.get(device, 0.0) + joules
            before = self._since.get(device, (0.0, 0.0))
            self._since[device] = before[0] + joules, before[1] + sample.seconds
        if sample.joules.get("cpu"):
            self._grew, self._still = True, 0.0
        elif "cpu" in sample.joules:
            self._still += sample.seconds

    def _moves(self, device: str) -> bool:
        """Whether the device's counter is alive: those of CPU and Neural Engine stand still together, the GPU's not."""
        return device == "gpu0" or (self._grew and self._still < _STILL_SECONDS)


class _Child:
    """One powermetrics that runs, and the thread that reads it."""

    def __init__(self, command: Sequence[str], tally: _Tally) -> None:
        self._tally = tally
        self._last_words = b""
        self._closing = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            # Ctrl-C in the terminal is for the exporter, which ends this one itself.
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._drain, name="powermetrics", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return self._process.poll() is not None or not self._thread.is_alive()

    def close(self) -> str:
        """End it, reap it, and say how it ended."""
        code = self._process.poll()
        self._closing = True
        for deadly in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                # It may end just now.
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, deadly)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)
        self._thread.join(_END_SECONDS)
        lines = self._last_words.decode("utf-8", "replace").strip().splitlines()
        how = "cannot be read" if code is None else f"ended with code {code}"
        return f"powermetrics {how}" + (f": {lines[-1][:200]}" if lines else "")

    def _drain(self) -> None:
        output, errors = self._process.stdout, self._process.stderr
        assert output
        assert errors
        splitter = Splitter()
        with output, errors, selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(errors, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, 2**16)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is errors:
                        self._last_words = (self._last_words + data)[-1024:]
                    else:
                        self._take(splitter, data)
                time.sleep(_REST_SECONDS)
        if splitter.unfinished and not self._closing:
            self._tally.spoilt()

    def _take(self, splitter: Splitter, data: bytes) -> None:
        garbage = splitter.garbage
        for document in splitter.feed(data):
            self._tally.add(document)
        if splitter.garbage > garbage:
            self._tally.spoilt()
