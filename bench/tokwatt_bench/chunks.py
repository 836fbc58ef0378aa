"""The chunks of an answer in little space: an hour of many streams has millions of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import overload

from tokwatt_exporter.streams.answer import Chunk


class Chunks(Sequence[Chunk]):
    """Chunks as columns of numbers, 13 bytes each (21 where the engine counts with each); objects when asked for."""

    __slots__ = ("_answer", "_at", "_characters", "_counted")

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._at = array("q", [chunk.at_ns for chunk in chunks])
        self._answer = bytes([chunk.answer for chunk in chunks])
        self._characters = array("I", [chunk.characters for chunk in chunks])
        counts = [chunk.counted for chunk in chunks]
        known = any(count is not None for count in counts)
        self._counted = array("q", [-1 if count is None else count for count in counts]) if known else None

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, place: int) -> Chunk: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Chunk]: ...
    def __getitem__(self, place: int | slice) -> Chunk | Sequence[Chunk]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        counted = self._counted[place] if self._counted is not None else -1
        return Chunk(
            self._at[place], bool(self._answer[place]), self._characters[place], None if counted < 0 else counted
        )
