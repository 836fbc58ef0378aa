"""The commands of both programs as typer builds them, and their parsers without what they call."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer

from tokwatt_bench.cli import app as bench
from tokwatt_exporter.cli import app as exporter

PROGRAMS = {"tokwatt": typer.main.get_command(exporter), "tokwatt-bench": typer.main.get_command(bench)}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what is typed to call it: `tokwatt history query`."""
    for name, program in PROGRAMS.items():
        yield from _below(name, program)


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part, below in command.commands.items():
        yield from _below(f"{name} {part}", below)


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """The command that a line of the shell calls and what it is called with; raises what the parser finds wrong.

    What the command does is not done.
    """
    program, *rest = [word for word in _words(line) if word != "sudo"]
    context = PROGRAMS[program].make_context(program, rest)
    while hasattr(context.command, "resolve_command"):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context.command_path, context.params


def _words(line: str) -> Iterator[str]:
    """The words of the first command of a line: not its comment, not what it is piped into."""
    shell = shlex.shlex(line, posix=True, punctuation_chars=True)
    # To it a # in the middle of a word begins a comment, to a shell it does not.
    shell.whitespace_split, shell.commenters = True, ""
    for word in shell:
        if word.startswith("#") or not word.strip("();<>|&"):
            return
        yield word
