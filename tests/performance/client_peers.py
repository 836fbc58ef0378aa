"""guidellm and aiperf beside the benchmark's client, where they are installed: the same server, which knows the truth.

`make bench-peers` installs them into `.venv-peers`, a virtual environment each; `TOKWATT_PEERS` names another folder of
such environments. Theirs are the medians they report, for they keep no stamps; ours are computed in the same way.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokwatt_bench.truth import truth_server

from .report import Row, quantile

NAMES = ("guidellm", "aiperf")
FOLDER = Path(__file__).parents[2] / ".venv-peers"
CELLS = ((1, 10.0), (8, 2.0), (32, 2.0), (64, 10.0))
TTFT, TOKENS, SECONDS = 20.0, 128, 4.0
_TIMEOUT = 300
_CLEAR = 1.5
#: All that they need to begin without a model of their own.
_WORDS = ("[UNK]", "How", "long", "is", "a", "token", "?", "word")


class Said(NamedTuple):
    """What a client reports: the median of seconds to the first token, the mean of those between; and its CPU."""

    first_token: float
    token_gap: float
    cpu: float


Ask = Callable[[str, int, float, int], Said]


def rows(ours: Ask) -> Iterator[Row]:
    """A row a cell and client; one line where none is installed."""
    folder = Path(os.environ.get("TOKWATT_PEERS") or FOLDER)
    there = {name: path for name in NAMES if (path := folder / name / "bin" / name).exists()}
    if missing := [name for name in NAMES if name not in there]:
        yield Row(f"beside {' and '.join(missing)}", "not measured", note="not installed: make bench-peers")
    with tempfile.TemporaryDirectory() as work:
        _prepare(Path(work))
        asks = {name: _peer(name, path, Path(work)) for name, path in there.items()}
        starts = {}
        for name, ask in asks.items():
            starts[name] = _one(ask, 1, 1.0, 1)[0].cpu
            yield Row(f"{name}: CPU of a run of one request", f"{starts[name]:.1f} s")
        for lanes, itl in CELLS if there else ():
            requests = max(round(SECONDS * lanes / ((TTFT + itl * TOKENS) / 1e3)), 2 * lanes)
            for name, ask in ({"ours": ours} | asks).items():
                yield _row(f"{lanes} x {itl:g} ms: {name}", ask, lanes, itl, requests, starts.get(name, 0.0))


def _row(what: str, ask: Ask, lanes: int, itl: float, requests: int, start: float) -> Row:
    try:
        said, truth = _one(ask, lanes, itl, requests)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        return Row(what, "failed", note=f"{type(error).__name__}: {error}"[:300])
    first = quantile([(one["writes"][0] - one["received"]) / 1e9 for one in truth.values()], 0.5)
    gaps = [(one["writes"][-1] - one["writes"][0]) / (len(one["writes"]) - 1) / 1e9 for one in truth.values()]
    speed = sum(len(one["writes"]) for one in truth.values()) / _span(truth)
    tokens = sum(len(one["writes"]) for one in truth.values())
    late, off = said.first_token - first, said.token_gap / (sum(gaps) / len(gaps)) - 1
    # A start that takes as long as the rest says nothing of the rest.
    cpu = f"{(said.cpu - start) / tokens * 1e6:.0f} ms" if said.cpu > _CLEAR * start else "? ms"
    return Row(what, f"{late * 1e3:+.2f} ms {off:+.1%} {cpu} {speed:.0f}/s",
               note="" if "ours" not in what else "first token late by (the client's median - the server's), mean gap "
               "off by, CPU for 1,000 tokens without the start, tokens a second of the server")  # fmt: skip


def _one(ask: Ask, lanes: int, itl: float, requests: int) -> tuple[Said, dict[str, Any]]:
    import urllib.request

    with truth_server(f"ttft={TTFT:g},itl={itl:g},tokens={TOKENS}") as url:
        said = ask(url, lanes, itl, requests)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/truth", timeout=10) as answer:
            return said, json.load(answer)


def _span(truth: Mapping[str, Any]) -> float:
    begun = min(one["received"] for one in truth.values())
    return float(max(one["writes"][-1] for one in truth.values()) - begun) / 1e9


def _prepare(work: Path) -> None:
    """Prompts in the forms they read, and a tokenizer that knows eight words."""
    prompts = [f"How long is a token? {number}" for number in range(1000)]
    (work / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in prompts))
    (work / "single.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prompts))
    folder = work / "tokenizer"
    folder.mkdir()
    model = {"type": "WordLevel", "vocab": {word: place for place, word in enumerate(_WORDS)}, "unk_token": "[UNK]"}
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    (folder / "tokenizer.json").write_text(json.dumps(
        {"version": "1.0", **empty, "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    ))  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "model_max_length": 100_000}
    ))  # fmt: skip
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "vocab_size": len(_WORDS)}))


def _peer(name: str, command: Path, work: Path) -> Ask:
    make, read = {"guidellm": (_guidellm, _read_guidellm), "aiperf": (_aiperf, _read_aiperf)}[name]
    # Said to be offline, one of them takes a folder for a name.
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}

    def ask(url: str, lanes: int, itl: float, requests: int) -> Said:
        before = _children()
        done = subprocess.run(
            [str(command), *make(url, lanes, requests, work)], cwd=work, env=environ, timeout=_TIMEOUT, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        used = _children() - before
        try:
            first, gap = read(work)
        except (OSError, ValueError, KeyError, TypeError) as error:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [""]
            raise ValueError(f"exit code {done.returncode}, {type(error).__name__}: {last[0]}") from None
        return Said(first / 1e3, gap / 1e3, used)

    return ask


def _guidellm(url: str, lanes: int, requests: int, work: Path) -> list[str]:
    (work / "guidellm.json").unlink(missing_ok=True)
    return [
        "run", "--backend", f"kind=openai_http,target={url},model=truth", "--profile",
        f"kind=concurrent,streams={lanes}", "--constraint", f"kind=max_requests,count={requests}", "--data",
        f"kind=json_file,path={work}/prompts.jsonl", "--tokenizer", f"kind=huggingface_auto,model={work}/tokenizer",
        "--output", f"kind=json,path={work}/guidellm.json", "--disable-console",
    ]  # fmt: skip


def _read_guidellm(work: Path) -> tuple[float, float]:
    metrics = json.loads((work / "guidellm.json").read_text())["benchmarks"][0]["metrics"]
    first, gap = metrics["time_to_first_token_ms"]["successful"], metrics["inter_token_latency_ms"]["successful"]
    return first["median"], gap["mean"]


def _aiperf(url: str, lanes: int, requests: int, work: Path) -> list[str]:
    (work / "aiperf/profile_export_aiperf.json").unlink(missing_ok=True)
    return [
        "profile", "--model", "truth", "--url", url, "--endpoint-type", "chat", "--streaming", "--concurrency",
        str(lanes), "--request-count", str(requests), "--input-file", f"{work}/single.jsonl", "--custom-dataset-type",
        "single_turn", "--tokenizer", f"{work}/tokenizer", "--use-server-token-count", "--artifact-dir",
        f"{work}/aiperf", "--ui", "none",
    ]  # fmt: skip


def _read_aiperf(work: Path) -> tuple[float, float]:
    found = json.loads((work / "aiperf/profile_export_aiperf.json").read_text())
    return found["time_to_first_token"]["p50"], found["inter_token_latency"]["avg"]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
