"""`needle`: one sentence in a long text, at several depths and lengths, among others that look like it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import islice

from tokwatt_bench.quality.base import Item, Options, Suite, shown
from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios import prose
from tokwatt_bench.scenarios.base import asked

DEPTHS = (0, 25, 50, 75, 100)
_DOORS = ("garage", "roof", "archive", "workshop", "laundry", "boiler room")
_TOKENS_A_SENTENCE = 27
_CODE = re.compile(r"\d{5,}")


def haystack(tokens: int, depth: int) -> tuple[str, str, str]:
    """Text, question and code: about so many tokens, with the code at `depth` percent of it."""
    draw = random.Random(f"needle {tokens} {depth}")
    # Prose has no numbers of five digits.
    codes = draw.sample(range(10_000, 100_000), len(_DOORS))
    doors = [_DOORS[place] for place in draw.sample(range(len(_DOORS)), len(_DOORS))]
    lines = list(islice(prose.sentences(f"hay {tokens} {depth}"), max(tokens // _TOKENS_A_SENTENCE, 8)))
    for door, code in zip(doors[1:], codes[1:], strict=True):
        lines.insert(draw.randrange(1, len(lines)), f"The code of the {door} door is {code}.")
    lines.insert(round(len(lines) * depth / 100), f"The code of the {doors[0]} door is {codes[0]}.")
    question = f"What is the code of the {doors[0]} door? Answer with the code only."
    return " ".join(lines), question, str(codes[0])


def verify(answer: str, code: str) -> str | None:
    """What is wrong with an answer: it must have this code and no other one."""
    found = set(_CODE.findall(answer))
    if found == {code}:
        return None
    return f"{shown(answer) or 'nothing'} is not {code}"


def _items(options: Options) -> Sequence[Item]:
    return [_item(tokens, depth) for tokens in options.lengths for depth in DEPTHS]


def _item(tokens: int, depth: int) -> Item:
    text, question, code = haystack(tokens, depth)

    def right(said: Said) -> str | None:
        return verify(said.answer, code)

    # The question comes after the text: an engine reads the text without knowing what will be asked.
    return Item(f"{tokens} tokens, {depth} %", asked(f"{text}\n\n{question}"), right)


SUITE = Suite("needle", "one sentence found in a long text, at five depths of each length", _items)
