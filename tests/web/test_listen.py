"""Listening: on every address that was asked for, or a line that says why not."""

import os
import re
import socket

import pytest

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.selfmetrics import SelfMetrics
from tokwatt_exporter.web.server import Server
from web.serving import ask, running, settings, status


def server(*addresses: str) -> Server:
    return Server(settings(web_listen_address=list(addresses)), None, SelfMetrics())


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_port_in_use_is_said_with_who_uses_it():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError) as refused:
            server(f"127.0.0.1:{port}")
    line = (
        rf"web.listen-address: 127.0.0.1:{port} is in use by .+ \(pid {os.getpid()}\); stop that or choose another port"
    )
    assert re.fullmatch(line, str(refused.value))


def test_a_start_that_fails_leaves_no_port_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(UsageError):
            server(f"127.0.0.1:{port}", f"127.0.0.1:{taken}")
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1:10021", "web.listen-address: 192.0.2.1:10021 is not an address of this machine"),
        ("no.such.host.invalid:1", "web.listen-address: no.such.host.invalid is not a name or address of this machine"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(address, why):
    with pytest.raises(UsageError, match=f"^{re.escape(why)}$"):
        server(address)


def test_a_name_is_listened_on_at_each_of_its_addresses():
    with running(web_listen_address=["localhost:0"]) as web:
        assert status(ask(web.port)) == 200


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_and_ipv4_can_have_the_same_port():
    with running(web_listen_address=["127.0.0.1:0"]) as web:
        six = server(f"[::]:{web.port}")
        six.stop()


def test_the_port_is_free_again_after_a_stop():
    with running() as web:
        assert status(ask(web.port)) == 200
        web.server.stop()
        again = server(f"127.0.0.1:{web.port}")
        again.stop()


def test_a_server_that_was_never_started_lets_go_of_its_port():
    built = server("127.0.0.1:0")
    built.stop()
    socket.create_server(("127.0.0.1", built.addresses[0].port)).close()


def test_listening_on_loopback_needs_no_warning(caplog):
    with running():
        assert not caplog.records


def test_listening_beyond_this_machine_without_tls_and_authentication_is_said_once(caplog):
    with running(web_listen_address=["0.0.0.0:0"]) as web:
        for path in ("/api/v1/query/series", "/api/v1/openapi.json"):
            assert web.get(path).status_code == 403
        assert web.get().status_code == 200
    [record] = caplog.records
    assert "--web.config.file" in record.getMessage()
    assert "--web.bearer-token-file" in record.getMessage()
