"""What the daemon's own answer says, from servers that give it."""

import contextlib
import socket
import ssl
import subprocess
import threading

import pytest

from support.net import free_port
from tokwatt_exporter.service import health


@contextlib.contextmanager
def answering(reply, context=None):
    """A server that gives every connection these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with contextlib.suppress(OSError), connection:
                        connection.settimeout(5)
                        if context:
                            connection = context.wrap_socket(connection, server_side=True)
                        connection.recv(65536)
                        connection.sendall(reply)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def http(status, body):
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_a_healthy_daemon():
    with answering(http(200, "tokwatt is healthy\n")) as place:
        assert health.ask(place, False) == (f"http://{place}", True, None)


def test_a_daemon_that_has_stopped_sampling_is_not_healthy():
    with answering(http(503, "sampling has stopped\n")) as place:
        assert health.ask(place, False)[1:] == (False, f"http://{place}/-/healthy says 503: sampling has stopped")


@pytest.mark.parametrize("status", [401, 403])
def test_a_daemon_that_wants_credentials_does_not_say(status):
    with answering(http(status, "unauthorized\n")) as place:
        assert health.ask(place, False)[1:] == (None, None)


def test_another_program_at_the_port_is_not_ours():
    with answering(http(200, "<html>")) as place:
        assert health.ask(place, False)[1:] == (False, f"another program answers at http://{place}")
    with answering(b"SSH-2.0-OpenSSH_9.9\r\n") as place:
        assert health.ask(place, False)[1:] == (False, f"something at {place} speaks no HTTP")


def test_nobody_at_the_port():
    place = f"127.0.0.1:{free_port()}"
    assert health.ask(place, False)[1:] == (False, f"http://{place}/-/healthy does not answer: connection refused")


def test_nobody_who_answers(monkeypatch):
    monkeypatch.setattr(health, "_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        assert health.ask(place, False)[1:] == (False, f"http://{place}/-/healthy does not answer: no answer in time")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", "key", "-out", "cert", "-subj", "/CN=x", "-days", "2"], cwd=folder, check=True,
                   capture_output=True, timeout=60)  # fmt: skip
    return folder


def test_tls_is_tried_where_the_settings_may_mean_it(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    with answering(http(200, "tokwatt is healthy\n"), context) as place:
        assert health.ask(place, True) == (f"https://{place}", True, None)
    # The file may hold passwords only.
    with answering(http(200, "tokwatt is healthy\n")) as place:
        assert health.ask(place, True) == (f"http://{place}", True, None)


def test_a_daemon_that_wants_a_certificate_does_not_say(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    context.load_verify_locations(certificate / "cert")
    context.verify_mode = ssl.CERT_REQUIRED
    with answering(http(200, "tokwatt is healthy\n"), context) as place:
        assert health.ask(place, True) == (f"https://{place}", None, None)
