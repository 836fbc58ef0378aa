"""Command-line flags made from `config.options()`, so that a setting is spelled once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from tokwatt_exporter import completion, parse
from tokwatt_exporter import config as configuration
from tokwatt_exporter.collectors.registry import REGISTRY

_FILE = "config.file"


def with_config(*keys: str, collectors: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a typer command the flags of these settings (all of them where none is named) and `--config.file`.

    The command itself takes the loaded `Config` as its first argument, and its own parameters after that.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        flags = list(_flags(keys)) + (list(_collector_flags()) if collectors else [])
        by_name = {parameter.name: key for key, parameter in flags}
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        _complete(own)

        def wrapper(**given: Any) -> Any:
            chosen = {key: given.pop(name) for name, key in by_name.items()}
            # An option that was not given is None, or an empty list where it is repeatable.
            chosen = {key: value for key, value in chosen.items() if value not in (None, [], ())}
            file = chosen.pop(_FILE, None)
            return command(configuration.load(chosen, file=Path(file) if file else None), **given)

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *(p for _, p in flags))]
        wrapper.__name__ = command.__name__
        wrapper.__doc__ = command.__doc__
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        # By the parameter's name: which setting it is, for the documents.
        wrapper.settings = by_name  # type: ignore[attr-defined]
        return wrapper

    return decorate


def _complete(own: Iterable[inspect.Parameter]) -> None:
    for parameter in own:
        for info in getattr(parameter.annotation, "__metadata__", ()):
            info.autocompletion = info.autocompletion or completion.BY_NAME.get(parameter.name)


def _flags(keys: tuple[str, ...]) -> Iterable[tuple[str, inspect.Parameter]]:
    yield _FILE, _parameter(_FILE, str | None, "Configuration file (TOML).", "FILE")
    for f in configuration.options():
        meta = f.metadata
        if not keys or meta["key"] in keys:
            kind = list[str] | None if meta["many"] else str | None
            words = getattr(meta["convert"], "words", ("true", "false") if meta["convert"] is parse.boolean else ())
            help = meta["help"] + _default(meta["default"])
            yield meta["key"], _parameter(meta["key"], kind, help, meta["metavar"], words)


def _collector_flags() -> Iterable[tuple[str, inspect.Parameter]]:
    for entry in REGISTRY:
        key = f"collector.{entry.name}"
        help = f"Read {entry.summary}. Default: {'on' if entry.enabled else 'off'}."
        names = f"--{key}/--no-{key}"
        yield key, _keyword(key, Annotated[bool | None, typer.Option(names, help=help, show_default=False)])


def _parameter(key: str, kind: Any, help: str, metavar: str, words: Iterable[str] = ()) -> inspect.Parameter:
    # Without any, the shell goes on with names of files.
    complete = completion.words(*words) if words else None
    return _keyword(key, Annotated[kind, typer.Option(f"--{key}", help=help, metavar=metavar, show_default=False,
                                                      autocompletion=complete)])  # fmt: skip


def _keyword(key: str, annotation: Any) -> inspect.Parameter:
    name = key.replace(".", "_").replace("-", "_")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _default(value: Any) -> str:
    if callable(value) or value in (None, ()):
        return ""
    shown = ", ".join(value) if isinstance(value, tuple) else str(value).lower() if value in (True, False) else value
    return f" Default: {shown}."
