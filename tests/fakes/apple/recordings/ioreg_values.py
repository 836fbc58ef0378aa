"""Values as `ioreg` prints them: `"text"`, `<6b10>`, `<"a","b">`, numbers, Yes, No, (arrays), {dictionaries}."""

from __future__ import annotations

import itertools
import re
from typing import Any

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|-?\d+")
_HEX = re.compile(r"<(?P<hex>(?:[0-9a-fA-F]{2})*)>")
_WORDS = re.compile(r'<(?P<words>"[^"]*"(?:,"[^"]*")*)>')
#: Quotes inside a string are not escaped, so only one that something follows which can follow a value ends it.
_STRING = re.compile(r'"(?P<text>.*?)"(?=[,)}\]=]|$)')


#: More brackets in brackets than any property has.
_DEEPEST = 50


class Unreadable(Exception):
    """The text is cut, or has a form that is not known."""


def value(text: str) -> Any:
    """The value that all of `text` is; `Unreadable` where it is not one. None is a value that was not printed."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    if _depth(text) > _DEEPEST:
        raise Unreadable("brackets in brackets")
    found, end = _any(text, 0)
    if end != len(text):
        raise Unreadable(text[end : end + 20])
    return found


def _any(text: str, at: int) -> tuple[Any, int]:
    start = text[at : at + 1]
    if start == "{":
        return _dictionary(text, at + 1)
    if start in ("(", "["):
        return _array(text, at + 1, {"(": ")", "[": "]"}[start])
    if start == '"':
        return _string(text, at)
    if start == "<":
        return _data(text, at)
    if match := _NUMBER.match(text, at):
        number = int(match[0], 0)
        if not -(2**63) <= number < 2**64:
            raise Unreadable(match[0])
        return number, match.end()
    for word, boolean in (("Yes", True), ("No", False)):
        if text.startswith(word, at):
            return boolean, at + len(word)
    if start in (",", "}", ")", "]"):
        return None, at
    raise Unreadable(text[at : at + 20])


def _depth(text: str) -> int:
    """How many brackets are open at once at most; those in strings count, too."""
    steps = (1 if sign in "({[" else -1 for sign in text if sign in "(){}[]")
    return max(itertools.accumulate(steps), default=0)


def _string(text: str, at: int) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if not match:
        raise Unreadable("string")
    return match["text"], match.end()


def _data(text: str, at: int) -> tuple[bytes, int]:
    if match := _HEX.match(text, at):
        return bytes.fromhex(match["hex"]), match.end()
    if match := _WORDS.match(text, at):
        return b"".join(word.encode() + b"\0" for word in match["words"][1:-1].split('","')), match.end()
    raise Unreadable("data")


def _dictionary(text: str, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while text[at : at + 1] != "}":
        key, at = _string(text, at)
        if text[at : at + 1] != "=":
            raise Unreadable("dictionary")
        item, at = _any(text, at + 1)
        if item is not None:
            found[key] = item
        at = _next(text, at, "}")
    return found, at + 1


def _array(text: str, at: int, end: str) -> tuple[list[Any], int]:
    found: list[Any] = []
    while text[at : at + 1] != end:
        item, at = _any(text, at)
        if item is not None:
            found.append(item)
        at = _next(text, at, end)
    return found, at + 1


def _next(text: str, at: int, end: str) -> int:
    """Past the comma, or at the end sign."""
    if text[at : at + 1] == ",":
        return at + 1
    if text[at : at + 1] == end:
        return at
    raise Unreadable("no end")
