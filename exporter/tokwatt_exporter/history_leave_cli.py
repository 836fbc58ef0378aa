"""`tokwatt history export` and `import`: the history leaves the machine, and another machine's comes in."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokwatt_exporter import completion, parse
from tokwatt_exporter.catalogue import TEMPERATURE
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import StoreError, UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config
from tokwatt_exporter.shell import print_json

if TYPE_CHECKING:
    from tokwatt_exporter.store.text import Format, Wanted

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
#: What the options for lines of text are without one.
SINCE = "1d"
_FORMATS = ("parquet", "openmetrics", "csv", "json")


@examples(
    "tokwatt history export --to /mnt/fleet",
    "tokwatt history export --format openmetrics --since 6h > hole.om",
    f"tokwatt history export --format csv --metric {TEMPERATURE}",
)
@with_config("data-dir", "web.listen-address", "history.attach-data-path", "history.attach-python")
def export(
    config: Config,
    to: Annotated[
        str | None,
        typer.Option(
            help="Folder, URL or ducklake:… for Parquet, by default history.export and history.attach; else a file,"
            " by default stdout.",
            metavar="DIR|URL|FILE",
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(help=", ".join(_FORMATS) + ".", metavar="FORMAT", autocompletion=completion.words(*_FORMATS)),
    ] = "parquet",
    metric: Annotated[
        list[str] | None, typer.Option(help="Text: only this metric; repeatable.", metavar="NAME")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Text: only series with this label; repeatable.", metavar="NAME=VALUE")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help=f"Text: how far back, or an ISO time. Default: {SINCE}.", metavar="DURATION")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Text: how far back it ends, or an ISO time.", metavar="DURATION")
    ] = None,
    external_label: Annotated[
        list[str] | None,
        typer.Option(
            help="OpenMetrics: a label that Prometheus adds when it scrapes; repeatable. Default: job=tokwatt, and"
            " instance=HOST:PORT.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Write the history as Parquet, which goes on from the last time, or samples as lines of text."""
    kind = parse.flag("--format", parse.choice(*_FORMATS), format)
    of_text = {"--metric": metric, "--label": label, "--since": since, "--until": until}
    if kind == "parquet":
        if wrong := next((name for name, given in of_text.items() if given), None):
            raise UsageError(f"{wrong} is not for Parquet, which is all of the history")
        _parquet(config, to, json=json)
        return
    if json:
        raise UsageError("--json is for Parquet; samples as JSON are --format json")
    if external_label and kind != "openmetrics":
        raise UsageError("--external-label is for --format openmetrics")
    wanted = _wanted(since or SINCE, until, metric or [], label or [])
    _text(config, to, wanted, _format(kind, config, external_label or []))


@examples("tokwatt history import /mnt/fleet/host=mac-studio")
@with_config("data-dir")
def import_(
    config: Config,
    paths: Annotated[list[Path], typer.Argument(help="Parquet of `tokwatt history export`.", metavar="DIR|FILE…")],
    json: Json = False,
) -> None:
    """Merge another machine's Parquet into the history; what is there already stays once."""
    from dataclasses import asdict

    from tokwatt_exporter.store.importing import import_ as merge

    done = merge(config.data_dir, paths)
    if json:
        print_json(asdict(done))
        return
    typer.echo(f"{done.rows} rows of {done.files} files are new, {done.known_rows} were there already")
    if done.refused_rows:
        typer.echo(f"{done.refused_rows} rows are left out: their time or value is none", err=True)


def _parquet(config: Config, to: str | None, *, json: bool) -> None:
    from dataclasses import asdict

    from tokwatt_exporter.store.leave import leave

    given = parse.flag("--to", parse.optional_destination, to)
    targets = [given] if given else [one for one in (config.history_export, config.history_attach) if one]
    if not targets:
        raise UsageError("say where to with --to, or set history.export")
    done = [(one, leave(config.data_dir, one, config.history_attach_data_path, config.history_attach_python))
            for one in targets]  # fmt: skip
    if json:
        print_json({"exports": [asdict(one) for _, one in done]})
        return
    for _, one in done:
        typer.echo(f"{one.written} files written with {one.rows} rows and {one.bytes} bytes; {one.kept} were good")


def _wanted(since: str, until: str | None, metrics: list[str], labels: list[str]) -> Wanted:
    from tokwatt_exporter.catalogue import CATALOGUE, SERIES
    from tokwatt_exporter.families import Histogram
    from tokwatt_exporter.store import params
    from tokwatt_exporter.store.text import Wanted

    names: list[str] = []
    for name in metrics:
        family = CATALOGUE.get(name)
        if family is None and name not in SERIES:
            raise UsageError(f"--metric: there is no metric {name[:80]}")
        names += [part.name for part in family.parts] if isinstance(family, Histogram) else [name]
    return Wanted(
        parse.flag("--since", params.time_ms, since),
        parse.flag("--until", params.time_ms, until if until is not None else "9999-12-31"),
        tuple(names), parse.flag("--label", params.label_pairs, labels),
    )  # fmt: skip


def _format(kind: str, config: Config, external: list[str]) -> Format:
    from tokwatt_exporter.store import params
    from tokwatt_exporter.store.openmetrics import OpenMetrics
    from tokwatt_exporter.store.text import Csv, Json

    if kind == "csv":
        return Csv()
    if kind == "json":
        return Json()
    labels = {"job": "tokwatt"} | parse.flag("--external-label", params.label_pairs, external)
    return OpenMetrics(labels, config.web_listen_address[0].port)


def _text(config: Config, to: str | None, wanted: Wanted, format: Format) -> None:
    from tokwatt_exporter.store.text import text

    pieces = text(config.data_dir, wanted, format)
    if to in (None, "-"):
        sys.stdout.writelines(pieces)
    else:
        _write(Path(to).expanduser(), pieces)


def _write(path: Path, pieces: Iterable[str]) -> None:
    # The name is given when all is there: half of a document looks like a whole one to some.
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8", newline="") as out:
            out.writelines(pieces)
        new.rename(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        new.unlink(missing_ok=True)
