"""When the tokens of one answer came, and how long each waited for the one before it."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable
from operator import sub

from tokwatt_exporter.proxy.counts import ITL_BOUNDS, Spread
from tokwatt_exporter.streams.answer import Answer, Chunk

#: Reasons for which a model ends with a token that has no text.
_STOPS = ("stop", "end_turn", "completed")
#: What is reckoned at a time, a fraction of a millisecond each.
_SLICE, _SLOW_SLICE = 500, 100
_BOUNDS_NS = [round(bound * 1e9) for bound in ITL_BOUNDS]


class Arrivals:
    """Chunks in 16 bytes each: objects of so many would be looked through for garbage while streams wait."""

    def __init__(self) -> None:
        self._at_ns, self._characters, self._counted = array("q"), array("q"), array("q")
        self._all_counted = True

    def take(self, chunks: list[Chunk], leave: int = 0) -> None:
        """Take chunks out of the list, all but the last few."""
        taken = chunks[: len(chunks) - leave]
        del chunks[: len(taken)]
        self._at_ns.extend(chunk.at_ns for chunk in taken)
        self._characters.extend(chunk.characters for chunk in taken)
        if self._all_counted:
            self._counted.extend(chunk.counted or 0 for chunk in taken)
            self._all_counted = all(chunk.counted for chunk in taken)

    @property
    def first_ns(self) -> int | None:
        """When the first came."""
        return self._at_ns[0] if self._at_ns else None

    def latency(self, answer: Answer, whole: bool) -> Generator[None, None, Spread | None]:
        """Seconds between tokens, each as often as there were tokens that waited so long, a slice at a time.

        A chunk of several tokens waited once for all of them: each has its share. Where the engine counts at the end
        only, a chunk has its share of the text; where it does not count at all, nothing is known.
        """
        total, chunks = answer.generated_tokens, len(self._at_ns)
        if self._all_counted:
            return (yield from self._shared(self._counted))
        if not whole or not total:
            return None
        # The token that ends the text has no chunk.
        if total == chunks or (answer.finish in _STOPS and total == chunks + 1):
            return (yield from self._each())
        text = list(itertools.accumulate(self._characters))
        return (yield from self._shared(round(characters * total / text[-1]) for characters in text))

    def _each(self) -> Generator[None, None, Spread]:
        """Each chunk is a token."""
        spread = Spread(ITL_BOUNDS)
        for begin in range(0, len(self._at_ns) - 1, _SLICE):
            part = self._at_ns[begin : begin + _SLICE + 1]
            gaps = sorted(map(sub, part[1:], part))
            ends = [*(bisect_right(gaps, bound) for bound in _BOUNDS_NS), len(gaps)]
            for bucket, (start, end) in enumerate(itertools.pairwise((0, *ends))):
                spread.counts[bucket] += end - start
            spread.sum += (part[-1] - part[0]) / 1e9
            yield
        return spread

    def _shared(self, counted: Iterable[int]) -> Generator[None, None, Spread]:
        """So many tokens had been generated with each chunk."""
        spread = Spread(ITL_BOUNDS)
        since = 0
        both = zip(itertools.pairwise(self._at_ns), itertools.pairwise(counted), strict=True)
        for number, ((before, after), (had, has)) in enumerate(both, 1):
            since = since or before
            if has > had:
                spread.add((after - since) / 1e9 / (has - had), has - had)
                since = 0
            if number % _SLOW_SLICE == 0:
                yield
        return spread
