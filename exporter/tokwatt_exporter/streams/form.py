"""Events that differ from one that was read in nothing but their text, known without reading each as JSON.

An engine writes its events with the same code: once one of a stream has been read, those like it are told by their
bytes, at a tenth of the cost. Whatever differs in anything else is read in full.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from tokwatt_exporter.streams.answer import Chunk

#: A stream has a form for reasoning, one for the answer and one for arguments of tools.
MAX_FORMS = 4
MAX_BYTES = 2048

_NUMBER, _NAME = rb"(?:0|[1-9]\d{0,14})(?=\s*[,}])", rb"[ !#-\[\]-~]*"
_ANY_TEXT = rb'([^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*)'
#: Inside a text every quotation mark has a backslash before it: this finds keys only.
_TEXT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|thinking|response|text|delta|arguments|partial_json|refusal)"\s*:\s*'
    rb'"%s"' % _ANY_TEXT
)
#: What tells events apart and says nothing of the text.
_OTHER = re.compile(
    rb'"(?:id|created|created_at|sequence_number|obfuscation)"\s*:\s*(?:(%s)|"(%s)")' % (_NUMBER, _NAME)
)
#: Counts and timings are for who reads the whole event.
_COUNTS = re.compile(rb'"(?:usage|timings|metrics|stats|prompt_progress)"\s*:\s*\{')


class Form(NamedTuple):
    """Finds such events; the text is the first group. `answer` is whether the text is of the answer."""

    pattern: re.Pattern[bytes]
    answer: bool


def form(event: bytes, chunk: Chunk) -> Form | None:
    """The form of an event's bytes, up to the end of its last line; None where it does not tell enough."""
    if len(event) > MAX_BYTES or chunk.counted is not None or _COUNTS.search(event):
        return None
    texts = [found for found in _TEXT.finditer(event) if found[1]]
    if len(texts) != 1 or characters(texts[0][1]) != chunk.characters:
        return None
    free = [(*found.span(1), _NUMBER) if found[1] else (*found.span(2), _NAME)
            for found in _OTHER.finditer(event)]  # fmt: skip
    parts, at = [], 0
    for begin, end, pattern in sorted([*free, (*texts[0].span(1), _ANY_TEXT)]):
        if begin < at:
            return None
        parts += [re.escape(event[at:begin]), pattern]
        at = end
    return Form(_compiled(b"".join([*parts, re.escape(event[at:])])), chunk.answer)


def characters(text: bytes) -> int:
    """How long the text of a JSON string is; 0 where it is none."""
    if text.isascii() and b"\\" not in text:
        return len(text)
    try:
        return len(json.loads(b'"%s"' % text))
    except ValueError:
        return 0


#: Streams of an engine have the same forms.
@lru_cache(maxsize=64)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)
