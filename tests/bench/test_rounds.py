"""Closed and open loops against a server that knows what it sent."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from tokwatt_bench import rounds
from tokwatt_bench.request import examine
from tokwatt_bench.stream import encode
from tokwatt_bench.wire import Outgoing


@pytest.fixture
def outgoing(server):
    def outgoing(model, tokens=8):
        url = server.url + "/v1/chat/completions"
        body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": tokens,
                "stream_options": {"include_usage": True}}  # fmt: skip
        return Outgoing(url, encode(url, json.dumps(body).encode(), {}), 20.0)

    return outgoing


def test_a_closed_loop_keeps_its_lanes_busy_and_no_more(outgoing):
    took = rounds.Took()
    rounds.closed(itertools.repeat(outgoing("ttft=30,itl=1"), 12), 4, took)
    assert sorted(sent.number for sent in took.sent) == list(range(12))
    assert {sent.lane for sent in took.sent} == {0, 1, 2, 3}
    spans = sorted((sent.recording.sent_ns, sent.recording.ended_ns) for sent in took.sent)
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    assert max(itertools.accumulate(step for _, step in edges)) == 4
    assert took.started_ns < took.full_ns <= took.ended_ns


def test_a_closed_loop_ends_by_the_clock_and_finishes_what_it_began(outgoing):
    took = rounds.Took()
    rounds.closed(itertools.repeat(outgoing("ttft=20,itl=1")), 2, took, time.perf_counter() + 0.3)
    assert len(took.sent) >= 4
    assert {sent.recording.end for sent in took.sent} == {"complete"}


def test_what_ended_before_an_interrupt_is_there(outgoing):
    def interrupted():
        yield from itertools.repeat(outgoing("ttft=1,itl=1"), 3)
        raise KeyboardInterrupt

    took = rounds.Took()
    with pytest.raises(KeyboardInterrupt):
        rounds.closed(interrupted(), 1, took)
    assert len(took.sent) == 3


def test_an_open_loop_sends_on_time_however_slow_the_answers_are(outgoing):
    took = rounds.Took()
    rounds.at_times(itertools.repeat(outgoing("ttft=400,itl=1")), [0.0, 0.05, 0.1, 0.15], took)
    sent = sorted(took.sent)
    begun = took.started_ns
    assert [round((one.due_ns - begun) / 1e9, 2) for one in sent] == [0, 0.05, 0.1, 0.15]
    # None waited for the one before, which took 400 ms.
    assert all(one.recording.sent_ns - one.due_ns < 0.2e9 for one in sent)


def test_a_wait_for_a_lane_counts_as_the_users_wait(outgoing, monkeypatch):
    monkeypatch.setattr(rounds, "MOST_IN_FLIGHT", 1)
    took = rounds.Took()
    rounds.at_times(itertools.repeat(outgoing("ttft=150,itl=1")), [0.0, 0.0, 0.0], took)
    requests = [examine(one.recording, "openai", one.number, "measured", one.due_ns) for one in sorted(took.sent)]
    first, second, third = (request.first_token_seconds for request in requests)
    assert first < second < third
    assert third >= 0.45
    assert requests[2].delay_seconds == pytest.approx(third - first, abs=0.1)
    # What a server took is still to be seen in the stamps of its chunks.
    assert requests[2].offsets_ns[0] / 1e9 < 0.4


def test_arrivals_are_even_or_by_chance_and_the_same_for_a_seed():
    assert list(itertools.islice(rounds.arrivals(4, False, 0), 4)) == [0, 0.25, 0.5, 0.75]
    chance = list(itertools.islice(rounds.arrivals(4, True, 7), 4000))
    assert chance == list(itertools.islice(rounds.arrivals(4, True, 7), 4000))
    gaps = [after - before for before, after in itertools.pairwise(chance)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.25, rel=0.1)
    # A Poisson process' gaps spread as widely as they are long.
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.1)
