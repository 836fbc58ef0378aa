"""`tokwatt-bench report`: results as a page, a card or a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokwatt_exporter import parse
from tokwatt_exporter.completion import words
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config

if TYPE_CHECKING:
    from tokwatt_bench.measured import Measured

#: Formats by the end of a file's name; those of text can be printed as well.
TEXT = {"md": "markdown", "csv": "csv", "json": "json", "svg": "svg"}
FORMATS = {"html": "html", "htm": "html", "parquet": "parquet", "png": "png", **TEXT}
KINDS = tuple(dict.fromkeys(FORMATS.values()))
#: What the extra is made of.
EXTRA = ("altair", "vl_convert", "cryptography")


@examples(
    "tokwatt-bench report --output report.html",
    "tokwatt-bench report engine=ollama,last=5 --format csv --requests",
    "tokwatt-bench report 3f2a --output card.png",
)
@with_config("data-dir")
def report(
    config: Config,
    spec: Annotated[list[str] | None, typer.Argument(
        metavar="SPEC", help="latest, the beginning of a run id, engine=NAME,model=NAME,last=5, or a file. "
        "Default: latest.")] = None,
    format: Annotated[str | None, typer.Option(help="html, markdown, csv, parquet, json, svg or png. Default: by the "
                                               "name of the file.", metavar="FORMAT",
                                               autocompletion=words(*KINDS))] = None,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: text on stdout.",
                                                metavar="FILE")] = None,
    requests: Annotated[bool, typer.Option("--requests", help="csv and parquet: a row a request in place of a row a "
                                           "figure.")] = False,
) -> None:  # fmt: skip
    """Write what was measured as a page with charts, a card to share, or a file for other tools."""
    kind = _format(format, output)
    if requests and kind not in ("csv", "parquet"):
        raise UsageError(f"--requests: {kind} has no rows; give --format csv or parquet")
    if output is None and kind not in TEXT.values():
        raise UsageError(f"--output: {kind} goes into a file, name one")
    measured = read(config, spec)
    write(output, lambda: _made(kind, measured, requests, output))


def read(config: Config, spec: Sequence[str] | None) -> list[Measured]:
    """What is named, the newest run where nothing is; `UsageError` where there is no such thing."""
    from tokwatt_bench.measured import find
    from tokwatt_bench.report.limits import check

    measured = [one for each in spec or ["latest"] for one in find(config.data_dir, each)]
    check(measured)
    return measured


@contextmanager
def extra() -> Iterator[None]:
    """What happens within may need what is not installed; `UsageError` then says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise UsageError("this needs what is not installed: pip install 'tokwatt[report]'") from None


def write(output: Path | None, make: Callable[[], str | bytes | None]) -> None:
    """Put what is made into the file, or print it; `UsageError` where it cannot be written. Nothing is written where
    making it fails.
    """
    try:
        with extra():
            made = make()
        if made is None:
            return
        if output is None:
            sys.stdout.write(made if isinstance(made, str) else made.decode())
        else:
            output.write_bytes(made.encode() if isinstance(made, str) else made)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written: {error.strerror}") from None


def _format(format: str | None, output: Path | None) -> str:
    if format:
        return parse.flag("--format", parse.choice(*KINDS), format)
    if output is None:
        raise UsageError(f"--format or --output: say which of {', '.join(KINDS)}")
    end = output.suffix.lower().lstrip(".")
    if end not in FORMATS:
        raise UsageError(f"--output: {output.name} ends in none of {', '.join(FORMATS)}; give --format")
    return FORMATS[end]


def _made(kind: str, measured: Sequence[Measured], requests: bool, output: Path | None) -> str | bytes | None:
    results = [one.result for one in measured]
    if kind == "html":
        from tokwatt_bench.report.html import page

        return page(measured)
    if kind == "markdown":
        from tokwatt_bench.report.markdown import markdown

        return markdown(results)
    if kind == "json":
        from tokwatt_bench.measured import document

        return json.dumps(document(measured), ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    if kind in ("svg", "png"):
        from tokwatt_bench.report.card import png, svg

        if len(results) > 1:
            raise UsageError(f"a card is of one result, and this is {len(results)}: name one by its run id")
        return svg(results[0]) if kind == "svg" else png(results[0])
    return _rows(kind, measured, requests, output)


def _rows(kind: str, measured: Sequence[Measured], requests: bool, output: Path | None) -> str | None:
    from tokwatt_bench.report import parquet as tables

    columns = tables.OF | (tables.REQUEST if requests else tables.FIGURE)
    found = (tables.request_rows if requests else tables.figure_rows)(measured)
    if kind == "csv":
        return tables.as_csv(columns, found)
    assert output is not None
    tables.as_parquet(columns, found, output)
    return None
