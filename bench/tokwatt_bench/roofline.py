"""How much of what the memory allows a decode reaches, where the chip and the model's files are known."""

from __future__ import annotations

from typing import Any, NamedTuple

from tokwatt_bench.target import Target
from tokwatt_exporter.advisor import bandwidth
from tokwatt_exporter.advisor.advise import newest
from tokwatt_exporter.advisor.candidates import candidates
from tokwatt_exporter.advisor.model import Model
from tokwatt_exporter.advisor.speed import speed
from tokwatt_exporter.config import Config
from tokwatt_exporter.engines.discovery import Found


class Roof(NamedTuple):
    """The model's files and the memory they are read from; `why` is the reason where one of them is not known."""

    model: Model | None
    memory: bandwidth.Bandwidth | None
    why: str = ""


def roof(config: Config, target: Target) -> Roof:
    """What is known before the run."""
    if not target.local:
        return Roof(None, None, "the engine runs on another machine")
    [one] = candidates((), [Found(target.kind, target.name, target.url, models=(target.model,), pid=target.pid)])
    if one.model is None:
        return Roof(None, None, (one.why or "not known").partition(": give")[0])
    return Roof(one.model, bandwidth.of(newest(config)))


def share(known: Roof | None, found: dict[str, Any]) -> tuple[float | None, str]:
    """The share of the roofline that the median stream reached, or the reason why it is not known. The cache that is
    read with each token is that of half of the answer.
    """
    decode, tokens, good = (
        found["generation_tokens_per_second"]["p50"],
        found["tokens"],
        found["runs"] - found["failed"],
    )
    if known is None or known.model is None or known.memory is None:
        return None, known.why if known else "it was not looked up"
    if found["concurrency"] > 1 or found["load"]["mode"] == "open":
        return None, "streams side by side read the weights together"
    if decode is None or tokens["prompt"] is None or tokens["generated"] is None:
        return None, "tokens are not counted, or no request succeeded"
    allowed = speed(known.model, round((tokens["prompt"] + tokens["generated"] / 2) / good), known.memory)
    return (decode / allowed.roofline, "") if allowed.roofline else (None, allowed.why)
