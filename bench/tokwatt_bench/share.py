"""Results to give away: one file that says what it is, signed with a key of this machine, without whose it is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokwatt_exporter.errors import TokwattError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tokwatt_bench.measured import Measured

KEY_FILE = "share-key.pem"
ALGORITHM = "Ed25519"
#: What of a result says where it was measured.
_PLACE = ("host", "url")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
#: Models are often files, and a home folder has its owner's name.
_HOME = re.compile(r"(/Users|/home)/[^/\s\"']+")


class BadSignature(TokwattError):
    """The file is not what was signed, or somebody else signed it."""


def shared(measured: Sequence[Measured], key: Ed25519PrivateKey, *, with_host: bool = False) -> dict[str, Any]:
    """The document with its definitions, its key and its signature; host names and URLs are in it only if asked for."""
    from tokwatt_bench.explain import figures
    from tokwatt_bench.measured import document

    found = document(measured)
    if not with_host:
        found = _without_place(found)
    metrics = {metric.name: metric for one in measured for metric, _ in figures(one.result)}
    found["figures"] = {
        name: {"title": metric.title, "unit": metric.unit, "definition": metric.definition}
        for name, metric in metrics.items()
    }
    found["signed"] = {"algorithm": ALGORITHM, "public_key": _text(_public(key))}
    # What a file would say, so that a number is signed as it is read again.
    signed: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    signed["signed"]["signature"] = _text(key.sign(canonical(signed)))
    return signed


def canonical(document: Mapping[str, Any]) -> bytes:
    """What is signed: everything but the signature, with sorted keys and without white space, in ASCII."""
    signed = {name: value for name, value in document["signed"].items() if name != "signature"}
    return json.dumps(
        {**document, "signed": signed}, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def verified(path: Path) -> dict[str, Any]:
    """The document in a file, whose signature fits; `BadSignature` where it does not, `UsageError` for what is none."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from tokwatt_bench.measured import load

    # Whether it is a document at all.
    load(path)
    try:
        found: dict[str, Any] = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except _Twice as error:
        raise BadSignature(
            f"{path}: the key {error} stands twice in it, so that readers may see different things"
        ) from None
    signed = found.get("signed")
    if not isinstance(signed, dict) or signed.get("algorithm") != ALGORITHM:
        raise UsageError(f"{path} is not signed with {ALGORITHM}")
    try:
        public, signature = (base64.b64decode(signed[name], validate=True) for name in ("public_key", "signature"))
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(found))
    except (InvalidSignature, KeyError, ValueError, TypeError, RecursionError):
        raise BadSignature(f"{path}: the signature does not fit; it was changed after it was signed") from None
    return found


def fingerprint(document: Mapping[str, Any]) -> str:
    """By what people compare keys."""
    digest = hashlib.sha256(base64.b64decode(document["signed"]["public_key"])).digest()
    return f"SHA256:{_text(digest).rstrip('=')}"


def key(data_dir: Path) -> Ed25519PrivateKey:
    """The key of this data directory, made on first use for its owner's eyes only; `UsageError` where others can read
    it or it is none.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from tokwatt_exporter.store.folder import prepare

    prepare(data_dir)
    path = data_dir / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        status = path.stat()
        if status.st_mode & 0o077:
            raise UsageError(f"{path}: others can read it; make a new one, or chmod 600 {path} if nobody did")
        found = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise UsageError(f"{path}: holds no key") from None
    if not isinstance(found, Ed25519PrivateKey):
        raise UsageError(f"{path}: holds a key of another kind than {ALGORITHM}")
    return found


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Whole or not at all, and only one where two make it at once; the file is 0600 from the start.
    file, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(file, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _without_place(document: dict[str, Any]) -> dict[str, Any]:
    words = {word for result in document["results"] for word in _words(result)}
    # The longest first: a host's name is part of its URL.
    ours = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-])(?:{ours})(?![\w-])") if ours else None

    def without(value: Any, given: bool = True) -> Any:
        if isinstance(value, dict):
            # What the firmware says is nobody's name for an engine or a model.
            return {
                name: None if name in _PLACE else without(part, given and name != "hardware")
                for name, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [without(part, given) for part in value]
        if not isinstance(value, str):
            return value
        text = _HOME.sub("~", _URL.sub("<url>", value))
        # A word alone is a name that somebody gave: an engine may be called as its host is.
        return pattern.sub("<host>", text) if pattern and (" " in text or not given) else text

    found: dict[str, Any] = without(document)
    return found


def _words(result: Mapping[str, Any]) -> set[str]:
    """What names the machine or the engine's in other texts, such as a failure's."""
    url = urlsplit(str(result.get("url") or ""))
    host = str(result.get("host") or "")
    return {word for word in (url.netloc, url.hostname, host, host.partition(".")[0]) if word and len(word) > 2}


class _Twice(ValueError):
    """The key that stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(repr(next(name for name in names if names.count(name) > 1)[:60]))
    return found
