"""One engine under watch: who it is, how the last look at it went, and what that makes known."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.config import EngineConfig
from tokwatt_exporter.engines.answers import clean
from tokwatt_exporter.engines.base import Model, State
from tokwatt_exporter.engines.client import Client, NoAnswer
from tokwatt_exporter.engines.discovery import Found
from tokwatt_exporter.engines.scan import adapter, recognise
from tokwatt_exporter.engines.sockets import Listener, started
from tokwatt_exporter.errors import EngineError
from tokwatt_exporter.snapshot import Reading

log = logging.getLogger(__name__)

#: An engine whose last probe took longer is not waited for: its next answer is read one sample later.
SLOW_SECONDS = 0.25
#: An engine that has given so many reasons gets none of its own any more.
MAX_REASONS, MANY_REASONS = 16, "gives ever new reasons: `tokwatt engines` says the latest"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one probe went: a state, or the reason why there is none; `kind` is whom it met."""

    kind: str | None
    seconds: float
    state: State | None = None
    error: str = ""
    #: What of it is missing and why, for a label; None where nothing is.
    reason: str | None = None


@dataclass(slots=True)
class Watch:
    """An engine and its client. `limit` is the time for a probe, in seconds."""

    client: Client
    limit: float
    kind: str | None = None
    evidence: tuple[str, ...] = ()
    configured: EngineConfig | None = None
    listener: Listener | None = None
    name: str = ""
    last: Outcome | None = None
    down_since: float | None = None
    task: asyncio.Task[Outcome] | None = None
    #: Whether the next probe must first ask who is there.
    suspect: bool = False
    _proven: Listener | None = None
    _logged: str = ""
    _reasons: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it is asked."""
        return self.client.url

    @property
    def process(self) -> Listener | None:
        """The process it answered from; None once another one has the port and has not proven to be an engine."""
        return self.listener if self.listener == self._proven else None

    @property
    def slow(self) -> bool:
        """Whether a sample should not wait for it."""
        return self.last is not None and self.last.seconds > SLOW_SECONDS

    def start(self) -> asyncio.Task[Outcome]:
        """The probe under way, or a new one."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._probe())
        return self.task

    def take(self, now: float) -> Outcome | None:
        """The outcome of a finished probe, once; None while it runs."""
        if self.task is None or not self.task.done():
            return None
        outcome, self.task = self.task.result(), None
        self.last = replace(outcome, reason=self._reason(outcome))
        if self.last.state:
            self.down_since, self.suspect, self._proven = None, False, self.listener
        else:
            self.down_since, self.suspect = self.down_since or now, True
            self.client.forget()
        self._log(self.last)
        return self.last

    def met(self, listener: Listener) -> None:
        """Another process listens on its port."""
        if listener != self.listener:
            self.listener, self.suspect = listener, True
            self.client.forget()

    def found(self) -> Found:
        """The engine as `tokwatt engines` would list it."""
        last, state = self.last, (self.last.state if self.last else None) or State()
        models = tuple(model.name for model in state.models)
        evidence = self.evidence + tuple(text for text in (last and last.error, state.problem) if text)
        pid = self.listener.pid if self.listener else None
        up = bool(last and last.state)
        return Found(self.kind, self.name, self.url, state.version, models, evidence, pid, up, state.problem)

    async def _probe(self) -> Outcome:
        began = time.perf_counter()
        kind = self.kind
        try:
            async with asyncio.timeout(self.limit):
                self._check_process()
                if self.suspect or kind is None:
                    kind = await self._ask_who()
                try:
                    state = await adapter(kind).look(self.client, self.name)
                except NoAnswer:
                    raise
                except EngineError:
                    # What it says does not fit its kind: someone else may have taken the port.
                    if (now := await self._ask_who()) == kind:
                        raise
                    return Outcome(now, time.perf_counter() - began)
                return Outcome(kind, time.perf_counter() - began, state)
        except TimeoutError:
            return Outcome(kind, time.perf_counter() - began, error=f"did not answer within {self.limit:g} s")
        except EngineError as error:
            return Outcome(kind, time.perf_counter() - began, error=str(error))
        except Exception as error:
            # An answer that nobody thought of must cost this engine only.
            log.exception("engine %s at %s", self.name, self.url)
            return Outcome(kind, time.perf_counter() - began, error=f"{type(error).__name__}")

    async def _ask_who(self) -> str:
        if self.configured and self.configured.kind:
            return self.configured.kind
        found = await recognise(self.client)
        if not found:
            raise EngineError("is no engine that can be recognised")
        self.evidence = ("configured", *found[1]) if self.configured else found[1]
        return found[0]

    def _check_process(self) -> None:
        one = self.listener
        if one and one.pid and started(one.pid) != one.started:
            self.listener, self.suspect = None, True
            self.client.forget()

    def _reason(self, outcome: Outcome) -> str | None:
        # A part of the text may be the engine's own, and each new one is a new series.
        text = clean(outcome.error if outcome.state is None else outcome.state.problem)
        if text and len(self._reasons) < MAX_REASONS:
            self._reasons.add(text)
        return text if text is None or text in self._reasons else MANY_REASONS

    def _log(self, outcome: Outcome) -> None:
        text = outcome.reason or ("answers" if outcome.state else "")
        if text and text != self._logged:
            log.info("engine %s at %s %s", self.name, self.url, text)
            self._logged = text


def standing(engine: str, outcome: Outcome) -> Iterator[Reading]:
    """Whether an engine is up after a probe, and why not or not wholly."""
    yield c.ENGINE_UP(outcome.state is not None, engine=engine)
    if outcome.reason:
        yield c.ENGINE_PROBLEM(engine=engine, reason=outcome.reason)


def readings(engine: str, outcome: Outcome, admit: Callable[[str], bool]) -> Iterator[Reading]:
    """The series of an engine after a probe; `admit` says whether a model gets series of its own."""
    yield from standing(engine, outcome)
    yield c.ENGINE_PROBE_DURATION(outcome.seconds, engine=engine)
    state = outcome.state
    if state is None:
        return
    yield c.ENGINE_INFO(engine=engine, kind=outcome.kind, version=state.version)
    if state.loaded is not None:
        yield c.ENGINE_MODELS_LOADED(state.loaded, engine=engine)
    for model in state.models:
        if model.state == "loaded":
            yield from (reading for reading in _model(engine, model) if admit(model.name))
    yield from (reading for reading in state.readings if admit(dict(reading.labels).get("model", "")))


def _model(engine: str, model: Model) -> Iterator[Reading]:
    yield c.MODEL_INFO(engine=engine, model=model.name, quantization=model.quantization, format=model.format)
    for family, value in (
        (c.MODEL_MEMORY, model.memory_bytes),
        (c.MODEL_GPU_MEMORY, model.gpu_memory_bytes),
        (c.MODEL_CONTEXT, model.context_tokens),
        (c.MODEL_EXPIRES, model.expires),
    ):
        if value is not None:
            yield family(value, engine=engine, model=model.name)
