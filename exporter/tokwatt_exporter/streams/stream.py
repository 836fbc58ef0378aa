"""A body in its dialect, read piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from tokwatt_exporter.streams.answer import Answer, Chunk, Reader, error_in, excerpt
from tokwatt_exporter.streams.anthropic import Anthropic
from tokwatt_exporter.streams.form import MAX_FORMS, Form, characters, form
from tokwatt_exporter.streams.lm_studio import LMStudio
from tokwatt_exporter.streams.ollama import Ollama
from tokwatt_exporter.streams.openai import OpenAI
from tokwatt_exporter.streams.responses import Responses
from tokwatt_exporter.streams.sse import Event, Events, JsonLines, ServerSentEvents, WholeBody

#: A piece of the body and when the read that brought it returned, in nanoseconds.
Piece = tuple[int, bytes]
Dialect = Literal["openai", "ollama", "lm_studio", "responses", "anthropic"]

DIALECTS: Mapping[str, tuple[Callable[[], Events], Callable[[], Reader]]] = {
    "openai": (ServerSentEvents, OpenAI),
    "ollama": (JsonLines, Ollama),
    "lm_studio": (ServerSentEvents, LMStudio),
    "responses": (ServerSentEvents, Responses),
    "anthropic": (ServerSentEvents, Anthropic),
}


class Stream:
    """Takes the body of an answer as it comes. Never raises: what is no stream has `garbage` or `error`."""

    def __init__(self, dialect: str, *, whole: bool = False) -> None:
        """`whole` is for an answer that was asked for without streaming; its only chunk is all of its text."""
        events, reader = DIALECTS[dialect]
        self._events, self._reader = (WholeBody() if whole else events()), reader()
        self._forms: list[Form] = []
        self._learned = 0
        #: Whether all that came is read, up to the end of an event.
        self._between = True

    @property
    def answer(self) -> Answer:
        """What came so far; counts are in it after `end`."""
        return self._reader.answer

    def feed(self, at_ns: int, piece: bytes) -> None:
        """A piece and when the read that brought it returned."""
        if self._forms and self._between:
            known = self._known(at_ns, piece)
            if known == len(piece):
                return
            piece = piece[known:]
        before, had = self._between, len(self.answer.chunks)
        events = list(self._events.feed(at_ns, piece))
        for event in events:
            self._take(event)
        self._between = self._events.between
        if self.answer.terminated or self.answer.finish:
            self._forms.clear()
        elif before and self._between and len(events) == 1 and len(self.answer.chunks) == had + 1:
            self._learn(piece)

    def feed_all(self, pieces: Sequence[Piece]) -> None:
        """Pieces one after the other."""
        done = 0
        while done < len(pieces):
            if self._forms and self._between:
                done += self._each_known(pieces[done:] if done else pieces)
            if done < len(pieces):
                self.feed(*pieces[done])
                done += 1

    def end(self) -> Answer:
        """The whole of it, whether it ended as it should or was cut."""
        for event in self._events.end():
            self._take(event)
        self._reader.close()
        return self.answer

    def _each_known(self, pieces: Sequence[Piece]) -> int:
        """Takes pieces that are an event of the latest form each; gives how many."""
        (pattern, of_answer), answer = self._forms[0], self._reader.answer
        fullmatch, append = pattern.fullmatch, answer.chunks.append
        done = 0
        for at_ns, piece in pieces:
            found = fullmatch(piece)
            # An empty text is no token, and what is no text is for the reader to say.
            if not found or not (length := characters(found[1])):
                break
            append(Chunk(at_ns, of_answer, length))
            answer.last_ns = at_ns
            done += 1
        return done

    def _known(self, at_ns: int, piece: bytes) -> int:
        """Takes the events of known forms at the beginning of the piece; gives how many bytes they are."""
        at, answer = 0, self._reader.answer
        while at < len(piece):
            matches = ((one, found) for one in self._forms if (found := one.pattern.match(piece, at)))
            one, found = next(matches, (self._forms[0], None))
            if not found or not (length := characters(found[1])):
                return at
            if one is not self._forms[0]:
                self._forms.remove(one)
                self._forms.insert(0, one)
            answer.chunks.append(Chunk(at_ns, one.answer, length))
            answer.last_ns = at_ns
            at = found.end()
        return at

    def _learn(self, event: bytes) -> None:
        # An engine whose events have no form would have each of them learned in vain.
        self._learned += 1
        if self._learned <= MAX_FORMS and (found := form(event, self.answer.chunks[-1])):
            self._forms.insert(0, found)

    def _take(self, event: Event) -> None:
        answer = self._reader.answer
        if answer.terminated or not event.data.strip():
            return
        if event.comment:
            self._reader.comment(event.at_ns, event.data)
            return
        answer.last_ns = event.at_ns
        if event.data.strip() == b"[DONE]":
            answer.terminated = True
            return
        try:
            body = json.loads(event.data)
        # RecursionError: a few kilobytes of "[[[[" are valid JSON so far.
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            answer.garbage = answer.garbage or excerpt(event.data)
        elif error := error_in(body, event.kind):
            answer.error = answer.error or error
        else:
            self._reader.take(event.at_ns, body, event.kind)


def parse(pieces: Iterable[Piece], dialect: str) -> Answer:
    """A body that was recorded, at once."""
    stream = Stream(dialect)
    for at_ns, piece in pieces:
        stream.feed(at_ns, piece)
    return stream.end()
