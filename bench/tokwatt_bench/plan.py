"""What will be run, decided before anything runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokwatt_bench.target import Target
from tokwatt_exporter.engines.base import Api

#: Long enough for a prefill that can be timed, short enough for a context of 1000 tokens.
PROMPT = (
    "A small town wants to heat its swimming hall with the waste heat of a computing centre next door. "
    "The centre runs day and night; the hall is open from six in the morning until ten in the evening. "
    "Explain step by step how such a plant works, what is lost on the way, and what both sides should agree on."
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: one request after the other, first `warmup` that do not count, then `runs` that do."""

    target: Target
    prompt: str = PROMPT
    runs: int = 10
    warmup: int = 1
    max_tokens: int = 128
    temperature: float | None = None
    seed: int | None = None
    scenario: str = "default"
    idle_seconds: float = 5.0
    timeout: float = 120.0
    #: The model is dropped and loaded anew before each request.
    cold: bool = False
    #: The engine's first one where None.
    api: Api | None = None
    #: The same prompt each time: what the engine has cached of it is used.
    warm_prefix: bool = False
    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    run_id: str = field(default_factory=lambda: secrets.token_hex(16))

    def generation(self, max_tokens: int | None = None) -> tuple[str, dict[str, Any], str]:
        """URL, body and dialect of the next request. Unless the prefix is to stay warm, its prompt begins with text
        that was never sent before, so that no part of the prompt is in the engine's cache. `UsageError` where the
        engine cannot be asked like that.
        """
        prompt = self.prompt if self.warm_prefix else f"[{secrets.token_hex(8)}] {self.prompt}"
        generation = self.target.adapter.generation(
            self.target.model, [{"role": "user", "content": prompt}], max_tokens or self.max_tokens, self.api,
            seed=self.seed, temperature=self.temperature,
        )  # fmt: skip
        return self.target.url + generation.path, generation.body, generation.dialect

    def headers(self) -> Mapping[str, str]:
        """Headers of each request besides those of HTTP itself."""
        from tokwatt_exporter import __version__

        headers = {"User-Agent": f"tokwatt-bench/{__version__}", "Accept": "*/*"}
        return headers | ({"Authorization": f"Bearer {self.target.key}"} if self.target.key else {})

    def settings(self) -> dict[str, Any]:
        """What the store keeps of it; the prompt only by its length, for it may be private."""
        return {
            "runs": self.runs, "warmup": self.warmup, "max_tokens": self.max_tokens, "temperature": self.temperature,
            "seed": self.seed, "prompt_characters": len(self.prompt), "warm_prefix": self.warm_prefix,
            "idle_seconds": self.idle_seconds, "timeout_seconds": self.timeout,
            "cold": self.cold, "api": self.api or self.target.adapter.apis[0],
        }  # fmt: skip
