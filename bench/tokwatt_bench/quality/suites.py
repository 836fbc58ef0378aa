"""The suites that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokwatt_bench.quality import arithmetic, code, instructions, json_schema, needle, tool_call
from tokwatt_bench.quality.base import Suite
from tokwatt_exporter.errors import UsageError

SUITES: Mapping[str, Suite] = {
    module.SUITE.name: module.SUITE for module in (json_schema, tool_call, instructions, needle, arithmetic, code)
}


def chosen(names: str | None, execute: bool) -> Sequence[Suite]:
    """The suites of a list with commas, else all of them; `code` only where code may be executed."""
    if names is None:
        return [suite for name, suite in SUITES.items() if execute or name != "code"]
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in wanted:
        if name not in SUITES:
            raise UsageError(f"--suite: there is no {name}; there are {', '.join(SUITES)}")
    if "code" in wanted and not execute:
        raise UsageError("--suite code runs what the model writes, in a sandbox: say --execute-code")
    return [SUITES[name] for name in wanted]
