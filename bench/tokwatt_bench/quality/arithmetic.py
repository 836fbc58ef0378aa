"""`arithmetic`: exact results of sums, products, divisions and short stories with numbers."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from tokwatt_bench.quality.base import Item, Options, Suite, shown
from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios.base import asked

_RULE = "Answer with the number only, written with digits."
_TIMES = "\u00d7"
#: A minus after a digit is one between two numbers.
_NUMBER = re.compile(r"(?:(?<!\d)[-\u2212])?(?:\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?)")
#: What may stand around a number without being one: LaTeX's spaces and thousands.
_MARKUP = re.compile(r"\\[,;! ]|\{,\}|\\boxed|\\\(|\\\)|[$*_`{}]")


def questions() -> Iterator[tuple[str, str, Decimal]]:
    """Name, question and result; the same ones always."""
    draw = random.Random("arithmetic 1")
    for digits in (2, 3, 4, 6):
        a, b = _number(draw, digits), _number(draw, digits)
        yield f"sum of {digits} digits", f"What is {a} + {b}?", Decimal(a + b)
        a, b = _number(draw, digits), _number(draw, digits)
        yield f"difference of {digits} digits", f"What is {a} - {b}?", Decimal(a - b)
    for left, right in ((1, 2), (2, 2), (3, 1), (3, 2), (3, 3)):
        a, b = _number(draw, left), _number(draw, right)
        yield f"product of {left} and {right} digits", f"What is {a} {_TIMES} {b}?", Decimal(a * b)
    for digits in (1, 2):
        a, b = _number(draw, digits) + 2, _number(draw, 2)
        yield f"quotient by {digits} digits", f"What is {a * b} ÷ {a}?", Decimal(b)
    a, b, c = (_number(draw, 2) for _ in range(3))
    yield "order of operations", f"What is {a} + {b} {_TIMES} {c}?", Decimal(a + b * c)
    yield "brackets", f"What is ({a} + {b}) {_TIMES} {c}?", Decimal((a + b) * c)
    yield "percent", "What is 15 % of 240?", Decimal(36)
    yield "decimals", "What is 12.75 + 0.8?", Decimal("13.55")
    yield "remainder", "What is the remainder of 1000 divided by 37?", Decimal(1)
    yield "story of speed", "A train drives 270 km in 3 hours. How many km does it drive in 5 hours?", Decimal(450)
    yield "story of change", "Three pens cost 1.20 each. How much is left of 10?", Decimal("6.4")
    yield "story of power", "A lamp of 60 watts burns for 90 minutes. How many watt-hours does it use?", Decimal(90)


def verify(answer: str, question: str, result: Decimal) -> str | None:
    """What is wrong with an answer: its last line must have this number and no other one but the question's."""
    lines = [line for line in answer.splitlines() if _numbers(line)]
    if not lines:
        return "it has no number"
    numbers, given = _numbers(lines[-1]), set(_numbers(question))
    new = {number for number in numbers if number not in given or number == result}
    if new == {result}:
        return None
    # A result that is also in the question is one only where it stands for itself.
    return f"{shown(lines[-1])} is not {result}"


def _numbers(text: str) -> list[Decimal]:
    plain = _MARKUP.sub("", text)
    return [Decimal(found.replace(",", "").replace("\u2212", "-")) for found in _NUMBER.findall(plain)]


def _number(draw: random.Random, digits: int) -> int:
    return draw.randrange(10 ** (digits - 1), 10**digits)


def _items(options: Options) -> Sequence[Item]:
    return [_item(*question) for question in questions()]


def _item(name: str, question: str, result: Decimal) -> Item:
    def right(said: Said) -> str | None:
        return verify(said.answer, question, result)

    return Item(name, asked(f"{question} {_RULE}"), right)


SUITE = Suite("arithmetic", "exact results of sums, products and divisions", _items)
