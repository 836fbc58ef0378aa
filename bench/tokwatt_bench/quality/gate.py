"""What is wrong with answers' texts whatever was asked: a fast model that says nothing of use must not win.

It looks for what breaks when an engine or a quantisation is broken, and keeps quiet about what only is unusual: lists,
tables, code and numbers repeat themselves, too.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tokwatt_bench.quality.language import language, scripts

Kind = Literal["empty", "truncated", "looping", "script", "language", "garbage", "differs"]

#: Of an answer, what is looked at for a loop; one that ends in a loop has it there.
_TAIL = 4096
#: A loop at the end: so many times, and so many bytes together.
_LOOPS, _LOOP_BYTES = 5, 200
#: A passage as long as this need not come as often.
_PASSAGE_BYTES, _PASSAGES = 150, 3
#: Lines that differ in their numbers only; of code and of tables that is to be expected.
_ALIKE, _ALIKE_LETTERS = 10, 20
_CODE = frozenset('=(){}[];<>|\t"')
#: Prose is packed to a half, rows of JSON and of tables to a tenth at most; what loops, to much less.
_PACKED_BYTES, _PACKED = 1500, 16.0
#: Of the letters, in another script than those of the question.
_FOREIGN = 0.3
_LEAST_LETTERS = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff\ue000-\uf8ff]")
#: Tokens of templates that belong to no text, and spaces and line ends as vocabularies write them.
_LEAKED = re.compile(r"<\|[a-z][a-z_]*\|>|<(?:start|end)_of_turn>|\[/?INST\]|<0x[0-9A-F]{2}>")
_BYTES_LEFT = re.compile(r"[ĠĊ](?=\w)|▁(?=\w)")
#: UTF-8 that was read as Latin-1 or Windows-1252: ä, ö, ü, é, quotation marks, emoji.
_MOJIBAKE = re.compile(r"Ã[\x80-\xbf¤¶¼Ÿ„œ©¨]|â€[œ™\x9c\x99“”]|ðŸ")
#: Once may be a quotation.
_OFTEN = 3


class Finding(NamedTuple):
    """Something that is wrong with one answer."""

    kind: Kind
    request_index: int
    detail: str


def check(
    texts: Sequence[str], finishes: Sequence[str | None], *, limited: bool = True,
    questions: Sequence[str] | None = None, same: bool = False,
) -> list[Finding]:  # fmt: skip
    """All that is wrong. `limited` is for a length that was meant to end answers; with `questions` an answer has to be
    in the language of its question; `same` is for one question, asked with one seed and no randomness.
    """
    found: list[Finding] = []
    for index, (text, finish) in enumerate(zip(texts, finishes, strict=True)):
        found += (Finding(kind, index, detail) for kind, detail in _problems(text, finish, limited))
        if questions is not None:
            found += (Finding(kind, index, detail) for kind, detail in _foreign(text, questions[index]))
    if same:
        found += _differing(texts)
    return found


def problem(text: str, finish: str | None, *, limited: bool = True) -> str:
    """What is wrong with one answer, as `looping: …`; empty where nothing is."""
    return "; ".join(f"{kind}: {detail}" for kind, detail in _problems(text, finish, limited))


def _problems(text: str, finish: str | None, limited: bool) -> Iterator[tuple[Kind, str]]:
    if not text.strip():
        yield "empty", "no text"
        return
    if finish == "length" and not limited:
        yield "truncated", f"it was cut after {len(text)} characters"
    if loop := looping(text):
        yield "looping", loop
    if garbage := _garbage(text, finish):
        yield "garbage", garbage


def looping(text: str) -> str:
    """What a text repeats instead of going on; empty where it does not."""
    tail = text[-_TAIL:]
    for length, period in _periods(tail):
        unit = tail[len(tail) - length :][:period]
        times, size = length // period, len(tail[len(tail) - length :].encode())
        often = times >= _LOOPS and size >= _LOOP_BYTES
        long = times >= _PASSAGES and size >= _PASSAGES * _PASSAGE_BYTES
        # Rulers, dots and columns of zeros are no loops.
        if (often or long) and any(character.isalpha() for character in unit):
            return f"{' '.join(unit.split())[:60]!r} comes {times} times at its end"
    lines = [line for line in text.splitlines() if line.strip()]
    if alike := _alike(lines):
        line, count = alike
        return f"{line[:60]!r} is {count} of its {len(lines)} lines, but for numbers"
    data = text.encode()
    packed = len(data) / len(zlib.compress(data, 6)) if len(data) >= _PACKED_BYTES else 0.0
    if packed > _PACKED and sum(map(str.isalpha, text)) > len(text) / 4:
        return f"{len(text)} characters say as much as {round(len(text) / packed)}"
    return ""


def _alike(lines: Sequence[str]) -> tuple[str, int] | None:
    """The line that more than half of the lines are, whatever their numbers, and how many they are."""
    counts = Counter(re.sub(r"\d+", "#", line).strip() for line in lines)
    line, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    prose = sum(map(str.isalpha, line)) >= _ALIKE_LETTERS and _CODE.isdisjoint(line)
    return (line, count) if prose and count >= _ALIKE and 2 * count > len(lines) else None


def _periods(tail: str) -> Iterator[tuple[int, int]]:
    """(length, period) of ends of the text that repeat themselves more than twice, the longest of each period."""
    # The failure function of Knuth, Morris and Pratt, of the text read backwards: its prefixes are our ends.
    turned = tail[::-1]
    border, best = [0] * len(turned), dict[int, int]()
    for place in range(1, len(turned)):
        length = border[place - 1]
        while length and turned[place] != turned[length]:
            length = border[length - 1]
        border[place] = length + (turned[place] == turned[length])
        period = place + 1 - border[place]
        if place + 1 > 2 * period:
            best[period] = place + 1
    return ((length, period) for period, length in best.items())


def _garbage(text: str, finish: str | None) -> str:
    # A limit can cut within a character.
    whole = text.rstrip("\ufffd") if finish == "length" else text
    if count := whole.count("\ufffd"):
        return f"{count} characters are none (U+FFFD)"
    if found := _CONTROL.search(text):
        return f"U+{ord(found[0]):04X} in it"
    if found := _LEAKED.search(text):
        return f"the template's {found[0]} in it"
    for pattern, what in ((_BYTES_LEFT, "spaces as the vocabulary writes them"), (_MOJIBAKE, "bytes of characters")):
        if len(found_all := pattern.findall(text)) >= _OFTEN:
            return f"{what}, {len(found_all)} times"
    return ""


def _foreign(text: str, question: str) -> Iterator[tuple[Kind, str]]:
    asked, there = scripts(question), scripts(text)
    letters = sum(there.values())
    foreign = {script: count for script, count in there.items() if script not in asked}
    if letters >= _LEAST_LETTERS and sum(foreign.values()) > _FOREIGN * letters:
        most = max(foreign, key=lambda script: foreign[script])
        yield "script", f"{sum(foreign.values())} of {letters} letters are {most} and others not of the question"
        return
    wanted, found = language(question), language(text)
    if wanted and found and wanted != found:
        yield "language", f"asked in {wanted}, answered in {found}"


def _differing(texts: Sequence[str]) -> Iterator[Finding]:
    for index, text in enumerate(texts[1:], 1):
        if text != texts[0]:
            both = zip(text, texts[0], strict=False)
            place = next((at for at, (a, b) in enumerate(both) if a != b), min(len(text), len(texts[0])))
            yield Finding("differs", index, f"it differs from the first answer at character {place + 1}")
