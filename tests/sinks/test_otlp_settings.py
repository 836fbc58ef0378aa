"""Flags and the standard OTEL_ variables: which wins, and what cannot be used is one clear line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokwatt_exporter import __version__, config
from tokwatt_exporter.catalogue import OTLP_ACKNOWLEDGED, OTLP_EXPORT_FAILURES, OTLP_EXPORTS
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.sinks.otlp_settings import settings

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def wanted(environ=None, /, **flags):
    return settings(config.load({key.replace("__", "."): value for key, value in flags.items()}, {}), environ or {})


def refusal(environ, **flags):
    with pytest.raises(UsageError) as caught:
        wanted({ENDPOINT: "http://127.0.0.1:4318", **environ}, **flags)
    [line] = str(caught.value).splitlines()
    return line


def test_otlp_is_off_unless_an_endpoint_is_set():
    assert wanted() is None
    assert wanted({"OTEL_EXPORTER_OTLP_HEADERS": "a=b", ENDPOINT: " "}) is None


def test_the_sdk_switch_turns_it_off():
    assert wanted({"OTEL_SDK_DISABLED": "TRUE"}, otlp__endpoint="http://127.0.0.1:4318/v1/metrics") is None
    assert wanted({"OTEL_SDK_DISABLED": "false"}, otlp__endpoint="http://127.0.0.1:4318/v1/metrics") is not None


@pytest.mark.parametrize(
    ("environ", "flags", "url"),
    [
        ({ENDPOINT: "http://c:4318"}, {}, "http://c:4318/v1/metrics"),
        ({ENDPOINT: "http://c:4318/"}, {}, "http://c:4318/v1/metrics"),
        ({ENDPOINT: "https://c/otlp/?tenant=a"}, {}, "https://c/otlp/v1/metrics?tenant=a"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/x/"}, {}, "http://c/x/"),
        ({ENDPOINT: "http://a", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://b/m"}, {}, "http://b/m"),
        ({ENDPOINT: "http://a"}, {"otlp__endpoint": "http://flag:1/api"}, "http://flag:1/api"),
    ],
)
def test_the_base_url_gets_the_path_and_the_others_are_used_as_given(environ, flags, url):
    assert wanted(environ, **flags).url == url


@pytest.mark.parametrize("bad", ["127.0.0.1:4317", "ftp://x/", "http://user:secret@x/", "http://", "http://x:99999"])
def test_an_endpoint_that_is_no_url_is_refused_by_name(bad):
    line = refusal({ENDPOINT: bad})
    assert line.startswith(ENDPOINT)
    assert "secret" not in line


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"])
def test_grpc_is_refused_and_named(name):
    assert refusal({name: "grpc"}).startswith(f"{name}: 'grpc' is not supported")


def test_http_protobuf_is_accepted_and_the_protocol_for_metrics_counts():
    environ = {
        ENDPOINT: "http://c",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
    }
    assert wanted(environ) is not None


def test_headers_are_decoded_and_a_flag_wins():
    found = wanted(
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20a%3Db, x-tenant=one"},
        otlp__header=["X-Tenant=two"],
    )
    assert found.headers == {"authorization": "Bearer a=b", "x-tenant": "two"}


def test_headers_for_metrics_replace_those_for_all_signals():
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=2", "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "a=3"}
    assert wanted({ENDPOINT: "http://127.0.0.1:1", **environ}).headers == {"a": "3"}


@pytest.mark.parametrize("bad", ["s3cret", "a b=s3cret", "a=s3cret%0d%0aHost: x", "a=s3cret%E2%82%AC", "=s3cret"])
def test_a_broken_header_is_refused_without_showing_the_secret(bad):
    line = refusal({"OTEL_EXPORTER_OTLP_HEADERS": bad})
    assert line.startswith("OTEL_EXPORTER_OTLP_HEADERS")
    assert "s3cret" not in line


def test_headers_are_never_shown():
    found = wanted(otlp__endpoint="http://127.0.0.1:1/v1/metrics", otlp__header=["authorization=s3cret"])
    assert "s3cret" not in f"{found!r} {found}"


def test_the_url_is_shown_without_its_query():
    assert wanted(otlp__endpoint="http://127.0.0.1:1/v1/metrics?key=s3cret").shown == "http://127.0.0.1:1/v1/metrics"


def test_timeouts_are_milliseconds_as_the_specification_has_it():
    assert wanted({ENDPOINT: "http://127.0.0.1:1"}).timeout == 10
    assert wanted({ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}).timeout == 2.5
    assert "10000 is ten seconds" in refusal({"OTEL_EXPORTER_OTLP_TIMEOUT": "10"})


@pytest.mark.parametrize("bad", ["soon", "nan", "inf", "-1", "0"])
def test_a_timeout_that_is_no_time_is_refused(bad):
    assert refusal({"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": bad}).startswith("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT")


def test_compression_is_none_gzip_or_deflate():
    assert wanted({ENDPOINT: "http://127.0.0.1:1"}).compression == "none"
    assert wanted({ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP"}).compression == "gzip"
    assert "zstd" in refusal({"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"})


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
def test_a_certificate_that_cannot_be_used_is_refused_by_name(tmp_path, name):
    variable = f"OTEL_EXPORTER_OTLP_{name}"
    assert refusal({variable: str(tmp_path / "missing.pem")}).startswith(f"{variable}: ")
    (tmp_path / "garbage.pem").write_text("no certificate")
    assert "PEM" in refusal({variable: str(tmp_path / "garbage.pem")})


def test_a_key_without_a_certificate_is_refused(tmp_path):
    (tmp_path / "key.pem").write_text("key")
    assert "client certificate" in refusal({"OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tmp_path / "key.pem")})


def test_the_resource_says_which_service_on_which_machine():
    found = wanted(otlp__endpoint="http://127.0.0.1:1/v1/metrics", **{"web__listen-address": ["127.0.0.1:1234"]})
    host = os.uname()
    assert found.resource["service.name"] == "tokwatt"
    assert found.resource["service.version"] == __version__
    assert found.resource["service.instance.id"] == f"{host.nodename}:1234"
    assert found.resource["host.name"] == host.nodename
    assert found.resource["host.arch"] == {"x86_64": "amd64", "aarch64": "arm64"}.get(host.machine, host.machine)
    assert found.resource["os.type"] == host.sysname.lower()
    assert "" not in found.resource.values()


def test_the_users_resource_attributes_win():
    environ = {
        ENDPOINT: "http://127.0.0.1:1",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=lab%2C%20north,host.name=mine,service.name=a",
        "OTEL_SERVICE_NAME": "b",
    }
    resource = wanted(environ).resource
    assert resource["deployment.environment.name"] == "lab, north"
    assert resource["host.name"] == "mine"
    assert resource["service.name"] == "b"


def test_broken_resource_attributes_are_refused():
    assert refusal({"OTEL_RESOURCE_ATTRIBUTES": "just words"}).startswith("OTEL_RESOURCE_ATTRIBUTES")


def test_flags_set_the_pace_and_the_reach():
    found = wanted(
        otlp__endpoint="http://127.0.0.1:1", history__enabled="false",
        **{"otlp__interval": "1m", "otlp__max-backfill": "1h"},
    )  # fmt: skip
    assert (found.interval, found.max_backfill, found.history) == (60, 3600, False)


def test_the_document_names_flags_and_metrics_that_exist():
    text = (Path(__file__).parents[2] / "docs" / "otlp.md").read_text()
    flags, metrics = set(re.findall(r"--([a-z][a-z.-]+)", text)), set(re.findall(r"tokwatt_[a-z_]+", text))
    foreign = {"web.enable-otlp-receiver"}
    assert flags - foreign <= {f.metadata["key"] for f in config.options()}
    assert metrics == {family.name for family in (OTLP_EXPORTS, OTLP_EXPORT_FAILURES, OTLP_ACKNOWLEDGED)}


def test_reading_the_settings_does_not_load_opentelemetry():
    code = (
        "import sys; from tokwatt_exporter import config; from tokwatt_exporter.sinks.otlp import Pusher, settings\n"
        "assert settings(config.load({'otlp.endpoint': 'http://127.0.0.1:1'}, {}), {})\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('opentelemetry', 'requests', 'duckdb', 'google')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "[]\n"
