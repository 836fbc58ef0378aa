"""`--web.config.file` and the bearer token's file: read, or refused in one line that names the key."""

import re

import pytest

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.web.config import RateLimit, Source, load
from web.serving import settings, write

HASH = "$2y$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"


def loaded(tmp_path, text: str):
    return load(settings(web_config_file=write(tmp_path / "web.yml", text)))


def refusal(tmp_path, text: str) -> str:
    with pytest.raises(UsageError) as refused:
        loaded(tmp_path, text)
    line = str(refused.value)
    assert "\n" not in line
    return line.removeprefix(f"web.config.file: {tmp_path / 'web.yml'}: ")


def test_without_files_everybody_may_ask():
    web = load(settings())
    assert (web.context, web.asks_who, web.rate_limit) == (None, False, None)


@pytest.mark.parametrize("text", ["", "{}", "tls_server_config:\nbasic_auth_users:\n"])
def test_an_empty_file_is_a_file_without_wishes(tmp_path, text):
    web = loaded(tmp_path, text)
    assert (web.context, web.asks_who) == (None, False)


def test_every_key_of_the_toolkit_that_can_be_followed_is_read(tmp_path, pki):
    text = pki.tls_config(
        client_ca_file=pki.folder / "ca.pem", client_auth_type="RequireAndVerifyClientCert",
        client_allowed_sans="[prometheus.example]", min_version="TLS12", max_version="TLS13",
        cipher_suites="[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]",
        prefer_server_cipher_suites="false",
    )  # fmt: skip
    text += (
        "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: sameorigin\n"
        "    Strict-Transport-Security: max-age=60\n"
        f"basic_auth_users:\n  alice: {HASH}\nrate_limit:\n  interval: 1s\n  burst: 20\n"
    )
    web = loaded(tmp_path, text)
    assert web.verifies_clients
    assert web.allowed_sans == {"prometheus.example"}
    assert web.headers["X-Frame-Options"] == "sameorigin"
    assert web.users == {"alice": HASH.encode()}
    assert web.rate_limit == RateLimit(1.0, 20)


def test_paths_are_relative_to_the_file(tmp_path, pki):
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((pki.folder / name).read_bytes())
    assert loaded(tmp_path, "tls_server_config: {cert_file: server.pem, key_file: server.key}").context


def test_an_interval_of_zero_is_no_limit(tmp_path):
    assert loaded(tmp_path, "rate_limit: {interval: 0, burst: 0}").rate_limit is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tls_server_confg: {}", "the file: unknown key tls_server_confg; known are tls_server_config"),
        ("[]", "the file: must be a mapping"),
        ("just words", "the file: must be a mapping"),
        ("a: [1", "not valid YAML in line 1"),
        ("a: !!python/object:os.system {}", "not valid YAML in line 1"),
        ("basic_auth_users: [alice]", "basic_auth_users: must be a mapping of users to bcrypt hashes"),
        ("basic_auth_users: {alice: hunter2}", "basic_auth_users.alice: is not a bcrypt hash"),
        ("basic_auth_users: {alice: 123}", "basic_auth_users.alice: is not a bcrypt hash"),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "basic_auth_users: 'a:b' is not a user name"),
        ("http_server_config: {http2: maybe}", "http_server_config.http2: is not true or false"),
        ("http_server_config: {headers: {X-Powered-By: a}}", "http_server_config.headers: unknown key X-Powered-By"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "headers.X-Frame-Options: 'allow' is not one of"),
        ('http_server_config: {headers: {X-XSS-Protection: "0\\r\\nA: b"}}', "X-XSS-Protection: must be a line"),
        ("rate_limit: {interval: soon}", "rate_limit.interval: 'soon' is not a duration"),
        ("rate_limit: {interval: 1s, burst: -1}", "rate_limit.burst: is not a whole number"),
        ("tls_server_config: {cert_file: a.pem}", "tls_server_config.key_file: is missing"),
        ("tls_server_config: {key_file: a.pem}", "tls_server_config.cert_file: is missing"),
        ("tls_server_config: {cert_file: 1, key_file: b}", "tls_server_config.cert_file: must be text"),
        ("tls_server_config: {cert_file: no.pem, key_file: no.key}", "cert_file: {tmp}/no.pem cannot be read: No such"),
        ("tls_server_config: {cert: abc}", "tls_server_config.cert: is not supported by tokwatt; use cert_file"),
        ("tls_server_config: {curve_preferences: []}", "curve_preferences: is not supported by tokwatt; leave it out"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(tmp_path, text, why):
    assert why.replace("{tmp}", str(tmp_path)) in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"min_version": "TLS10"}, "min_version: 'TLS10' is not one of TLS12, TLS13"),
        ({"min_version": "TLS13", "max_version": "TLS12"}, "min_version: is above max_version"),
        ({"max_version": "[TLS13]"}, "max_version: ['TLS13'] is not one of"),
        ({"client_auth_type": "RequestClientCert"}, "client_auth_type: 'RequestClientCert' is not one of NoClientCert"),
        ({"client_auth_type": "RequireAndVerifyClientCert"}, "RequireAndVerifyClientCert needs client_ca_file"),
        ({"client_ca_file": "server.pem"}, "client_ca_file needs client_auth_type RequireAndVerifyClientCert"),
        ({"client_allowed_sans": "[a]"}, "client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert"),
        ({"client_allowed_sans": "a"}, "client_allowed_sans: must be a list"),
        ({"cipher_suites": "[TLS_RSA_WITH_RC4_128_SHA]"}, "cipher_suites: 'TLS_RSA_WITH_RC4_128_SHA' is not one of"),
        ({"cipher_suites": "fast"}, "cipher_suites: must be a list"),
        ({"prefer_server_cipher_suites": "2"}, "prefer_server_cipher_suites: is not true or false"),
        ({"key_file": "renewed.key"}, "are not an unencrypted pair in PEM"),
        ({"cert_file": "server.key"}, "are not an unencrypted pair in PEM"),
        ({"client_ca_file": "ca.key", "client_auth_type": "RequireAndVerifyClientCert"}, "client_ca_file: has no cert"),
    ],
)
def test_tls_settings_that_cannot_be_used_are_named(tmp_path, pki, keys, why):
    paths = {name: pki.folder / value if name.endswith("_file") else value for name, value in keys.items()}
    line = refusal(tmp_path, pki.tls_config(**paths))
    assert line.startswith("tls_server_config")
    assert why in line


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path, pki):
    from web.certificates import openssl

    openssl(pki.folder, "ec", "-in", "server.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key")
    line = refusal(tmp_path, pki.tls_config(key_file=pki.folder / "locked.key"))
    assert "are not an unencrypted pair in PEM" in line


def test_a_password_that_was_not_hashed_is_not_shown(tmp_path):
    assert "hunter2" not in refusal(tmp_path, "basic_auth_users: {alice: hunter2}")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=re.escape(f"web.config.file: {tmp_path / 'no.yml'}: cannot be read")):
        load(settings(web_config_file=tmp_path / "no.yml"))


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("secret", 0o640, "others can read it; chmod 600"),
        ("secret", 0o604, "others can read it; chmod 600"),
        ("", 0o600, "must hold one token"),
        ("two words", 0o600, "must hold one token"),
        ("secret\nand more", 0o600, "must hold one token"),
        ("a" * 5000, 0o600, "must hold one token"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(tmp_path, text, mode, why):
    with pytest.raises(UsageError, match=f"^web.bearer-token-file: .*{why}"):
        load(settings(web_bearer_token_file=write(tmp_path / "token", text, mode)))


def test_a_token_file_that_is_a_folder_or_not_there_is_named(tmp_path):
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "no", "No such file or directory")):
        with pytest.raises(UsageError, match=f"^web.bearer-token-file: .*cannot be read: {why}"):
            load(settings(web_bearer_token_file=path))


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "web.yml", f"basic_auth_users: {{alice: {HASH}}}")
    source = Source(settings(web_config_file=path))
    assert source.current() is source.current()
    write(path, f"basic_auth_users: {{alice: {HASH}, bob: {HASH}}}")
    assert set(source.current().users) == {"alice", "bob"}


def test_a_change_that_cannot_be_used_leaves_what_was_and_is_logged_once(tmp_path, caplog):
    path = write(tmp_path / "web.yml", f"basic_auth_users: {{alice: {HASH}}}")
    source = Source(settings(web_config_file=path))
    write(path, "basic_auth_users: {alice: oops}")
    assert [set(source.current().users) for _ in range(3)] == [{"alice"}] * 3
    [record] = caplog.records
    assert record.levelname == "ERROR"
    path.unlink()
    assert set(source.current().users) == {"alice"}


def test_a_change_that_breaks_the_parser_leaves_what_was(tmp_path, caplog):
    path = write(tmp_path / "web.yml", f"basic_auth_users: {{alice: {HASH}}}")
    source = Source(settings(web_config_file=path))
    write(path, "[" * 1000)
    assert set(source.current().users) == {"alice"}
    assert "RecursionError" in caplog.text


def test_tls_does_not_go_away_without_a_restart(tmp_path, pki, caplog):
    path = write(tmp_path / "web.yml", pki.tls_config())
    source = Source(settings(web_config_file=path))
    write(path, "{}")
    assert source.current().context
    assert "restart" in caplog.text
