"""`tokwatt proxy` as a command: which engine it means, and what it says to wrong input."""

import asyncio
import socket

import pytest

from e2e.daemon import tokwatt
from fakes.engines import ollama
from proxy.proxying import proxy
from support.captures import shared_captures
from support.net import get
from tokwatt_exporter import config
from tokwatt_exporter.engines import discovery
from tokwatt_exporter.engines.scan import Scan
from tokwatt_exporter.engines.sockets import Listener
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.proxy.target import Target, choose

FILE = """
[[engine]]
name = "big"
url = "https://gpu.example:8443"
[[engine]]
kind = "vllm"
url = "http://127.0.0.1:9000"
[[engine]]
kind = "mlx_lm"
url = "http://127.0.0.1:9001"
[[engine]]
name = "second"
kind = "mlx_lm"
url = "http://127.0.0.1:9002"
[[engine]]
name = "below"
url = "http://127.0.0.1:9003/v1"
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "tokwatt.toml"
    path.write_text(FILE)
    return config.load(environ={}, file=path)


@pytest.mark.parametrize(
    ("engine", "found"),
    [
        ("ollama", Target("ollama", "http://127.0.0.1:11434")),
        ("lm_studio", Target("lm_studio", "http://127.0.0.1:1234")),
        ("big", Target("big", "https://gpu.example:8443")),
        ("vllm", Target("vllm", "http://127.0.0.1:9000")),
        ("second", Target("second", "http://127.0.0.1:9002")),
        ("http://localhost:9000/", Target("vllm", "http://127.0.0.1:9000")),
        ("http://127.0.0.1:1", Target("127.0.0.1:1", "http://127.0.0.1:1")),
    ],
)
def test_an_engine_is_a_kind_a_configured_name_or_a_url(settings, engine, found):
    assert choose(settings, engine, None) == found
    assert choose(settings, engine, "mine") == found._replace(name="mine")


@pytest.mark.parametrize(
    ("engine", "why"),
    [("olama", "is no URL, no configured engine and no kind"), ("ftp://x", "not a URL"), ("below", "has a path"),
     ("http://u:p@x", "user or password"), ("openai_compatible", "no usual port")],
)  # fmt: skip
def test_an_engine_that_cannot_be_meant_is_refused(settings, engine, why):
    with pytest.raises(UsageError, match=why):
        choose(settings, engine, None)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ((), "engine"),
        (("--engine", "olama"), "--engine: 'olama' is no URL"),
        (("--engine", "ollama", "--listen", "nowhere"), "--listen: 'nowhere' is not HOST:PORT"),
        (("--engine", "ollama", "--listen", "0.0.0.0:0"), "--expose"),
        (("--engine", "ollama", "--listen", ":0"), "--expose"),
        (("--engine", "ollama", "--listen", "192.0.2.1:80"), "--listen: 192.0.2.1:80"),
        (("--engine", "ollama", "--name", "a\nb"), "--name"),
    ],
)
def test_wrong_input_costs_one_line_and_exit_code_2(tmp_path, flags, why):
    result = tokwatt("proxy", *flags, "--data-dir", str(tmp_path), check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert why in result.stderr


def test_a_port_that_is_taken_costs_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        result = tokwatt("proxy", "--engine", "ollama", "--listen", at, "--data-dir", str(tmp_path), check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(f"tokwatt: --listen: {at} is in use by ")
    assert len(result.stderr.splitlines()) == 1


def test_a_proxy_is_not_found_as_one_more_engine(tmp_path):
    with ollama(shared_captures() / "engines/ollama-real") as engine, proxy(tmp_path, engine.url) as running:
        found = {}
        for name in ("data", "elsewhere"):
            settings = config.load({"data-dir": str(tmp_path / name)}, environ={})
            seen = [Listener("127.0.0.1", port) for port in (engine.port, running.port)]
            scan = Scan(settings, lambda seen=seen: seen, [one.port for one in seen])
            found[name] = {one.url for one in asyncio.run(discovery.find(settings, scan=scan))}
    assert found == {"data": {engine.url}, "elsewhere": {engine.url, running.url}}


def test_an_engine_asked_through_the_proxy_is_that_engine(tmp_path):
    with ollama(shared_captures() / "engines/ollama-real") as engine, proxy(tmp_path, engine.url) as running:
        direct, through = (get(url + "/api/version") for url in (engine.url, running.url))
        assert (direct.status_code, direct.content) == (through.status_code, through.content)
        settings = config.load({"data-dir": str(tmp_path)}, environ={})
        [found] = discovery.find_now(settings, running.url)
        assert found.kind == "ollama"
