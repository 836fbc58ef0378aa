"""More and more streams at a time, until the engine gives no more: where the knee is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokwatt_bench.explain import BY_NAME
from tokwatt_bench.keep import lock
from tokwatt_bench.measure import Done, Kept, exit_code, measured, plan, show
from tokwatt_bench.options import Asked
from tokwatt_bench.target import Target

#: A doubling that brings less than this share more brings nothing.
LEAST_GAIN = 0.05
#: The knee is the fewest streams that get this share of the most there is.
KNEE = 0.9
_COLUMNS = ("time_to_first_token_seconds", "mean_inter_token_latency_seconds", "goodput.ratio")


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


def speed_interval(found: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % interval of `speed`, where there is one."""
    if found["concurrency"] > 1:
        pair = found.get("intervals", {}).get("throughput.generation_tokens_per_second")
        return (pair[0], pair[1]) if pair else None
    value, duration = speed(found), found["request_duration_seconds"]
    if value is None or not duration.get("ci95"):
        return None
    low, high = (value * duration["p50"] / end for end in reversed(duration["ci95"]))
    return low, high


def knee(results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`{"concurrency", "between", "generation_tokens_per_second", "share_of_most", "reached"}`: the fewest streams that
    get nearly all there is; `between` are the fewest and the most that may be it, as far as the speeds' intervals say,
    and `reached` is whether more streams were seen to bring nothing. None where no speed is known.
    """
    known = [
        (found["concurrency"], value, speed_interval(found)) for found in results if (value := speed(found)) is not None
    ]
    if not known:
        return None
    best = max(value for _, value, _ in known)
    lanes, value = next((lanes, value) for lanes, value, _ in known if value >= KNEE * best)
    reached = _no_more([value for _, value, _ in known])
    return {"concurrency": lanes, "between": _between([(lanes, pair) for lanes, _, pair in known]),
            "generation_tokens_per_second": value, "share_of_most": value / best, "reached": reached}  # fmt: skip


def _between(known: Sequence[tuple[int, tuple[float, float] | None]]) -> list[int] | None:
    """The first that could be nearly as fast as the fastest, and the first that surely is."""
    pairs = [(lanes, *pair) for lanes, pair in known if pair]
    if len(pairs) < len(known):
        return None
    least, most = max(low for _, low, _ in pairs), max(high for _, _, high in pairs)
    first = next(lanes for lanes, _, high in pairs if high >= KNEE * least)
    return [first, next((lanes for lanes, low, _ in pairs if low >= KNEE * most), pairs[-1][0])]


def _no_more(speeds: Sequence[float | None]) -> bool:
    """Whether the last two doublings brought next to nothing."""
    if len(speeds) < 3 or None in speeds[-3:]:
        return False
    before, *later = [value for value in speeds[-3:] if value is not None]
    return max(later) < before * (1 + LEAST_GAIN)


def _table(done: Sequence[Done], at: Mapping[str, Any] | None) -> None:
    from tokwatt_bench.report import print_line
    from tokwatt_bench.report.rows import Row, shown
    from tokwatt_bench.report.rows import rows as figures
    from tokwatt_exporter.show import table

    def cell(row: Row | None) -> str:
        if row is None or row.p50 is None:
            return ""
        p50, interval, *_ = shown(row)
        return f"{p50} ({interval})" if interval else p50

    lines = []
    for one in done:
        known = {row.metric.name: row for row in figures(one.found)}
        pair = speed_interval(one.found)
        together = _short(speed(one.found)) + (f" ({_short(pair[0])} to {_short(pair[1])})" if pair else "")
        lines.append((
            str(one.found["concurrency"]), together, *(cell(known.get(name)) for name in _COLUMNS),
            str(one.found["failed"]),
        ))  # fmt: skip
    units = (("ms", "ms", "%"), (BY_NAME[name].title for name in _COLUMNS))
    names = ("streams", "tokens/s", *(f"{title}, {unit}" for unit, title in zip(*units, strict=True)), "failed")
    table(names, lines, right=names)
    if at is None:
        print_line("knee: not known, for tokens are not counted")
    elif at["reached"]:
        between = at["between"]
        sure = f" (95 %: {between[0]} to {between[1]})" if between else ""
        together = _short(at["generation_tokens_per_second"])
        print_line(f"knee: {at['concurrency']} streams{sure} give {together} tokens/s, "
                   f"{at['share_of_most']:.0%} of the most there is")  # fmt: skip
    else:
        print_line("knee: not shown; it takes two doublings after each other that bring less than 5 % each (--most)")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
