"""The managers' tools are real programs: how they are started and what comes back."""

import pytest

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import tool


@pytest.fixture
def program(tmp_path):
    def make(script):
        path = tmp_path / "tool"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_a_tool_is_told_by_its_code_and_what_it_said(program):
    result = tool.run(program('echo "out $1"; echo " why " >&2; exit 113'), "a b")
    assert result == (113, "out a b\n", " why \n")
    assert result.said == "why"


def test_a_tool_speaks_english_whatever_its_user_speaks(program, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert tool.run(program('echo "$LC_ALL $LANG $OWN"'), environ={"OWN": "1"}).out == "C C 1\n"


def test_a_tool_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ServiceError, match="cannot be run: No such file or directory"):
        tool.run(tmp_path / "missing")


def test_a_tool_that_does_not_end_is_not_waited_for_for_ever(program, monkeypatch):
    monkeypatch.setattr(tool, "_SECONDS", 0.2)
    with pytest.raises(ServiceError, match=r"stop now did not end within 0\.2 s"):
        tool.run(program("exec sleep 60"), "stop", "now")
