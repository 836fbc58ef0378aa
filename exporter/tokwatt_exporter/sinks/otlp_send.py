"""One OTLP request and what became of it.

The official exporter encodes and sends; it says only SUCCESS or FAILURE, retries by itself for up to its timeout, and
takes a redirect for success. So it is given a session that makes every answer but 2xx an exception it does not retry.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricExportResult

from tokwatt_exporter import __version__
from tokwatt_exporter.sinks.otlp_data import to_metrics_data
from tokwatt_exporter.sinks.otlp_deliver import Answer, Verdict
from tokwatt_exporter.sinks.otlp_settings import OtlpSettings, on_loopback
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.unreachable import causes, explain_unreachable

_BODY_LIMIT = 64 * 1024
#: A connection idle for longer may have been closed by the other side just now; a new one costs little.
_KEEP_ALIVE_SECONDS = 4.0


class Sender:
    """Sends batches of snapshots to one receiver, each in one request. Not for several threads at once."""

    def __init__(self, settings: OtlpSettings, started_ns: int) -> None:
        # Its one line per retry would be one per push of a receiver that is down; the pusher tells each change once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        self._settings = settings
        self._started_ns = started_ns
        self._session = _OneTry(settings)
        self._used = -math.inf
        self._exporter = OTLPMetricExporter(
            endpoint=settings.url,
            certificate_file=settings.certificate,
            client_certificate_file=settings.client_certificate,
            client_key_file=settings.client_key,
            headers={**settings.headers, "user-agent": f"tokwatt/{__version__}"},
            timeout=settings.timeout,
            compression=Compression(settings.compression),
            session=self._session,
        )

    def __call__(self, snapshots: Sequence[Snapshot], timeout: float = math.inf) -> Answer:
        """Send one request, within `timeout` seconds and the configured one."""
        if time.monotonic() - self._used > _KEEP_ALIVE_SECONDS:
            self._session.close()
        self._session.answer = None
        self._session.timeout = min(timeout, self._settings.timeout)
        result = self._exporter.export(to_metrics_data(snapshots, self._settings.resource, self._started_ns))
        self._used = time.monotonic()
        answer = self._session.answer
        if answer is None or (answer.verdict is Verdict.ACCEPTED) != (result is MetricExportResult.SUCCESS):
            return Answer(Verdict.REFUSED, "the batch cannot be encoded")
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()


class _NotAccepted(Exception):
    """Not one of the types that the exporter tries again."""


class _OneTry(requests.Session):
    """A session that writes down how its latest request ended."""

    def __init__(self, settings: OtlpSettings) -> None:
        super().__init__()
        self.answer: Answer | None = None
        self.timeout = settings.timeout
        self._secrets = [value for value in settings.headers.values() if value]
        # The environment's CA bundle would replace ours, and ~/.netrc add credentials; proxies are welcome, but
        # not on the way to this machine.
        self.trust_env = False
        if not on_loopback(settings.url):
            self.proxies = requests.utils.get_environ_proxies(settings.url)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """The response of a 2xx; `_NotAccepted` for everything else."""
        end = time.monotonic() + self.timeout
        kwargs.update(timeout=self.timeout, stream=True)
        try:
            with super().request(*args, **kwargs) as response:
                self.answer = self._judge(response, _body(response, end))
        except (requests.RequestException, OSError) as error:
            self.answer = Answer(Verdict.LATER, _network_problem(error, urlsplit(str(kwargs.get("url"))).hostname))
        if self.answer.verdict is not Verdict.ACCEPTED:
            raise _NotAccepted
        return response

    def _judge(self, response: requests.Response, body: bytes) -> Answer:
        status = response.status_code
        if 200 <= status < 300:
            return self._accepted(response, body)
        why = f"{status} {response.reason}".strip()
        if hint := _HINTS.get(status):
            return Answer(Verdict.LATER, f"{why}: {hint}")
        if status in (400, 413, 422):
            verdict = Verdict.TOO_LARGE if status == 413 else Verdict.REFUSED
            return Answer(verdict, ": ".join(filter(None, (why, self._message(response, body)))))
        if 300 <= status < 400:
            why += ": redirects are not followed, the endpoint must be the final URL"
        return Answer(Verdict.LATER, why, retry_after=_retry_after(response.headers))

    def _accepted(self, response: requests.Response, body: bytes) -> Answer:
        if not _is_protobuf(response):
            return Answer(Verdict.ACCEPTED)
        try:
            partial = ExportMetricsServiceResponse.FromString(body).partial_success
        except DecodeError:
            return Answer(Verdict.ACCEPTED)
        return Answer(Verdict.ACCEPTED, self._clean(partial.error_message), max(partial.rejected_data_points, 0))

    def _message(self, response: requests.Response, body: bytes) -> str:
        if _is_protobuf(response):
            try:
                return self._clean(Status.FromString(body).message)
            except DecodeError:
                return ""
        return self._clean(body.decode("utf-8", "replace"))

    def _clean(self, text: str) -> str:
        # A receiver may quote what it was sent.
        for secret in self._secrets:
            text = text.replace(secret, "<redacted>")
        printable = "".join(char if char.isprintable() else " " for char in text)
        return " ".join(printable.split())[:200]


_HINTS = {
    401: "the receiver wants other credentials, see the otlp.header setting",
    403: "the credentials of the otlp.header setting may not write",
    404: "nothing takes OTLP metrics at this path; endpoints usually end in /v1/metrics",
    405: "nothing takes OTLP metrics at this path; endpoints usually end in /v1/metrics",
}


def _body(response: requests.Response, end: float) -> bytes:
    """The beginning of the body; a receiver that dribbles or sends for ever is not waited for."""
    body = b""
    try:
        while len(body) < _BODY_LIMIT and time.monotonic() < end:
            piece = response.raw.read1(_BODY_LIMIT, decode_content=True)
            if not piece:
                break
            body += piece
    except Exception:  # noqa: BLE001 - the status has been read, which is the answer; urllib3 raises many types here
        return b""
    return body[:_BODY_LIMIT]


def _is_protobuf(response: requests.Response) -> bool:
    return "protobuf" in response.headers.get("content-type", "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the time the receiver named, which is a number or an HTTP date."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _network_problem(error: BaseException, host: str | None) -> str:
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError):
            # Its errno is a number of OpenSSL's, and its text has the file and line of the C source.
            words = getattr(cause, "verify_message", "") or cause.reason or "handshake broke"
            return f"TLS failed: {words.replace('_', ' ').lower()}"
        if isinstance(cause, socket.gaierror):
            return f"the name {host} cannot be resolved"
        if why := explain_unreachable(cause, host):
            return why
        if isinstance(cause, OSError) and (name := errno.errorcode.get(cause.errno or 0)):
            return str(cause.strerror or name).lower()
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy did not connect"
    return "the connection broke"
