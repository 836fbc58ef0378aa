"""All machines, by the Prometheus that scrapes them; what is asked is what the shipped rules record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.alerts import rules
from tokwatt_exporter.errors import TokwattError
from tokwatt_exporter.limited import TooLong, content
from tokwatt_exporter.mcp_server import answers
from tokwatt_exporter.unreachable import explained

SECONDS = 10.0
MOST_BYTES = 16 * 2**20
#: A machine that was there within this time and is not now is down.
_SEEN = "1h"
POWER = f"instance:{c.SYSTEM_POWER.name}:rate5m"
GENERATION = f"instance_engine_model:{c.GENERATION_TOKENS.name.removesuffix('_total')}:rate5m"
JOULES_PER_TOKEN = f"instance:{c.PREFIX}joules_per_token:ratio_rate5m"

#: job and instance.
_Key = tuple[str, str]


class NotAnswered(TokwattError):
    """Prometheus could not be asked; the text says why."""


def fleet(url: str) -> answers.Fleet:
    """Every machine of the last hour; `NotAnswered` where Prometheus does not say."""
    expressions = recorded()
    here = f"max by (job, instance) ({c.BUILD_INFO.name})"
    seen = f"max by (job, instance) (max_over_time({c.BUILD_INFO.name}[{_SEEN}]))"
    with httpx.Client(trust_env=False, timeout=SECONDS) as client:
        machines = dict(_values(client, url, seen))
        up = dict(_values(client, url, here))
        watts, joules = (dict(_values(client, url, expressions[name])) for name in (POWER, JOULES_PER_TOKEN))
        speeds: dict[_Key, list[answers.Generation]] = {}
        for labels, value in _vector(client, url, expressions[GENERATION]):
            one = answers.Generation(
                engine=labels.get("engine", ""), model=labels.get("model", ""), tokens_per_second=value
            )  # fmt: skip
            speeds.setdefault(_key(labels), []).append(one)
        firing = _firing(client, url)
    return answers.Fleet(prometheus=url, machines=[
        answers.Machine(
            job=key[0], instance=key[1], up=key in up, power_watts=watts.get(key), joules_per_token=joules.get(key),
            generation=speeds.get(key, []), alerts=firing.get(key, []),
        )
        for key in sorted(machines)
    ])  # fmt: skip


def recorded() -> dict[str, str]:
    """The expressions of the recording rules that come with tokwatt, by what they are recorded as."""
    import yaml

    groups = yaml.safe_load(rules.shipped())["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}


def _firing(client: httpx.Client, url: str) -> dict[_Key, list[str]]:
    ours = {rule.name for rule in rules.load().alerts}
    found: dict[_Key, list[str]] = {}
    for labels, _ in _vector(client, url, 'ALERTS{alertstate="firing"}'):
        if labels.get("alertname") in ours:
            found.setdefault(_key(labels), []).append(labels["alertname"])
    return {key: sorted(set(names)) for key, names in found.items()}


def _values(client: httpx.Client, url: str, expression: str) -> Iterator[tuple[_Key, float]]:
    for labels, value in _vector(client, url, expression):
        yield _key(labels), value


def _key(labels: Mapping[str, str]) -> _Key:
    return labels.get("job", ""), labels.get("instance", "")


def _vector(client: httpx.Client, url: str, expression: str) -> list[tuple[Mapping[str, str], float]]:
    """Labels and value of each series that the expression gives now; NaN, as of 0 / 0, is left out."""
    try:
        answer = _read(client, url, expression)
        if answer["status"] != "success":
            raise NotAnswered(f"{url} refuses the query: {str(answer.get('error'))[:200]}")
        found = [
            ({str(name): str(text) for name, text in one["metric"].items()}, float(one["value"][1]))
            for one in answer["data"]["result"]
        ]
    except (httpx.HTTPError, OSError) as error:
        why = explained(error, urlsplit(url).hostname) or " ".join(str(error).split())[:200]
        raise NotAnswered(f"{url} does not answer: {why}") from None
    except TooLong as error:
        raise NotAnswered(f"{url} answers {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotAnswered(f"{url} does not answer as a Prometheus does") from None
    return [(labels, value) for labels, value in found if value == value]


def _read(client: httpx.Client, url: str, expression: str) -> Any:
    import json

    with client.stream("POST", f"{url}/api/v1/query", data={"query": expression}) as answer:
        said = content(answer, MOST_BYTES)
    if answer.status_code in (401, 403):
        raise NotAnswered(f"{url} asks for credentials (HTTP {answer.status_code})")
    return json.loads(said)
