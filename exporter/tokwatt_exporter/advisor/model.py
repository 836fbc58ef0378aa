"""A model as its files describe it, and the memory and reads that follow from that. Only headers are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokwatt_exporter.errors import TokwattError, UsageError

#: Bytes of a number in the KV cache, unless the engine was told to make them smaller.
KV_NUMBER_BYTES = 2
#: An engine computes so many prompt tokens at once, and has room for these numbers of each: five vectors of the model's
#: width and three of its feed-forward layer, four bytes each, and two bytes of mask for each token of the context.
#: That is what llama-server 0.7 allocates, within two per cent; older ones and other engines may take more.
BATCH_TOKENS, WIDTHS, FEEDS, SCRATCH_BYTES, MASK_BYTES = 512, 5, 3, 4, 2
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_MOST_FILES = 1000


class NotAModel(TokwattError):
    """The file is not what its name says, or is damaged; the text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model's files: sizes in bytes; what the header does not tell is None."""

    name: str
    format: str
    weights_bytes: int
    #: Weights that are read for each token, where one is generated at a time.
    active_bytes: int
    path: Path | None = None
    architecture: str | None = None
    kv_bytes_per_token: int | None = None
    width: int | None = None
    #: Width of the feed-forward layer; of experts, of all that are used for a token.
    feed: int | None = None
    trained_context: int | None = None
    notes: tuple[str, ...] = ()

    def kv_bytes(self, context: int) -> int | None:
        """The KV cache of so many tokens."""
        return None if self.kv_bytes_per_token is None else self.kv_bytes_per_token * context

    def overhead_bytes(self, context: int) -> int | None:
        """What an engine computes in, besides weights and cache."""
        if self.feed is None or self.width is None:
            return None
        numbers = WIDTHS * self.width + FEEDS * self.feed
        return BATCH_TOKENS * (SCRATCH_BYTES * numbers + MASK_BYTES * context)

    def needed_bytes(self, context: int) -> int | None:
        """Weights, cache and overhead; None where one of them is not known."""
        cache, overhead = self.kv_bytes(context), self.overhead_bytes(context)
        return None if cache is None or overhead is None else self.weights_bytes + cache + overhead

    def longest_context(self, room: float) -> int | None:
        """Tokens of context that fit into so many bytes, and no more than it was trained for; None where unknown."""
        fixed = self.needed_bytes(0)
        if fixed is None or self.kv_bytes_per_token is None:
            return None
        each = self.kv_bytes_per_token + BATCH_TOKENS * MASK_BYTES
        tokens = max(int((room - fixed) // each), 0)
        return min(tokens, self.trained_context) if self.trained_context else tokens


def read(path: Path) -> list[Model]:
    """The models in a file or folder; `UsageError` where there is none or its header cannot be used."""
    try:
        if path.is_dir():
            found = list(_folder(path))
        elif path.is_file():
            found = [_file(path)]
        else:
            raise UsageError(f"--model: there is no {path}")
    except NotAModel as error:
        raise UsageError(f"--model: {error}") from None
    except OSError as error:
        raise UsageError(f"--model: {path} cannot be read: {error.strerror}") from None
    if not found:
        raise UsageError(f"--model: {path} holds no .gguf file and no config.json beside .safetensors files")
    return found


def _folder(path: Path) -> Iterable[Model]:
    names = sorted(entry.name for entry in path.iterdir())[:_MOST_FILES]
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        from tokwatt_exporter.advisor import safetensors

        yield safetensors.read(path)
    for name in names:
        if name.endswith(".gguf") and not name.startswith("mmproj") and _first_shard(Path(name)):
            yield _file(path / name)


def _first_shard(path: Path) -> bool:
    shard = _SHARD.search(path.stem)
    return shard is None or int(shard[1]) == 1


def _file(path: Path) -> Model:
    from tokwatt_exporter.advisor import gguf, safetensors

    if path.suffix == ".safetensors":
        return safetensors.read(path.parent)
    return gguf.read(shards(path))


def shards(path: Path) -> list[Path]:
    """All files of a model that is split, the first first; `NotAModel` where one is missing."""
    shard = _SHARD.search(path.stem)
    if shard is None:
        return [path]
    stem, count = path.stem[: shard.start()], int(shard[2])
    if not 1 <= count <= _MOST_FILES:
        raise NotAModel(f"{path} says it is one of {count} files")
    found = [path.with_name(f"{stem}-{number:05}-of-{count:05}{path.suffix}") for number in range(1, count + 1)]
    for one in found:
        if not one.is_file():
            raise NotAModel(f"{one} is missing, which the model needs")
    return found


def positive(value: object) -> int | None:
    """A count out of a header, as far as it can be one."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40
    return int(value) if good and isinstance(value, int) else None
