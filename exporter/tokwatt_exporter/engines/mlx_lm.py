"""mlx_lm.server, which says over HTTP neither what it has loaded nor its version."""

from __future__ import annotations

from tokwatt_exporter.engines.answers import clean, mapping
from tokwatt_exporter.engines.base import Answer, Asker, Model, State
from tokwatt_exporter.engines.openai_compatible import SHARED_SECONDS, OpenAICompatible, model_rows, owners
from tokwatt_exporter.engines.replies import SEARCH_SECONDS
from tokwatt_exporter.errors import EngineError

NO_CACHE = "cannot list its models: its Hugging Face cache folder does not exist"


class MlxLm(OpenAICompatible):
    """mlx_lm.server. Any completion would tell more, and would load a model."""

    kind = "mlx_lm"
    ports = (8080,)

    async def recognise(self, ask: Asker) -> list[str] | None:
        """Python's own web server, with the health and the missing page of mlx_lm.server."""
        first = await ask.get("/v1/models", SHARED_SECONDS)
        if first.status != 200 or not first.headers.get("server", "").startswith("BaseHTTP/"):
            return None
        # Without a cache folder it fails after the headers, and the list has no byte.
        if first.body and owners(first) != set():
            return None
        missing = await ask.get("/", SHARED_SECONDS)
        # Plain text that calls itself JSON.
        json = missing.headers.get("content-type", "").startswith("application/json")
        if (missing.status, missing.body) != (404, b"Not Found") or not json:
            return None
        if _healthy(await ask.get("/health")) is None:
            return None
        return ["its web server is Python's", "/health and its missing page are those of mlx_lm.server"]

    async def look(self, ask: Asker, name: str) -> State:
        """The models in its cache; which of them is in memory is not known."""
        healthy = _healthy(await ask.get("/health"))
        if healthy is None:
            raise EngineError("is not mlx_lm.server any more: /health says something else")
        if not healthy:
            return State(problem="says on /health that it is unavailable")
        try:
            answer = await ask.get("/v1/models", SEARCH_SECONDS)
        except EngineError as error:
            return State(problem=str(error))
        listed = model_rows(answer)
        if listed is None:
            return State(problem=NO_CACHE if not answer.body else "lists its models as nothing that can be read")
        names = dict.fromkeys(text for row in listed if (text := clean(row.get("id"))))
        return State(models=tuple(Model(text, "available") for text in names))


def _healthy(answer: Answer) -> bool | None:
    try:
        body = mapping(answer.json())
    except EngineError:
        return None
    return {(200, "ok"): True, (503, "unavailable"): False}.get((answer.status, str(body.get("status"))))
