"""`tokwatt-bench explain`: what a figure means."""

from __future__ import annotations

from typing import Annotated

import typer

from tokwatt_bench.completion import figures
from tokwatt_exporter.examples import examples
from tokwatt_exporter.shell import print_json


@examples("tokwatt-bench explain ttft", "tokwatt-bench explain", "tokwatt-bench explain --schema")
def explain(
    metric: Annotated[str | None, typer.Argument(help="Figure, by its name in JSON, its title or its abbreviation: "
                                                 "ttft, itl, tpot, goodput … Default: all of them.",
                                                 autocompletion=figures)] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of `run --json`.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:  # fmt: skip
    """Say what a figure means, how it is computed, and when there is none."""
    from tokwatt_bench.explain import METRICS, find

    if schema:
        from tokwatt_bench.report.schema import SCHEMA

        print_json(SCHEMA)
        return
    found = [find(metric)] if metric else list(METRICS)
    if json:
        print_json({"figures": [one._asdict() for one in found]})
    elif metric:
        one = found[0]
        typer.echo(
            f"{one.name} ({one.title}), in {one.unit}\n\n{one.definition.replace('**', '')}\n\nnull when: {one.null}"
        )
    else:
        from tokwatt_exporter.show import table

        table(("figure", "called", "unit", "also"), ((m.name, m.title, m.unit, ", ".join(m.aliases)) for m in found))
