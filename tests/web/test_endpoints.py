"""What each path answers, to whom, and under which name."""

import gzip
import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.net import PLAIN
from tokwatt_exporter.parse import Address
from tokwatt_exporter.web.hosts import Hosts
from web import serving
from web.serving import ask, running, snapshot, status


def test_metrics_are_the_newest_snapshot(web):
    for newest in (snapshot(25), snapshot(50)):
        web.daemon.latest = newest
        families = text_string_to_metric_families(web.get().text)
        assert sum(len(family.samples) for family in families) == len(newest)


def test_metrics_wait_for_the_first_sample(web):
    web.daemon.latest = None
    assert web.get().status_code == 503


def test_metrics_of_a_sampler_that_has_stopped_are_not_shown_as_live(web):
    web.daemon.has_stalled = True
    assert web.get().status_code == 503


def test_openmetrics_and_gzip_are_there_for_who_asks(web):
    request = (
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Accept: application/openmetrics-text;version=1.0.0\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    head, _, body = ask(web.port, request).partition(b"\r\n\r\n")
    assert b"content-type: application/openmetrics-text; version=1.0.0; charset=utf-8" in head
    assert b"content-encoding: gzip" in head
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_the_metrics_have_the_path_that_was_chosen():
    with running(web_telemetry_path="/private/m") as web:
        assert web.get("/private/m").status_code == 200
        assert web.get("/metrics").status_code == 404
        assert 'href="/private/m"' in web.get("/").text


def test_healthy_is_no_longer_said_when_sampling_stalls(web):
    web.daemon.latest = None
    assert web.get("/-/healthy").status_code == 200
    web.daemon.has_stalled = True
    assert web.get("/-/healthy").status_code == 503


def test_ready_is_said_from_the_first_sample_on(web):
    assert web.get("/-/ready").status_code == 200
    web.daemon.latest = None
    assert web.get("/-/ready").status_code == 503


def test_the_landing_page_names_the_version_and_needs_no_script_or_style(web):
    from tokwatt_exporter import __version__

    page = web.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert __version__ in page.text
    assert '<a href="/metrics">' in page.text
    assert not {"<script", "<style", "style=", "onclick", "src="} & set(page.text.lower().split())


@pytest.mark.parametrize(
    "path",
    ["/metrics/", "//metrics", "/Metrics", "/%6detrics", "/metrics;a", "/../metrics", "/favicon.ico", "/api"],
)
def test_only_exact_paths_are_answered(web, path):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert status(ask(web.port, request.encode())) == 404


def test_a_query_string_does_not_matter_to_the_metrics(web):
    assert web.get("/metrics?name[]=x").status_code == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nothing"])
def test_head_is_get_without_the_body(web, path):
    import httpx

    got = web.get(path, headers={"Accept-Encoding": "identity"})
    head = httpx.head(web.url + path, headers={"Accept-Encoding": "identity"}, trust_env=False, verify=PLAIN)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == str(len(got.content))


def test_other_methods_are_told_what_is_allowed(web):
    answer = ask(web.port, b"DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status(answer) == 405
    assert b"\r\nallow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing", "/api/v1/query/series"])
def test_every_answer_keeps_browsers_out(web, path):
    answer = web.get(path, headers={"Origin": "https://evil.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "server" not in answer.headers


NODE = os.uname().nodename


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:1", "LocalHost.", "127.0.0.1", "127.0.0.1:9", "127.9.9.9", "[::1]", "[::1]:80",
     "192.0.2.7", "[2001:db8::7]:10021", NODE, NODE.upper(), f"{NODE}:10021", f"{NODE.partition('.')[0]}.local",
     "box.lan", "box.lan:1"],
)  # fmt: skip
def test_names_of_this_machine_are_answered(host):
    hosts = Hosts(serving.settings(web_allowed_host=["Box.LAN"]))
    server = "2001:db8::7" if "db8" in host else "192.0.2.7"
    assert hosts.allows(host, server)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:10021", "localhost.evil.example", "evil.example#localhost",
     "localhost@evil.example", "192.0.2.8", "[2001:db8::8]", "127.0.0.1.evil.example", "[::1", "::1:x",
     "localhost:port", "localhost:123456", "localhost localhost", "localhost,evil.example", "0x7f.1", "127.1",
     "0.0.0.0"],
)  # fmt: skip
def test_foreign_names_are_not(host):
    assert not Hosts(serving.settings()).allows(host, "192.0.2.7")


def test_the_name_that_is_listened_on_is_one_of_this_machine():
    assert Hosts(serving.settings(web_listen_address=["box.lan:0"])).allows("box.lan", None)


def test_a_foreign_host_is_misdirected_and_counted(web):
    answer = ask(web.port, b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert status(answer) == 421
    assert web.daemon.latest is not None
    assert b"gpu0" not in answer
    assert web.rejected("host") == 1


def test_http_1_0_without_a_host_is_misdirected(web):
    assert status(ask(web.port, b"GET /metrics HTTP/1.0\r\n\r\n")) == 421


@pytest.mark.parametrize("reason", ["limit", "timeout", "host", "auth"])
def test_what_is_refused_is_counted_from_zero(web, reason):
    assert web.rejected(reason) == 0


def test_a_fault_of_ours_is_one_answer_and_says_nothing_about_us(web, monkeypatch, caplog):
    monkeypatch.setattr(web.server._app._renderer, "render", lambda *_: 1 / 0)
    answer = web.get()
    assert (answer.status_code, answer.text) == (500, "internal error; the log says more\n")
    assert "ZeroDivisionError" in caplog.text


def test_addresses_are_where_the_server_really_listens():
    with running(web_listen_address=["127.0.0.1:0", "127.0.0.1:0"]) as web:
        first, second = web.server.addresses
        assert first.port != second.port
        assert all(status(ask(address.port)) == 200 for address in (first, second))
        assert first == Address("127.0.0.1", first.port)
