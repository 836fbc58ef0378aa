"""The header of GGUF files: what the model is, and how large its tensors are. Nothing in it is trusted to be small."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tokwatt_exporter.advisor.model import KV_NUMBER_BYTES, Model, NotAModel, positive

#: A vocabulary of half a million words with its merges is some 30 MB.
MOST_HEADER_BYTES = 128 * 2**20
MOST_KEYS, MOST_TENSORS, MOST_DIMENSIONS, MOST_TEXT = 10_000, 200_000, 8, 2**20
#: Longer arrays are vocabularies; those with a number a layer are kept.
MOST_KEPT = 4096
_VERSIONS = (2, 3)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


class _Header:
    """Reads forward in the header and never further than it may be long."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._left = MOST_HEADER_BYTES

    def take(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise NotAModel(f"{self._path}: its header is longer than {MOST_HEADER_BYTES >> 20} MiB")
        found = self._file.read(size)
        if len(found) != size:
            raise NotAModel(f"{self._path}: ends within its header")
        return found

    def number(self, code: str) -> Any:
        code = f"<{code}"
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def count(self, most: int, what: str) -> int:
        found = int(self.number("Q"))
        if found > most:
            raise NotAModel(f"{self._path}: says it has {found} {what}")
        return found

    def text(self) -> str:
        return self.take(self.count(MOST_TEXT, "characters in a name")).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind not in _NUMBERS:
            raise NotAModel(f"{self._path}: has a value of the unknown type {kind}")
        return self.number(_NUMBERS[kind])

    def _array(self) -> Sequence[Any] | int:
        """The values, or only how many there are where it is a long one."""
        kind, count = self.number("I"), self.count(MOST_HEADER_BYTES, "values in an array")
        if kind == _TEXT:
            for _ in range(count):
                self.take(self.count(MOST_TEXT, "characters in a word"))
            return count
        if kind not in _NUMBERS:
            raise NotAModel(f"{self._path}: has an array of the type {kind}")
        code = f"<{count}{_NUMBERS[kind]}"
        raw = self.take(struct.calcsize(code))
        return struct.unpack(code, raw) if count <= MOST_KEPT else count


def read(paths: Sequence[Path]) -> Model:
    """The model in these files, which are its shards; `NotAModel` where one is damaged."""
    facts: dict[str, Any] = {}
    tensors: dict[str, int] = {}
    for path in paths:
        with path.open("rb") as file:
            found, sizes = _read(_Header(file, path), file, path)
        # The first says what the model is.
        facts = found | facts
        tensors |= sizes
    if "general.architecture" not in facts or not tensors:
        raise NotAModel(f"{paths[0]}: has no tensors, so it is no model by itself")
    return _model(paths[0], facts, tensors)


def _read(header: _Header, file: BinaryIO, path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    if header.take(4) != b"GGUF":
        raise NotAModel(f"{path}: is no GGUF file")
    version = header.number("I")
    if version not in _VERSIONS:
        raise NotAModel(f"{path}: is GGUF version {version}, and only {_VERSIONS} can be read")
    tensors, keys = header.count(MOST_TENSORS, "tensors"), header.count(MOST_KEYS, "keys")
    facts = {}
    for _ in range(keys):
        key = header.text()
        facts[key] = header.value(header.number("I"))
    places = [_tensor(header, path) for _ in range(tensors)]
    alignment = positive(facts.get("general.alignment")) or 32
    begins = -(-file.tell() // alignment) * alignment
    return facts, dict(_sizes(places, path.stat().st_size - begins, path))


def _tensor(header: _Header, path: Path) -> tuple[int, str]:
    name, dimensions = header.text(), header.number("I")
    if dimensions > MOST_DIMENSIONS:
        raise NotAModel(f"{path}: a tensor has {dimensions} dimensions")
    header.take(8 * dimensions + 4)
    return int(header.number("Q")), name


def _sizes(places: list[tuple[int, str]], data: int, path: Path) -> Iterator[tuple[str, int]]:
    """Where one begins the one before has ended; so no table of quantizations is needed, which would grow old."""
    places.sort()
    if places and (data <= 0 or places[-1][0] >= data):
        raise NotAModel(f"{path}: ends before its tensors do; it may still be downloading")
    ends = [*(offset for offset, _ in places[1:]), data][: len(places)]
    for (offset, name), end in zip(places, ends, strict=True):
        yield name, end - offset


def _model(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, int]) -> Model:
    architecture = str(facts["general.architecture"])[:100]

    def fact(name: str) -> Any:
        return facts.get(f"{architecture}.{name}")

    total = sum(tensors.values())
    notes = []
    if window := positive(fact("attention.sliding_window")):
        notes.append(f"layers that only see the last {window} tokens need less cache than this, which is the most")
    return Model(
        name=path.stem, path=path, format="gguf", architecture=architecture, weights_bytes=total,
        active_bytes=_active(tensors, positive(fact("expert_count")), positive(fact("expert_used_count"))),
        kv_bytes_per_token=_cache(fact), width=positive(fact("embedding_length")),
        feed=_feed(fact),
        trained_context=positive(fact("context_length")), notes=tuple(notes),
    )  # fmt: skip


def _active(tensors: Mapping[str, int], experts: int | None, used: int | None) -> int:
    """Of the experts only some are read, of the words' vectors one, unless the same table makes the output."""
    share = used / experts if experts and used and used < experts else 1.0
    tied = "output.weight" not in tensors
    total = 0.0
    for name, size in tensors.items():
        if name == "token_embd.weight" and not tied:
            continue
        total += size * share if "_exps." in name else size
    return round(total)


def _feed(fact: Any) -> int | None:
    """The widest feed-forward layer, and of experts all that are used for a token."""
    widest = fact("feed_forward_length")
    widest = max(widest, default=None) if isinstance(widest, tuple) else widest
    expert, used = positive(fact("expert_feed_forward_length")), positive(fact("expert_used_count"))
    return max(positive(widest) or 0, (expert or 0) * (used or 0)) or None


def _cache(fact: Any) -> int | None:
    """Bytes of cache for each token over all layers; a layer without attention has none."""
    layers, heads = positive(fact("block_count")), positive(fact("attention.head_count"))
    kept = fact("attention.head_count_kv")
    kept = heads if kept is None else kept
    width = positive(fact("embedding_length"))
    each = width // heads if width and heads else None
    keys, values = (positive(fact(f"attention.{part}_length")) or each for part in ("key", "value"))
    if layers is None or keys is None or values is None or kept is None:
        return None
    by_layer = list(kept) if isinstance(kept, tuple) else [kept] * min(layers, MOST_KEPT)
    if interval := positive(fact("full_attention_interval")):
        by_layer = by_layer[interval - 1 :: interval]
    if not all(isinstance(count, int) and 0 <= count < 2**20 for count in by_layer):
        return None
    return sum(by_layer) * (keys + values) * KV_NUMBER_BYTES
