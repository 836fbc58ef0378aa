"""`tls_server_config` of the exporter-toolkit's YAML as an `ssl.SSLContext`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

KEYS = (
    "cert_file", "key_file", "client_ca_file", "client_ca", "client_auth_type", "client_allowed_sans", "min_version",
    "max_version", "cipher_suites", "prefer_server_cipher_suites", "cert", "key", "curve_preferences",
)  # fmt: skip
#: Keys of the toolkit that OpenSSL, as Python offers it, has no way to follow.
UNSUPPORTED = {"cert": "use cert_file", "key": "use key_file", "curve_preferences": "leave it out"}

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
#: Go's names for what OpenSSL calls otherwise; those of TLS 1.3 are always on and cannot be chosen.
CIPHERS = {
    f"TLS_ECDHE_{kind}_WITH_{go}": f"ECDHE-{kind}-{openssl}"
    for kind in ("RSA", "ECDSA")
    for go, openssl in {
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    }.items()
} | dict.fromkeys(("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"), "")


@dataclass(frozen=True)
class TlsSettings:
    """What was written, checked; `context` reads the files."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None
    client_ca: str | None
    verify: ssl.VerifyMode
    allowed_sans: frozenset[str] | None
    min_version: ssl.TLSVersion
    max_version: ssl.TLSVersion
    ciphers: str
    prefer_ours: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the context is made of."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path)

    @property
    def verifies_clients(self) -> bool:
        """Whether nobody gets in without a certificate that we trust."""
        return self.verify is ssl.CERT_REQUIRED

    def context(self) -> ssl.SSLContext:
        """The context for a server; `ValueError` names the file that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.maximum_version = self.min_version, self.max_version
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = self.verify
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        if not self.prefer_ours:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        for key, path in (("cert_file", self.cert_file), ("key_file", self.key_file)):
            _readable(key, path)
        try:
            # Without a password of ours OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or "no password can be given"
            raise ValueError(
                f"tls_server_config: cert_file {self.cert_file} and key_file {self.key_file} are not an unencrypted "
                f"pair in PEM: {why}"
            ) from None
        if self.client_ca_file:
            _readable("client_ca_file", self.client_ca_file)
        if self.client_ca_file or self.client_ca:
            try:
                context.load_verify_locations(self.client_ca_file, cadata=self.client_ca)
            except (ssl.SSLError, ValueError):
                key = "client_ca_file" if self.client_ca_file else "client_ca"
                raise ValueError(f"tls_server_config.{key}: has no certificate in PEM") from None


def read(given: Mapping[str, Any], folder: Path) -> TlsSettings | None:
    """The section, None where there is none; `ValueError` names the key. Paths are relative to `folder`."""
    if not given:
        return None
    for key, instead in UNSUPPORTED.items():
        if key in given:
            raise ValueError(f"tls_server_config.{key}: is not supported by tokwatt; {instead}")
    text = {
        key: _text(key, given.get(key, ""))
        for key in ("cert_file", "key_file", "client_ca_file", "client_ca", "client_auth_type")
    }
    for key in ("cert_file", "key_file"):
        if not text[key]:
            raise ValueError(f"tls_server_config.{key}: is missing")
    verify = _client_auth(text["client_auth_type"], bool(text["client_ca_file"] or text["client_ca"]))
    low, high = (_version(key, given.get(key, default)) for key, default in (("min_version", "TLS12"),
                                                                             ("max_version", "TLS13")))  # fmt: skip
    if low > high:
        raise ValueError("tls_server_config.min_version: is above max_version")
    prefer_ours = given.get("prefer_server_cipher_suites", True)
    if not isinstance(prefer_ours, bool):
        raise ValueError("tls_server_config.prefer_server_cipher_suites: is not true or false")
    return TlsSettings(
        cert_file=folder / text["cert_file"],
        key_file=folder / text["key_file"],
        client_ca_file=folder / text["client_ca_file"] if text["client_ca_file"] else None,
        client_ca=text["client_ca"] or None,
        verify=verify,
        allowed_sans=_sans(given.get("client_allowed_sans"), verify),
        min_version=low,
        max_version=high,
        ciphers=_ciphers(given.get("cipher_suites") or []),
        prefer_ours=prefer_ours,
    )


def names_of(certificate: Mapping[str, Any]) -> frozenset[str]:
    """The subject alternative names of a client's certificate, as `getpeercert` gives it."""
    return frozenset(
        str(ip_address(value)) if kind == "IP Address" else value
        for kind, value in certificate.get("subjectAltName", ())
        if kind in ("DNS", "email", "IP Address", "URI")
    )


def _readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"tls_server_config.{key}: {path} cannot be read: {error.strerror}") from None


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"tls_server_config.{key}: must be text")
    return value


def _version(key: str, value: Any) -> ssl.TLSVersion:
    if not isinstance(value, str) or value not in VERSIONS:
        raise ValueError(f"tls_server_config.{key}: {value!r} is not one of {', '.join(VERSIONS)}")
    return VERSIONS[value]


def _client_auth(kind: str, has_ca: bool) -> ssl.VerifyMode:
    if kind not in CLIENT_AUTH:
        known = ", ".join(name for name in CLIENT_AUTH if name)
        raise ValueError(f"tls_server_config.client_auth_type: {kind!r} is not one of {known}")
    if has_ca != (CLIENT_AUTH[kind] is not ssl.CERT_NONE):
        missing = "client_ca_file needs client_auth_type RequireAndVerifyClientCert"
        raise ValueError(f"tls_server_config: {missing if has_ca else f'client_auth_type {kind} needs client_ca_file'}")
    return CLIENT_AUTH[kind]


def _sans(given: Any, verify: ssl.VerifyMode) -> frozenset[str] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError("tls_server_config.client_allowed_sans: must be a list of names")
    if verify is not ssl.CERT_REQUIRED:
        raise ValueError("tls_server_config.client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert")
    return frozenset(given)


def _ciphers(given: Any) -> str:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError("tls_server_config.cipher_suites: must be a list of names")
    for name in given:
        if name not in CIPHERS:
            raise ValueError(f"tls_server_config.cipher_suites: {name!r} is not one of {', '.join(CIPHERS)}")
    return ":".join(CIPHERS[name] for name in given if CIPHERS[name])
