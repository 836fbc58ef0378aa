"""More and more streams at a time, until the engine gives no more: where the knee is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokwatt_bench.measure import Done, Kept, exit_code, lock, measured, plan, show
from tokwatt_bench.options import Asked
from tokwatt_bench.target import Target
from tokwatt_exporter.show import table

#: A doubling that brings less than this share more brings nothing.
LEAST_GAIN = 0.05
#: The knee is the fewest streams that get this share of the most there is.
KNEE = 0.9


def sweep(target: Target, fields: Mapping[str, Any], asked: Asked, runs: int, most: int, kept: Kept) -> int:
    """Measure 1, 2, 4 … streams; the exit code."""
    done: list[Done] = []
    with lock(kept.data_dir):
        lanes = 1
        while lanes <= most:
            one = plan(target, {**fields, "concurrency": lanes, "runs": max(runs * lanes, 2 * lanes)}, asked)
            found, problem = measured(one, kept)
            done.append(found)
            if problem:
                show(done, kept)
                raise problem
            if found.run.aborted or not found.run.results or _no_more([speed(one.found) for one in done]):
                break
            lanes *= 2
    at = knee([one.found for one in done])
    show(done, kept, knee=at) if kept.json else _table(done, at)
    return exit_code(done)


def speed(found: Mapping[str, Any]) -> float | None:
    """Tokens a second of all streams; of a single one its decode speed with the wait for the first token in it."""
    if found["concurrency"] > 1:
        together: float | None = found["throughput"]["generation_tokens_per_second"]
        return together
    tokens, duration = found["tokens"]["generated"], found["request_duration_seconds"]["p50"]
    good = found["runs"] - found["failed"]
    return tokens / good / duration if tokens and duration and good else None


def knee(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`{"concurrency", "generation_tokens_per_second", "share_of_most", "reached"}`: the fewest streams that get nearly
    all there is; `reached` says whether more streams were seen to bring nothing. None where no speed is known.
    """
    known = [(found["concurrency"], value) for found in results if (value := speed(found)) is not None]
    if not known:
        return None
    best = max(value for _, value in known)
    lanes, value = next((lanes, value) for lanes, value in known if value >= KNEE * best)
    reached = _no_more([value for _, value in known])
    return {"concurrency": lanes, "generation_tokens_per_second": value, "share_of_most": value / best,
            "reached": reached}  # fmt: skip


def _no_more(speeds: Sequence[float | None]) -> bool:
    """Whether the last two doublings brought next to nothing."""
    if len(speeds) < 3 or None in speeds[-3:]:
        return False
    before, *later = [value for value in speeds[-3:] if value is not None]
    return max(later) < before * (1 + LEAST_GAIN)


def _table(done: Sequence[Done], at: Mapping[str, Any] | None) -> None:
    from tokwatt_bench.report import print_line

    rows = []
    for one in done:
        found = one.found
        first, gap, goodput = (
            found["time_to_first_token_seconds"],
            found["mean_inter_token_latency_seconds"],
            found["goodput"],
        )
        rows.append((
            str(found["concurrency"]), _short(speed(found)), _short(first["p50"], 1e3), _short(first["p95"], 1e3),
            _short(gap["p50"], 1e3), _short(goodput and goodput["ratio"], 100), str(found["failed"]),
        ))  # fmt: skip
    names = ("streams", "tokens/s", "first token ms", "its p95 ms", "mean gap ms", "good %", "failed")
    table(names, rows, right=names)
    if at is None:
        print_line("knee: not known, for tokens are not counted")
    elif at["reached"]:
        print_line(f"knee: {at['concurrency']} streams give {_short(at['generation_tokens_per_second'])} tokens/s, "
                   f"{at['share_of_most']:.0%} of the most there is")  # fmt: skip
    else:
        print_line("knee: not reached; more streams still brought more")


def _short(value: float | None, scale: float = 1.0) -> str:
    return "" if value is None else f"{value * scale:.4g}"
