"""How fast a model can decode: it reads its weights and its cache for every token, and memory is only so fast."""

from __future__ import annotations

from typing import Any, NamedTuple

from tokwatt_exporter.advisor.bandwidth import Bandwidth
from tokwatt_exporter.advisor.model import Model

#: Shares of the roofline that are expected: the most that kernels on such chips were measured to reach, and what is
#: left of it by an engine that has more to do for a token; the second is an assumption.
MOST_SHARE, LEAST_SHARE = 0.9, 0.5


class Speed(NamedTuple):
    """Tokens a second of one stream: what the memory allows, and what is expected of it."""

    read_bytes: int | None
    roofline: float | None
    expected: tuple[float, float] | None
    why: str

    def as_json(self) -> dict[str, Any]:
        """The value of `speed`."""
        return {
            "read_bytes_per_token": self.read_bytes, "roofline_tokens_per_second": self.roofline,
            "expected_tokens_per_second": list(self.expected) if self.expected else None, "why": self.why,
        }  # fmt: skip


def speed(model: Model, context: int, bandwidth: Bandwidth) -> Speed:
    """With a context that is filled; None where the machine or the model does not tell enough."""
    cache = model.kv_bytes(context)
    read = None if cache is None else model.active_bytes + cache
    if read is None:
        return Speed(None, None, None, "the header does not say how large the KV cache is")
    if bandwidth.bytes_per_second is None:
        return Speed(read, None, None, bandwidth.why)
    roofline = bandwidth.bytes_per_second / read
    return Speed(read, roofline, (LEAST_SHARE * roofline, MOST_SHARE * roofline), bandwidth.why)
