"""Batches, back-off, the queue and the watermark: what is sent again, what is skipped, what is remembered."""

import errno
import json
import logging
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokwatt_exporter.catalogue import MEMORY_SIZE, MEMORY_USED, TEMPERATURE
from tokwatt_exporter.sinks.otlp_backfill import backfill, batches, readings
from tokwatt_exporter.sinks.otlp_deliver import Answer, Backoff, Courier, Verdict
from tokwatt_exporter.sinks.otlp_pending import POINTS, Pending
from tokwatt_exporter.sinks.otlp_watermark import FILE, Watermark
from tokwatt_exporter.snapshot import Snapshot

ACCEPTED = Answer(Verdict.ACCEPTED)


def snapshot(time_ms, points=1):
    return Snapshot.of(time_ms, [MEMORY_USED(n, kind=str(n)) for n in range(points)])


class Fake:
    """A receiver that refuses some times, and batches over a size."""

    def __init__(self, bad=(), most=10**9):
        self.bad, self.most, self.got, self.requests = set(bad), most, [], 0

    def __call__(self, part):
        self.requests += 1
        if len(part) > self.most:
            return Answer(Verdict.TOO_LARGE, "too large")
        if self.bad & {snapshot.time_ms for snapshot in part}:
            return Answer(Verdict.REFUSED, "bad")
        self.got += [snapshot.time_ms for snapshot in part]
        return ACCEPTED


def deliver(receiver, count):
    done = []
    delivery = Courier(receiver).deliver([snapshot(n) for n in range(count)], done.extend)
    return delivery, [snapshot.time_ms for snapshot in done]


@settings(deadline=None)
@given(st.integers(1, 80), st.data())
def test_a_bad_sample_costs_only_itself(count, data):
    bad = data.draw(st.integers(0, count - 1))
    receiver = Fake(bad=[bad])
    delivery, done = deliver(receiver, count)
    assert receiver.got == [n for n in range(count) if n != bad], "in order, each once"
    assert done == list(range(count))
    assert (delivery.skipped, delivery.exports) == (1, receiver.requests)
    assert delivery.failures > 0


def test_a_receiver_that_refuses_everything_does_not_block_and_is_not_flooded():
    receiver = Fake(bad=range(500))
    delivery, done = deliver(receiver, 500)
    assert (delivery.skipped, done, delivery.accepted_ms) == (500, list(range(500)), None)
    assert receiver.requests < 30


def test_a_receiver_that_keeps_refusing_everything_is_not_searched_for_the_bad_sample_each_time():
    receiver = Fake(bad=range(100))
    courier = Courier(receiver)
    courier.deliver([snapshot(n) for n in range(50)], lambda part: None)
    assert courier.deliver([snapshot(n) for n in range(50, 100)], lambda part: None).exports == 1


def test_being_busy_for_long_is_no_refusal():
    answers = iter([Answer(Verdict.LATER)] * 20)
    receiver = Fake(bad=[3])
    courier = Courier(lambda part: next(answers, None) or receiver(part))
    batch = [snapshot(n) for n in range(10)]
    for _ in range(20):
        assert courier.deliver(batch, lambda part: None).later
    assert courier.deliver(batch, lambda part: None).skipped == 1


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(1, 80))
def test_batches_too_large_are_sent_smaller_and_the_size_is_remembered(count, most):
    receiver = Fake(most=most)
    courier = Courier(receiver)
    batch = [snapshot(n) for n in range(count)]
    assert courier.deliver(batch, lambda part: None).skipped == 0
    assert receiver.got == list(range(count))
    before = receiver.requests
    again = courier.deliver(batch, lambda part: None)
    assert again.failures == 0
    assert receiver.requests - before == again.exports


def test_one_sample_that_is_too_large_is_skipped():
    delivery, done = deliver(Fake(most=0), 1)
    assert (delivery.skipped, done) == (1, [0])


def test_a_busy_receiver_ends_the_delivery_and_what_was_accepted_stays_accepted():
    answers = iter([Answer(Verdict.TOO_LARGE), ACCEPTED, Answer(Verdict.LATER, "busy", retry_after=3)])
    delivery, done = deliver(lambda part: next(answers), 4)
    assert done == [0, 1]
    assert delivery.later.retry_after == 3
    assert (delivery.exports, delivery.failures, delivery.accepted_ms) == (3, 2, 1)


def test_points_dropped_on_accepting_are_a_failure_but_not_sent_again():
    delivery, done = deliver(lambda part: Answer(Verdict.ACCEPTED, "too old", rejected=5), 3)
    assert (delivery.rejected, delivery.failures, done) == (5, 1, [0, 1, 2])


def test_waits_double_up_to_five_minutes_and_start_anew_after_a_success():
    backoff = Backoff(lambda low, high: 1.0)
    assert [backoff.failed(None) for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    backoff.succeeded()
    assert backoff.failed(None) == 1


def test_waits_have_a_fifth_of_chance():
    waits = {Backoff().failed(None) for _ in range(100)}
    assert all(0.8 <= wait <= 1.2 for wait in waits)
    assert len(waits) > 1


def test_the_receivers_own_wish_is_respected_within_reason():
    assert Backoff(lambda low, high: 1.0).failed(60) == 60
    assert Backoff(lambda low, high: 1.0).failed(0.1) == 1
    assert Backoff(lambda low, high: 1.0).failed(10**9) == 3600


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 100))
def test_the_queue_stays_bounded_and_says_what_left(sizes, most):
    pending = Pending(most)
    for time_ms, points in enumerate(sizes):
        pending.add(snapshot(time_ms, points))
    kept = [snapshot.time_ms for snapshot in pending.all()]
    assert sum(map(len, pending.all())) <= max(most, sizes[-1] if sizes else 0)
    assert kept == list(range(len(sizes) - len(kept), len(sizes)))
    assert pending.evicted_ms == (kept[0] - 1 if kept and kept[0] else None)


def test_what_left_the_queue_while_it_was_sent_is_not_missed():
    pending = Pending(2)
    pending.add(snapshot(1))
    part = pending.all()
    for time_ms in (2, 3):
        pending.add(snapshot(time_ms))
    pending.settle(part)
    assert [snapshot.time_ms for snapshot in pending.all()] == [2, 3]


def test_the_watermark_is_remembered_over_restarts_for_each_receiver(tmp_path):
    Watermark(tmp_path, "http://a").advance(5)
    Watermark(tmp_path, "http://b").advance(7)
    assert [Watermark(tmp_path, name).time_ms for name in ("http://a", "http://b", "http://c")] == [5, 7, None]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"acknowledged_ms": 3}', b'{"acknowledged_ms": {"a": "x"}}',
     b'{"acknowledged_ms": {"a": -1}}', b'{"acknowledged_ms": {"a": true}}', b'{"acknowledged_ms": {"a": 1e400}}'],
)  # fmt: skip
def test_a_watermark_that_cannot_be_read_means_from_now_and_is_told(tmp_path, caplog, content):
    (tmp_path / FILE).write_bytes(content)
    watermark = Watermark(tmp_path, "a")
    assert watermark.time_ms is None
    assert "starting from now" in caplog.text
    watermark.advance(3)
    assert Watermark(tmp_path, "a").time_ms == 3


def test_a_torn_write_leaves_the_old_watermark(tmp_path, monkeypatch):
    Watermark(tmp_path, "a").advance(1)

    def torn(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", torn)
    watermark = Watermark(tmp_path, "a")
    watermark.advance(2)
    assert watermark.time_ms == 2
    assert Watermark(tmp_path, "a").time_ms == 1


def test_a_full_disk_is_told_once(tmp_path, monkeypatch, caplog):
    watermark = Watermark(tmp_path / "missing", "a")
    for time_ms in range(5):
        watermark.advance(time_ms)
    assert watermark.time_ms == 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_old_receivers_are_forgotten(tmp_path):
    for number in range(40):
        Watermark(tmp_path, f"http://{number}").advance(number)
    assert len(json.loads((tmp_path / FILE).read_text())["acknowledged_ms"]) == 16
    assert Watermark(tmp_path, "http://39").time_ms == 39


def run_backfill(snapshots, receiver, after=0, until=10**9, must_end_there=False):
    messages = []
    backfill(snapshots, Courier(receiver), after, until, must_end_there=must_end_there, say=messages.append)
    return messages


@settings(deadline=None)
@given(st.lists(st.integers(1, 4_000_000), unique=True, max_size=40).map(sorted))
def test_a_backfill_sends_each_sample_once_and_oldest_first(times):
    receiver = Fake()
    messages = run_backfill(map(snapshot, times), receiver)
    assert receiver.got == times
    done = [message["done_ms"] for message in messages if "done_ms" in message]
    assert done == sorted(done)
    assert messages[-1] == {"complete": True}


def test_no_request_of_a_backfill_spans_more_than_five_minutes():
    for batch in batches(snapshot(time_ms) for time_ms in range(0, 7_200_000, 5000)):
        assert batch[-1].time_ms - batch[0].time_ms <= 300_000


@settings(deadline=None)
@given(st.lists(st.integers(0, 9000), max_size=40))
def test_requests_have_a_bounded_number_of_points_and_keep_order(sizes):
    snapshots = [Snapshot(n, {MEMORY_SIZE: range(size)}) for n, size in enumerate(sizes)]
    made = list(batches(snapshots))
    assert [s for batch in made for s in batch] == snapshots
    assert all(made)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= POINTS for batch in made)


def test_a_backfill_that_does_not_reach_the_newest_sample_is_not_done():
    messages = run_backfill([snapshot(10)], Fake(), 0, 20, must_end_there=True)
    assert "unavailable" in messages[-1]
    assert max(message["done_ms"] for message in messages if "done_ms" in message) == 10


def test_a_metric_that_the_catalogue_no_longer_has_is_left_out_and_labels_keep_their_order():
    labels = {"sensor": "a", "device": "b"}
    found = list(readings([("tokwatt_gone", {}, 1.0), (TEMPERATURE.name, labels, 2.0)]))
    assert found == [TEMPERATURE(2, device="b", sensor="a")]


def test_a_busy_receiver_ends_the_backfill_with_its_answer():
    messages = run_backfill([snapshot(10)], lambda part: Answer(Verdict.LATER, "busy"))
    assert messages[-1]["delivery"]["later"]["why"] == "busy"
    assert not any("done_ms" in message for message in messages)
