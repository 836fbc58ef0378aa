"""A long run with many streams stays small: what ended waits on the disk, what was parsed is a few bytes a token."""

import json
import tracemalloc

import pytest

from tokwatt_bench.chunks import Chunks
from tokwatt_bench.load import Driver, Run
from tokwatt_bench.observe import Observer
from tokwatt_bench.plan import Plan
from tokwatt_bench.request import examine
from tokwatt_bench.spool import Spool
from tokwatt_bench.stream import Recording
from tokwatt_bench.target import Target
from tokwatt_exporter.engines.scan import adapter
from tokwatt_exporter.streams.answer import Chunk


def answer(tokens=500):
    """A recording as the wire makes it, of a read a token."""
    events = [{"choices": [{"index": 0, "delta": {"content": " word"}}]}] * tokens
    events += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": {
        "prompt_tokens": 9, "completion_tokens": tokens}}]  # fmt: skip
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    reads = [head, *(b"data: %s\n\n" % json.dumps(event).encode() for event in events), b"data: [DONE]\n\n"]
    made = Recording(0, sent_ns=1, reads=[(1000 * place + 1, bytes(data)) for place, data in enumerate(reads)])
    made.size = sum(map(len, reads))
    return made


def test_what_ended_waits_in_a_file_beyond_a_bound_and_comes_back_whole():
    spool, kept, whole = Spool(most_bytes=200_000), [], answer().reads
    for number in range(40):
        kept.append(answer())
        spool.put(number, kept[-1])
    assert sum(one.size for one in kept) > 5 * 200_000
    assert 100_000 < spool.held_bytes <= 200_000
    assert spool.held_bytes > sum(one.size for one in kept if one.reads) > 0
    for number, one in enumerate(kept):
        spool.give_back(number, one)
        assert one.reads == whole
    spool.close()


def test_a_full_disk_costs_memory_and_nothing_else(monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tokwatt_bench.spool._file", full)
    spool, one = Spool(most_bytes=0), answer()
    spool.put(0, one)
    spool.give_back(0, one)
    assert one.reads and spool.held_bytes > one.size


def test_a_token_that_was_parsed_is_kept_in_a_few_bytes():
    count, tokens = 8, 500
    examine(answer(), "openai", 0, "measured")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = []
    for number in range(count):
        one = answer(tokens)
        kept.append(examine(one, "openai", number, "measured"))
    del one
    used = (tracemalloc.get_traced_memory()[0] - before) / count / tokens
    tracemalloc.stop()
    assert all(request.ok and len(request.chunks) == tokens for request in kept)
    assert used < 40


@pytest.mark.parametrize("counts", [(None, None, None), (1, None, 9)])
def test_chunks_by_columns_are_the_chunks(counts):
    chunks = [Chunk(10**15 + place, place != 1, place, count) for place, count in enumerate(counts)]
    kept = Chunks(chunks)
    assert list(kept) == chunks and kept[-1] == chunks[-1] and kept[:2] == chunks[:2] and len(kept) == 3


def test_a_soak_of_many_streams_keeps_no_bytes_and_no_requests_bodies(server, monkeypatch):
    held = []

    class Small(Spool):
        def __init__(self):
            super().__init__(most_bytes=20_000)

        def put(self, number, recording):
            super().put(number, recording)
            held.append(self.held_bytes)

    monkeypatch.setattr("tokwatt_bench.load.Spool", Small)
    target = Target("t", "openai_compatible", None, server.url, "ttft=1,itl=0.2", adapter("openai_compatible"), None,
                    None, False)  # fmt: skip
    plan = Plan(target=target, concurrency=8, seconds=1.0, warmup=0, max_tokens=64, idle_seconds=0)
    done = Run(plan, 0)
    with Observer(None) as observer:
        Driver(done, observer, lambda what, done, of: None).drive()
    [one] = done.measured_rounds
    assert len(one.requests) > 16 and all(request.ok for request in one.requests)
    assert len(held) == len(one.requests) and max(held) <= 20_000
    assert one.took.sent == []
    assert sum(request.generated_tokens for request in one.requests) == 64 * len(one.requests)
