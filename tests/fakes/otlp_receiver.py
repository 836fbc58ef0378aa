"""A strict OTLP/HTTP receiver that can be told to misbehave: real requests over real sockets, decoded by the book."""

from __future__ import annotations

import gzip
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import NamedTuple

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint

PATH = "/v1/metrics"


class Point(NamedTuple):
    name: str
    labels: tuple[tuple[str, str], ...]
    time_ms: int
    value: float


class Response(NamedTuple):
    """What to answer; `status` 0 breaks the connection after the request, -1 never answers."""

    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    body: bytes = b""
    content_type: str = "application/x-protobuf"


def points_of(request: ExportMetricsServiceRequest) -> list[Point]:
    """Every point as Prometheus would name it: a histogram as its buckets, its count and its sum."""
    found = []
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    labels = {pair.key: pair.value.string_value for pair in point.attributes}
                    values = _parts(point) if kind == "histogram" else [("", {}, point.as_double)]
                    found += [
                        Point(
                            metric.name + end,
                            tuple(sorted((labels | more).items())),
                            point.time_unix_nano // 1_000_000,
                            value,
                        )
                        for end, more, value in values
                    ]
    return found


def _parts(point: HistogramDataPoint) -> Iterator[tuple[str, dict[str, str], float]]:
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert not point.HasField("min") and not point.HasField("max")
    for bound, count in zip([*map(str, point.explicit_bounds), "+Inf"], accumulate(point.bucket_counts), strict=True):
        yield "_bucket", {"le": bound}, float(count)
    yield "_count", {}, float(point.count)
    yield "_sum", {}, point.sum


class Receiver:
    """Requests it accepted, and how many came; `behave` decides about each."""

    def __init__(self) -> None:
        self.accepted: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self.connections: set[tuple[str, int]] = set()
        self.faults: list[Exception] = []
        self.behave: Callable[[ExportMetricsServiceRequest], Response] = lambda request: Response()
        self.url = ""
        self.closing = threading.Event()

    def points(self) -> list[Point]:
        return [point for request in list(self.accepted) for point in points_of(request)]

    def times(self) -> list[int]:
        """The times that came, in the order of their coming, each request's once."""
        return [time for request in list(self.accepted) for time in sorted({p.time_ms for p in points_of(request)})]


def decode(headers, body: bytes) -> ExportMetricsServiceRequest:
    """By the book: protobuf, no unknown field, no empty request, compressed as the header says."""
    assert headers["content-type"] == "application/x-protobuf"
    encoding = headers.get("content-encoding", "none")
    body = {"gzip": gzip.decompress, "deflate": zlib.decompress, "none": bytes}[encoding](body)
    request = ExportMetricsServiceRequest.FromString(body)
    assert not len(UnknownFieldSet(request))
    assert points_of(request), "a request without points"
    return request


@contextmanager
def receiver(port: int = 0, tls: ssl.SSLContext | None = None):
    """A running receiver on loopback."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            state.requests += 1
            state.connections.add(self.client_address)
            if self.path != PATH:
                return self.reply(Response(404, body=b"no such path", content_type="text/plain"))
            state.headers.append({key.lower(): value for key, value in self.headers.items()})
            try:
                request = decode(self.headers, body)
            except Exception as fault:
                state.faults.append(fault)
                return self.reply(Response(400))
            response = state.behave(request)
            if response.status == -1:
                state.closing.wait(30)
            if response.status <= 0:
                self.close_connection = True
                return None
            if 200 <= response.status < 300:
                state.accepted.append(request)
            return self.reply(response)

        def reply(self, response):
            body = response.body
            if response.status == 200 and not body:
                body = ExportMetricsServiceResponse().SerializeToString()
            self.send_response(response.status)
            self.send_header("content-type", response.content_type)
            self.send_header("content-length", str(len(body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            pass

    server = Server(("127.0.0.1", port), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "https" if tls else "http"
    state.url = f"{scheme}://127.0.0.1:{server.server_address[1]}{PATH}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert state.faults == []
