"""Which engines exist, in the order in which they are asked to recognise a server. The command line imports this."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokwatt_exporter.engines.base import Engine

#: kind → class, most specific first; `openai_compatible` takes what nobody else recognised.
ADAPTERS: dict[str, str] = {
    "llama_cpp": "llama_cpp:LlamaCpp",
    "ollama": "ollama:Ollama",
    "openai_compatible": "openai_compatible:OpenAICompatible",
}

KINDS: tuple[str, ...] = tuple(ADAPTERS)


def load(kind: str) -> type[Engine]:
    """The adapter class of a kind."""
    module, _, name = ADAPTERS[kind].partition(":")
    loaded: type[Engine] = getattr(importlib.import_module("tokwatt_exporter.engines." + module), name)
    return loaded
