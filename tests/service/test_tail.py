"""The end of a log, and what is added to it while it rotates."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.net import wait_for
from tokwatt_exporter.service import tail


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "tokwatt.log"
    path.write_text("".join(f"{n}\n" for n in range(1, 6)))
    return path


def test_the_last_lines(log, capsys):
    tail.show([log], 2, False)
    assert capsys.readouterr().out == "4\n5\n"


def test_the_last_lines_reach_into_the_file_that_was_rotated_away(log, capsys):
    log.with_name("tokwatt.log.1").write_text("-1\n0\n")
    tail.show([log], 6, False)
    assert capsys.readouterr().out == "0\n1\n2\n3\n4\n5\n"


def test_files_that_are_not_there_yet_are_empty(tmp_path, capsys):
    tail.show([tmp_path / "none.log"], 5, False)
    assert capsys.readouterr().out == ""


def test_two_logs_have_titles_and_one_has_none(log, tmp_path, capsys):
    crashes = tmp_path / "crashes.log"
    crashes.touch()
    tail.show([log, crashes], 1, False)
    assert capsys.readouterr().out == "5\n"
    crashes.write_text("Traceback\n")
    tail.show([log, crashes], 1, False)
    assert capsys.readouterr().out == f"==> {log} <==\n5\n==> {crashes} <==\nTraceback\n"


@pytest.fixture
def followed(log, tmp_path):
    """What `-f` has printed by now."""
    crashes = tmp_path / "crashes.log"
    code = (
        "import sys; from pathlib import Path; from tokwatt_exporter.service import tail; tail._EVERY_SECONDS = 0.05;"
        "tail.show([Path(p) for p in sys.argv[1:]], 1, True)"
    )
    out = tmp_path / "out"
    with out.open("w") as stream:
        process = subprocess.Popen([sys.executable, "-c", code, log, crashes], stdout=stream)
        yield out.read_text
        process.kill()
        process.wait()


def test_following_goes_on_through_a_rotation_and_a_new_log(log, followed):
    wait_for(lambda: followed() == "5\n")
    with log.open("a") as file:
        file.write("6\n")
    wait_for(lambda: followed() == "5\n6\n")
    with log.open("a") as file:
        file.write("7\n")
    log.rename(log.with_name("tokwatt.log.1"))
    log.write_text("8\n")
    wait_for(lambda: followed() == "5\n6\n7\n8\n")
    crashes: Path = log.with_name("crashes.log")
    crashes.write_text("Traceback\n")
    wait_for(lambda: re.search(r"==> .*crashes\.log <==\nTraceback\n\Z", followed()))
    with log.open("a") as file:
        file.write("a longer line\n")
    wait_for(lambda: re.search(r"==> .*tokwatt\.log <==\na longer line\n\Z", followed()))
    log.write_text("9\n")
    wait_for(lambda: re.search(r"\n9\n\Z", followed()))
