"""Answers of other machines over HTTP, whose length nobody vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


class TooLong(ValueError):
    """There is more of it than was allowed."""


def content(answer: httpx.Response, most_bytes: int) -> bytes:
    """The body of an answer that is streamed; `TooLong` as soon as it is, with the rest unread."""
    found = bytearray()
    for chunk in answer.iter_bytes():
        found += chunk
        if len(found) > most_bytes:
            raise TooLong(f"more than {most_bytes >> 20} MiB")
    return bytes(found)
