"""The pusher with a receiver that fails in every way: nothing missing, nothing doubled, a log line for each change."""

import contextlib
import logging
import time

import pytest

from fakes.otlp_receiver import Response, points_of, receiver
from support.net import free_port, wait_for
from tokwatt_exporter.catalogue import MEMORY_SIZE, MEMORY_USED, OTLP_ACKNOWLEDGED, OTLP_EXPORT_FAILURES, OTLP_EXPORTS
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.sinks.otlp import Pusher
from tokwatt_exporter.sinks.otlp_deliver import Backoff
from tokwatt_exporter.sinks.otlp_pending import Pending
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings
from tokwatt_exporter.snapshot import Snapshot


class Running:
    """A pusher with a clock of samples, and what it counted."""

    def __init__(self, tmp_path, url, **options):
        self.metrics = SelfMetrics()
        extra = {name: options.pop(name) for name in ("patience", "pending") if name in options}
        # A fiftieth of the real waits.
        extra["backoff"] = Backoff(lambda low, high: 0.02)
        defaults = {"interval": 0.05, "timeout": 1.0, "history": False}
        settings = OtlpSettings(url=url, **{**defaults, **options})
        self.push = Pusher(settings, self.metrics, tmp_path, time.time_ns(), **extra)
        self.sent = []
        self._last = 0

    def sample(self, count=1, points=1):
        for _ in range(count):
            self._last = max(self._last + 1, int(time.time() * 1000))
            self.sent.append(self._last)
            self.push(Snapshot.of(self._last, [MEMORY_USED(n, kind=str(n)) for n in range(points)]))

    def value(self, family):
        return next((r.value for r in self.metrics.readings() if r.family is family), None)

    def acknowledged(self):
        return self.sent and self.value(OTLP_ACKNOWLEDGED) == self.sent[-1] / 1000


@contextlib.contextmanager
def pusher(tmp_path, url, **options):
    running = Running(tmp_path, url, **options)
    try:
        yield running
    finally:
        running.push.close()


def lines(caplog):
    return [r.getMessage() for r in caplog.records if r.name.startswith("tokwatt_exporter")]


def test_every_sample_arrives_once_and_in_order(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url) as running:
        for _ in range(20):
            running.sample()
            time.sleep(0.02)
        wait_for(running.acknowledged, 10, "the last sample to be acknowledged")
        assert there.times() == running.sent
        assert running.value(OTLP_EXPORTS) == there.requests
        assert running.value(OTLP_EXPORT_FAILURES) == 0


def test_counters_start_at_zero_and_nothing_is_acknowledged_before_it_is(tmp_path):
    with pusher(tmp_path, f"http://127.0.0.1:{free_port()}/v1/metrics", interval=60.0) as running:
        assert (running.value(OTLP_EXPORTS), running.value(OTLP_EXPORT_FAILURES)) == (0, 0)
        assert running.value(OTLP_ACKNOWLEDGED) is None


def test_taking_a_snapshot_never_waits_for_a_receiver_that_hangs(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url, timeout=1.0) as running:
        there.behave = lambda request: Response(-1)
        running.sample()
        wait_for(lambda: there.requests, 5, "a request to hang")
        began = time.monotonic()
        running.sample(100)
        assert time.monotonic() - began < 0.2
        there.behave = lambda request: Response()
        wait_for(running.acknowledged, 15, "the receiver to be back")
        assert there.times() == running.sent


@pytest.mark.parametrize(
    "trouble",
    [Response(503), Response(429, {"Retry-After": "0"}), Response(401), Response(404), Response(500), Response(0),
     Response(302, {"Location": "/v1/metrics"})],
    ids=lambda response: str(response.status),
)  # fmt: skip
def test_samples_wait_while_the_receiver_is_in_trouble_and_are_told_about_once(tmp_path, caplog, trouble):
    caplog.set_level(logging.INFO)
    with receiver() as there, pusher(tmp_path, there.url) as running:
        there.behave = lambda request: trouble
        running.sample(3)
        wait_for(lambda: there.requests >= 3, 15, "three tries")
        running.sample(3)
        assert len(lines(caplog)) == 1
        there.behave = lambda request: Response()
        wait_for(running.acknowledged, 15, "the receiver to be back")
        assert there.times() == running.sent
        assert running.value(OTLP_EXPORT_FAILURES) >= 3
    told = lines(caplog)
    assert len(told) == 2
    assert "takes no samples now" in told[0]
    assert told[1].endswith("accepts samples")


def test_one_sample_is_enough_to_see_whether_a_receiver_is_back(tmp_path):
    sizes = []
    with receiver() as there, pusher(tmp_path, there.url) as running:

        def behave(request):
            sizes.append(len(points_of(request)))
            return Response(503 if len(sizes) < 4 else 200)

        there.behave = behave
        running.sample(10)
        wait_for(running.acknowledged, 15, "all to arrive")
    assert sizes == [10, 1, 1, 1, 9]


def test_retry_after_is_waited_for(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url) as running:
        tries = []

        def behave(request):
            tries.append(time.monotonic())
            return Response(429, {"Retry-After": "2"}) if len(tries) == 1 else Response()

        there.behave = behave
        running.sample()
        wait_for(running.acknowledged, 10, "the sample to arrive")
        assert tries[1] - tries[0] >= 2


def test_a_sample_that_is_refused_does_not_stop_the_others(tmp_path, caplog):
    with receiver() as there, pusher(tmp_path, there.url) as running:
        there.behave = lambda request: Response(400 if any(p.value == 2 for p in points_of(request)) else 200)
        running.sample(5)
        running.sample(points=3)
        running.sample(5)
        wait_for(running.acknowledged, 10, "the last sample to be acknowledged")
        assert there.times() == running.sent[:5] + running.sent[6:]
        assert running.value(OTLP_EXPORT_FAILURES) > 0
    assert sum("refuses samples for good" in line for line in lines(caplog)) == 1


def test_a_receiver_that_refuses_everything_is_told_about_once_whatever_it_says(tmp_path, caplog):
    with receiver() as there, pusher(tmp_path, there.url) as running:
        there.behave = lambda request: Response(400, body=b"port %d" % there.requests, content_type="text/plain")
        for _ in range(5):
            running.sample(2)
            before = there.requests
            wait_for(lambda before=before: there.requests > before, 10, "another push")
    assert sum("refuses samples for good" in line for line in lines(caplog)) == 1


def test_headers_that_would_go_unencrypted_over_the_network_are_told(tmp_path, caplog):
    for url in ("http://192.0.2.1:1/v1/metrics", "https://192.0.2.1:1/v1/metrics", "http://127.0.0.1:1/v1/metrics"):
        with pusher(tmp_path, url, headers={"a": "s3cret"}, interval=60.0):
            pass
    [line] = lines(caplog)
    assert "unencrypted" in line
    assert "http://192.0.2.1:1" in line
    assert "s3cret" not in line


def test_a_receiver_with_a_small_limit_gets_small_requests(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url, interval=0.3) as running:
        there.behave = lambda request: Response(413 if len(points_of(request)) > 4 else 200)
        running.sample(30)
        wait_for(running.acknowledged, 10, "the last sample to be acknowledged")
        assert there.times() == running.sent


def test_secrets_are_in_no_log_line(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with receiver() as there:
        there.behave = lambda request: Response(400, body=b"bad header: s3cret", content_type="text/plain")
        with pusher(tmp_path, there.url + "?key=s3cret", headers={"authorization": "s3cret"}) as running:
            there.behave = lambda request: Response(401, body=b"s3cret", content_type="text/plain")
            running.sample()
            wait_for(lambda: running.value(OTLP_EXPORT_FAILURES), 10, "a failure")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("urllib3")]
    assert ours
    assert "s3cret" not in "\n".join(ours)


def test_closing_sends_the_last_samples(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url, interval=60.0) as running:
        running.sample(3)
        running.push.close()
        assert there.times() == running.sent
        assert not running.push._thread.is_alive()


def test_closing_takes_no_longer_than_five_seconds_though_the_receiver_hangs(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url, timeout=30.0) as running:
        there.behave = lambda request: Response(-1)
        running.sample()
        wait_for(lambda: there.requests, 5, "a request to hang")
        began = time.monotonic()
        running.push.close()
        assert time.monotonic() - began < 5.5
        there.closing.set()
        running.push._thread.join(40)


def test_a_restart_goes_on_where_the_receiver_had_got(tmp_path):
    with receiver() as there:
        with pusher(tmp_path, there.url) as first:
            first.sample(3)
            wait_for(first.acknowledged, 10, "the first run's samples")
        with pusher(tmp_path, there.url) as second:
            second.sample(3)
            wait_for(second.acknowledged, 10, "the second run's samples")
        assert there.times() == first.sent + second.sent


def test_without_history_what_does_not_fit_in_memory_is_lost_and_told(tmp_path, caplog):
    with pusher(tmp_path, f"http://127.0.0.1:{(port := free_port())}/v1/metrics", pending=Pending(10)) as running:
        running.sample(1)
        wait_for(lambda: running.value(OTLP_EXPORT_FAILURES), 10, "a failure")
        running.sample(40)
        with receiver(port) as there:
            wait_for(running.acknowledged, 15, "the receiver to be back")
            assert there.times() == running.sent[-10:]
    assert sum("no history" in line for line in lines(caplog)) == 1


def test_a_busy_second_is_sent_before_memory_is_full(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url, interval=60.0, pending=Pending(100)) as running:
        for _ in range(40):
            running.sample(points=10)
            time.sleep(0.02)
        wait_for(lambda: len(there.times()) > 30, 10, "samples to be sent early")
    assert there.times() == running.sent


def test_a_watermark_of_the_future_means_from_now(tmp_path, caplog):
    with receiver() as there:
        path = tmp_path / "otlp-watermark.json"
        path.write_text(f'{{"acknowledged_ms": {{"{there.url}": {int(time.time() * 1000) + 10**8}}}}}')
        with pusher(tmp_path, there.url) as running:
            running.sample(3)
            wait_for(running.acknowledged, 10, "the samples to arrive")
        assert there.times() == running.sent
    assert any("future" in line for line in lines(caplog))


def test_a_clock_that_is_set_back_loses_nothing(tmp_path):
    with receiver() as there, pusher(tmp_path, there.url) as running:
        running.sample(2)
        wait_for(running.acknowledged, 10, "the first samples")
        early = running.sent[0] - 3_600_000
        running.push(Snapshot.of(early, [MEMORY_SIZE(1)]))
        wait_for(lambda: early in there.times(), 10, "the sample of the clock set back")
        assert there.times() == [*running.sent, early]


def test_a_fault_of_our_own_does_not_end_the_push(tmp_path, caplog, monkeypatch):
    from tokwatt_exporter.sinks import otlp_send

    real = otlp_send.to_metrics_data
    faults = iter([True, True])

    def faulty(*args):
        if next(faults, False):
            raise RuntimeError("a bug")
        return real(*args)

    monkeypatch.setattr(otlp_send, "to_metrics_data", faulty)
    with receiver() as there, pusher(tmp_path, there.url) as running:
        running.sample(2)
        wait_for(running.acknowledged, 15, "the push to go on")
        assert there.times() == running.sent
    assert sum("a bug" in line for line in lines(caplog)) == 1
