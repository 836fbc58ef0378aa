"""What was measured: a result with its requests, out of the history or a file, and what each request says."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tokwatt_bench.statistics import median
from tokwatt_exporter.errors import UsageError

FORMAT, VERSION = "tokwatt-bench", 1
#: A file that is larger is none of ours: this is a hundred thousand requests.
MAX_BYTES = 256 * 2**20
#: What a result can be found by, besides `last`.
KEYS = ("engine", "model", "scenario", "version", "host", "concurrency")
#: A prefix that is shorter is a word.
_FEWEST_OF_ID = 4
_MOST_RUNS = 10_000
#: With more tokens than this share read together with the one before, gaps are those of the reads.
_MOST_SHARED_READS = 0.10


class Measured(NamedTuple):
    """A result as `run --json` has it, and its requests as rows of `bench_request`; none where they were not kept."""

    result: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]]


def document(measured: Sequence[Measured]) -> dict[str, Any]:
    """Results and requests as one JSON document, which `load` reads."""
    return {
        "format": FORMAT, "version": VERSION, "results": [dict(one.result) for one in measured],
        "requests": [dict(request) for one in measured for request in one.requests],
    }  # fmt: skip


def load(path: Path) -> list[Measured]:
    """What a document holds, or what `run --json` printed, which has no requests; `UsageError` for anything else."""
    found = _json(path)
    if not isinstance(found, dict) or "results" not in found:
        _refuse(path, "holds no results of tokwatt-bench")
    if found.get("format", FORMAT) != FORMAT:
        _refuse(path, "is a document of something else")
    version = found.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        _refuse(path, "was written by a newer tokwatt: upgrade tokwatt")
    from tokwatt_bench.report.schema import SCHEMA
    from tokwatt_bench.shape import problem

    if wrong := problem(found, SCHEMA, "it"):
        _refuse(path, f"is not what tokwatt-bench writes: {wrong}")
    if not found["results"]:
        _refuse(path, "has no result in it")
    requests: dict[str, list[Mapping[str, Any]]] = {result["run_id"]: [] for result in found["results"]}
    for request in found.get("requests", ()):
        if request["run_id"] not in requests:
            _refuse(path, f"has a request of run {request['run_id'][:40]!r}, of which it has no result")
        requests[request["run_id"]].append(request)
    return [Measured(result, requests[result["run_id"]]) for result in found["results"]]


def find(data_dir: Path, spec: str) -> list[Measured]:
    """What `spec` names, newest first: `latest`, the beginning of a run id, `engine=ollama,model=m` for the newest run
    of those (with `last=5` the newest five), or a file, of which `FILE#engine=ollama` takes a part. `UsageError` where
    there is nothing.
    """
    spec = spec.strip()
    file, _, part = spec.partition("#")
    if not _pairs(spec) and (file.endswith(".json") or "/" in file or _is_file(Path(file))):
        found = load(Path(file))
        return _chosen(found, part, spec) if part else found
    if not spec:
        raise UsageError("no run is named: give the beginning of a run id, latest, engine=NAME or a file")
    return [Measured(result, _requests(data_dir, result["run_id"])) for result in _results(data_dir, spec)]


def _results(data_dir: Path, spec: str) -> list[Mapping[str, Any]]:
    from tokwatt_exporter.store.read import query

    wanted: dict[str, Any] = {"limit": _MOST_RUNS}
    if spec == "latest":
        wanted["limit"] = 1
    elif _pairs(spec):
        pairs = _selector(spec)
        wanted |= {key: pairs[key] for key in ("model", "scenario") if key in pairs}
    elif len(spec) < _FEWEST_OF_ID or not spec.isalnum():
        raise UsageError(
            f"{spec[:60]!r} names no run: give the beginning of a run id, latest, {'=, '.join(KEYS)}= or a file"
        )
    rows = query(data_dir, "bench_results", wanted)
    if not rows and not data_dir.exists():
        raise UsageError(f"nothing was measured yet: {data_dir} does not exist")
    found = [Measured(row["result"], ()) for row in rows if row["result"]]
    return [one.result for one in (found if spec == "latest" and found else _chosen(found, spec, spec))]


def _requests(data_dir: Path, run_id: str) -> Sequence[Mapping[str, Any]]:
    from tokwatt_exporter.store.read import query

    return query(data_dir, "bench_requests", {"run_id": run_id})


def _chosen(found: Sequence[Measured], part: str, spec: str) -> list[Measured]:
    """Those of them, newest first, that `part` names."""
    if not _pairs(part):
        chosen = [one for one in found if part == "latest" or str(one.result["run_id"]).startswith(part.lower())]
        if len(chosen) > 1 and part != "latest":
            raise UsageError(f"{len(chosen)} runs begin with {part[:60]!r}: give more of the run id")
        if not chosen:
            raise UsageError(f"no run begins with {part[:60]!r}: see tokwatt-bench history --json")
        return chosen[:1]
    wanted = _selector(part)
    last = int(wanted.pop("last", "1"))
    chosen = [one for one in found if all(_has(one.result, key, value) for key, value in wanted.items())]
    if not chosen:
        raise UsageError(f"no run has {spec[:200]}: see tokwatt-bench history")
    return chosen[:last]


def _has(result: Mapping[str, Any], key: str, value: str) -> bool:
    names = ("engine", "kind") if key == "engine" else (key,)
    return any(str(result.get(name)) == value for name in names)


def _pairs(spec: str) -> bool:
    key, given, _ = spec.partition("=")
    return bool(given) and key.strip() in (*KEYS, "last")


def _selector(spec: str) -> dict[str, str]:
    found = {}
    for pair in spec.split(","):
        key, given, value = (part.strip() for part in pair.partition("="))
        if key not in (*KEYS, "last") or not given or not value:
            raise UsageError(f"{pair.strip()[:60]!r} is not NAME=VALUE with a name of {', '.join(KEYS)} or last")
        found[key] = value
    last = found.get("last", "1")
    if not (last.isdecimal() and 1 <= int(last[:6]) <= _MOST_RUNS):
        raise UsageError(f"last: {last[:20]!r} is not a number from 1 to {_MOST_RUNS}")
    return found


def _json(path: Path) -> Any:
    try:
        # A pipe or a device has no end that is sure to come.
        if not _is_file(path):
            raise UsageError(f"{str(path)[:200]} is no file")
        if path.stat().st_size > MAX_BYTES:
            _refuse(path, f"is larger than {MAX_BYTES // 2**20} MiB")
        return json.loads(path.read_bytes(), parse_constant=_no_number, parse_float=_finite, parse_int=_countable)
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError):
        _refuse(path, "is not JSON")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _finite(word: str) -> float:
    return value if math.isfinite(value := float(word)) else _no_number(word)


def _countable(word: str) -> int:
    # Larger ones are no floats, with which everything is computed.
    return int(word) if len(word) < 20 else _no_number(word)


def _refuse(path: Path, why: str) -> NoReturn:
    raise UsageError(f"{path} {why}")


def counted(one: Measured) -> list[Mapping[str, Any]]:
    """The measured requests that succeeded, in the order in which they were sent."""
    good = [request for request in one.requests if request["phase"] == "measured" and request["ok"]]
    return sorted(good, key=lambda request: request["request_index"])


def chunk_gaps(request: Mapping[str, Any]) -> list[float]:
    """Seconds between the chunks with tokens of an answer."""
    return [(after - before) / 1e9 for before, after in itertools.pairwise(request["chunk_offsets_ns"] or ())]


def decode_speed(request: Mapping[str, Any]) -> float | None:
    """Tokens after the first read by the seconds from it to the last; where chunks hold several tokens, the first read
    is taken to have its share of them. None where tokens are not counted, or most came at once.
    """
    offsets: Sequence[int] = request["chunk_offsets_ns"] or ()
    tokens = request["generated_tokens"]
    after: float = sum(offset != offsets[0] for offset in offsets)
    if not tokens or after == 0 or 2 * after < len(offsets):
        return None
    if not _one_by_one(request):
        after *= tokens / len(offsets)
    return float(after / ((offsets[-1] - offsets[0]) / 1e9))


def token_gap(request: Mapping[str, Any]) -> float | None:
    """The median of the seconds between tokens; None where one chunk is not one token, or reads brought several."""
    gaps = chunk_gaps(request)
    if not gaps or not _one_by_one(request) or gaps.count(0.0) > _MOST_SHARED_READS * len(gaps):
        return None
    return median(gaps) or None


def longest_pause(request: Mapping[str, Any]) -> float | None:
    """Seconds of the longest gap between two chunks."""
    return max(chunk_gaps(request), default=None) or None


def energy_per_token(request: Mapping[str, Any], idle_watts: float | None) -> float | None:
    """Joules a generated token, beyond those of the idle machine; None where one of the three is not known, or the
    idle machine uses as much.
    """
    joules, tokens, seconds = request["energy_joules"], request["generated_tokens"], request["duration_seconds"]
    if joules is None or idle_watts is None or not tokens or seconds is None:
        return None
    net = joules - idle_watts * seconds
    return net / tokens if net > 0 else None


def _one_by_one(request: Mapping[str, Any]) -> bool:
    chunks, tokens = len(request["chunk_offsets_ns"] or ()), request["generated_tokens"]
    # The token that ends an answer has no text and no chunk, and some engines count it.
    return tokens is not None and (chunks == tokens or (chunks + 1 == tokens and request.get("finish") != "length"))
