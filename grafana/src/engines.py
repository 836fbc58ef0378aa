"""The board *Engines & models*: what serves now, how fast, how long a request waits, and what a token costs."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode

from frame import board, filled, label_choice, machine
from panels import NO_REPORT, NO_SENSOR, Column, Q, graph, number, sheet, thresholds, timeline
from promql import BOARD, SHOWN, by
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Histogram

DEVICE, ENGINE, MODEL = 'device=~"$device"', 'engine=~"$engine"', 'model=~"$model"'
CHOSEN = (ENGINE, MODEL)
LABELS = ("engine", "model")
SERIES, PER_ENGINE = "{{engine}} {{model}} {{instance}}", "{{engine}} {{instance}}"
#: What `tokwatt proxy` counted is named apart: of an engine that counts too, it is the part that passed the proxy.
PROXIED = f"by the proxy {SERIES}"
BY_PROXY = "'By the proxy' is what passed `tokwatt proxy`."
TOKENS_PER_SECOND = "suffix: tok/s"
NO_HISTOGRAM = "No engine here tells how its times are spread"
NO_ENGINE = "No engine was found"


def engines() -> builders.Dashboard:
    """The board."""
    made = board(
        "tokwatt-engines",
        "tokwatt: Engines & models",
        "The engines that were found, as they report themselves: models, speed, queues, latency, memory and energy.",
        "3h",
    )
    made = made.with_variable(label_choice(c.DEVICE_INFO, "device", "Device"))
    made = made.with_variable(label_choice(c.ENGINE_UP, "engine", "Engine"))
    # What an engine says of itself as a whole has no model, and belongs to all of them.
    made = made.with_variable(label_choice(c.MODEL_INFO, "model", "Model", ENGINE, optional=True))
    rows = (
        ("Now", now()),
        ("Engines and models", models()),
        ("Speed", speed()),
        ("Latency", latency()),
        ("Requests and caches", requests()),
        ("What engines take", resources()),
    )
    return filled(made, rows)


def now() -> list[Any]:
    """The answers."""
    return [machine().span(4), *load(), *service()]


def load() -> list[Any]:
    """How much there is to do."""
    return [
        number(
            "Generation",
            f"Tokens generated per second, by the engines that count them. {BY_PROXY}",
            TOKENS_PER_SECOND,
            Q(by("sum", BOARD.rate(c.GENERATION_TOKENS, *CHOSEN), "engine"), PER_ENGINE),
            Q(by("sum", BOARD.rate(c.PROXY_GENERATION_TOKENS, *CHOSEN), "engine"), f"by the proxy {PER_ENGINE}"),
            empty=NO_REPORT,
            digits=1,
        )
        .span(5)
        .height(4),
        number(
            "Requests",
            "Requests that run and that wait now.",
            units.Short,
            Q(by("sum", BOARD.series(c.REQUESTS_RUNNING, *CHOSEN)), "running {{instance}}"),
            Q(by("sum", BOARD.series(c.REQUESTS_WAITING, *CHOSEN)), "waiting {{instance}}"),
            empty=NO_REPORT,
            digits=0,
        )
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .span(5)
        .height(4),
    ]


def service() -> list[Any]:
    """How well it is done."""
    return [
        number(
            "Time to first token, 95th",
            f"Of 100 requests 95 got their first token within this time. {BY_PROXY}",
            units.Seconds,
            Q(quantile(c.TIME_TO_FIRST_TOKEN, 0.95), SERIES),
            Q(quantile(c.PROXY_TIME_TO_FIRST_TOKEN, 0.95), PROXIED),
            empty=NO_HISTOGRAM,
        )
        .span(5)
        .height(4),
        number(
            "Failed requests",
            "Requests in the shown time that an engine counts as failed. Red from the first on.",
            units.Short,
            Q(by("sum", SHOWN.increase(c.REQUESTS_FAILED, *CHOSEN), "engine"), PER_ENGINE),
            empty=NO_REPORT,
            digits=0,
        )
        .thresholds(thresholds((0.5, "red")))
        .color_mode(BigValueColorMode.VALUE)
        .span(5)
        .height(4),
    ]


def models() -> list[Any]:
    """Who serves what."""
    keys = (*LABELS, "quantization", "format")
    loaded = BOARD.series(c.MODEL_INFO, *CHOSEN)
    columns = (
        ("Memory", BOARD.series(c.MODEL_MEMORY, *CHOSEN), units.BytesIEC),
        ("GPU memory", BOARD.series(c.MODEL_GPU_MEMORY, *CHOSEN), units.BytesIEC),
        ("Context", BOARD.series(c.MODEL_CONTEXT, *CHOSEN), units.Short),
        ("Unloaded", f"{BOARD.series(c.MODEL_EXPIRES, *CHOSEN)} * 1000", units.DateTimeFromNow),
    )
    on = "on (job, instance, engine, model)"

    def column(expr: str) -> str:
        known = f"({expr}) * {on} group_left (quantization, format) {loaded}"
        return by("max", f"{known} or {on} NaN * {loaded}", *keys)

    return [
        timeline(
            "Engines",
            "Whether the last probe of each engine succeeded. Blue marks: it is of another version from then on.",
            (Q(BOARD.series(c.ENGINE_UP, ENGINE), PER_ENGINE), [("down", "red"), ("up", "green")]),
            empty=NO_ENGINE,
        )
        .span(7)
        .height(7),
        sheet(
            "Loaded models",
            "Models in memory, as their engine describes them. 'Unloaded' is when it will drop the model by itself.",
            [Column(title, column(expr), unit) for title, expr, unit in columns],
            keys=[("engine", "Engine"), ("model", "Model"), ("quantization", "Quantisation"), ("format", "Format"),
                  ("instance", "Machine")],
            empty="No engine says that a model is loaded",
        )
        .span(17)
        .height(7),
    ]  # fmt: skip


def speed() -> list[Any]:
    """How much, and how fast while at it."""
    prefill = f"{BOARD.rate(c.PROMPT_TOKENS, *CHOSEN)} / ({BOARD.rate(c.PROMPT_SECONDS, *CHOSEN)} > 0)"
    decode = f"{BOARD.rate(c.GENERATION_TOKENS, *CHOSEN)} / ({BOARD.rate(c.GENERATION_SECONDS, *CHOSEN)} > 0)"
    return [
        graph(
            "Tokens",
            f"Prompt tokens processed and tokens generated per second, over all of the time. {BY_PROXY}",
            TOKENS_PER_SECOND,
            Q(BOARD.rate(c.GENERATION_TOKENS, *CHOSEN), f"generated {SERIES}"),
            Q(BOARD.rate(c.PROMPT_TOKENS, *CHOSEN), f"prompt {SERIES}"),
            Q(BOARD.rate(c.PROXY_GENERATION_TOKENS, *CHOSEN), f"generated, {PROXIED}", line=True),
            Q(BOARD.rate(c.PROXY_PROMPT_TOKENS, *CHOSEN), f"prompt, {PROXIED}", line=True),
            empty=NO_REPORT,
        )
        .span(8)
        .height(8),
        graph(
            "Speed while busy",
            "Tokens per second of the time the engine spent on them: decode, and dashed, on the right, prefill.",
            TOKENS_PER_SECOND,
            Q(decode, f"decode {SERIES}"),
            Q(prefill, f"prefill {SERIES}", line=True, unit="suffix: prompt tok/s"),
            empty=NO_REPORT,
        )
        .span(8)
        .height(8),
        graph(
            "Energy per token",
            "Of an engine: the CPU energy of its processes, and the GPU's energy by its share of the GPU's busy time; "
            "memory, Neural Engine and the machine's idle power are not in it. Dashed: all energy of the machine over "
            "all of its tokens. Only while tokens are generated.",
            units.Joule,
            Q(BOARD.engine_joules_per_token(ENGINE), PER_ENGINE),
            Q(BOARD.joules_per_token(), "whole machine {{instance}}", line=True),
            empty="Nothing is generated, or no energy is measured",
        )
        .span(8)
        .height(8),
    ]


def latency() -> list[Any]:
    """How long things take, as the engine measures them."""
    spreads = (
        ("Time to first token", "From a request's arrival to its first token.", c.TIME_TO_FIRST_TOKEN,
         c.PROXY_TIME_TO_FIRST_TOKEN),
        ("Inter-token latency", "Between two tokens of a stream.", c.INTER_TOKEN_LATENCY, c.PROXY_INTER_TOKEN_LATENCY),
        ("Request duration", "Whole requests.", c.REQUEST_DURATION, c.PROXY_REQUEST_DURATION),
    )  # fmt: skip
    return [
        graph(
            title,
            f"{what} Median, no finer than the buckets of the engine's own histogram, or of `tokwatt proxy` before it. "
            "Dashed: 95th percentile.",
            units.Seconds,
            Q(quantile(family, 0.5), f"median {SERIES}"),
            Q(quantile(family, 0.95), f"95th {SERIES}", line=True),
            Q(quantile(proxied, 0.5), f"median, {PROXIED}"),
            Q(quantile(proxied, 0.95), f"95th, {PROXIED}", line=True),
            empty=NO_HISTOGRAM,
        )
        .span(8)
        .height(8)
        for title, what, family, proxied in spreads
    ]


def quantile(family: Histogram, share: float) -> str:
    """A quantile of each engine and model; absent where there was no request, which Prometheus calls NaN."""
    return f"histogram_quantile({share}, {by('sum', BOARD.rate(family.bucket, *CHOSEN), *LABELS, 'le')}) >= 0"


def requests() -> list[Any]:
    """Whether requests have to wait, for whom and why."""
    return [waiting().span(8).height(8), caches().span(8).height(8), failures().span(8).height(8)]


def waiting() -> Any:
    """The queue."""
    return graph(
        "Running and waiting",
        "Requests that run. Dashed: those that wait, which means that the engine is the bottleneck, and connections to "
        "`tokwatt proxy`.",
        units.Short,
        Q(BOARD.series(c.REQUESTS_RUNNING, *CHOSEN), f"running {SERIES}"),
        Q(BOARD.series(c.REQUESTS_WAITING, *CHOSEN), f"waiting {SERIES}", line=True),
        Q(BOARD.series(c.PROXY_CONNECTIONS, ENGINE), f"connections to the proxy {PER_ENGINE}", line=True),
        empty=NO_REPORT,
    )


def caches() -> Any:
    """What need not be computed again."""
    hits = f"{BOARD.rate(c.PREFIX_CACHE_HITS, *CHOSEN)} / ({BOARD.rate(c.PREFIX_CACHE_QUERIES, *CHOSEN)} > 0)"
    cached, prompt = (BOARD.rate(f, *CHOSEN) for f in (c.PROXY_CACHED_PROMPT_TOKENS, c.PROXY_PROMPT_TOKENS))
    return graph(
        "Caches",
        f"Used share of the KV cache. Dashed: the share of prompt tokens that the prefix cache had. {BY_PROXY}",
        units.PercentUnit,
        Q(BOARD.series(c.KV_CACHE_USAGE, *CHOSEN), f"KV cache {SERIES}"),
        Q(hits, f"prefix hits {SERIES}", line=True),
        Q(f"{cached} / ({prompt} > 0)", f"prefix hits, {PROXIED}", line=True),
        empty=NO_REPORT,
    ).max(1)


def failures() -> Any:
    """What did not come to its end."""
    return graph(
        "Failures and preemptions",
        "Requests per second that failed, that were pushed back for lack of KV cache, and that did not end well at "
        "`tokwatt proxy`, by their status. Dashed: all that finished.",
        units.RequestsPerSecond,
        Q(BOARD.rate(c.REQUESTS_FAILED, *CHOSEN), f"failed {SERIES}"),
        Q(BOARD.rate(c.PREEMPTIONS, *CHOSEN), f"preempted {SERIES}"),
        Q(BOARD.rate(c.PROXY_REQUESTS, *CHOSEN, 'status!="2xx"'), f"{{{{status}}}}, {PROXIED}"),
        Q(BOARD.rate(c.REQUESTS, *CHOSEN), f"finished {SERIES}", line=True),
        Q(BOARD.rate(c.PROXY_REQUESTS, *CHOSEN, 'status="2xx"'), f"finished, {PROXIED}", line=True),
        empty=NO_REPORT,
    )


def resources() -> list[Any]:
    """What the operating system says of the engines' processes."""
    return [
        graph(
            "Memory of engines",
            "Resident memory of the engine's processes, and what ends with them: its footprint, GPU memory included. "
            "Dashed: GPU memory as the driver counts it, and memory of the Neural Engine.",
            units.BytesIEC,
            Q(BOARD.series(c.ENGINE_PROCESS_MEMORY, ENGINE), f"resident {PER_ENGINE}"),
            Q(BOARD.series(c.ENGINE_PROCESS_FOOTPRINT, ENGINE), f"footprint {PER_ENGINE}"),
            Q(BOARD.series(c.ENGINE_PROCESS_GPU_MEMORY, ENGINE, DEVICE), f"{{{{device}}}} {PER_ENGINE}", line=True),
            Q(BOARD.series(c.ENGINE_PROCESS_NEURAL, ENGINE), f"Neural Engine {PER_ENGINE}", line=True),
            empty="No process of an engine can be seen",
        )
        .span(8)
        .height(8),
        graph(
            "CPU of engines",
            "Cores that the engine's processes keep busy.",
            units.Short,
            Q(BOARD.rate(c.ENGINE_PROCESS_CPU, ENGINE), PER_ENGINE),
            empty="No process of an engine can be seen",
        )
        .span(8)
        .height(8),
        graph(
            "GPU of engines",
            "Share of the time that the GPU worked for the engine's processes.",
            units.PercentUnit,
            Q(BOARD.rate(c.ENGINE_PROCESS_GPU_SECONDS, ENGINE), PER_ENGINE),
            empty=NO_SENSOR,
        )
        .span(8)
        .height(8),
    ]
