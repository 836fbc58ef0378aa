"""A real llama.cpp server with the tiny model."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .components import component
from .model import tiny_model
from .net import NeverWill, free_port, get, wait_for

__all__ = ["LlamaServer", "llama_server", "tiny_model"]


class LlamaServer(NamedTuple):
    """The running server: where it answers, its process, what it serves and what it wrote."""

    url: str
    port: int
    pid: int
    model: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def llama_server(
    tmp_path: Path, *extra_args: str, metrics: bool = True, slots: bool = True, port: int | None = None,
    wait: bool = True,
) -> Iterator[LlamaServer]:  # fmt: skip
    """A server on loopback that is ready, and is killed at the end; its log is shown when it does not start."""
    port = port or free_port()
    model = "tiny-llama"
    log = tmp_path / f"llama-server-{port}.log"
    flags = ["--metrics"] if metrics else []
    flags += ["--slots" if slots else "--no-slots"]
    command = [
        str(component("llama-server")), "--model", str(tiny_model()), "--alias", model, "--host", "127.0.0.1",
        "--port", str(port), "--ctx-size", "4096", "--parallel", "2", "--threads", "1", *flags, *extra_args,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        server = LlamaServer(f"http://127.0.0.1:{port}", port, process.pid, model, log, process)
        try:
            if wait:
                wait_for(lambda: _healthy(server), 30, f"llama-server on port {port} to be ready")
            yield server
        finally:
            process.kill()
            process.wait()


def _healthy(server: LlamaServer) -> bool:
    if server.process.poll() is not None:
        raise NeverWill(f"llama-server ended with {server.process.returncode}:\n{server.log.read_text()[-3000:]}")
    return get(f"{server.url}/health", timeout=2).status_code == 200
