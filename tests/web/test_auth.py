"""Passwords, tokens and client certificates."""

import base64
import ssl
import time

import bcrypt
import httpx
import pytest

from support.net import wait_for
from tokwatt_exporter.web import auth
from tokwatt_exporter.web.config import WebConfig
from web.serving import connect, read_all, running, status, write


def hashed(password: bytes, cost: int = 4) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


USERS = f"basic_auth_users:\n  alice: {hashed(b'wonderland')}\n  bob: {hashed('schlüssel'.encode())}\n"


@pytest.fixture
def guarded(tmp_path):
    """A server with two users and a token."""
    with running(
        web_config_file=write(tmp_path / "web.yml", USERS),
        web_bearer_token_file=write(tmp_path / "token", "correct-horse\n"),
    ) as web:
        yield web


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [basic("alice", "wonderland"), basic("bob", "schlüssel"), bearer("correct-horse"),
     {"Authorization": "bearer  correct-horse"}],
)  # fmt: skip
def test_a_password_or_the_token_opens_the_door(guarded, headers):
    assert [guarded.get(headers=headers).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("alice", "wonderlan"),
        basic("alice", ""),
        basic("bob", "wonderland"),
        basic("nobody", "wonderland"),
        basic("", ""),
        basic("alice", "wonder\0land"),
        basic("alice", "w" * 100),
        bearer("correct-hors"),
        {"Authorization": "Bearer"},
        bearer("wonderland"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YWxpY2U="},
        {"Authorization": "Digest correct-horse"},
        {"Authorization": "correct-horse"},
    ],
)
def test_anything_else_does_not_and_is_counted(guarded, headers):
    answer = guarded.get(headers=headers)
    assert answer.status_code == 401
    assert "gpu0" not in answer.text
    assert answer.headers.get_list("www-authenticate") == ['Basic realm="tokwatt"', 'Bearer realm="tokwatt"']
    assert guarded.rejected("auth") == 1


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/query/series", "/nothing"])
def test_every_path_asks_who_is_there(guarded, path):
    assert guarded.get(path).status_code == 401


def test_the_token_alone_needs_no_users(tmp_path):
    with running(web_bearer_token_file=write(tmp_path / "token", "t")) as web:
        assert web.get(headers=bearer("t")).status_code == 200
        assert web.get(headers=basic("alice", "wonderland")).status_code == 401


def test_a_password_that_was_right_is_not_computed_again(tmp_path, monkeypatch):
    checks = []
    monkeypatch.setattr(auth, "_matches", lambda password, hashed: checks.append(password) or True)
    with running(web_config_file=write(tmp_path / "web.yml", USERS)) as web:
        for _ in range(5):
            assert web.get(headers=basic("alice", "wonderland")).status_code == 200
    assert checks == [b"wonderland"]


def test_a_user_that_is_removed_is_out_at_once(guarded, tmp_path):
    assert guarded.get(headers=basic("alice", "wonderland")).status_code == 200
    write(tmp_path / "web.yml", f"basic_auth_users: {{bob: {hashed(b'x')}}}")
    assert guarded.get(headers=basic("alice", "wonderland")).status_code == 401


def test_a_changed_password_counts_at_once(guarded, tmp_path):
    assert guarded.get(headers=basic("alice", "wonderland")).status_code == 200
    write(tmp_path / "web.yml", f"basic_auth_users: {{alice: {hashed(b'looking-glass')}}}")
    assert guarded.get(headers=basic("alice", "wonderland")).status_code == 401
    assert guarded.get(headers=basic("alice", "looking-glass")).status_code == 200


def test_a_new_token_counts_at_once(guarded, tmp_path):
    write(tmp_path / "token", "battery-staple")
    assert guarded.get(headers=bearer("correct-horse")).status_code == 401
    assert guarded.get(headers=bearer("battery-staple")).status_code == 200


def test_an_unknown_user_costs_the_same_work_as_the_dearest_known_one(tmp_path, monkeypatch):
    checked = []
    matches = auth._matches
    monkeypatch.setattr(auth, "_matches", lambda password, hashed: checked.append(hashed) or matches(password, hashed))
    users = f"basic_auth_users:\n  alice: {hashed(b'x', 4)}\n  bob: {hashed(b'x', 6)}\n"
    with running(web_config_file=write(tmp_path / "web.yml", users)) as web:
        for user in ("bob", "nobody"):
            assert web.get(headers=basic(user, "wrong")).status_code == 401
    assert [hashed[:7] for hashed in checked] == [b"$2b$06$"] * 2


def test_no_password_matches_the_hash_of_an_unknown_user():
    web = WebConfig(users={"alice": hashed(b"x").encode()})
    nobody = auth._nobody(web)
    assert not any(auth._matches(password, nobody) for password in (b"", b"x", b"." * 53, nobody))


def test_guessing_does_not_hold_up_who_is_known(tmp_path):
    users = f"basic_auth_users:\n  alice: {hashed(b'wonderland', 4)}\n  slow: {hashed(b'x', 12)}\n"
    with running(web_config_file=write(tmp_path / "web.yml", users)) as web:
        assert web.get(headers=basic("alice", "wonderland")).status_code == 200
        guesses = []
        for number in range(auth.MAX_WAITING + 3):
            sock = connect(web.port)
            guess = basic("slow", f"guess {number}")["Authorization"]
            sock.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {guess}\r\n\r\n".encode())
            guesses.append(sock)
        began = time.perf_counter()
        assert web.get(headers=basic("alice", "wonderland")).status_code == 200
        assert time.perf_counter() - began < 1
        assert {status(read_all(sock)) for sock in guesses[-3:]} == {503}
        for sock in guesses:
            sock.close()


def test_more_requests_than_the_limit_are_told_to_wait(tmp_path):
    config = write(tmp_path / "web.yml", "rate_limit: {interval: 3s, burst: 3}")
    with running(web_config_file=config) as web:
        statuses = [web.get().status_code for _ in range(4)]
        # Whoever else looks at the ports of this machine may have had one of the three.
        assert statuses in ([200, 200, 200, 429], [200, 200, 429, 429])
        wait_for(lambda: web.get().status_code == 200, 10, "the next request to be allowed")


def test_headers_of_the_file_replace_ours(tmp_path):
    text = 'http_server_config: {headers: {X-Frame-Options: sameorigin, Content-Security-Policy: ""}}'
    with running(web_config_file=write(tmp_path / "web.yml", text)) as web:
        headers = web.get().headers
        assert headers["x-frame-options"] == "sameorigin"
        assert "content-security-policy" not in headers


def tls_get(web, context: ssl.SSLContext, **options) -> httpx.Response:
    return httpx.get(f"https://localhost:{web.port}/metrics", verify=context, trust_env=False, timeout=10, **options)


def test_tls_serves_who_trusts_the_certificate(tmp_path, pki):
    with running(web_config_file=write(tmp_path / "web.yml", pki.tls_config())) as web:
        assert tls_get(web, pki.trust()).status_code == 200
        with pytest.raises(httpx.ConnectError):
            tls_get(web, ssl.create_default_context())


def test_tls_older_than_1_2_is_refused(tmp_path, pki):
    context = pki.trust()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        running(web_config_file=write(tmp_path / "web.yml", pki.tls_config())) as web,
        pytest.raises(httpx.ConnectError),
    ):
        tls_get(web, context)


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path, pki):
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((pki.folder / name).read_bytes())
    config = write(tmp_path / "web.yml", "tls_server_config: {cert_file: server.pem, key_file: server.key}")

    def subject() -> str:
        with connect(web.port) as plain, pki.trust().wrap_socket(plain, server_hostname="localhost") as sock:
            return dict(pair for rdn in sock.getpeercert()["subject"] for pair in rdn)["commonName"]

    with running(web_config_file=config) as web:
        assert subject() == "server"
        # One file after the other, as every tool for this does.
        (tmp_path / "server.pem").write_bytes((pki.folder / "renewed.pem").read_bytes())
        assert subject() == "server"
        (tmp_path / "server.key").write_bytes((pki.folder / "renewed.key").read_bytes())
        assert subject() == "renewed"


@pytest.fixture
def mutual(tmp_path, pki):
    """A server that knows clients by their certificates, and one of them by name."""
    keys = {"client_ca_file": pki.folder / "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}
    text = pki.tls_config(**keys, client_allowed_sans="[prometheus.example]")
    with running(web_config_file=write(tmp_path / "web.yml", text)) as web:
        yield web


def test_a_client_certificate_with_an_allowed_name_opens_the_door(mutual, pki):
    assert tls_get(mutual, pki.trust("prometheus")).status_code == 200


@pytest.mark.parametrize("client", [None, "stranger", "other"])
def test_no_certificate_a_strangers_or_another_name_does_not(mutual, pki, client):
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        tls_get(mutual, pki.trust(client))


@pytest.mark.parametrize(("client", "ok"), [(None, True), ("prometheus", True), ("stranger", False)])
def test_a_certificate_that_need_not_be_given_must_be_good_where_it_is(tmp_path, pki, client, ok):
    keys = {"client_ca_file": pki.folder / "ca.pem", "client_auth_type": "VerifyClientCertIfGiven"}
    with running(web_config_file=write(tmp_path / "web.yml", pki.tls_config(**keys))) as web:
        if ok:
            assert tls_get(web, pki.trust(client)).status_code == 200
        else:
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                tls_get(web, pki.trust(client))


@pytest.mark.parametrize(
    ("tls", "users", "client_ca", "open_api"),
    [(False, False, False, False), (False, True, False, False), (True, False, False, False), (True, True, False, True),
     (True, False, True, True)],
)  # fmt: skip
def test_beyond_this_machine_the_history_needs_tls_and_a_known_client(tmp_path, pki, tls, users, client_ca, open_api):
    keys = {"client_ca_file": pki.folder / "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}
    text = (pki.tls_config(**(keys if client_ca else {})) if tls else "") + (USERS if users else "")
    config = write(tmp_path / "web.yml", text)
    with running(lambda *_: [], web_listen_address=["0.0.0.0:0"], web_config_file=config) as web:
        answer = httpx.get(
            f"{'https' if tls else 'http'}://localhost:{web.port}/api/v1/query/series", trust_env=False,
            verify=pki.trust("prometheus"), headers=basic("alice", "wonderland") if users else {},
        )  # fmt: skip
    assert answer.status_code == (200 if open_api else 403)
