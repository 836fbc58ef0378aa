"""Whether the daemon answers for itself."""

from __future__ import annotations

import http.client
import ssl
from typing import NamedTuple

_SECONDS = 3.0


class Health(NamedTuple):
    """What a place answered; `healthy` is None where it did not say."""

    url: str
    healthy: bool | None
    problem: str | None = None


def ask(place: str, may_use_tls: bool) -> Health:
    """What the daemon at `HOST:PORT` says of itself on `/-/healthy`."""
    if may_use_tls:
        secure = _ask("https", place)
        # A file of settings need not mean TLS.
        if secure is not None:
            return secure
    return _ask("http", place) or Health(f"http://{place}", False, f"something at {place} speaks no HTTP")


def _ask(scheme: str, place: str) -> Health | None:
    url = f"{scheme}://{place}"
    connection = _connection(scheme, place)
    greeted = False
    try:
        connection.connect()
        greeted = scheme == "https"
        connection.request("GET", "/-/healthy")
        answer = connection.getresponse()
        return _judge(url, answer.status, answer.read(200).decode("utf-8", "replace").strip())
    except (ssl.SSLError, http.client.HTTPException, ConnectionResetError, BrokenPipeError):
        # After the greeting of TLS, only a client without a certificate is shown the door.
        return Health(url, None) if greeted else None
    except OSError as error:
        return Health(url, False, f"{url}/-/healthy does not answer: {(error.strerror or 'no answer in time').lower()}")
    finally:
        connection.close()


def _judge(url: str, status: int, text: str) -> Health:
    # Who asks for credentials is up.
    if status in (401, 403):
        return Health(url, None)
    if status == 200 and not text.startswith("tokwatt"):
        return Health(url, False, f"another program answers at {url}")
    return Health(url, status == 200, None if status == 200 else f"{url}/-/healthy says {status}: {text}")


def _connection(scheme: str, place: str) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(place, timeout=_SECONDS)
    # Nothing is sent that is worth stealing, and a certificate is seldom for 127.0.0.1.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(place, timeout=_SECONDS, context=context)
