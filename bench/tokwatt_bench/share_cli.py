"""`tokwatt-bench share`: a signed file with results, checked or sent to where somebody said yes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from tokwatt_bench.report_cli import extra, read, write
from tokwatt_exporter import parse
from tokwatt_exporter.config import Config
from tokwatt_exporter.errors import EngineError, TokwattError, UsageError
from tokwatt_exporter.examples import examples
from tokwatt_exporter.flags import with_config

REFUSED = 3
SECONDS = 60.0


@examples(
    "tokwatt-bench share --output result.json",
    "tokwatt-bench share --verify result.json",
    "tokwatt-bench share 3f2a --to https://results.example.org/upload",
)
@with_config("data-dir")
def share(
    config: Config,
    spec: Annotated[list[str] | None, typer.Argument(
        metavar="SPEC", help="latest, the beginning of a run id, engine=NAME,model=NAME,last=5, or a file. "
        "Default: latest.")] = None,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: stdout, where nothing is sent.",
                                                metavar="FILE")] = None,
    with_host: Annotated[bool, typer.Option("--with-host", help="Leave the host's name and the engine's URL "
                                            "in.")] = False,
    verify: Annotated[Path | None, typer.Option(help="Check the signature of this file; exit 3 where it does not fit.",
                                                metavar="FILE")] = None,
    signer: Annotated[str | None, typer.Option(help="With --verify: it must be of this key.",
                                               metavar="SHA256:...")] = None,
    to: Annotated[str | None, typer.Option(help="Send it there by POST, after a yes.", metavar="URL")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
) -> None:  # fmt: skip
    """Write results into one signed file that explains itself, and send it only where you say so."""
    if verify:
        if spec or output or to:
            raise UsageError("--verify takes a file and nothing else but --signer")
        with extra():
            raise typer.Exit(_verify(verify, signer))
    if signer:
        raise UsageError("--signer: goes with --verify")
    target = parse.flag("--to", _target, to) if to else None
    measured = read(config, spec)
    with extra():
        from tokwatt_bench.share import key, shared

        document = shared(measured, key(config.data_dir), with_host=with_host)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output or not target:
        write(output, lambda: text)
    if target:
        import asyncio

        _agreed(target, document, len(text.encode()), yes)
        asyncio.run(_send(target, document))
        sys.stderr.write(f"tokwatt-bench: sent to {target}\n")


def _verify(file: Path, signer: str | None) -> int:
    from tokwatt_bench.share import BadSignature, fingerprint, verified

    try:
        found = verified(file)
        if signer and signer != fingerprint(found):
            raise BadSignature(f"{file}: is signed by {fingerprint(found)} and not by {signer}")
    except BadSignature as error:
        sys.stderr.write(f"tokwatt-bench: {error}\n")
        return REFUSED
    sys.stdout.write(f"the signature fits: {_count(found)}, signed by {fingerprint(found)}\n")
    return 0


def _target(raw: Any) -> str:
    from tokwatt_exporter.engines.client import is_loopback

    url = parse.url(raw)
    if not url.startswith("https:") and not is_loopback(url):
        raise ValueError(f"{url} is neither https nor this machine")
    return url


def _agreed(target: str, document: dict[str, Any], size: int, yes: bool) -> None:
    if yes:
        return
    if not _asked():
        raise UsageError("--to: nobody is here to be asked; --yes says that it may be sent")
    models = ", ".join(dict.fromkeys(str(result["model"]) for result in document["results"]))
    if not typer.confirm(f"Send {_count(document)} ({models}; {size} bytes) to {target}?", err=True):
        raise typer.Abort


def _count(document: dict[str, Any]) -> str:
    count = len(document["results"])
    return f"{count} results" if count != 1 else "1 result"


def _asked() -> bool:
    """Whether somebody sits there."""
    return sys.stdin.isatty()


async def _send(target: str, document: dict[str, Any]) -> None:
    from tokwatt_exporter.engines.answers import clean
    from tokwatt_exporter.engines.client import Client

    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        async with Client(f"{parts.scheme}://{parts.netloc}", deadline=SECONDS, patience=SECONDS) as client:
            answer = await client.post(path, document)
    except EngineError as error:
        raise TokwattError(f"{target}: {error}") from None
    if not 200 <= answer.status < 300:
        said = clean(answer.body[:300].decode(errors="replace"))
        raise TokwattError(f"{target}: answered HTTP {answer.status}" + (f": {said}" if said else ""))
