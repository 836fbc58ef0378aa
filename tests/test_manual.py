"""docs/cli.md and the man pages: every command and option is in them, and roff reads them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.commands import PROGRAMS, commands
from tokwatt_exporter import config, examples

pytestmark = pytest.mark.text

DOCS = Path(__file__).parents[1] / "docs"
COMMANDS = dict(commands())
#: What is a macro of man(7) or a request that all readers of man pages know.
MACROS = {".TH", ".SH", ".TP", ".PP", ".nf", ".fi", ".nh", ".ad", '.\\"'}


def sections(text):
    return dict(re.findall(r"^###? (tokwatt[^\n]*)\n(.*?)(?=^##|\Z)", text, re.M | re.S))


def plain(page):
    """A man page as it reads, without the macros and fonts."""
    text = re.sub(r"\\f[BIR]", "", page).replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~")
    return re.sub(r"\\\[u([0-9A-F]{4})\]", lambda found: chr(int(found[1], 16)), text)


def words(text):
    """The same, however its lines end and its words are marked."""
    return " ".join(text.replace("`", "").split())


def names(command):
    options = [p for p in command.params if p.param_type_name == "option"]
    return [name for p in options for name in (*p.opts, *p.secondary_opts)]


CLI = sections((DOCS / "cli.md").read_text())
SETTINGS = (DOCS / "configuration.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_argument_and_example_of_a_command_is_in_the_documents(name):
    command, section = COMMANDS[name], CLI[name]
    page = plain((DOCS / f"man/{name.replace(' ', '-')}.1").read_text())
    every = "[setting](configuration.md#settings)" in section
    run = plain((DOCS / "man/tokwatt-run.1").read_text()) if "of tokwatt-run(1)" in page else ""
    for option in names(command):
        setting = option.removeprefix("--").removeprefix("no-")
        assert re.search(rf"[`/ ]{option}[`/, ]", section) or (every and f"`{setting}`" in SETTINGS), option
        assert re.search(rf"^(\S+, |\S+/)?{option}\b", page + run, re.M), option
    for parameter in command.params:
        what = words(parameter.help.partition(" Default: ")[0])
        assert what in words(page + run), what
        shared = every and what.removeprefix("Read ").rstrip(".") in words(SETTINGS)
        assert shared or what in words(section.replace("\\|", "|")), what
    assert command.help.splitlines()[0] in section
    for line in examples.of(command):
        assert line in section
        assert line in page


def test_a_setting_is_shown_with_its_variable_and_its_default():
    assert "| `--data-dir DIR` | `TOKWATT_DATA_DIR` | Where the history is kept. |" in CLI["tokwatt history info"]
    assert "| `--webhook URL` |  | `TOKWATT_WATCH_WEBHOOK` |" in CLI["tokwatt watch"]
    assert "| `--since DURATION` | `1h` |" in CLI["tokwatt history query"]
    # The service does not see what is set where it is installed.
    assert config.variable("data-dir") not in CLI["tokwatt service install"]


def test_there_is_a_man_page_of_every_command_and_no_other():
    groups = {name.rpartition(" ")[0] for name in COMMANDS}
    expected = {f"{name.replace(' ', '-')}.1" for name in {*COMMANDS, *PROGRAMS, *groups}}
    assert {path.name for path in (DOCS / "man").iterdir()} == expected


def test_man_pages_have_only_what_every_reader_of_them_knows():
    for path in (DOCS / "man").iterdir():
        text = path.read_text()
        assert text.isascii()
        for line in text.splitlines():
            assert line, f"{path.name}: an empty line"
            assert not line.startswith("'")
            assert not line.startswith(".") or line.split()[0] in MACROS, f"{path.name}: {line}"
            assert set(re.findall(r"\\(.)", line)) <= set('-&e(f["'), f"{path.name}: {line}"


@pytest.mark.skipif(not shutil.which("groff"), reason="there is no groff")
def test_groff_has_no_word_to_say_about_them():
    pages = sorted((DOCS / "man").iterdir())
    done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", *pages], capture_output=True, text=True, timeout=60,
                          check=True)  # fmt: skip
    assert done.stderr == ""
