"""What passed, read when there is time: a fraction of a millisecond at a time, so that no stream waits for it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Generator

from tokwatt_exporter.proxy.counts import Counts, Seen
from tokwatt_exporter.proxy.exchange import Exchange
from tokwatt_exporter.proxy.framing import Part, Requests, Responses, Unreadable

#: How long what passed waits for more; then it is read as soon as nothing passes, and after so long all the same.
WAIT_SECONDS, PATIENCE_SECONDS = 0.02, 5.0
#: How long is read at a time while streams run, and how much between two looks at the clock.
SLICE_SECONDS, STEP_PIECES, STEP_BYTES = 0.0001, 16, 8192
#: All that has passed and is not read yet, over all connections; what comes then is not observed.
MAX_HELD_BYTES = 64 * 2**20
#: When there is so much of it, it is read whatever passes.
MANY_HELD_BYTES = 16 * 2**20
_SENT, _ANSWERED, _ENDED = range(3)


class Desk:
    """Where the watches have their turn."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        #: Bytes that wait to be read, and how often something passed.
        self.held = self.passed = 0
        self._loop = asyncio.get_running_loop()
        self._due: deque[Watch] = deque()
        self._scheduled = False
        self._overdue = 0.0
        self._looked = 0

    def due(self, watch: Watch) -> None:
        """Something passed on this connection."""
        self._due.append(watch)
        if not self._scheduled:
            self._scheduled = True
            self._overdue = time.perf_counter() + WAIT_SECONDS + PATIENCE_SECONDS
            self._loop.call_later(WAIT_SECONDS, self._read)

    def finish(self) -> None:
        """Read all there is."""
        while self._due:
            self._turn()

    def _read(self) -> None:
        now = time.perf_counter()
        if self.passed != self._looked and now < self._overdue and self.held < MANY_HELD_BYTES:
            # More may be on its way to who waits for it.
            self._looked = self.passed
            self._loop.call_soon(self._read)
            return
        while self._due:
            self._turn()
            if time.perf_counter() > now + SLICE_SECONDS:
                # What came meanwhile goes first.
                self._loop.call_soon(self._read)
                return
        self._scheduled = False

    def _turn(self) -> None:
        watch = self._due[0]
        if not watch.step():
            self._due.popleft()


class Watch:
    """Keeps what passes on one connection until it is read; nothing of it after that."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._log: deque[tuple[int, int, bytes]] = deque()
        self._how = ""
        self._blind = False
        self._kept = 0
        self._requests = Requests()
        self._responses = Responses()
        self._open: deque[Exchange] = deque()
        self._closing: deque[tuple[Exchange, Generator[None, None, Seen | None]]] = deque()

    @property
    def busy(self) -> bool:
        """Whether a request is under way, as far as is known."""
        return bool(self._open or self._log or self._closing) or self._blind

    def sent(self, at_ns: int, data: bytes) -> None:
        """The client sent this."""
        self._keep(at_ns, _SENT, data)

    def answered(self, at_ns: int, data: bytes) -> None:
        """The engine sent this."""
        if len(data) <= STEP_BYTES:
            self._keep(at_ns, _ANSWERED, data)
            return
        # Thousands of events that came at once are not read at once.
        for at in range(0, len(data), STEP_BYTES):
            self._keep(at_ns, _ANSWERED, data[at : at + STEP_BYTES])

    def ended(self, at_ns: int, how: str) -> None:
        """Nothing more comes."""
        self._how = how
        self._keep(at_ns, _ENDED, b"")

    def step(self) -> bool:
        """Read some of it; False where there is none left."""
        if self._closing:
            self._close()
        elif answered := self._next_answered():
            # Most of a stream comes in pieces that are nothing but its body.
            plain = self._responses.plain(answered)
            if plain:
                self._open[0].answered(plain)
            for at_ns, data in answered[len(plain) :]:
                self._piece(at_ns, _ANSWERED, data)
            self._weigh()
        elif self._log:
            at_ns, kind, data = self._log.popleft()
            self._desk.held -= len(data)
            self._piece(at_ns, kind, data)
            self._weigh()
        return bool(self._log or self._closing)

    def _next_answered(self) -> list[tuple[int, bytes]]:
        """What the engine sent, up to where the client sent something."""
        log = self._log
        found: list[tuple[int, bytes]] = []
        size = 0
        while log and len(found) < STEP_PIECES and size < STEP_BYTES and log[0][1] == _ANSWERED:
            at_ns, _, data = log.popleft()
            size += len(data)
            found.append((at_ns, data))
        self._desk.held -= size
        return found

    def _piece(self, at_ns: int, kind: int, data: bytes) -> None:
        if self._blind:
            return
        try:
            if kind == _ANSWERED:
                self._answer(at_ns, data)
            elif kind == _SENT:
                for part in self._requests.feed(data):
                    self._request(at_ns, part)
            else:
                self._end(self._how)
        except Unreadable as why:
            self._look_away("upgrade" if str(why) == "another protocol" else "not_http")

    def _keep(self, at_ns: int, kind: int, data: bytes) -> None:
        if self._blind:
            return
        self._desk.held += len(data)
        self._desk.passed += 1
        if not self._log and not self._closing:
            self._desk.due(self)
        self._log.append((at_ns, kind, data))
        if self._desk.held > MAX_HELD_BYTES:
            self._look_away("backlog")

    def _look_away(self, reason: str) -> None:
        """What passes from now on is not known: where a message begins cannot be found again."""
        self._desk.counts.miss(reason)
        self._blind = True
        self._desk.held -= sum(len(data) for _, _, data in self._log)
        self._log.clear()
        self._open.clear()
        self._weigh()

    def _weigh(self) -> None:
        kept = sum(one.kept for one in self._open)
        self._desk.held += kept - self._kept
        self._kept = kept

    def _request(self, at_ns: int, part: Part) -> None:
        if part.head:
            one = Exchange(part.head)
            self._open.append(one)
            if one.dialect is None and one.method == "POST":
                self._desk.counts.miss("path")
        elif part.end:
            if self._open:
                self._open[-1].asked(at_ns)
        elif self._open:
            self._open[-1].sent(part.body)

    def _answer(self, at_ns: int, data: bytes) -> None:
        while data:
            parts, data = self._responses.feed(data, self._open[0].method if self._open else None)
            for part in parts:
                if part.head:
                    self._open[0].begins(at_ns, part.head)
                elif part.end:
                    self._over(self._open.popleft(), "end")
                else:
                    self._open[0].answered([(at_ns, part.body)])

    def _end(self, how: str) -> None:
        if self._open and how == "eof" and self._responses.eof():
            self._over(self._open.popleft(), "end")
        while self._open:
            self._over(self._open.popleft(), how)

    def _over(self, one: Exchange, how: str) -> None:
        self._closing.append((one, one.over(how)))

    def _close(self) -> None:
        one, closing = self._closing[0]
        try:
            next(closing)
            return
        except StopIteration as end:
            seen: Seen | None = end.value
        self._closing.popleft()
        if seen:
            self._desk.counts.add(seen)
            if one.missed:
                self._desk.counts.miss(one.missed)
