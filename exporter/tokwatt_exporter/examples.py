"""Examples of the commands, written beside each: `--help`, docs/cli.md and man pages show them, a test tries them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import typer

C = TypeVar("C", bound=Callable[..., Any])

#: As wide as they may be: what a terminal wraps is not copied in one piece.
WIDTH = 78


def examples(*lines: str) -> Callable[[C], C]:
    """Give a command its examples: whole lines as they are typed, each with `# what for` behind it where that helps.

    It stands above `with_config`, below `app.command()`.
    """

    def decorate(command: C) -> C:
        command.examples = lines  # type: ignore[attr-defined]
        return command

    return decorate


def of(command: Any) -> tuple[str, ...]:
    """The examples of a function or of the typer command made from it; none where it has none."""
    found: tuple[str, ...] = getattr(getattr(command, "callback", command), "examples", ())
    return found


def show_in_help(app: typer.Typer) -> None:
    """Let `--help` of each command of this application end with its examples."""
    for info in app.registered_commands:
        if lines := of(info.callback):
            info.epilog = "\n".join(("Examples:", *map(_escaped, lines)))
    for group in app.registered_groups:
        if group.typer_instance:
            show_in_help(group.typer_instance)


def _escaped(line: str) -> str:
    """What Rich would take for markup, as its own `escape` does it, which takes 30 ms to import."""
    return re.sub(r"(\\*)(\[[a-z#/@][^\[]*?])", r"\1\1\\\2", line)
