"""What an engine adapter is. Exporter and benchmark use the same ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from tokwatt_exporter.snapshot import Reading
from tokwatt_exporter.streams.stream import Dialect

#: OpenAI's two ways to generate, and the engine's own where it has one.
Api = Literal["chat", "completions", "native"]


class Answer(NamedTuple):
    """One answer of an engine, read whole within the size limit. `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; `EngineError` where it is not."""
        import json

        from tokwatt_exporter.errors import EngineError

        try:
            return json.loads(self.body)
        # RecursionError: a few kilobytes of "[[[[" are valid JSON so far.
        except (ValueError, RecursionError) as error:
            raise EngineError(f"answered something that is not JSON ({type(error).__name__})") from None


class Asker(Protocol):
    """A hardened HTTP client bound to one engine's base URL. Every failure is an `EngineError` with one clear line."""

    async def get(self, path: str, max_age: float = 0.0) -> Answer:
        """GET a path; any status is an answer. One that came within the last `max_age` seconds is given again."""
        ...

    async def post(self, path: str, body: Any) -> Answer:
        """POST JSON to a path; any status is an answer."""
        ...

    async def delete(self, path: str) -> Answer:
        """DELETE a path; any status is an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the engine reports it; what it does not report is None."""

    name: str
    #: loaded models are in memory; available ones are only listed; sleeping ones come back on the next request.
    state: Literal["loaded", "loading", "sleeping", "available"]
    quantization: str | None = None
    format: str | None = None
    memory_bytes: float | None = None
    gpu_memory_bytes: float | None = None
    context_tokens: float | None = None
    expires: float | None = None


#: How `State.problem` begins where the engine tried to load a model and failed.
COULD_NOT_LOAD = "could not load"


@dataclass(frozen=True, slots=True)
class State:
    """What one look at an engine found. `readings` are its own counters under our names, labels included."""

    version: str | None = None
    models: tuple[Model, ...] = ()
    readings: tuple[Reading, ...] = field(default=())
    #: How many models are in memory; None where the engine does not say.
    loaded: int | None = None
    #: One line on why something is missing, for the user: it needs a key, it is loading.
    problem: str | None = None
    #: Samples that were left out because they were about too many models.
    dropped: int = 0


class Generation(NamedTuple):
    """A streaming request: where to POST what, and the dialect in which the answer comes."""

    path: str
    body: dict[str, Any]
    dialect: Dialect


class Loading(NamedTuple):
    """A model comes into memory, or is there already; `seconds` is what the engine says it took, else None."""

    seconds: float | None = None


class Engine(ABC):
    """One kind of engine: stateless, shared by all its instances."""

    kind: ClassVar[str]
    #: Ports it listens on by default; they are only hints where to look.
    ports: ClassVar[tuple[int, ...]] = ()
    #: How it can be asked to generate; the first one is what the benchmark takes.
    apis: ClassVar[tuple[Api, ...]]

    @abstractmethod
    async def recognise(self, ask: Asker) -> list[str] | None:
        """Positive evidence, in words for the user, that this engine answers; None otherwise. Changes nothing in it."""

    @abstractmethod
    async def look(self, ask: Asker, name: str) -> State:
        """Version, models and counters now; `name` is the `engine` label. Must not load, wake or keep a model."""

    @abstractmethod
    def generation(
        self, model: str, messages: Iterable[Mapping[str, str]], max_tokens: int, api: Api | None = None, **options: Any
    ) -> Generation:
        """A streaming request by one of `apis`; `options` are `seed` and `temperature`. `UsageError` where it has no
        such API, or takes no such option by it.
        """

    #: Whether it has a documented way to drop a model from memory.
    unloads: ClassVar[bool] = False

    async def unload(self, ask: Asker, model: str) -> bool:
        """Ask the engine to drop a model from memory; False where it did not. It may be under way when this returns."""
        return False

    async def load(self, ask: Asker, model: str) -> Loading | None:
        """Ask the engine to bring a model into memory; None where only a request that uses it does."""
        return None
