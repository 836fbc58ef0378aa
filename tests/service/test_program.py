"""The path of the program that a service runs, and what is wrong with some."""

import os
import sys
from pathlib import Path

import pytest

from tokwatt_exporter.errors import ServiceError, UsageError
from tokwatt_exporter.service import program


@pytest.fixture
def executable(tmp_path):
    path = tmp_path / "venv/bin/tokwatt"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_it_is_the_one_that_was_called_and_its_link_is_kept(executable, tmp_path, monkeypatch):
    link = tmp_path / "tokwatt"
    link.symlink_to(executable)
    monkeypatch.setattr(sys, "argv", [str(link)])
    assert program.installed() == str(link)


def test_a_relative_call_becomes_an_absolute_path(executable, monkeypatch):
    monkeypatch.chdir(executable.parent)
    monkeypatch.setattr(sys, "argv", ["../bin/tokwatt"])
    assert program.installed() == str(executable)


def test_called_as_a_module_it_is_the_one_beside_python(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/tokwatt_exporter/__main__.py"])
    assert program.installed() == str(Path(sys.executable).parent / "tokwatt")


def test_else_it_is_the_one_on_path(executable, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", str(executable.parent))
    assert program.installed() == str(executable)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServiceError, match="no tokwatt program"):
        program.installed()


@pytest.mark.parametrize(
    "path",
    [
        "/tmp/x/bin/tokwatt",
        "/private/var/folders/ab/cd/T/venv/bin/tokwatt",
        "/home/me/.cache/uv/archive-v0/abc/bin/tokwatt",
        "/Users/me/Library/Caches/uv/archive-v0/abc/bin/tokwatt",
        "/home/me/.local/pipx/.cache/abc/bin/tokwatt",
    ],
)
def test_a_place_for_temporary_files_is_warned_of(path):
    [warning] = program.warnings(path)
    assert path in warning
    assert "temporary" in warning


def test_a_path_that_an_upgrade_of_homebrew_removes_is_warned_of_with_the_one_that_stays():
    [warning] = program.warnings("/opt/homebrew/Cellar/tokwatt/0.1.0/bin/tokwatt")
    assert "call /opt/homebrew/opt/tokwatt/bin/tokwatt instead" in warning


@pytest.mark.parametrize(
    "path",
    ["/opt/tokwatt/bin/tokwatt", "/opt/homebrew/bin/tokwatt", "/home/me/.local/share/uv/tools/tokwatt/bin/tokwatt"],
)
def test_a_path_that_stays_is_fine(path):
    assert program.warnings(path) == []


def test_a_link_out_of_reach_is_seen(executable, tmp_path):
    link = tmp_path / "opt-tokwatt"
    link.symlink_to(executable)
    program.check_reachable(str(link), ["/nowhere"])
    with pytest.raises(UsageError, match=f"cannot see {executable}"):
        program.check_reachable(str(link), [str(executable.parents[1])])


def test_a_python_out_of_reach_is_seen(executable, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "pyenv/3.11"))
    with pytest.raises(UsageError, match=r"cannot see .*pyenv"):
        program.check_reachable("/usr/bin/true", [str(tmp_path / "pyenv")])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_root_does_not_run_what_others_can_change(monkeypatch):
    for name in ("executable", "prefix"):
        monkeypatch.setattr(sys, name, "/usr/bin/env")
    program.check_owner("/usr/bin/env")


def test_what_others_can_change_is_not_for_root(executable, monkeypatch):
    for name in ("executable", "prefix"):
        monkeypatch.setattr(sys, name, "/usr/bin/env")
    executable.chmod(0o777)
    with pytest.raises(UsageError, match="--user root: others than root can change"):
        program.check_owner(str(executable))
