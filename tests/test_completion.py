"""Completion in the shell: in a real bash, and what each shell is told to offer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import PROGRAMS
from tokwatt_exporter.catalogue import SERIES
from tokwatt_exporter.demo import NAMES
from tokwatt_exporter.engines.registry import KINDS

BIN = Path(sys.executable).parent
#: What a user of bash has after the next login, and what bash does with a press of the key.
BASH = """\
. ~/.bashrc
complete -p {program}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def offered(monkeypatch, capsys):
    """What a shell is told to offer for a line that is not yet complete."""

    def offered(line, shell="bash"):
        program, *words = line.split(" ")
        variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
        with monkeypatch.context() as patched:
            patched.setenv(variable, f"complete_{shell}")
            patched.setenv("COMP_WORDS", line)
            patched.setenv("COMP_CWORD", str(len(words)))
            patched.setenv("_TYPER_COMPLETE_ARGS", line)
            patched.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
            # What completes asks nobody: neither the store nor an engine.
            patched.setitem(sys.modules, "duckdb", None)
            patched.setitem(sys.modules, "httpx", None)
            with pytest.raises(SystemExit):
                PROGRAMS[program]([], prog_name=program)
        return capsys.readouterr().out.splitlines()

    return offered


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("program", "words", "found"),
    [
        ("tokwatt", "tokwatt history query --metric tokwatt_thermal_s", ["tokwatt_thermal_state"]),
        ("tokwatt-bench", "tokwatt-bench run --scenario def", ["default"]),
    ],
)
def test_installed_into_bash_it_completes_there(tmp_path, program, words, found):
    environ = {"HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def bash(script):
        done = subprocess.run(["bash", "--norc", "-c", script], env=environ, capture_output=True, text=True, timeout=60,
                              check=True, stdin=subprocess.DEVNULL)  # fmt: skip
        assert done.stderr == ""
        return done.stdout.splitlines()

    # Two commands, for bash would become a single one, and nobody could tell which shell it was.
    assert "bash completion installed" in bash(f"{program} --install-completion; true")[0]
    rule, *offers = bash(BASH.format(program=program, words=words))
    assert rule.startswith("complete -o default -F")
    assert offers == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tokwatt hist", ["history"]),
        ("tokwatt history q", ["query"]),
        ("tokwatt history query --sin", ["--since"]),
        ("tokwatt run --no-collector.gp", ["--no-collector.gpu"]),
        ("tokwatt history query --metric ", list(SERIES)),
        ("tokwatt history forget --metric tokwatt_thermal_s", ["tokwatt_thermal_state"]),
        ("tokwatt sample --demo ", list(NAMES)),
        ("tokwatt run --log.level w", ["warning"]),
        ("tokwatt run --history.enabled f", ["false"]),
        ("tokwatt proxy --engine ", list(KINDS)),
        ("tokwatt mcp --transport s", ["stdio", "streamable-http", "sse"]),
        ("tokwatt recommend --use-case l", ["latency", "long-context"]),
        ("tokwatt-bench run --engine ll", ["llama_cpp", "llama_swap"]),
        ("tokwatt-bench run --gate r", ["refuse"]),
        ("tokwatt-bench run --api c", ["chat", "completions"]),
        ("tokwatt-bench run --arrivals c", ["constant"]),
        ("tokwatt-bench quality --suite needle,ne", []),
        ("tokwatt-bench quality --suite needle,co", ["needle,code"]),
        ("tokwatt-bench report --format h", ["html"]),
        ("tokwatt-bench explain tt", ["ttft", "ttfat", "ttfo", "ttfot"]),
    ],
)
def test_what_completes(offered, line, found):
    assert [word for word in offered(line) if word] == found


def test_every_scenario_is_offered(offered):
    from tokwatt_bench.scenarios import SCENARIOS

    assert offered("tokwatt-bench ab --scenario ") == ["default", *SCENARIOS]


@pytest.mark.parametrize(("shell", "between"), [("zsh", '":"'), ("fish", "\t")])
def test_zsh_and_fish_also_say_what_a_metric_is(offered, shell, between):
    [line] = offered("tokwatt history query --metric tokwatt_memory_si", shell)
    assert f"tokwatt_memory_size_bytes{between}{SERIES['tokwatt_memory_size_bytes'].help}" in line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_shell_has_its_script(monkeypatch, capsys, shell, program):
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    monkeypatch.setenv(variable, f"source_{shell}")
    with pytest.raises(SystemExit):
        PROGRAMS[program]([], prog_name=program)
    assert f"{variable}=complete_{shell}" in capsys.readouterr().out
