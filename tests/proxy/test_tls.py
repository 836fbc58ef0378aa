"""An engine behind TLS: its certificate is checked, and bytes pass as without."""

import json
import ssl

import pytest

from proxy.proxying import engine, post, proxy, read_all, read_request
from web.certificates import make


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make(tmp_path_factory.mktemp("pki"))


def over_tls(pki, name):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.folder / f"{name}.pem", pki.folder / f"{name}.key")

    def serve(sock):
        with context.wrap_socket(sock, server_side=True) as secure:
            read_request(secure)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + b"x" * 200_000)

    return serve


def asked(running):
    with running.connect() as sock:
        sock.sendall(post("/v1/chat/completions", b'{"model": "m"}', b"Authorization: Bearer key\r\n"))
        return read_all(sock)


def test_an_engine_with_a_certificate_that_is_trusted_is_reached(tmp_path, pki):
    trust = {"SSL_CERT_FILE": str(pki.folder / "ca.pem")}
    with engine(over_tls(pki, "server")) as behind:
        url = behind.url.replace("http:", "https:")
        with proxy(tmp_path, url, environ=trust) as running:
            assert asked(running).endswith(b"\r\n\r\n" + b"x" * 200_000)


@pytest.mark.parametrize(("certificate", "trusted"), [("server", "stranger_ca"), ("other", "ca")])
def test_an_engine_whose_certificate_is_not_trusted_or_anothers_gets_no_request(tmp_path, pki, certificate, trusted):
    with engine(over_tls(pki, certificate)) as behind:
        url = behind.url.replace("http:", "https:")
        with proxy(tmp_path, url, environ={"SSL_CERT_FILE": str(pki.folder / f"{trusted}.pem")}) as running:
            head, _, body = asked(running).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 502 ")
            assert "cannot be trusted: " in json.loads(body)["error"]["message"]
            assert "Bearer key" not in running.log.read_text()
            running.ended(unreachable=1)
