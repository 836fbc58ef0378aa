"""Which engines exist, in the order in which they are asked to recognise a server. The command line imports this."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokwatt_exporter.engines.base import Engine

#: kind → class, most specific first; `openai_compatible` takes what nobody else recognised.
ADAPTERS: dict[str, str] = {
    "llama_cpp": "llama_cpp:LlamaCpp",
    "mlx_vlm": "mlx_vlm:MlxVlm",
    "vllm": "vllm:VLLM",
    "sglang": "sglang:SGLang",
    "vllm_mlx": "vllm_mlx:VllmMlx",
    "rapid_mlx": "rapid_mlx:RapidMlx",
    # Before Ollama, whom it imitates.
    "vmlx": "vmlx:VMLX",
    "koboldcpp": "koboldcpp:KoboldCpp",
    "exo": "exo:Exo",
    "llama_swap": "llama_swap:LlamaSwap",
    "mlx_lm": "mlx_lm:MlxLm",
    # Before all that ask for pages LM Studio does not have: each is an error in its user's log.
    "lm_studio": "lm_studio:LMStudio",
    "omlx": "omlx:OMLX",
    "docker_model_runner": "docker_model_runner:DockerModelRunner",
    "ollama": "ollama:Ollama",
    "localai": "localai:LocalAI",
    "jan": "jan:Jan",
    "openai_compatible": "openai_compatible:OpenAICompatible",
}

KINDS: tuple[str, ...] = tuple(ADAPTERS)


def load(kind: str) -> type[Engine]:
    """The adapter class of a kind."""
    module, _, name = ADAPTERS[kind].partition(":")
    loaded: type[Engine] = getattr(importlib.import_module("tokwatt_exporter.engines." + module), name)
    return loaded
