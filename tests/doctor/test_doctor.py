"""`tokwatt doctor`: what each check says where all is well, where something is missing, and where it is broken."""

import errno
import json
import math
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from e2e.daemon import daemon, tokwatt
from fakes.engines import FakeEngine, response
from support.net import free_port
from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.attached import Attached, NotAttached, attach, parse
from tokwatt_exporter.doctor import engines, history, machine, receivers, running
from tokwatt_exporter.doctor.finding import STATUSES, Finding, as_json
from tokwatt_exporter.families import Distribution
from tokwatt_exporter.sinks.prometheus import Choice, Format, Renderer
from tokwatt_exporter.snapshot import Snapshot
from web.serving import running as serving
from web.serving import settings, write


@pytest.fixture
def targets():
    """A Prometheus that has one target: the answer is what the test puts into it."""

    class Handler(BaseHTTPRequestHandler):
        answer: object = {}
        asked = ""

        def do_GET(self):
            Handler.asked = self.path
            body = json.dumps(Handler.answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        Handler.url = f"http://127.0.0.1:{server.server_port}"
        yield Handler
        server.shutdown()
        thread.join()


def target(**changed):
    row = {"scrapeUrl": "http://127.0.0.1:10021/metrics", "health": "up", "lastError": ""} | changed
    return {"status": "success", "data": {"activeTargets": [row]}}


def test_what_the_daemon_publishes_comes_back_as_the_snapshot_it_was():
    times = c.TIME_TO_FIRST_TOKEN(Distribution(((0.1, 1), (math.inf, 3)), 4.5), engine="e", model="m")
    last, used = c.COLLECTOR_LAST_SUCCESS(1_800_000_000, collector="cpu"), c.GPU_MEMORY_USED(2, device='a "b" \\ c')
    sampled = Snapshot.of(1_800_000_000_000, [last, used, *times])
    text = Renderer().render(sampled, Choice(Format.TEXT, False)).decode()
    assert parse(text + "foreign_total 3\n") == sampled


def test_a_daemon_that_asks_for_a_token_is_read_with_it(tmp_path):
    token = write(tmp_path / "token", "a-long-secret-token-of-our-own\n")
    with serving(web_bearer_token_file=str(token)) as web:
        address = [f"127.0.0.1:{web.port}"]
        with pytest.raises(NotAttached, match="asks for credentials"):
            attach(settings(web_listen_address=address))
        found = attach(settings(web_listen_address=address, web_bearer_token_file=str(token)))
    assert len(found.snapshot) == 300


def test_a_port_that_another_program_has_is_a_fault_and_a_free_one_is_not():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        [finding] = running.port(settings(web_listen_address=[f"127.0.0.1:{port}"]), None, "")
        assert (finding.status, f"pid {os.getpid()}" in finding.found) == ("fault", True)
    [finding] = running.port(settings(web_listen_address=[f"127.0.0.1:{free_port()}"]), None, "")
    assert finding.status == "ok"


@pytest.mark.parametrize(("version", "status"), [(__version__, "ok"), ("0.0.1", "note")])
def test_a_daemon_older_than_what_is_installed_is_named(version, status):
    info = c.BUILD_INFO(version=version, revision="r", python_version="3")
    [finding] = running.version(Attached("http://127.0.0.1:1", Snapshot.of(0, [info])))
    assert finding.status == status
    assert (finding.mend == "tokwatt service restart") == (status == "note")


def test_a_folder_that_others_can_read_is_noted_and_one_that_is_not_there_is_no_failure(tmp_path):
    folder = tmp_path / "data"
    assert machine.permissions(folder).status == "absent"
    folder.mkdir(mode=0o700)
    assert machine.permissions(folder).status == "ok"
    folder.chmod(0o755)
    found = machine.permissions(folder)
    assert (found.status, found.mend) == ("note", f"chmod 700 {folder}")


@pytest.mark.parametrize(("free", "status"), [(10**8, "fault"), (10**9, "note"), (10**10, "ok")])
def test_a_full_disk_is_a_fault(tmp_path, monkeypatch, free, status):
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("psutil.disk_usage", lambda path: usage if path == str(tmp_path) else None)
    assert machine.disk(tmp_path / "not" / "there").status == status


@pytest.mark.parametrize(("state", "status"), [(0, "ok"), (5, "note"), (None, "absent")])
def test_a_clock_that_nothing_keeps_right_is_noted(monkeypatch, state, status):
    monkeypatch.setattr(machine, "_clock_state", lambda: state)
    assert machine.clock().status == status


def test_the_state_of_this_clock_can_be_read():
    assert machine._clock_state() in (None, *range(6))


def test_a_sensor_that_is_not_there_is_no_failure_and_one_that_fails_is():
    found = {f.check: f for f in machine.sensors(Snapshot.of(0, [
        c.COLLECTOR_SUCCESS(True, collector="cpu"), c.COLLECTOR_SUCCESS(False, collector="nvidia"),
        c.COLLECTOR_PROBLEM(collector="fan", problem="not_available", reason="no fan"),
        c.COLLECTOR_PROBLEM(collector="rapl", problem="not_available", reason="energy_uj is readable by root only"),
        c.COLLECTOR_PROBLEM(collector="nvidia", problem="timed_out", reason="no answer within 4 s"),
    ]), "here")}  # fmt: skip
    statuses = {"sensors": "ok", "sensors.fan": "absent", "sensors.rapl": "note", "sensors.nvidia": "fault"}
    assert {check: f.status for check, f in found.items()} == statuses
    assert found["sensors"].found == "cpu"
    assert found["sensors.rapl"].mend == "docs/collectors/rapl.md says what it needs"


@pytest.mark.parametrize(
    ("problem", "mend"),
    [
        ("is running without --metrics: no token counters", "start it with --metrics"),
        ("is running without --enable-metrics: no token counters", "start it with --enable-metrics"),
        ("asks for an API key; give it one", "api-key-file"),
        ("is loading its model", None),
    ],
)
def test_what_an_engine_was_started_without_says_how_to_start_it(problem, mend):
    found = engines._mend(problem)
    assert found is None if mend is None else mend in found


def test_settings_of_ollama_that_work_against_themselves_are_named():
    assert engines.troubles({}) == []
    assert engines.troubles({"OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_FLASH_ATTENTION": "1"}) == []
    [(_, cache)] = engines.troubles({"OLLAMA_KV_CACHE_TYPE": "q8_0"})
    [(_, host)] = engines.troubles({"OLLAMA_HOST": "0.0.0.0:11434"})
    assert "OLLAMA_FLASH_ATTENTION=1" in cache
    assert "127.0.0.1" in host


def test_only_what_is_ollamas_own_is_read_of_its_environment(monkeypatch):
    monkeypatch.setattr("psutil.Process.environ", lambda self: {"OLLAMA_NUM_PARALLEL": "2", "HF_TOKEN": "secret"})
    assert engines.environment(os.getpid()) == {"OLLAMA_NUM_PARALLEL": "2"}
    assert engines.environment(None) is None


def test_a_damaged_history_is_a_fault_and_none_is_no_failure(tmp_path):
    config = settings(data_dir=str(tmp_path))
    assert [f.status for f in history.history(config, runs=False)] == ["absent"]
    (tmp_path / "history.duckdb").write_bytes(b"not a database" * 1000)
    [finding] = history.history(config, runs=False)
    assert finding.status == "fault"


@pytest.mark.parametrize(
    ("newest", "flush", "status"),
    [(None, 60.0, "absent"), (990.0, 60.0, "ok"), (100.0, None, "ok"), (100.0, 60.0, "fault"), (2000.0, None, "fault")],
)
def test_a_history_that_stands_still_under_a_daemon_or_is_of_tomorrow_is_a_fault(newest, flush, status):
    assert history.age(newest, 1000.0, flush).status == status


def test_a_receiver_that_takes_an_empty_push_is_fine_and_one_that_is_not_there_is_a_fault():
    assert receivers.otlp(settings(), {}).status == "absent"
    with FakeEngine({"/v1/metrics": response(200, b"", "application/x-protobuf")}) as there:
        assert receivers.otlp(settings(otlp_endpoint=f"{there.url}/v1/metrics"), {}).status == "ok"
        assert [(request.method, request.body) for request in there.requests] == [("POST", b"")]
        assert "HTTP 404" in receivers.otlp(settings(otlp_endpoint=f"{there.url}/other"), {}).found
    finding = receivers.otlp(settings(otlp_endpoint=f"http://127.0.0.1:{free_port()}/v1/metrics"), {})
    assert (finding.status, "cannot be reached" in finding.found) == ("fault", True)


def test_a_mac_that_keeps_an_agent_from_the_local_network_is_explained(monkeypatch):
    def refuse(*_, **__):
        raise OSError(65, os.strerror(errno.EHOSTUNREACH))

    monkeypatch.setattr("httpx.Client.post", refuse)
    finding = receivers.otlp(settings(otlp_endpoint="http://192.168.1.2:4318/v1/metrics"), {})
    assert finding.mend == "sudo tokwatt service install --system"


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (target(), "ok", "up"),
        (target(health="down", lastError="connection refused"), "fault", "connection refused"),
        (target(scrapeUrl="http://127.0.0.1:9100/metrics"), "fault", "none has the port"),
        (target(scrapeUrl="http://elsewhere.example:10021/metrics"), "fault", "none has the port"),
        ({"data": None}, "fault", "no answer"),
        (["[" * 50], "fault", "no answer"),
    ],
)
def test_prometheus_says_whether_it_scrapes(targets, answer, status, said):
    targets.answer = answer
    finding = receivers.prometheus(settings(web_listen_address=["127.0.0.1:10021"]), targets.url)
    assert (finding.status, said in finding.found) == (status, True)
    assert targets.asked == "/api/v1/targets?state=active"


def test_the_json_counts_the_faults():
    bad = Finding(check="a", status="fault", looked="l", found="f", means="m", mend="c")
    keys = {"check": "a", "status": "fault", "looked": "l", "found": "f", "means": "m", "mend": "c"}
    assert as_json([bad]) == {"faults": 1, "checks": [keys]}


@pytest.mark.e2e
def test_a_machine_without_anything_has_no_fault_and_one_with_a_daemon_is_read_through_it(tmp_path):
    data = tmp_path / "data"
    off = ["--no-collector.engines", "--data-dir", str(data)]
    alone = tokwatt("doctor", "--json", *off, "--web.listen-address", f"127.0.0.1:{free_port()}")
    found = {row["check"]: row for row in json.loads(alone.stdout)["checks"]}
    assert found["daemon"]["status"] == "absent"
    assert {row["status"] for row in found.values()} <= {*STATUSES} - {"fault"}
    assert not data.exists(), "the doctor changes nothing"
    with daemon(data, "--history.flush-interval", "1s", "--sample-interval", "500ms") as running:
        with_one = tokwatt("doctor", *off, "--web.listen-address", f"127.0.0.1:{running.port}")
    assert "ok     daemon  it answers" in with_one.stdout
    assert f"both are {__version__}" in with_one.stdout


@pytest.mark.e2e
def test_a_fault_is_exit_1(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = tokwatt("doctor", "--data-dir", str(tmp_path), "--web.listen-address", address, check=False)
    assert result.returncode == 1
    assert "fault  port" in result.stdout
