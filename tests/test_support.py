"""What the other tests stand on."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from support import cache, captures, components, debian
from support.engine import llama_server
from support.model import tiny_model
from support.net import PLAIN, free_port, get, wait_for

TESTS = Path(__file__).parent


def post(server, path, **body):
    return httpx.post(server.url + path, json=body, timeout=60, trust_env=False, verify=PLAIN).raise_for_status().json()


def chat(server, **body):
    return post(server, "/v1/chat/completions", messages=[{"role": "user", "content": "Tell me a story"}], **body)


def test_a_free_port_can_be_bound_and_is_given_once():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports[0]))


def test_waiting_gives_the_first_truthy_result():
    results = iter([0, None, 7])
    assert wait_for(lambda: next(results), 5, every=0.001) == 7


def test_waiting_in_vain_says_what_for_and_what_was_seen_last():
    def refused():
        raise ConnectionRefusedError("nobody listens")

    with pytest.raises(AssertionError, match=r"the server: not within 0.01 s; last: .*nobody listens"):
        wait_for(refused, 0.01, "the server", every=0.001)


def test_every_test_has_a_home_of_its_own_and_no_proxy():
    assert not list(Path.home().iterdir())
    assert not [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("OTEL_")]


def test_what_is_missing_skips_and_fails_in_ci(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKWATT_SHARED_CAPTURES", str(tmp_path / "none"))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no recordings at .*none"):
        captures.shared_captures()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no recordings at .*none"):
        captures.shared_captures()


def test_a_component_that_cannot_be_installed_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKWATT_TEST_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"promtool cannot be installed: .* no apt-get"):
        components.component("promtool")


def test_another_system_than_debian_is_told_so(monkeypatch, tmp_path):
    release = tmp_path / "os-release"
    release.write_text('NAME="Other"\nID=other\n')
    monkeypatch.setattr(debian, "OS_RELEASE", release)
    with pytest.raises(debian.NotInstallable, match="no Debian"):
        debian.mirror()


def test_a_cached_folder_is_made_once_by_many_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKWATT_TEST_CACHE", str(tmp_path))
    made = []

    def make(folder):
        made.append(folder)
        time.sleep(0.1)
        (folder / "whole").touch()

    threads = [threading.Thread(target=cache.made, args=("thing", make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    assert (tmp_path / "thing/whole").exists()


def test_an_install_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKWATT_TEST_CACHE", str(tmp_path))

    def make(folder):
        (folder / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.made("thing", make)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_an_install_that_was_killed_is_done_again(monkeypatch, tmp_path):
    script = "import time, support.cache as c; c.made('thing', lambda f: (print(f, flush=True), time.sleep(60)))"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=TESTS, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TOKWATT_TEST_CACHE": str(tmp_path)},
    ) as process:  # fmt: skip
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "thing").exists()
    monkeypatch.setenv("TOKWATT_TEST_CACHE", str(tmp_path))
    assert (cache.made("thing", lambda folder: (folder / "whole").touch()) / "whole").exists()


def test_the_tiny_model_is_small_and_made_once():
    model = tiny_model()
    assert model.read_bytes()[:4] == b"GGUF"
    assert model.stat().st_size < 6_000_000
    assert tiny_model() == model


@pytest.mark.e2e
@pytest.mark.parametrize("name", components.NAMES)
def test_every_component_runs(name):
    subprocess.run([components.component(name), "--version"], check=True, capture_output=True, timeout=30)


@pytest.mark.e2e
def test_answers_of_the_tiny_model_end_by_themselves(tmp_path):
    with llama_server(tmp_path) as server:
        answer = chat(server, max_tokens=400, temperature=0)
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["choices"][0]["message"]["content"].endswith(".")
        assert 5 < answer["usage"]["completion_tokens"] < 400
        assert answer["model"] == server.model


@pytest.mark.e2e
def test_the_tiny_model_writes_as_many_tokens_as_asked_when_it_may_not_end(tmp_path):
    with llama_server(tmp_path) as server:
        answer = chat(server, max_tokens=300, ignore_eos=True)
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 300


@pytest.mark.e2e
def test_an_engine_is_gone_after_its_block_and_has_the_name_it_has_elsewhere(tmp_path):
    with llama_server(tmp_path, metrics=False, slots=False) as server:
        assert Path(f"/proc/{server.pid}/comm").read_text() == "llama-server\n"
        assert get(server.url + "/metrics").status_code == 501
        assert get(server.url + "/slots").status_code == 501
    with pytest.raises(httpx.ConnectError):
        get(server.url + "/health")


@pytest.mark.e2e
def test_an_engine_that_does_not_start_shows_its_log(tmp_path):
    with pytest.raises(AssertionError, match="no-such-flag"), llama_server(tmp_path, "--no-such-flag"):
        pass
