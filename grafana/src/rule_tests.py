"""What promtool plays against the rules: what is recorded, and the alerts."""

from __future__ import annotations

from typing import Any

import rules
from alert_tests import MODEL, alert_tests, sleeping_laptop
from played import TARGET, played, recorded, series, value
from tokwatt_exporter import catalogue as c


def rule_tests() -> dict[str, Any]:
    """The file for `promtool test rules`."""
    return _file("30s", [power_and_joules_per_token(), package_and_devices(), idle_engine(), *alert_tests()])


def laptop_tests() -> dict[str, Any]:
    """What takes days is a file of its own, with fewer looks at the rules."""
    return _file("10m", [sleeping_laptop()])


def _file(interval: str, tests: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rule_files": [rules.FILE], "evaluation_interval": interval, "tests": tests}


def power_and_joules_per_token() -> dict[str, Any]:
    """300 J and 600 tokens in 15 s are 20 W, 40 tokens a second and half a joule a token."""
    return played(
        "watts, tokens per second and joules per token",
        (series(c.ENERGY, device="gpu0"), "0+300x40"),
        (series(c.GENERATION_TOKENS, **MODEL), "0+600x40"),
        checks=[
            value(rules.POWER_BY_DEVICE, {"device": "gpu0"}, 20),
            value(rules.MACHINE_POWER, {}, 20),
            value(rules.GENERATION, MODEL, 40),
            value(rules.JOULES_PER_TOKEN, {}, 0.5),
        ],
    )


def package_and_devices() -> dict[str, Any]:
    """A core is inside the package and a GPU is not: the machine takes at least what the devices take together."""
    return played(
        "the larger of package and devices, and the whole machine where it is measured",
        (series(c.PACKAGE_ENERGY), "0+600x40"),
        (series(c.ENERGY, device="cpu"), "0+300x40"),
        (series(c.PACKAGE_ENERGY, instance="desktop:1"), "0+600x40"),
        (series(c.ENERGY, instance="desktop:1", device="cpu"), "0+300x40"),
        (series(c.ENERGY, instance="desktop:1", device="gpu0"), "0+3000x40"),
        (series(c.SYSTEM_ENERGY, instance="laptop:1"), "0+150x40"),
        (series(c.PACKAGE_ENERGY, instance="laptop:1"), "0+75x40"),
        checks=[
            {
                "expr": rules.MACHINE_POWER,
                "eval_time": "10m",
                "exp_samples": [
                    {"labels": recorded(rules.MACHINE_POWER, {**TARGET, "instance": instance}), "value": watts}
                    for instance, watts in (("desktop:1", 220), ("laptop:1", 10), ("mac:1", 40))
                ],
            }
        ],
    )


def idle_engine() -> dict[str, Any]:
    """No token, no joules per token: neither infinite nor zero."""
    return played(
        "no joules per token while nothing is generated",
        (series(c.ENERGY, device="gpu0"), "0+300x40"),
        (series(c.GENERATION_TOKENS, **MODEL), "600x40"),
        checks=[{"expr": rules.JOULES_PER_TOKEN, "eval_time": "10m", "exp_samples": []}],
    )
