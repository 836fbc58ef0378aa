"""Any server with an OpenAI list of models: it is listed and benchmarked, and nothing is guessed about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tokwatt_exporter.engine_config import KEY_SOURCES
from tokwatt_exporter.engines.answers import clean, rows
from tokwatt_exporter.engines.base import Answer, Api, Asker, Engine, Generation, Model, State
from tokwatt_exporter.errors import EngineError, UsageError

#: Adapters share the first question, so that a server that is no engine is asked only once.
SHARED_SECONDS = 5.0


class OpenAICompatible(Engine):
    """What every engine with an OpenAI API has in common; the kinds it is a base of say what sets them apart."""

    kind: ClassVar[str] = "openai_compatible"
    #: Where the vLLM family and SGLang listen.
    ports: ClassVar[tuple[int, ...]] = (8000, 30000)
    apis: ClassVar[tuple[Api, ...]] = ("chat", "completions")

    async def recognise(self, ask: Asker) -> list[str] | None:
        """A list of models with ids on /v1/models."""
        models = model_rows(await ask.get("/v1/models", SHARED_SECONDS))
        if models is None:
            return None
        owners = sorted({owner for row in models if (owner := clean(row.get("owned_by")))})
        evidence = ["/v1/models lists models as the OpenAI API does"]
        return [*evidence, f"its models are owned by {', '.join(owners[:3])}"] if owners else evidence

    async def look(self, ask: Asker, name: str) -> State:
        """The listed models; whether they are in memory is not known."""
        answer = await ask.get("/v1/models")
        if answer.status in (401, 403):
            return State(problem=NEEDS_KEY)
        models = model_rows(answer)
        if models is None:
            raise EngineError(f"has no list of models on /v1/models any more (HTTP {answer.status})")
        listed = dict.fromkeys(text for row in models if (text := clean(row.get("id"))))
        return State(models=tuple(Model(text, "available") for text in listed))

    def generation(
        self, model: str, messages: Iterable[Mapping[str, str]], max_tokens: int, api: Api | None = None, **options: Any
    ) -> Generation:
        """A chat completion, or a completion of the bare text, streamed with its usage."""
        return openai_generation(api_of(self, api), model, messages, max_tokens, chosen(options, *self.options))

    #: What `generation` passes on besides the model, the messages and the length.
    options: ClassVar[tuple[str, ...]] = ("seed", "temperature")


NEEDS_KEY = f"asks for an API key; give it one with {', '.join(KEY_SOURCES[:-1])} or {KEY_SOURCES[-1]} in [[engine]]"


def model_rows(answer: Answer) -> list[Mapping[str, Any]] | None:
    """The models of an OpenAI list, or None where the answer is none."""
    if answer.status != 200:
        return None
    try:
        body = answer.json()
    except EngineError:
        return None
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        # Ollama without a model writes null.
        return [] if isinstance(body, dict) and body.get("object") == "list" and "data" in body else None
    models = rows(listed)
    return models if len(models) == len(listed) and all(clean(row.get("id")) for row in models) else None


def owners(answer: Answer) -> set[str] | None:
    """Who owns the listed models, as far as the list says so; None where there is no list."""
    models = model_rows(answer)
    return None if models is None else {owner for row in models if (owner := clean(row.get("owned_by")))}


def owned_by(answer: Answer, owner: str) -> bool:
    """Whether there is a list and every model in it, if there is any, says that it has this owner."""
    models = model_rows(answer)
    return models is not None and all(row.get("owned_by") == owner for row in models)


def api_of(engine: Engine, api: Api | None) -> Api:
    """The API that was asked for, else the engine's first; `UsageError` where it has no such API."""
    if api and api not in engine.apis:
        raise UsageError(f"--api: {engine.kind} has no {api} API; it has: {', '.join(engine.apis)}")
    return api or engine.apis[0]


def openai_generation(
    api: Api, model: str, messages: Iterable[Mapping[str, str]], max_tokens: int, more: Mapping[str, Any]
) -> Generation:
    """A request by one of OpenAI's two APIs."""
    body: dict[str, Any] = {
        "model": model,
        **asked(api, messages),
        "max_tokens": max_tokens,
        "stream": True,
        # mlx_lm.server drops a stream whose stream_options lack this key.
        "stream_options": {"include_usage": True},
        **more,
    }
    return Generation("/v1/chat/completions" if api == "chat" else "/v1/completions", body, "openai")


def asked(api: Api, messages: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """The messages as a chat has them, or their bare text: a completion has no template."""
    if api == "chat":
        return {"messages": [dict(message) for message in messages]}
    return {"prompt": text_of(messages)}


def text_of(messages: Iterable[Mapping[str, Any]]) -> str:
    """What the messages say, without who said it; `UsageError` where it is more than text."""
    return "\n\n".join(_text(message.get("content")) for message in messages)


def _text(content: object) -> str:
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "\n".join(str(part.get("text") or "") for part in content)
    if not isinstance(content, str):
        raise UsageError("a message is more than text, which only the chat API takes: --api chat")
    return content


def chosen(options: Mapping[str, Any], *allowed: str) -> dict[str, Any]:
    """The options that were given; `TypeError` for one that the engine does not take."""
    if unknown := options.keys() - set(allowed):
        raise TypeError(f"unknown option {sorted(unknown)[0]}")
    return {name: value for name, value in options.items() if value is not None}
