"""What the commands take and do, as their parsers say it, and the page of it; `man.py` makes man pages of the same."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import typer

from tokwatt_bench.cli import app as bench
from tokwatt_exporter import config, examples
from tokwatt_exporter.cli import app as exporter
from tokwatt_exporter.collectors.registry import REGISTRY

PROGRAMS = {"tokwatt": exporter, "tokwatt-bench": bench}

#: What all commands end with: `shell.run_app`, and the gates of the benchmark.
EXIT_CODES = {
    0: "Done.",
    1: "Failed: the line on stderr says why. `doctor`, `history check` and `service status`: something is wrong.",
    2: "Wrong usage: an option, a setting or a file that cannot be used.",
    3: "`tokwatt-bench`: `regress` shows a regression, `quality --fail-under` a low score, `run` and `sweep` with "
    "`--gate refuse` bad conditions, `share --verify` a signature that does not fit.",
    130: "Interrupted.",
}

PAGE = """\
# Commands

Generated from the commands by `make docs`; `COMMAND --help` and the [man pages](#man-pages) say the same.

`tokwatt` watches this machine and its engines, [`tokwatt-bench`](#tokwatt-bench) measures the engines. Results are on
stdout, with `--json` as one JSON document; messages are on stderr. Durations are `500ms`, `5s`, `10m`, `6h`, `14d`; an
option that may be repeated says so.

| Exit code | Means |
|---|---|
{codes}
## Completion in the shell

`tokwatt --install-completion` and `tokwatt-bench --install-completion` set it up for the shell they are called from:
bash, zsh, fish or PowerShell; Homebrew does it by itself. `--show-completion` prints the script instead. Commands,
options, collectors, names of metrics, kinds of engines, scenarios and the words that an option takes are completed.
Nothing is asked for it, neither the history nor an engine.

## Man pages

`man tokwatt` leads to the rest: `man tokwatt-run`, `man tokwatt-history-query`. They come with the installation, in
`share/man` beside its `bin`; pipx and Homebrew put them where `man` looks.
"""


class Option(NamedTuple):
    """An option or an argument: how it is written, without it, the variable that sets it too, and what it does."""

    names: str
    metavar: str
    default: str
    variable: str
    help: str


class Command(NamedTuple):
    """A command, a group of commands, or a program."""

    name: str
    summary: str
    usage: str
    arguments: list[Option]
    #: Without the settings, where it takes all of them.
    options: list[Option]
    #: Whether each setting of docs/configuration.md is an option of it, too.
    settings: bool
    examples: tuple[str, ...]
    #: Names of the commands below it.
    below: list[str]


def commands() -> Iterator[Command]:
    """Programs, groups and commands, each before what is below it."""
    for name, app in PROGRAMS.items():
        yield from _with_below(name, typer.main.get_command(app))


def page() -> str:
    """docs/cli.md."""
    codes = "".join(f"| {code} | {text} |\n" for code, text in EXIT_CODES.items())
    every = {command.name: command for command in commands()}
    return PAGE.format(codes=codes) + "".join(_section(command, every) for command in every.values())


def _section(command: Command, every: dict[str, Command]) -> str:
    level = "##" if command.name in PROGRAMS else "###"
    parts = [f"\n{level} {command.name}\n\n```\n{command.usage}\n```\n\n{_prose(command.summary)}\n"]
    if command.below:
        rows = [(f"[`{name}`](#{name.replace(' ', '-')})", _prose(every[name].summary)) for name in command.below]
        parts.append("\n" + table(("Command", "What it does"), rows))
    if command.examples:
        parts.append("\n```sh\n" + "".join(f"{line}\n" for line in command.examples) + "```\n")
    for header, options in ((("Argument", "Default", "", "What it is"), command.arguments),
                            (("Option", "Default", "Variable", "What it does"), command.options)):  # fmt: skip
        if options:
            cells = [(f"`{' '.join(filter(None, (o.names, o.metavar)))}`", o.default, o.variable and f"`{o.variable}`",
                      _prose(o.help)) for o in options]  # fmt: skip
            columns = [n for n in range(4) if any(row[n] for row in cells)]
            parts.append("\n" + table([header[n] for n in columns], ([row[n] for n in columns] for row in cells)))
    if command.settings:
        shared = "[setting](configuration.md#settings) and [collector](configuration.md#collectors)"
        parts.append(f"\nAnd every {shared} as a flag.\n")
    return "".join(parts)


def _with_below(name: str, command: Any) -> Iterator[Command]:
    below: dict[str, Any] = getattr(command, "commands", {})
    yield _described(name, command, [f"{name} {part}" for part in below])
    for part, one in below.items():
        yield from _with_below(f"{name} {part}", one)


def _described(name: str, command: Any, below: list[str]) -> Command:
    keys: dict[str, str] = getattr(command.callback, "settings", {})
    every = keys.keys() >= {_parameter(key) for key in ALL}
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not (every and keys.get(p.name) in ALL)]
    takes = ["[OPTIONS]", *map(_taken, arguments), *(["COMMAND ..."] if below else [])]
    return Command(
        name, inspect.cleandoc(command.help or ""), " ".join((name, *takes)),
        [_option(a, keys) for a in arguments], [_option(o, keys) for o in options], every, examples.of(command), below,
    )  # fmt: skip


def _taken(argument: Any) -> str:
    name = _metavar(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(parameter: Any, keys: dict[str, str]) -> Option:
    text, default = parameter.help or "", ""
    # What is no value is written into the help; a setting's default is, too.
    if told := re.fullmatch(r"(.+\.) Default: (.+)\.", text, re.S):
        text, default = told[1], told[2]
    elif parameter.show_default and parameter.default not in (None, False, [], ()) and not parameter.required:
        default = f"`{parameter.default:g}`" if isinstance(parameter.default, float) else f"`{parameter.default}`"
    if getattr(parameter, "multiple", False) and "repeatable" not in text.lower():
        text += " Repeatable."
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    names = "/".join(filter(None, (", ".join(parameter.opts), ", ".join(parameter.secondary_opts))))
    if parameter.param_type_name == "argument":
        names = ""
    variable = config.variable(keys[parameter.name]) if parameter.name in keys else parameter.envvar
    return Option(names, "" if _is_flag(parameter) else _metavar(parameter), default, variable or "", text)


def _is_flag(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False)) or parameter.type_descriptor.annotation is bool


def _metavar(parameter: Any) -> str:
    return (parameter.metavar or str(parameter.name).upper()).rstrip(".…")


def _parameter(key: str) -> str:
    return key.replace(".", "_").replace("-", "_")


def _prose(text: str) -> str:
    return text.replace("<", "&lt;")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    head = list(header)
    lines = ([" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in (head, ["---"] * len(head), *rows))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


#: Keys of all settings.
ALL = [f.metadata["key"] for f in config.options()] + [f"collector.{entry.name}" for entry in REGISTRY]


def _settings() -> list[Option]:
    run = typer.main.get_command(exporter).commands["run"]  # type: ignore[attr-defined]
    keys: dict[str, str] = run.callback.settings
    return [_option(p, keys) for p in run.params if keys.get(p.name) in ALL]


SETTINGS = _settings()
