"""Plain prose of any length that says something new in each sentence: the log of a house with many machines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

_WHO = (
    "The caretaker", "A visitor from the third floor", "The night shift", "The electrician", "Mrs Albers of the bakery",
    "The new apprentice", "A student with a bicycle", "The gardener", "The insurance assessor", "The heating engineer",
    "One of the twins", "The postwoman", "The cook", "A man who gave no name", "The librarian", "The window cleaner",
)  # fmt: skip
_DID = (
    "reported", "wrote down", "asked about", "repaired", "photographed", "complained about", "measured", "moved",
    "counted", "looked for", "replaced", "tested", "described", "cleaned", "labelled", "borrowed",
)  # fmt: skip
_WHAT = (
    "the pump", "a dripping valve", "the old boiler", "two loose cables", "the meter in the cellar", "a broken pane",
    "the lift's control panel", "the second ventilator", "a box of fuses", "the key to the roof", "the water filter",
    "the emergency lamp", "the door closer", "a row of mailboxes", "the circulation pump", "the garden hose",
)  # fmt: skip
_WHERE = (
    "behind the laundry room", "on the roof", "in the cellar", "next to the bicycle stand", "in the stairwell",
    "under the kitchen sink", "at the north entrance", "in the archive", "beside the workshop", "in the boiler room",
    "on the fourth floor", "near the loading ramp", "in the courtyard", "behind the reading room",
)  # fmt: skip
_THEN = (
    "and noted a reading of {number}", "and asked for {number} screws", "which took {number} minutes",
    "for the price of {number} crowns", "and put it on list {number}", "after {number} days of rain",
    "while {number} people waited", "and found the label {number} on it", "with the help of {number} neighbours",
    "although only {number} litres were left", "since room {number} had been cold", "and closed file {number}",
)  # fmt: skip
_END = (
    "Nothing else happened before noon.", "The matter was settled in the evening.", "Nobody objected.",
    "A copy went to the office.", "The rest was left for the next morning.", "It was quiet afterwards.",
    "The weather stayed dry.", "That made the list longer by one.",
)  # fmt: skip


def sentences(seed: int | str) -> Iterator[str]:
    """Sentences without an end, the same ones for the same seed."""
    draw = random.Random(f"prose {seed}")
    day = 0
    while True:
        day += 1 + draw.randrange(3)
        parts = (_pick(draw, _WHO), _pick(draw, _DID), _pick(draw, _WHAT), _pick(draw, _WHERE))
        yield f"Day {day}: {' '.join(parts)}, {_pick(draw, _THEN).format(number=2 + draw.randrange(897))}."
        if draw.randrange(4) == 0:
            yield _pick(draw, _END)


def words(seed: int | str) -> Iterator[str]:
    """The words of these sentences."""
    for sentence in sentences(seed):
        yield from sentence.split()


def text(count: int, seed: int | str) -> str:
    """So many words of it."""
    return " ".join(islice(words(seed), count))


def _pick(draw: random.Random, items: tuple[str, ...]) -> str:
    return items[draw.randrange(len(items))]
