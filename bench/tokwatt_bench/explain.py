"""What each figure means, written once: `tokwatt-bench explain`, reports and docs/benchmark.md take it from here."""

# ruff: noqa: RUF001 - formulas have the signs of formulas.

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tokwatt_exporter.errors import UsageError

SECONDS, RATE, JOULES = "s", "tokens/s", "J/token"


class Metric(NamedTuple):
    """A figure of a result: its dotted name there, what it is called, its unit, its definition, when there is none."""

    name: str
    title: str
    unit: str
    definition: str
    null: str
    #: How else people ask for it.
    aliases: tuple[str, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric(
        "time_to_first_token_seconds", "time to first token", SECONDS,
        "From sending the request to the first chunk with generated text of any kind: answer, reasoning "
        "(`reasoning_content`, `reasoning`, `thinking`), refusal or tool call. Never a role, an empty delta or a "
        "comment. Making the connection is not in it.",
        "no request succeeded",
        ("ttft", "first token", "latency"),
    ),
    Metric(
        "time_to_first_answer_token_seconds", "time to first answer token", SECONDS,
        "From sending the request to the first text that is not reasoning: how long a reader waits for the answer "
        "itself.",
        "an answer had only reasoning",
        ("ttfat", "ttfo", "ttfot", "first answer token", "time to first output token"),
    ),
    Metric(
        "engine_time_to_first_token_seconds", "time to first token, by the engine", SECONDS,
        "What the engine itself says (llama.cpp's prompt time; Ollama's load and prompt time). The measured one has "
        "HTTP, queue and template on top.",
        "it says nothing (most do not)",
        ("engine ttft", "server ttft"),
    ),
    Metric(
        "inter_token_latency_seconds", "inter-token latency", SECONDS,
        "Quantiles of the single gaps between tokens, all requests together, so that a pause of half a second is "
        "seen in p99 and not averaged away.",
        "one chunk is not one token in half of the answers or more, or more than a tenth of the tokens shared a "
        "read with the one before",
        ("itl", "gap", "token gap", "time between tokens", "tbt"),
    ),
    Metric(
        "mean_inter_token_latency_seconds", "time per output token", SECONDS,
        "(t_last − t_first) ÷ (n − tokens in the first read), one value a request: the reciprocal of the decode "
        "speed. The time to first token is not in it, as it is in what some tools call TPOT.",
        "tokens are not counted, or most of the answer came at once",
        ("tpot", "mean itl", "time per token"),
    ),
    Metric(
        "generation_tokens_per_second", "decode speed", RATE,
        "Tokens after the first read with tokens ÷ (time of the last chunk − time of the first), one value a "
        "request: what one reader sees. The prefill's wait is not in it, nor the tokens that came with it.",
        "tokens are not counted, or most of the answer came at once",
        ("decode", "decode speed", "tok/s", "tps", "generation", "output tokens per second"),
    ),
    Metric(
        "prompt_tokens_per_second", "prefill speed", RATE,
        "Prompt tokens that were **not cached** ÷ the time of the prefill; `source` says whose time it is: the "
        "engine's own where it says one, else the time to first token, which has the queue and the first token in "
        "it.",
        "fewer than 16 prompt tokens were not cached, or the engine does not say what was cached and the prompt was "
        "not new",
        ("prefill", "prefill speed", "pp", "prompt speed"),
    ),
    Metric(
        "throughput.generation_tokens_per_second", "throughput", RATE,
        "Generated tokens a second of all streams together, over the time in which every lane of a closed loop was "
        "busy (all the time of an open one): what the engine gives all its users, where decode speed is what one of "
        "them sees.",
        "one stream at a time, tokens are not counted, or the lanes were never all busy",
        ("output throughput", "system throughput", "aggregate tokens per second"),
    ),
    Metric(
        "throughput.requests_per_second", "request throughput", "requests/s",
        "Answers a second of all streams together, over the same time; one that lies in it by half counts half. Failed "
        "requests are not in it, their time is.",
        "as throughput, but tokens need not be counted",
        ("requests per second", "rps", "qps"),
    ),
    Metric(
        "goodput.requests_per_second", "goodput", "requests/s",
        "Answers a second that kept the limits of `--slo` on time to first token, mean gap between tokens and "
        "duration; one that failed did not keep them. The limits stand beside it in `objective`, for without them the "
        "number says nothing.",
        "no limits were given, or tokens are not counted",
        ("slo", "good requests", "service level"),
    ),
    Metric(
        "goodput.ratio", "share of good answers", "ratio",
        "Measured requests that kept the limits of `--slo` ÷ all measured requests.",
        "as goodput",
        ("slo attainment", "attainment"),
    ),
    Metric(
        "delay_seconds", "delay", SECONDS,
        "Open loop only: from the time a request was meant to be sent to when it was sent. Latencies of an open "
        "loop are counted from the intended time, so that a client or an engine that falls behind does not look "
        "fast (coordinated omission).",
        "the loop is closed: a request is sent when the one before is answered",
        ("schedule delay", "coordinated omission", "send delay"),
    ),
    Metric(
        "request_duration_seconds", "request, end to end", SECONDS,
        "From sending the request to the last event of its answer, usage and terminator included.",
        "no request succeeded",
        ("e2e", "end-to-end", "end to end latency", "e2el", "duration"),
    ),
    Metric(
        "chunk_gap_seconds", "gap between chunks", SECONDS,
        "Quantiles of the gaps between chunks, whatever is in them, all requests together: what a reader sees where "
        "an engine sends several tokens a chunk.",
        "no answer had two chunks",
        ("icl", "inter chunk latency", "chunk gap"),
    ),
    Metric(
        "longest_pause_seconds", "longest pause", SECONDS,
        "The longest gap between two chunks of any request: a stall that no mean shows.",
        "no answer had two chunks",
        ("pause", "stall", "longest gap", "hiccup"),
    ),
    Metric(
        "load_seconds", "model load", SECONDS,
        "With `--cold`: until the model was in memory; `source` says whose time: `engine`, `load` (its call to "
        "load) or `request` (one token, where only a request loads). It is in no other figure.",
        "loads were timed in different ways, or nothing was loaded",
        ("load", "load time", "cold start", "model load"),
    ),
    Metric(
        "connect_seconds", "connecting", SECONDS,
        "Making the connection, before the request; it is in no other figure.",
        "no request succeeded",
        ("connect", "tcp"),
    ),
    Metric(
        "energy_per_token_joules", "energy per token", JOULES,
        "(joules − idle watts × seconds) ÷ generated tokens, over the measured requests that succeeded: what the "
        "answers cost beyond what the machine uses anyway. The prefill is in it.",
        "no counter can be read, idle power is not known or higher, tokens are not counted, or the engine runs "
        "elsewhere",
        ("energy", "joules per token", "j/token", "net energy per token"),
    ),
    Metric(
        "energy.per_token_gross_joules", "energy per token, idle included", JOULES,
        "All joules ÷ generated tokens, idle power not subtracted: what the machine drew while it answered.",
        "as above, but for idle power",
        ("gross energy per token", "idle included"),
    ),
    Metric(
        "energy.prefill_per_token_joules", "energy per prompt token", JOULES,
        "Joules from sending to the first token, idle subtracted, ÷ prompt tokens that were not cached: the "
        "prefill's part.",
        "as energy per token, or the prefill was too short for the counters to move five times",
        ("prefill energy", "energy prefill", "joules per prompt token"),
    ),
    Metric(
        "energy.decode_per_token_joules", "energy per decoded token", JOULES,
        "Joules from the first token to the last, idle subtracted, ÷ generated tokens: the decode's part.",
        "as energy per token, or the answer was too short for the counters to move five times",
        ("decode energy", "energy decode"),
    ),
    Metric(
        "energy.tokens_per_joule", "tokens per joule", "tokens/J",
        "Generated tokens ÷ joules, idle subtracted: the reciprocal of energy per token, and the same as tokens per "
        "second per watt.",
        "energy per token is",
        ("tok/j", "tok/s/w", "tokens per watt", "efficiency", "tokens per second per watt"),
    ),
    Metric(
        "energy.idle_watts", "idle power", "W",
        "Joules ÷ seconds while nothing is asked of the engine, before the warm-up (`--idle-seconds`): what is "
        "subtracted where a figure says so.",
        "no counter can be read, or the counters moved fewer than five times",
        ("idle", "idle watts"),
    ),
    Metric(
        "memory_bandwidth_ratio", "share of the memory bandwidth", "ratio",
        "Decode speed ÷ the most that the memory allows: the bandwidth of the chip ÷ the bytes that each token must "
        "read, which are the weights in use and the cache at half of the answer. 1 is the roofline. Near it nothing is "
        "to be gained; far below it, look at the settings.",
        "streams ran side by side, the chip's bandwidth or the model's files are not known, or the engine runs on "
        "another machine",
        ("roofline", "bandwidth", "mbu", "model bandwidth utilization"),
    ),
    Metric(
        "calibration.time_to_first_token_error_seconds", "client's error of the first token", SECONDS,
        "How much later the client saw the first token than a server on loopback had sent it, measured right before "
        "the run at its concurrency: below this, a time to first token is the client's.",
        "the client was not calibrated",
        ("client error", "calibration", "ttft error"),
    ),
    Metric(
        "calibration.inter_token_latency_error_ratio", "client's error of the mean gap", "ratio",
        "The mean gap between tokens that the client saw ÷ that of the server that sent them, less 1.",
        "the client was not calibrated",
        ("itl error",),
    ),
    Metric(
        "intervals", "95 % interval", "that of the figure",
        "Where the true value lies with 95 %, as far as this run can say. Medians of requests: a pair of order "
        "statistics, whatever the distribution. Quantiles of all gaps together: by how much the share beyond them "
        "differs between requests, for gaps within a request depend on each other. Sums ÷ sums (throughput, energy): "
        "the block bootstrap, with streams side by side as blocks. Shares: Wilson's. Energy has the interval of the "
        "idle power in it. All are wider where requests remember the one before. Largest values (longest pause, peak "
        "memory) have none: they are the largest that were seen.",
        "there are too few requests, or they differ too much from each other",
        ("interval", "ci95", "ci", "confidence interval", "confidence", "spread"),
    ),
    Metric(
        "tokens", "tokens", "tokens",
        "Sums over the requests that succeeded: `prompt`, `generated`, `cached`, and the warm-up's apart, since an "
        "engine's counters hold both. The engine counts them; `source` names where it says so. Chunks are not "
        "tokens.",
        "a request has no count",
        ("token count", "usage", "cached tokens"),
    ),
    Metric(
        "chunks", "chunks", "chunks",
        "Chunks an answer (median), tokens a chunk (mean), and the share of chunks that shared a read with the one "
        "before.",
        "no request succeeded",
        ("tokens per chunk", "reads"),
    ),
    Metric(
        "peak_memory_bytes", "peak memory", "bytes",
        "Highest resident memory of the engine's process and its children during the run, looked at five times a "
        "second.",
        "the process is not visible, or on another machine",
        ("memory", "rss", "footprint"),
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}


def find(asked: str) -> Metric:
    """The figure of that name, title or abbreviation; `UsageError` with near names where there is none."""
    words = {word: metric for metric in METRICS for word in _words(metric)}
    wanted = _plain(asked)
    if found := words.get(wanted):
        return found
    near = dict.fromkeys(words[word].name for word in difflib.get_close_matches(wanted, words, n=6, cutoff=0.6))
    near |= dict.fromkeys(metric.name for metric in METRICS if len(wanted) > 2 and wanted in _plain(metric.name))
    hint = f"did you mean {', '.join(list(near)[:4])}?" if near else "`tokwatt-bench explain` lists them all"
    raise UsageError(f"no figure is called {asked.strip()[:60]!r}; {hint}")


def figures(result: Mapping[str, Any]) -> Iterator[tuple[Metric, Any]]:
    """The figures that a result has a place for, in the order of the definitions, each a number or None, or a summary
    with `p50`; counts and sums are none.
    """
    for metric in METRICS:
        there, value = lookup(result, metric.name)
        if there and (not isinstance(value, Mapping) or "p50" in value):
            yield metric, value


def lookup(result: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """Whether a result has a place for what has this dotted name, and what stands there."""
    value: Any = result
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def markdown() -> str:
    """The table of figures of docs/benchmark.md."""
    rows = (
        f"| `{m.name}` | {m.title[:1].upper()}{m.title[1:]} | {m.unit} | {m.definition} | {m.null} |" for m in METRICS
    )
    return "\n".join(("| Figure | Called | Unit | Definition | `null` when |", "|---|---|---|---|---|", *rows, ""))


def _words(metric: Metric) -> Iterator[str]:
    yield from (_plain(word) for word in (metric.name, metric.title, *metric.aliases))


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").replace("-", " ").replace(".", " ").split())
