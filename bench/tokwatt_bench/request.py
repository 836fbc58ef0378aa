"""One request as it turned out: a result with its times and counts, or a failure with its class."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tokwatt_bench.chunks import Chunks
from tokwatt_bench.stream import Recording, decode
from tokwatt_exporter.streams.answer import Answer, Chunk, excerpt
from tokwatt_exporter.streams.stream import parse

Phase = Literal["warmup", "measured"]

#: Every way in which a request can fail, and what it means; a contract.
FAILURES: Mapping[str, str] = {
    "refused": "nobody listens there",
    "unreachable": "no connection could be made",
    "timeout": "no complete answer within --timeout",
    "cut": "the answer ended without its finish reason or without its terminator",
    "http_status": "the answer has another HTTP status than 200",
    "error_event": "the stream carries an error",
    "empty": "the answer finished without a single token",
    "garbage": "what came is no stream of the engine's dialect",
    "too_large": "the answer is larger than any real one",
}


class Load(NamedTuple):
    """Seconds until a model was in memory, and whose time that is: `engine` for its own, `load` for the time of its
    call to load, `request` for that of a request for one token, where only a request loads.
    """

    seconds: float
    source: str


@dataclass(slots=True)
class Request:
    """Times are seconds from the moment the request was sent. Figures of a failed request are None."""

    index: int
    phase: Phase
    started_ms: int
    failure: str | None = None
    detail: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    token_source: str | None = None
    connect_seconds: float | None = None
    first_token_seconds: float | None = None
    first_answer_token_seconds: float | None = None
    #: Until the last event of the stream.
    duration_seconds: float | None = None
    #: When its connection was done with, on the clock of `time.perf_counter_ns`, and how long it had its lane.
    ended_ns: int = 0
    busy_seconds: float = 0.0
    #: When each chunk with tokens was complete; also of failed requests.
    offsets_ns: Sequence[int] = ()
    chunks: Sequence[Chunk] = ()
    answer: Answer = field(default_factory=Answer)
    energy_joules: float | None = None
    #: How its model came into memory right before it, where that was wanted.
    load: Load | None = None
    #: Which of the streams that ran side by side.
    lane: int = 0
    #: How much later than it was due it was sent; its times above begin when it was due. None where nothing was due.
    delay_seconds: float | None = None
    #: The pair of an A/B run.
    block: int | None = None
    #: What is wrong with the answer's text; empty for nothing.
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is a result."""
        return self.failure is None

    def row(self, run_id: str) -> dict[str, Any]:
        """The columns of `bench_request`."""
        return {
            "run_id": run_id, "request_index": self.index, "phase": self.phase, "started": self.started_ms,
            "ok": self.ok, "failure": self.failure and f"{self.failure}: {self.detail}",
            "prompt_tokens": self.prompt_tokens, "cached_tokens": self.cached_tokens,
            "generated_tokens": self.generated_tokens, "token_source": self.token_source,
            "time_to_first_token_seconds": self.first_token_seconds, "duration_seconds": self.duration_seconds,
            "chunk_offsets_ns": list(self.offsets_ns), "energy_joules": self.energy_joules, "lane": self.lane,
            "delay_seconds": self.delay_seconds, "finish": self.answer.finish, "block": self.block,
            "first_answer_token_seconds": self.first_answer_token_seconds,
            "load_seconds": self.load and self.load.seconds, "problem": self.problem or None,
        }  # fmt: skip


def examine(recording: Recording, dialect: str, index: int, phase: Phase, due_ns: int | None = None) -> Request:
    """Parse what was recorded and judge it: a result has its finish reason, its terminator and tokens.

    Who waits for an answer waits from when the request was due (`due_ns`), not from when the client got round to it.
    """
    decode(recording)
    answer = parse(recording.pieces, dialect) if recording.status == 200 else Answer()
    request = Request(index, phase, recording.started_ms, answer=answer, chunks=Chunks(answer.chunks))
    request.offsets_ns = array("q", [chunk.at_ns - recording.sent_ns for chunk in answer.chunks])
    request.ended_ns = recording.ended_ns
    request.busy_seconds = (recording.ended_ns - recording.connect_ns) / 1e9
    # There are as many as tokens, and they are in the request.
    answer.chunks = []
    if failure := _failure(recording, answer, len(request.chunks)):
        request.failure, request.detail = failure
        return request
    request.prompt_tokens, request.cached_tokens = answer.prompt_tokens, answer.cached_tokens
    request.generated_tokens, request.token_source = answer.generated_tokens, answer.token_source
    begun_ns = recording.sent_ns
    if due_ns is not None:
        # Connecting is part of the wait, too.
        begun_ns, request.delay_seconds = due_ns, max(recording.sent_ns - due_ns, 0) / 1e9
    request.connect_seconds = (recording.connected_ns - recording.connect_ns) / 1e9
    request.first_token_seconds = (request.chunks[0].at_ns - begun_ns) / 1e9
    answered = next((chunk.at_ns for chunk in request.chunks if chunk.answer), None)
    request.first_answer_token_seconds = None if answered is None else (answered - begun_ns) / 1e9
    request.duration_seconds = (answer.last_ns - begun_ns) / 1e9
    return request


def _failure(recording: Recording, answer: Answer, chunks: int) -> tuple[str, str] | None:
    """Class and detail; None for a result."""
    whole = bool(answer.finish) and answer.terminated
    if answer.error:
        return "error_event", answer.error
    if recording.status not in (0, 200):
        return "http_status", _status(recording)
    if whole and not answer.garbage:
        return None if chunks else ("empty", f"finished ({answer.finish}) without a token")
    if recording.end == "not_http":
        return "garbage", recording.detail
    if recording.end not in ("complete", "cut"):
        return recording.end, recording.detail
    if answer.garbage:
        return "garbage", f"not an event: {answer.garbage}"
    if recording.end == "complete" and not (answer.last_ns or answer.terminated):
        return _no_events(recording)
    return "cut", _ending(recording, answer, chunks)


def _no_events(recording: Recording) -> tuple[str, str]:
    body = b"".join(piece for _, piece in recording.pieces[:4])
    return ("garbage", f"no events in: {excerpt(body)}") if body.strip() else ("empty", "the answer has no body")


def _ending(recording: Recording, answer: Answer, chunks: int) -> str:
    got = f"after {chunks} chunks"
    if recording.end == "cut":
        return f"{recording.detail}, {got}"
    missing = [
        name for name, there in (("finish reason", answer.finish), ("terminator", answer.terminated)) if not there
    ]
    return f"ended without {' and '.join(missing)} {got}"


def _status(recording: Recording) -> str:
    body = b"".join(piece for _, piece in recording.pieces)[:4096]
    try:
        found = json.loads(body)["error"]
        said = str(found["message"] if isinstance(found, dict) else found)
    except (ValueError, KeyError, TypeError, RecursionError):
        said = body.decode(errors="replace")
    where = recording.headers.get("location") if 300 <= recording.status < 400 else None
    said = f"redirects to {where.partition('?')[0]}" if where else excerpt(said.encode())
    return f"HTTP {recording.status}" + (f": {said}" if said else "")
