"""The figures of a run, each with its definition; docs/benchmark.md has them for people."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tokwatt_bench.request import Request
from tokwatt_bench.statistics import Summary, summarise, summarise_groups

#: A prompt with fewer tokens that were not cached is over before its time means anything.
FEWEST_PREFILL_TOKENS = 16
#: With more tokens than this share read together with the one before, gaps are those of the reads.
MOST_SHARED_READS = 0.10

NO_COUNT = "the engine gives no token count, and chunks are not tokens"


class Known(NamedTuple):
    """A value, or the reason why there is none."""

    value: float | None
    why: str = ""


def chunk_gaps(request: Request) -> list[float]:
    """Seconds between chunks with tokens."""
    times = request.offsets_ns
    return [(after - before) / 1e9 for before, after in itertools.pairwise(times)]


def token_gaps(request: Request) -> tuple[list[float], str]:
    """Seconds between tokens, or the reason why they are not known: one chunk must be one token.

    The end-of-sequence token has no text and no chunk, and some engines count it.
    """
    chunks, tokens = len(request.chunks), request.generated_tokens
    if tokens is None:
        return [], NO_COUNT
    if not _one_by_one(request):
        return [], f"one chunk is not one token: {chunks} chunks for {tokens} tokens"
    gaps = chunk_gaps(request)
    return gaps, "" if gaps else "the answer is a single token"


def inter_token_latency(requests: Sequence[Request]) -> tuple[Summary, str]:
    """Quantiles of the gaps between tokens of all requests together, and a note where not all requests are in them.

    An answer with a character of several tokens has fewer chunks than tokens and is left out, as long as most answers
    have none. Gaps are not known where tokens come several in a read: they would be 0 and the waits for the reads.
    """
    found = [token_gaps(request) for request in requests]
    usable = [gaps for gaps, why in found if not why]
    why = next((why for _, why in found if why), "")
    if 2 * len(usable) <= len(found):
        return Summary(0, reasons={"": why or "no request succeeded"}), ""
    count, shared = sum(map(len, usable)), sum(gaps.count(0.0) for gaps in usable)
    if shared > MOST_SHARED_READS * count:
        return Summary(0, reasons={"": f"{shared} of {count} tokens came in one read with the one before"}), ""
    note = f"inter-token latency is of {len(usable)} of {len(found)} requests; of another, {why}" if why else ""
    return summarise_groups(usable), note


def chunk_gap(requests: Sequence[Request]) -> Summary:
    """Quantiles of the gaps between chunks of all requests together."""
    why = "no answer had two chunks" if requests else "no request succeeded"
    return summarise_groups([chunk_gaps(request) for request in requests], why)


def tokens_after_first(request: Request) -> tuple[float | None, str]:
    """Tokens that came after the first read that held any, or the reason why their number is not known."""
    if request.generated_tokens is None:
        return None, NO_COUNT
    first = request.offsets_ns[0]
    inside = sum(offset == first for offset in request.offsets_ns)
    if inside == len(request.chunks):
        return None, "the whole answer came at once"
    if 2 * inside > len(request.chunks):
        # The client or the machine slept, and the rest says nothing of the engine's pace.
        return None, "most of the answer came at once"
    if _one_by_one(request):
        return len(request.chunks) - inside, ""
    if not first_estimated(request):
        return request.generated_tokens - (request.chunks[inside - 1].counted or 0), ""
    # Several tokens a chunk and no counts between: the share of the text is the best there is.
    share = sum(chunk.characters for chunk in request.chunks[:inside]) / sum(c.characters for c in request.chunks)
    return request.generated_tokens - max(round(share * request.generated_tokens), inside), ""


def first_estimated(request: Request) -> bool:
    """Whether the tokens of the first read are only known by their share of the text."""
    counted = all(chunk.counted is not None for chunk in request.chunks)
    return request.generated_tokens is not None and not counted and not _one_by_one(request)


def generation_speed(request: Request) -> Known:
    """Decode speed: tokens after the first read, by the seconds from the first read with a token to the last."""
    tokens, why = tokens_after_first(request)
    if tokens is None or tokens <= 0:
        return Known(None, why or "no token came after the first read")
    return Known(tokens / ((request.offsets_ns[-1] - request.offsets_ns[0]) / 1e9))


def mean_token_gap(request: Request) -> Known:
    """Mean inter-token latency in seconds: the reciprocal of the decode speed."""
    speed, why = generation_speed(request)
    return Known(1 / speed if speed else None, why)


def paces(requests: Sequence[Request]) -> list[float]:
    """Seconds a request, by which it is judged whether there were enough of them: of the mean token, or where tokens
    are not known, of the whole answer.
    """
    gaps = [mean_token_gap(request).value for request in requests]
    known = [gap for gap in gaps if gap is not None]
    if len(known) == len(requests):
        return known
    return [request.duration_seconds for request in requests if request.duration_seconds is not None]


def prompt_speed(request: Request, cold: bool) -> tuple[Known, str]:
    """Prefill speed over the tokens that were not cached, and whose time it is.

    `cold` says that the prompt began with something that was never sent before: where the engine does not report its
    cache, nothing but the template's first tokens can have been in it.
    """
    answer = request.answer
    if answer.prefill:
        return _rate(answer.prefill.tokens, answer.prefill.seconds), answer.prefill.source
    if request.prompt_tokens is None:
        return Known(None, "the engine gives no count of prompt tokens"), ""
    if request.cached_tokens is None and not cold:
        return Known(None, "the engine does not say how many prompt tokens were cached, and the prompt was not new"), ""
    tokens = request.prompt_tokens - (request.cached_tokens or 0)
    if answer.prefill_seconds:
        return _rate(tokens, answer.prefill_seconds), answer.prefill_source
    return _rate(tokens, request.first_token_seconds or 0.0), "time to first token"


def _rate(tokens: int, seconds: float) -> Known:
    if tokens < FEWEST_PREFILL_TOKENS:
        return Known(None, f"only {tokens} prompt tokens were not cached; it takes {FEWEST_PREFILL_TOKENS}")
    return Known(tokens / seconds if seconds else None, "" if seconds else "the prefill took no measurable time")


def _one_by_one(request: Request) -> bool:
    chunks, tokens = len(request.chunks), request.generated_tokens
    counted_end = request.answer.finish == "stop" and chunks + 1 == tokens
    return chunks == tokens or counted_end


def over(requests: Iterable[Request], figure: Callable[[Request], Known]) -> Summary:
    """Quantiles of a figure that each request has one of; a single request without it leaves no summary.

    Leaving out those where it is not known would pick the sample by its outcome.
    """
    known = [figure(request) for request in requests]
    if why := next((one.why or "not known" for one in known if one.value is None), ""):
        return Summary(0, reasons={"": why})
    return summarise([one.value for one in known if one.value is not None], why_none="no request succeeded")


def longest_pause(requests: Sequence[Request]) -> float | None:
    """Seconds of the longest silence between two chunks; None where no answer had two."""
    return max((gap for request in requests for gap in chunk_gaps(request)), default=None)


def total(requests: Iterable[Request], count: Callable[[Request], int | None]) -> int | None:
    """The sum, or None where a request does not know."""
    counts = [count(request) for request in requests]
    known = [value for value in counts if value is not None]
    return sum(known) if known and len(known) == len(counts) else None


def sources(requests: Iterable[Request]) -> str | None:
    """Whose token counts they are: `usage`, `timings` or `eval_count`."""
    return ", ".join(sorted({request.token_source for request in requests if request.token_source})) or None


def failures(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """`{"class", "count", "detail", "requests"}` of each class of failure, the first detail standing for all."""
    grouped: dict[str, list[Request]] = {}
    for request in requests:
        if request.failure:
            grouped.setdefault(request.failure, []).append(request)
    return [
        {"class": name, "count": len(ones), "detail": ones[0].detail, "requests": [one.index for one in ones]}
        for name, ones in grouped.items()
    ]


def answer_problems(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """`{"kind", "count", "detail", "requests"}` of each kind of problem with answers' texts, the first detail standing
    for all.
    """
    grouped: dict[str, list[tuple[int, str]]] = {}
    for request in requests:
        for problem in filter(None, request.problem.split("; ")):
            kind, _, detail = problem.partition(": ")
            grouped.setdefault(kind, []).append((request.index, detail))
    return [
        {"kind": kind, "count": len(ones), "detail": ones[0][1], "requests": [index for index, _ in ones]}
        for kind, ones in grouped.items()
    ]
