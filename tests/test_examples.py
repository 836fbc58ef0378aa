"""The examples of the commands: each has some, and each is a line that works."""

import re

import pytest
import typer

from support.commands import PROGRAMS, commands, parsed
from tokwatt_exporter import examples
from tokwatt_exporter.catalogue import CATALOGUE, SERIES

pytestmark = pytest.mark.text

COMMANDS = dict(commands())
LINES = [(name, line) for name, command in COMMANDS.items() for line in examples.of(command)]


def test_every_command_has_examples():
    assert {name for name, command in COMMANDS.items() if not examples.of(command)} == set()


@pytest.mark.parametrize(("name", "line"), LINES)
def test_an_example_is_a_line_that_its_command_understands(name, line):
    called, _ = parsed(line)
    assert called == name
    assert len(line) <= examples.WIDTH
    assert {word for word in re.findall(r"\btokwatt_\w+", line) if word not in CATALOGUE | SERIES} == set()


@pytest.mark.parametrize("line", ["tokwatt top --evry 1s", "tokwatt tpo", "tokwatt recommend --context many"])
def test_an_example_with_a_mistake_would_be_found(line):
    with pytest.raises(typer.TyperException):
        parsed(line)


def test_examples_end_the_help_of_a_command(capsys):
    PROGRAMS["tokwatt"](["top", "--help"], standalone_mode=False)
    said = capsys.readouterr().out
    assert all(line in said for line in examples.of(COMMANDS["tokwatt top"]))


def test_what_rich_would_take_for_markup_is_shown_as_it_is_written(capsys):
    app = typer.Typer(pretty_exceptions_enable=False)
    line = r"tokwatt sample --json | jq '[.readings[bold]]' \\[red]"
    app.command()(examples.examples(line)(lambda: None))
    examples.show_in_help(app)
    app(["--help"], standalone_mode=False)
    assert line in capsys.readouterr().out
