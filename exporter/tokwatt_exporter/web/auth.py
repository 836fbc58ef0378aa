"""Who is asking: basic authentication against bcrypt hashes, or a bearer token."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor

from tokwatt_exporter.web.config import WebConfig

#: A password check takes some 70 ms of a core; more than these few do not wait for one.
MAX_WAITING = 8
#: Credentials that were right, kept as keyed hashes.
MAX_REMEMBERED = 128


class TooManyChecks(Exception):
    """Others are already waiting for their passwords to be checked."""


class Authenticator:
    """Says whether an `Authorization` header is good enough; the same time is spent on unknown users."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._right: set[bytes] = set()
        self._waiting = 0
        self._pool = ThreadPoolExecutor(1, "password")

    async def allows(self, header: str, web: WebConfig) -> bool:
        """Whether `header` carries one of the passwords or the token; `TooManyChecks` when it is not known yet."""
        scheme, _, credentials = header.strip().partition(" ")
        match scheme.lower():
            case "bearer" if web.token is not None:
                return hmac.compare_digest(hashlib.sha256(_bytes(credentials.strip())).digest(), web.token)
            case "basic" if web.users:
                return await self._knows(credentials.strip(), web)
        return False

    def close(self) -> None:
        """Let go of the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _knows(self, credentials: str, web: WebConfig) -> bool:
        try:
            user, colon, password = base64.b64decode(_bytes(credentials), validate=True).partition(b":")
        except binascii.Error:
            return False
        if not colon:
            return False
        hashed = web.users.get(user.decode("utf-8", "replace"))
        key = hashlib.blake2b(b"\0".join((user, hashed or b"", password)), key=self._secret).digest()
        if key in self._right:
            return True
        if not await self._check(password, hashed or _nobody(web)) or hashed is None:
            return False
        if len(self._right) >= MAX_REMEMBERED:
            self._right.clear()
        self._right.add(key)
        return True

    async def _check(self, password: bytes, hashed: bytes) -> bool:
        if self._waiting >= MAX_WAITING:
            raise TooManyChecks
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _matches, password, hashed)
        finally:
            self._waiting -= 1


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _nobody(web: WebConfig) -> bytes:
    """A hash that nothing matches and that costs what the dearest of the users costs."""
    cost = max(hashed.split(b"$")[2] for hashed in web.users.values())
    return b"$2b$" + cost + b"$" + b"." * 53


def _matches(password: bytes, hashed: bytes) -> bool:
    import bcrypt

    try:
        # bcrypt never looked at more than 72 bytes, and this library refuses them.
        return bcrypt.checkpw(password[:72], hashed)
    except ValueError:
        return False
