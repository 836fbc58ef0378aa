"""What will be run, decided before anything runs."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tokwatt_bench.goodput import Objective
from tokwatt_bench.scenarios import VERSION, Ask, LongContext, Scenario, begun
from tokwatt_bench.stream import encode
from tokwatt_bench.target import Target
from tokwatt_bench.wire import Outgoing
from tokwatt_exporter.engines.base import Api

if TYPE_CHECKING:
    from tokwatt_bench.roofline import Roof

#: Long enough for a prefill that can be timed, short enough for a context of 1000 tokens.
PROMPT = (
    "A small town wants to heat its swimming hall with the waste heat of a computing centre next door. "
    "The centre runs day and night; the hall is open from six in the morning until ten in the evening. "
    "Explain step by step how such a plant works, what is lost on the way, and what both sides should agree on."
)
#: A warm-up that is not stable by then is not going to be.
MOST_WARMUPS = 5
#: Fewer requests than this are no ground for stopping early.
LEAST_RUNS = 8


class Prepared(NamedTuple):
    """A request made ready, with the dialect of its answer."""

    outgoing: Outgoing
    dialect: str
    ask: Ask


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: first a warm-up that does not count, then what does: `runs` requests, or as many as start within
    `seconds`; with a `precision`, at most `runs` and no more than it takes.
    """

    target: Target
    prompt: str = PROMPT
    #: What is asked in place of `prompt`.
    asks: Scenario | None = None
    runs: int = 10
    #: None for as many as it takes until they no longer get faster.
    warmup: int | None = 1
    #: Half the width of the 95 % interval of the median, as a share of it, at which there are enough runs.
    precision: float | None = None
    seconds: float | None = None
    #: Streams at a time; the lanes of a closed loop.
    concurrency: int = 1
    #: Whether what is asked is a trace, whose requests have their times.
    timed: bool = False
    #: Requests a second of an open loop, which starts each at its time.
    rate: float | None = None
    poisson: bool = True
    max_tokens: int = 128
    temperature: float | None = None
    seed: int | None = None
    scenario: str = "default"
    objective: Objective | None = None
    idle_seconds: float = 5.0
    timeout: float = 120.0
    #: The model is dropped and loaded anew before each request.
    cold: bool = False
    #: The engine's first one where None.
    api: Api | None = None
    #: The same prompt each time: what the engine has cached of it is used.
    warm_prefix: bool = False
    #: Whether the client is held against a server that knows the truth before anything counts.
    calibrate: bool = False
    #: What becomes of a run on a machine in bad conditions.
    gate: Literal["refuse", "warn", "annotate"] = "annotate"
    roof: Roof | None = None
    #: Other engines that hold a model.
    beside: tuple[str, ...] = ()
    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    run_id: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def one_by_one(self) -> bool:
        """Whether each request is examined before the next is sent."""
        return self.concurrency == 1 and self.rate is None and not self.timed

    @property
    def arrivals(self) -> str | None:
        """When the requests of an open loop are due: `trace`, `poisson` or `constant`; None for a closed one."""
        if self.timed:
            return "trace"
        return None if self.rate is None else "poisson" if self.poisson else "constant"

    @property
    def most_warmups(self) -> int:
        """Rounds of warm-up at most; a round is a request in each lane."""
        return MOST_WARMUPS if self.warmup is None else self.warmup

    @property
    def most(self) -> int:
        """Requests at most, the warm-up's included."""
        return self.most_warmups * self.concurrency + self.runs

    def generation(self, max_tokens: int | None = None, ask: Ask | None = None) -> tuple[str, dict[str, Any], str]:
        """URL, body and dialect of a request. Unless the prefix is to stay warm, its prompt begins with text
        that was never sent before, so that no part of the prompt is in the engine's cache. `UsageError` where the
        engine cannot be asked like that.
        """
        ask = ask or Ask(messages=({"role": "user", "content": self.prompt},))
        messages = ask.messages
        if not self.keeps_prefix(ask):
            messages = begun(messages, f"[{secrets.token_hex(8)}]")
        elif self.asks and not (self.warm_prefix or self.timed):
            # Reused within the run, but not from the run before.
            messages = begun(messages, f"[{self.run_id[:16]}]")
        longest = max_tokens or ask.max_tokens or ask.output_tokens or self.max_tokens
        generation = self.target.adapter.generation(
            self.target.model, messages, longest, self.api, seed=self.seed, temperature=self.temperature,
        )  # fmt: skip
        body = generation.body | ({"tools": list(ask.tools)} if ask.tools else {})
        return self.target.url + generation.path, body, generation.dialect

    def keeps_prefix(self, ask: Ask) -> bool:
        """Whether what the engine has cached of its beginning is wanted, or part of what is measured."""
        return self.warm_prefix or ask.reuses_prefix or not (self.asks is None or self.asks.unique_prefix)

    def requests(self) -> Iterator[Prepared]:
        """What is sent, one after the other, without an end: a scenario that has one begins again."""
        headers = self.headers()
        for ask in self._asks():
            url, body, dialect = self.generation(ask=ask)
            data = encode(url, json.dumps(body).encode(), headers)
            yield Prepared(Outgoing(url, data, self.timeout), dialect, ask)

    def _asks(self) -> Iterator[Ask]:
        if self.asks is None:
            yield from repeat(Ask(messages=({"role": "user", "content": self.prompt},)))
            return
        for seed in itertools.count():
            yield from self.asks.asks(seed)

    def headers(self) -> Mapping[str, str]:
        """Headers of each request besides those of HTTP itself."""
        from tokwatt_exporter import __version__

        headers = {"User-Agent": f"tokwatt-bench/{__version__}", "Accept": "*/*"}
        return headers | ({"Authorization": f"Bearer {self.target.key}"} if self.target.key else {})

    def settings(self) -> dict[str, Any]:
        """What the store keeps of it; the prompt only by its length, for it may be private."""
        return {
            "runs": self.runs, "warmup": self.warmup, "max_tokens": self.max_tokens, "temperature": self.temperature,
            "seed": self.seed, "prompt_characters": None if self.asks else len(self.prompt),
            "warm_prefix": self.warm_prefix, "idle_seconds": self.idle_seconds, "timeout_seconds": self.timeout,
            "cold": self.cold, "api": self.api or self.target.adapter.apis[0], "precision": self.precision,
            "duration_seconds": self.seconds, "rate_per_second": self.rate,
            "arrivals": self.arrivals,
            "scenario_version": VERSION if self.asks else None,
            "prompt_tokens": self.asks.target_tokens if isinstance(self.asks, LongContext) else None,
        }  # fmt: skip
