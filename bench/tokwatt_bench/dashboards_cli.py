"""`tokwatt-bench dashboards`: the boards for Grafana, as files or into a running one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokwatt_exporter import __version__, parse
from tokwatt_exporter.errors import EngineError, TokwattError, UsageError
from tokwatt_exporter.examples import examples

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from tokwatt_exporter.engines.client import Client

app = typer.Typer(help="Put the boards for Grafana where it finds them.", no_args_is_help=True)
SECONDS = 30.0


@app.command()
@examples("tokwatt-bench dashboards export /var/lib/grafana/dashboards")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write them into, such as one that Grafana provisions.",
                                           metavar="DIR")],
) -> None:  # fmt: skip
    """Write the boards as files, in place of older ones."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in boards().items():
            (folder / name).write_text(text, encoding="utf-8")
            sys.stdout.write(f"{folder / name}\n")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None


@app.command()
@examples("tokwatt-bench dashboards push --url http://127.0.0.1:3000 --token-file token")
def push(
    url: Annotated[str, typer.Option(help="Address of Grafana.", metavar="URL")],
    token_file: Annotated[Path, typer.Option(help="File with the token of a service account, readable by its owner "
                                             "only. It needs the role Editor.", metavar="FILE")],
    folder: Annotated[str | None, typer.Option(help="UID of the folder. Default: the one a board is in already.",
                                               metavar="UID")] = None,
    allow_insecure: Annotated[bool, typer.Option("--allow-insecure", help="Send the token over plain http to another "
                                                 "machine all the same.")] = False,
) -> None:  # fmt: skip
    """Save the boards in a running Grafana, in place of older ones."""
    import asyncio

    from tokwatt_exporter.credentials import read_secret
    from tokwatt_exporter.engines.client import is_loopback

    url = parse.flag("--url", parse.engine_url, url)
    if url.startswith("http:") and not is_loopback(url) and not allow_insecure:
        raise UsageError(f"--url: {url} would get the token unencrypted; use https or --allow-insecure")
    token = read_secret(token_file, f"--token-file {token_file}", "token").decode("ascii")
    asyncio.run(_push(url, token, folder))


def boards() -> dict[str, str]:
    """Each board's JSON by the name of its file; `TokwattError` where this installation lacks them."""
    from importlib import resources

    # A checkout has them where they are made, a wheel inside of the package.
    places: tuple[Traversable, ...] = (
        resources.files("tokwatt_bench").joinpath("dashboards"), Path(__file__).parents[2] / "grafana/dashboards",
    )  # fmt: skip
    for place in places:
        if place.is_dir():
            found = {one.name: one.read_text(encoding="utf-8") for one in place.iterdir() if one.name.endswith(".json")}
            if found:
                return dict(sorted(found.items()))
    raise TokwattError(
        "the boards are not in this installation; they are in grafana/dashboards of tokwatt's repository"
    )


async def _push(url: str, token: str, folder: str | None) -> None:
    from tokwatt_exporter.engines.client import Client
    from tokwatt_exporter.engines.keys import Key

    async with Client(url, key=Key(lambda: token), allow_insecure=True, deadline=SECONDS, patience=SECONDS) as grafana:
        for name, text in boards().items():
            board = json.loads(text)
            try:
                where = await _saved(grafana, board, folder)
            except EngineError as error:
                raise TokwattError(f"{name}: {url}: {error}") from None
            sys.stdout.write(f"{board['title']}: {url}{where}\n")


async def _saved(grafana: Client, board: dict[str, Any], folder: str | None) -> str:
    """The path under which a board is shown now; `EngineError` says why it was not saved."""
    body = {
        # Grafana would take an id of another database for one of its own.
        "dashboard": {**board, "id": None}, "overwrite": True, "message": f"tokwatt {__version__}",
        "folderUid": await _folder(grafana, board["uid"]) if folder is None else folder,
    }  # fmt: skip
    answer = await grafana.post("/api/dashboards/db", body)
    said = _json(answer.body)
    if answer.status != 200:
        raise EngineError(_why(answer.status, said))
    if said.get("status") != "success" or not str(said.get("url", "")).startswith("/"):
        raise EngineError("answered something that Grafana does not; is this its address?")
    # With a path of its own Grafana has that in the URL, too.
    own = grafana.url.partition("://")[2].partition("/")[2]
    return str(said["url"]).removeprefix(f"/{own}") if own else str(said["url"])


async def _folder(grafana: Client, uid: str) -> str:
    """The folder a board is in: saving it without one would move it to the top."""
    answer = await grafana.get(f"/api/dashboards/uid/{uid}")
    if answer.status == 404:
        return ""
    said = _json(answer.body)
    if answer.status != 200:
        raise EngineError(_why(answer.status, said))
    meta = said.get("meta")
    return str(meta.get("folderUid") or "") if isinstance(meta, dict) else ""


def _why(status: int, said: dict[str, Any]) -> str:
    from tokwatt_exporter.engines.answers import clean

    told = clean(said.get("message"))
    hint = {
        401: "the token is not valid, or expired",
        403: "the token may not save dashboards there: give its service account the role Editor",
        404: "there is no such folder, or no Grafana under this URL",
        412: "somebody changed it meanwhile",
    }.get(status, "")
    return ": ".join(filter(None, (f"HTTP {status}", hint, told)))


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
