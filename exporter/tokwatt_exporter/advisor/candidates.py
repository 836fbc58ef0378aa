"""What there is to choose from: files that were named, and what engines on this machine list."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokwatt_exporter.advisor.model import Model, NotAModel, read
from tokwatt_exporter.errors import UsageError

if TYPE_CHECKING:
    from tokwatt_exporter.engines.discovery import Found

_MODEL_FLAGS = ("-m", "--model", "--model-path", "--model_path")
_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_MOST_MANIFEST_BYTES = 2**20


class Candidate(NamedTuple):
    """A model by its name, its files where they are known, and the engine that lists it."""

    name: str
    model: Model | None
    engine: str | None
    why: str | None = None

    @property
    def where(self) -> str:
        """What tells it from another one of its name."""
        return self.engine or str(self.model.path if self.model else None)


def candidates(paths: Sequence[Path], found: Iterable[Found]) -> list[Candidate]:
    """The models in these files; where none is named, what the engines list."""
    if paths:
        return [Candidate(model.name, model, None) for path in paths for model in read(path)]
    return [candidate for engine in found if engine.up for candidate in _listed(engine)]


def _listed(engine: Found) -> Iterator[Candidate]:
    for name in engine.models:
        path = ollama_file(name) if engine.kind == "ollama" else _served(engine, name)
        if path is None:
            yield Candidate(name, None, engine.name, "the engine does not say where its files are: give --model FILE")
            continue
        try:
            model = read(path)[0]
        except (UsageError, NotAModel) as error:
            yield Candidate(name, None, engine.name, str(error).removeprefix("--model: "))
        else:
            yield Candidate(name, model, engine.name)


def ollama_file(name: str, folder: Path | None = None) -> Path | None:
    """The GGUF file of a model of Ollama's, by its manifest; None where it is not to be found."""
    folder = folder or Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama/models")
    words, _, tag = name.partition(":")
    parts = words.split("/")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"\w[\w.-]*", part) for part in (*parts, tag or "latest")):
        return None
    parts = [*("registry.ollama.ai", "library")[: 3 - len(parts)], *parts]
    try:
        with folder.joinpath("manifests", *parts, tag or "latest").open("rb") as file:
            layers = json.loads(file.read(_MOST_MANIFEST_BYTES))["layers"]
        digest = next(str(one["digest"]) for one in layers if one["mediaType"] == _OLLAMA_MODEL)
    except (OSError, ValueError, LookupError, TypeError, StopIteration, RecursionError):
        return None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        return None
    path = folder / "blobs" / digest.replace(":", "-")
    return path if path.is_file() else None


def _served(engine: Found, name: str) -> Path | None:
    """What a server was started with, where it serves one model and its process is to be seen."""
    import psutil

    if engine.pid is None or len(engine.models) != 1:
        return None
    try:
        process = psutil.Process(engine.pid)
        words, folder = process.cmdline(), Path(process.cwd())
    except (psutil.Error, OSError):
        return None
    return served_path(words, folder, name)


def served_path(words: Sequence[str], folder: Path, name: str) -> Path | None:
    """The file or folder that a command line names as its model; relative to `folder`."""
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in _MODEL_FLAGS:
            path = folder / (value if equals else (words[number + 1 : number + 2] or [""])[0])
            return path if path.exists() and path != folder else None
    path = folder / name
    return path if path.is_dir() or path.is_file() else None
