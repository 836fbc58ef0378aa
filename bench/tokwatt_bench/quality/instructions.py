"""`instructions`: the form of an answer, as far as code can see whether it was kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tokwatt_bench.quality.base import Item, Options, Suite, shown
from tokwatt_bench.quality.language import language
from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios.base import asked

#: What is wrong with a text; None for nothing.
Rule = Callable[[str], str | None]


def words(least: int, most: int) -> Rule:
    """So many words."""

    def rule(text: str) -> str | None:
        count = len(re.findall(r"\w+(?:['\u2019-]\w+)*", text))
        return None if least <= count <= most else f"{count} words, not {least} to {most}"

    return rule


def sentences(count: int) -> Rule:
    """So many sentences."""

    def rule(text: str) -> str | None:
        found = len(re.findall(r"[^.!?]*\w[^.!?]*[.!?]+", text))
        return None if found == count and re.search(r"[.!?]\W*$", text) else f"{found} sentences, not {count}"

    return rule


def without(*forbidden: str) -> Rule:
    """None of these words."""

    def rule(text: str) -> str | None:
        found = [word for word in forbidden if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]
        return f"it has the forbidden {found[0]!r}" if found else None

    return rule


def lacking(characters: str) -> Rule:
    """None of these characters."""

    def rule(text: str) -> str | None:
        found = [character for character in characters if character in text]
        return f"it has the forbidden {found[0]!r}" if found else None

    return rule


def having(*wanted: str) -> Rule:
    """Each of these words, or one that begins with it."""

    def rule(text: str) -> str | None:
        missing = [word for word in wanted if not re.search(rf"\b{re.escape(word)}", text, re.IGNORECASE)]
        return f"it lacks {missing[0]!r}" if missing else None

    return rule


def lines(pattern: str, count: int) -> Rule:
    """So many lines, all of this form."""

    def rule(text: str) -> str | None:
        found = [line.strip() for line in text.splitlines() if line.strip()]
        other = next((line for line in found if not re.fullmatch(pattern, line)), None)
        if other is not None:
            return f"the line {shown(other)!r} has another form"
        return None if len(found) == count else f"{len(found)} lines, not {count}"

    return rule


def matching(pattern: str, what: str) -> Rule:
    """The whole of it in this form."""

    def rule(text: str) -> str | None:
        return None if re.fullmatch(pattern, text, re.DOTALL) else what

    return rule


def lower(text: str) -> str | None:
    """Without a capital letter."""
    found = re.search(r"[^\W\d_]", "".join(character for character in text if character.isupper()))
    return f"it has the capital {found[0]!r}" if found else None


def written_in(wanted: str) -> Rule:
    """In this language."""

    def rule(text: str) -> str | None:
        found = language(text)
        return None if found == wanted else f"it is in {found or 'no language that is known'}, not in {wanted}"

    return rule


def numbered(count: int) -> Rule:
    """Lines numbered from 1 on."""

    def rule(text: str) -> str | None:
        found = [int(number) for number in re.findall(r"^\s*(\d{1,4})\.\s+\S", text, re.MULTILINE)]
        return None if found == list(range(1, count + 1)) else f"its numbers are {shown(found)}, not 1 to {count}"

    return rule


def alphabetical(text: str) -> str | None:
    """Each line begins with another letter, in their order."""
    initials = [found[0].lower() for line in text.splitlines() if (found := re.search(r"[A-Za-z]", line))]
    return None if initials == sorted(set(initials)) else "not in alphabetical order, each with another letter"


class _Task(NamedTuple):
    name: str
    text: str
    rules: tuple[Rule, ...]


TASKS = (
    _Task("word count", "Describe a lighthouse in 40 to 60 words.", (words(40, 60), having("lighthouse"))),
    _Task("three sentences", "Explain in exactly three sentences why the sea is salty.",
          (sentences(3), words(15, 150), having("salt"))),
    _Task("bullets", "Name four tools of a carpenter. One line each, each beginning with '- ', nothing else.",
          (lines(r"- \S.*", 4),)),
    _Task("numbered", "List the five largest oceans, numbered 1. to 5., one a line.", (numbered(5), having("Pacific"))),
    _Task("lower case", "Say in one sentence what a bridge is for. Use small letters only.", (lower, words(6, 60))),
    _Task("no comma", "Tell in about 50 words what you see at a market. Use no comma.", (lacking(","), words(30, 80))),
    _Task("forbidden words", "Describe coffee in at least 25 words without the words drink, cup and hot.",
          (without("drink", "cup", "hot"), words(25, 200), having("coffee"))),
    _Task("required words", "Write one sentence with all of these words: ladder, violin, Tuesday.",
          (having("ladder", "violin", "Tuesday"), sentences(1))),
    _Task("first and last", "Describe winter in at least 20 words. Begin with the word SNOW and end with the word END.",
          (matching(r"SNOW\b.*\bEND\W{0,2}", "it does not begin with SNOW and end with END"), words(20, 200))),
    _Task("one word", "Which planet is the largest of our solar system? Answer with one word.",
          (words(1, 1), having("Jupiter"))),
    _Task("yes or no", "Is 91 a prime number? Answer with yes or no in capitals, and with nothing else.",
          (matching(r"NO\.?", "it is not NO"),)),
    _Task("title", "Write a title of 3 to 6 words for a book about clouds, between << and >>, and nothing else.",
          (matching(r"<<[^<>]+>>", "it is not a title in << >>"), words(3, 6))),
    _Task("table", "Make a Markdown table of three animals with their number of legs: columns Animal and Legs.",
          (lines(r"\|.*\|.*\|", 5), having("Animal", "Legs"))),
    _Task("csv", "Give the first three months with their days in a common year as CSV lines month,days, no header.",
          (lines(r"[A-Za-z]+,\s?\d\d", 3), having("31", "28"), without("29"))),
    _Task("german", "Answer in German, in two or three sentences: what does a baker do?",
          (written_in("German"), words(10, 120))),
    _Task("french", "Answer in French, in three or four sentences: what is a library?",
          (written_in("French"), words(15, 150))),
    _Task("paragraphs", "Write two paragraphs about rivers of at least 15 words each, with a line of *** between them.",
          (matching(r"(?:\s*\w+\W+){15,}?\*\*\*\s+(?:\w+\W+){15,}", "not two paragraphs with *** between them"),)),
    _Task("repeat", "Write the word echo exactly five times with spaces between, and nothing else.",
          (matching(r"echo(?: echo){4}\.?", "not echo five times"),)),
    _Task("alphabet", "List six fruits in alphabetical order, one a line, each beginning with another letter.",
          (lines(r"\W*(?:\d\.\s*)?[A-Za-z ]+", 6), alphabetical)),
    _Task("backwards", "Write the numbers from 10 to 1, separated by a comma and a space, and nothing else.",
          (matching(r"10, 9, 8, 7, 6, 5, 4, 3, 2, 1\.?", "not 10 to 1"),)),
)  # fmt: skip


def verify(answer: str, rules: Sequence[Rule]) -> str | None:
    """The first rule that an answer breaks; one of nothing breaks all of them."""
    if not answer:
        return "no answer"
    return next((wrong for rule in rules if (wrong := rule(answer))), None)


def _items(options: Options) -> Sequence[Item]:
    return [_item(task) for task in TASKS]


def _item(task: _Task) -> Item:
    def right(said: Said) -> str | None:
        return verify(said.answer, task.rules)

    return Item(task.name, asked(task.text), right)


SUITE = Suite("instructions", "forms that an answer has to keep: lengths, words, lists, languages", _items)
