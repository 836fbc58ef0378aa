"""One request over a real socket: what each answer of a receiver means."""

import datetime
import email.utils
import gzip
import ipaddress
import logging
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from fakes.otlp_receiver import Response, receiver
from support.net import free_port
from tokwatt_exporter.catalogue import MEMORY_SIZE
from tokwatt_exporter.sinks import otlp_send
from tokwatt_exporter.sinks.otlp_deliver import Verdict
from tokwatt_exporter.sinks.otlp_send import Sender, _network_problem
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings
from tokwatt_exporter.snapshot import Snapshot

BATCH = [Snapshot.of(1_700_000_000_000, [MEMORY_SIZE(2)])]


@pytest.fixture
def send():
    senders = []

    def once(url, batch=BATCH, **settings):
        senders.append(Sender(OtlpSettings(url=url, **settings), 0))
        return senders[-1](batch)

    yield once
    for sender in senders:
        sender.close()


def answer_to(send, response, **settings):
    with receiver() as there:
        there.behave = lambda request: response
        return send(there.url, **settings), there


def test_what_is_accepted_arrived(send):
    answer, there = answer_to(send, Response())
    assert (answer.verdict, answer.rejected) == (Verdict.ACCEPTED, 0)
    assert [(p.name, p.time_ms, p.value) for p in there.points()] == [(MEMORY_SIZE.name, 1_700_000_000_000, 2.0)]


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_bodies_are_compressed_as_asked(send, compression):
    _, there = answer_to(send, Response(), compression=compression)
    assert there.headers[0].get("content-encoding", "none") == compression
    assert len(there.points()) == 1


def test_headers_are_sent(send):
    _, there = answer_to(send, Response(), headers={"authorization": "Bearer s3cret"})
    assert there.headers[0]["authorization"] == "Bearer s3cret"
    assert there.headers[0]["user-agent"].startswith("tokwatt/")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_receiver_is_asked_once_and_not_again_by_the_sdk(send, status):
    began = time.monotonic()
    answer, there = answer_to(send, Response(status, {"Retry-After": "7"}))
    assert (answer.verdict, answer.retry_after) == (Verdict.LATER, 7.0)
    assert there.requests == 1
    assert time.monotonic() - began < 2


def test_retry_after_may_be_a_date(send):
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    answer, _ = answer_to(send, Response(503, {"Retry-After": email.utils.format_datetime(at, usegmt=True)}))
    assert answer.retry_after == pytest.approx(90, abs=3)


@pytest.mark.parametrize("garbage", ["soon", "nan", "", "1e400"])
def test_a_retry_after_that_is_no_time_is_none(send, garbage):
    answer, _ = answer_to(send, Response(503, {"Retry-After": garbage}))
    assert answer.retry_after is None


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(400, Verdict.REFUSED), (422, Verdict.REFUSED), (413, Verdict.TOO_LARGE), (401, Verdict.LATER),
     (403, Verdict.LATER), (404, Verdict.LATER), (500, Verdict.LATER), (301, Verdict.LATER)],
)  # fmt: skip
def test_each_status_has_its_verdict(send, status, verdict):
    answer, there = answer_to(send, Response(status, {"Location": "/elsewhere"}))
    assert answer.verdict is verdict
    assert str(status) in answer.why
    assert there.requests == 1, "redirects are not followed"


def test_wrong_credentials_and_wrong_paths_say_what_to_look_at(send):
    assert "otlp.header" in answer_to(send, Response(401))[0].why
    assert "/v1/metrics" in answer_to(send, Response(404))[0].why


def test_why_a_batch_is_refused_is_told_in_one_line_without_secrets(send):
    body = Status(message="out of order\nfor Bearer s3cret " + "x" * 500).SerializeToString()
    answer, _ = answer_to(send, Response(400, body=body), headers={"authorization": "Bearer s3cret"})
    assert "out of order for <redacted>" in answer.why
    assert "\n" not in answer.why
    assert len(answer.why) < 300


def test_points_that_a_receiver_drops_on_accepting_are_counted(send):
    body = ExportMetricsServiceResponse()
    body.partial_success.rejected_data_points = 3
    body.partial_success.error_message = "too old"
    answer, _ = answer_to(send, Response(body=body.SerializeToString()))
    assert (answer.verdict, answer.rejected, answer.why) == (Verdict.ACCEPTED, 3, "too old")


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"not protobuf", gzip.compress(bytes(50_000_000))])
def test_an_answer_that_is_garbage_or_a_bomb_does_not_make_an_accepted_batch_unaccepted(send, body):
    headers = {"Content-Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    assert answer_to(send, Response(200, headers, body))[0].verdict is Verdict.ACCEPTED


def test_nothing_listening_is_refused_at_once(send):
    began = time.monotonic()
    answer = send(f"http://127.0.0.1:{free_port()}/v1/metrics")
    assert (answer.verdict, answer.why) == (Verdict.LATER, "connection refused")
    assert time.monotonic() - began < 1


def test_a_receiver_that_never_answers_is_left_after_the_timeout(send):
    began = time.monotonic()
    answer, there = answer_to(send, Response(-1), timeout=0.5)
    assert (answer.verdict, answer.why) == (Verdict.LATER, "no answer in time")
    assert time.monotonic() - began < 2
    assert there.requests == 1


def test_a_receiver_that_dies_in_the_middle_is_tried_later(send):
    answer, there = answer_to(send, Response(0))
    assert answer.verdict is Verdict.LATER
    assert there.requests == 1, "the request may have arrived: sending it again is the pusher's decision"


def test_an_answer_that_dribbles_is_not_waited_for(send):
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def dribble():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while not over.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=dribble)
        thread.start()
        began = time.monotonic()
        answer = send(f"http://127.0.0.1:{server.getsockname()[1]}/v1/metrics", timeout=0.5)
        assert answer.verdict is Verdict.ACCEPTED
        assert time.monotonic() - began < 2
        over.set()
        thread.join()


@pytest.mark.parametrize(("idle_for", "connections"), [(60.0, 1), (0.0, 3)])
def test_a_connection_is_used_again_unless_it_was_idle_for_so_long_that_it_may_be_closed(
    monkeypatch, idle_for, connections
):
    monkeypatch.setattr(otlp_send, "_KEEP_ALIVE_SECONDS", idle_for)
    with receiver() as there:
        sender = Sender(OtlpSettings(url=there.url), 0)
        for _ in range(3):
            assert sender(BATCH).verdict is Verdict.ACCEPTED
        sender.close()
        assert len(there.connections) == connections


def test_a_name_that_cannot_be_resolved_is_told(send):
    assert send("http://collector.invalid/v1/metrics").why == "the name collector.invalid cannot be resolved"


def test_a_batch_that_cannot_be_encoded_is_refused_and_nothing_is_sent(send):
    class Bad(dict):
        def items(self):
            return [((("kind", "a"),), "text")]

    with receiver() as there:
        assert send(there.url, [Snapshot(1, {MEMORY_SIZE: Bad()})]).verdict is Verdict.REFUSED
        assert there.requests == 0


def test_proxies_of_the_environment_are_not_used_on_loopback(send, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert answer_to(send, Response())[0].verdict is Verdict.ACCEPTED


def test_a_password_file_of_the_user_is_not_sent(send, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    _, there = answer_to(send, Response())
    assert "authorization" not in there.headers[0]


def test_the_sdk_logs_nothing_of_its_own(send, caplog):
    caplog.set_level(logging.DEBUG, "opentelemetry")
    answer_to(send, Response(503), headers={"authorization": "s3cret"})
    send(f"http://127.0.0.1:{free_port()}/v1/metrics")
    assert [record.name for record in caplog.records if record.name.startswith("opentelemetry")] == []


def test_local_network_privacy_of_macos_is_explained():
    def failed(number):
        cause = OSError(number, "No route to host")
        return requests.ConnectionError(Exception("pool", cause))

    assert "LaunchDaemon" in _network_problem(failed(65), "192.168.1.20")
    assert "LaunchDaemon" in _network_problem(failed(65), "nas.local")
    assert "LaunchDaemon" not in _network_problem(failed(65), "8.8.8.8")
    assert "LaunchDaemon" not in _network_problem(failed(113), "192.168.1.20")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA of our own, a server certificate and a client certificate, as files."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


def make_certificates(folder):
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=60)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    for name, extension in (("server", f"subjectAltName=IP:{ipaddress.ip_address('127.0.0.1')}"),
                            ("client", "extendedKeyUsage=clientAuth")):  # fmt: skip
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
        (folder / f"{name}.ext").write_text(extension)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip
    return folder


def server_context(folder, *, client_needed=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if client_needed:
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_with_a_ca_of_ones_own(send, authority, monkeypatch):
    # requests would let this variable win over the CA it was given.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "client.pem"))
    with receiver(tls=server_context(authority)) as there:
        assert send(there.url, certificate=str(authority / "ca.pem")).verdict is Verdict.ACCEPTED
        assert len(there.points()) == 1


def test_a_certificate_nobody_vouched_for_is_not_talked_to(send, authority):
    with receiver(tls=server_context(authority)) as there:
        answer = send(there.url)
        assert answer.verdict is Verdict.LATER
        assert answer.why == "TLS failed: unable to get local issuer certificate"
        assert there.requests == 0


def test_tls_with_a_client_certificate(send, authority):
    with receiver(tls=server_context(authority, client_needed=True)) as there:
        trusted = {"certificate": str(authority / "ca.pem")}
        assert send(there.url, **trusted).verdict is Verdict.LATER
        client = {"client_certificate": str(authority / "client.pem"), "client_key": str(authority / "client.key")}
        assert send(there.url, **trusted, **client).verdict is Verdict.ACCEPTED
