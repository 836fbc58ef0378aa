"""The units: what systemd makes of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tokwatt_exporter.service import unit
from tokwatt_exporter.service.base import Command

TOKWATT = str(Path(sys.executable).parent / "tokwatt")
ODD = ("a b", "100%h", "$HOME", "${HOME}", 'say "so"', "back\\slash", "it's", ";", "é⚡", "-", "a=b,c")


def analyze(*arguments, runtime):
    if not shutil.which("systemd-analyze"):
        pytest.skip("this machine has no systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
    )  # fmt: skip


def written(folder, *arguments, system):
    path = folder / unit.NAME
    path.write_text(unit.make(Command(TOKWATT, arguments), system=system))
    return path


@pytest.mark.parametrize("system", [True, False], ids=["system", "user"])
def test_systemd_understands_every_line(tmp_path, system):
    path = written(tmp_path, *ODD, system=system)
    result = analyze("verify", "--man=no", "--system" if system else "--user", path, runtime=tmp_path)
    ours = [line for line in (result.stdout + result.stderr).splitlines() if "tokwatt" in line]
    assert (result.returncode, ours) == (0, [])


def test_systemd_would_say_so_if_it_did_not(tmp_path):
    path = written(tmp_path, system=False)
    path.write_text(path.read_text().replace("RestartSec=10s", "RestartSeconds=soon"))
    assert "RestartSeconds" in analyze("verify", "--man=no", "--user", path, runtime=tmp_path).stderr


@pytest.mark.parametrize(("system", "most"), [(True, 20), (False, 70)], ids=["system", "user"])
def test_systemd_finds_no_more_exposed_than_must_be(tmp_path, system, most):
    path = written(tmp_path, system=system)
    result = analyze("security", "--offline=true", f"--threshold={most}", "--no-pager", path, runtime=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_systemd_replaces_nothing_in_an_argument():
    # As systemd.service(5) and systemd.unit(5) have it, and as a systemd 252 handed them on.
    assert unit.quote("$HOME/100%") == "$$HOME/100%%"
    assert unit.quote('a "b" \\') == '"a \\"b\\" \\\\"'
    assert unit.quote(";") == '";"'
    assert "ExecStart=/opt/$x/tokwatt run" in unit.make(Command("/opt/$x/tokwatt"), system=False)


def test_every_argument_is_read_as_it_was_written(tmp_path):
    path = written(tmp_path, *ODD, system=False)
    assert unit.read(path) == Command(TOKWATT, ODD)


def test_only_the_unit_of_the_machine_has_a_user_of_its_own():
    own, machine = (unit.make(Command(TOKWATT), system=system) for system in (False, True))
    assert "DynamicUser" not in own
    assert "DynamicUser=yes" in machine
    assert "WantedBy=default.target" in own
    assert "WantedBy=multi-user.target" in machine
    # Without privileges these need a user namespace, where engines' processes cannot be seen.
    assert not any(line.startswith(("Protect", "Private", "Device")) for line in own.splitlines())


def test_a_unit_of_something_else_is_none_of_ours(tmp_path):
    path = tmp_path / unit.NAME
    assert unit.read(path) is None
    path.write_text("[Service]\nExecStart=/bin/true walk\n")
    assert unit.read(path) is None
    path.write_text("[Service]\n")
    assert unit.read(path) is None
