"""What the shell completes for the benchmark: names that the code knows."""

from __future__ import annotations


def scenarios(incomplete: str) -> list[tuple[str, str]]:
    """Names of scenarios, and what is asked."""
    from tokwatt_bench.scenarios import SCENARIOS

    known = {"default": "a prompt that is new each time"} | {name: one.description for name, one in SCENARIOS.items()}
    return [(name, text) for name, text in known.items() if name.startswith(incomplete)]


def figures(incomplete: str) -> list[tuple[str, str]]:
    """Figures by their abbreviations and their names in JSON."""
    from tokwatt_bench.explain import METRICS

    known = {name: one.title for one in METRICS for name in (*one.aliases, one.name) if " " not in name}
    return [(name, title) for name, title in known.items() if name.startswith(incomplete)]


def suites(incomplete: str) -> list[str]:
    """The last of some suites with commas between them."""
    from tokwatt_bench.quality.suites import SUITES

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in SUITES if name.startswith(last) and name not in before.split(",")]
