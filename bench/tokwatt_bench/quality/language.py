"""Which scripts and which language a text is in, as far as that can be said for certain."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

#: Small words that are frequent in one of these languages and are none in the others.
_WORDS: Mapping[str, str] = {
    "English": "the of and to that is with for was are this which from not have you it they be",
    "German": "der die das und ist nicht mit ein eine auf sich auch dem den für von wird sie zu oder",
    "French": "le les des est dans une pour que qui sur pas avec vous nous du et sont cette",
    "Spanish": "el los las una por con para que es como pero más del se y son esta lo",
    "Italian": "il gli che per una con sono della del non anche più nel di è questo alla",
}
_LEAST_WORDS = 6
#: Blocks and bits of code, addresses: they are in no language.
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_CHARACTERS = 20_000
#: Letters of formulas.
_NEUTRAL = (
    "GREEK", "MATHEMATICAL", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER",
)  # fmt: skip
#: Scripts that one language is written in together.
_ALIKE = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK", "FULLWIDTH": "LATIN", "IDEOGRAPHIC": "CJK"}


def scripts(text: str) -> Counter[str]:
    """Letters by their script, without code."""
    found: Counter[str] = Counter()
    for character in _CODE.sub(" ", text[:_CHARACTERS]):
        if script := _script(character):
            found[script] += 1
    return found


def language(text: str) -> str | None:
    """The language whose small words are twice as many as those of any other; None where none is."""
    words = Counter(re.findall(r"[^\W\d_]+", _CODE.sub(" ", text[:_CHARACTERS]).lower()))
    counts = {name: sum(words[word] for word in small.split()) for name, small in _WORDS.items()}
    first, second = sorted(counts, key=lambda name: -counts[name])[:2]
    return first if counts[first] >= _LEAST_WORDS and counts[first] > 2 * counts[second] else None


@lru_cache(maxsize=4096)
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    script = unicodedata.name(character, "").partition(" ")[0]
    return None if not script or script in _NEUTRAL else _ALIKE.get(script, script)
