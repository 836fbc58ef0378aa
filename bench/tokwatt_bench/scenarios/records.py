"""One record of a file of prompts, in whatever form people keep them; `ValueError` says what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from tokwatt_bench.scenarios import prose
from tokwatt_bench.scenarios.base import Ask, Messages, asked, says

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
#: Who speaks in ShareGPT's files.
_SPEAKERS = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
             "system": "system"}  # fmt: skip
_MOST_TOKENS = 10_000_000
#: Tokens that one number of a trace's `hash_ids` stands for, in Mooncake's traces and those like them.
BLOCK_TOKENS = 512
_TOKENS_A_WORD = 1.4


def ask_of(record: Any, *, check: bool = False) -> Ask:
    """The request that a record describes; times are as the record has them.

    With `check` a prompt that has to be made up is left out: a trace can have gigabytes of them.
    """
    if isinstance(record, str):
        return Ask(asked(_text(record, "the prompt")))
    if isinstance(record, list):
        return Ask(_messages(record))
    if not isinstance(record, dict):
        raise ValueError(f"is {_kind(record)}, no prompt")
    # Before what costs more, and for all forms alike.
    length, at = _tokens(record, "output_length", "output_tokens"), _at(record)
    limit = length or _tokens(record, "max_tokens", "max_completion_tokens")
    common: dict[str, Any] = {"max_tokens": limit, "output_tokens": length, "at_seconds": at, "tools": _tools(record)}
    if "messages" in record:
        return Ask(_messages(record["messages"]), **common)
    if "prompt" in record:
        return Ask(asked(_text(record["prompt"], "prompt")), **common)
    if "conversations" in record:
        return Ask(_conversation(record["conversations"]), **common)
    if "input_length" in record or "input_tokens" in record:
        return _made_up(record, common, check)
    raise ValueError("has none of messages, prompt, conversations and input_length")


def _messages(raw: Any) -> Messages:
    if not isinstance(raw, list):
        raise ValueError(f"messages is {_kind(raw)}, no list")
    messages = tuple(_message(message, number) for number, message in enumerate(raw, 1))
    return _asking(messages)


def _asking(messages: Sequence[Mapping[str, Any]]) -> Messages:
    """Up to where the assistant is asked: what it said last is what is to be asked for."""
    kept = list(messages)
    while kept and kept[-1]["role"] == "assistant":
        kept.pop()
    if not any(message["role"] in ("user", "tool") for message in kept):
        raise ValueError("has no message of the user")
    return tuple(kept)


def _message(raw: Any, number: int) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"message {number} is {_kind(raw)}, no object")
    if raw.get("role") not in ROLES:
        raise ValueError(f"message {number} has no role of {', '.join(ROLES)}")
    content = raw.get("content")
    if isinstance(content, str):
        _text(content, f"message {number}", empty=raw["role"] != "user")
    elif isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise ValueError(f"message {number} has a part without a type")
            if part["type"] == "text":
                _text(part.get("text"), f"message {number}")
    elif content is not None or raw["role"] != "assistant":
        raise ValueError(f"message {number} has no content")
    return raw


def _conversation(raw: Any) -> Messages:
    if not isinstance(raw, list):
        raise ValueError(f"conversations is {_kind(raw)}, no list")
    messages = []
    for number, turn in enumerate(raw, 1):
        speaker = turn.get("from") if isinstance(turn, dict) else None
        if not isinstance(speaker, str) or speaker not in _SPEAKERS:
            raise ValueError(f"turn {number} is of nobody known ({', '.join(_SPEAKERS)})")
        messages.append(says(_SPEAKERS[speaker], _text(turn.get("value"), f"turn {number}", empty=True)))
    # Some of these files begin with an answer; most templates do not.
    while messages and messages[0]["role"] == "assistant":
        messages.pop(0)
    return _asking(messages)


def _made_up(record: Mapping[str, Any], common: Mapping[str, Any], check: bool) -> Ask:
    """A prompt about as long as the recorded one; where the trace says which blocks it shares, it shares them."""
    length = _tokens(record, "input_length", "input_tokens") or 0
    blocks = record.get("hash_ids")
    if blocks is not None and not (isinstance(blocks, list) and all(isinstance(block, int) for block in blocks)):
        raise ValueError("hash_ids is no list of whole numbers")
    text = "" if check else _blocks(blocks or [], max(round(length / _TOKENS_A_WORD), 1))
    return Ask(asked(text), expected_prompt_tokens=length, reuses_prefix=blocks is not None, **common)


def _blocks(blocks: Sequence[int], count: int) -> str:
    """So many words: those of the blocks, then others."""
    words: list[str] = []
    for block in blocks:
        if len(words) >= count:
            break
        words += _block(block)
    # Of its own, by where it begins: a trace does not say that two ends are the same.
    words += prose.text(max(count - len(words), 0), f"after {blocks[-1:]}").split()
    return " ".join(words[:count])


@lru_cache(maxsize=1024)
def _block(number: int) -> list[str]:
    return prose.text(round(BLOCK_TOKENS / _TOKENS_A_WORD), f"block {number}").split()


def _text(raw: Any, what: str, empty: bool = False) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{what} is {_kind(raw)}, no text")
    if not empty and not raw.strip():
        raise ValueError(f"{what} is empty")
    if "\0" in raw:
        raise ValueError(f"{what} has a NUL in it")
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has half a character in it (a lone surrogate)") from None
    return raw


def _tokens(record: Mapping[str, Any], *names: str) -> int | None:
    name = next((name for name in names if record.get(name) is not None), None)
    if name is None:
        return None
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_TOKENS:
        raise ValueError(f"{name} is no whole number from 1 to {_MOST_TOKENS}")
    return value


def _tools(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    raw = record.get("tools")
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(tool, dict) for tool in raw):
        raise ValueError("tools is no list of objects")
    return tuple(raw)


def _at(record: Mapping[str, Any]) -> float | None:
    """Seconds; `timestamp` is in milliseconds, as Mooncake has it, or a date."""
    if (seconds := record.get("at_seconds")) is not None:
        return _number(seconds, "at_seconds")
    if (moment := record.get("timestamp")) is None:
        return None
    if not isinstance(moment, str):
        return _number(moment, "timestamp") / 1000
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError("timestamp is neither milliseconds nor a date") from None


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {_kind(value)}, no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number < 1e15:
        raise ValueError(f"{name} is no time")
    return number


def _kind(value: Any) -> str:
    names = {str: "a text", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
