"""The collectors that need few words: host, power mode, process, and the files they all read."""

import json
import os
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fakes.sysfs import Machine
from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors import host as host_module
from tokwatt_exporter.collectors.host import Host, installed_revision, os_release
from tokwatt_exporter.collectors.linux_files import cpu_list, entries, number, text
from tokwatt_exporter.collectors.linux_power_mode import LinuxPowerMode
from tokwatt_exporter.collectors.process import Process
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def sample(collector):
    return Snapshot.of(0, collector.read())


# Host


def host(machine):
    answers = SimpleNamespace(
        system=lambda: "Linux",
        machine=lambda: "arm64",
        python_version=lambda: "3.12.1",
    )
    return Host(machine.proc, machine.sys, machine.etc, answers)


def labels(collector, family):
    [pairs] = sample(collector).values[family]
    return dict(pairs)


def test_host_identity_has_no_serial_number(machine):
    machine.write(
        "sys/class/dmi/id", {"product_name": "Precision 7875", "product_serial": "SECRET", "product_uuid": "S"}
    )
    assert labels(host(machine), c.HOST_INFO)["machine_model"] == "Precision 7875"
    assert "S" not in labels(host(machine), c.HOST_INFO).values()


@pytest.mark.parametrize("form", ["To Be Filled By O.E.M.", "System Product Name", "Default string", "None", " "])
def test_a_form_that_the_maker_left_empty_is_no_model(machine, form):
    machine.write("sys/class/dmi/id", {"product_name": form, "board_name": "B650"})
    assert labels(host(machine), c.HOST_INFO)["machine_model"] == "B650"


def test_what_is_not_known_of_the_host_is_left_out(machine):
    assert labels(host(machine), c.HOST_INFO).keys() == {"os", "arch"}


def test_the_distribution_is_name_and_version(machine):
    machine.write("etc", {"os-release": "# the maker's comment=1\nNAME='openSUSE Leap'\n\nVERSION_ID=\"16.0\"\nID=x"})
    assert os_release(machine.etc / "os-release") == "openSUSE Leap 16.0"


def test_identity_is_read_once(machine):
    collector = host(machine)
    sample(collector)
    machine.write("etc", {"os-release": 'NAME="Other"'})
    assert "os_version" not in labels(collector, c.HOST_INFO)


def test_the_build_is_the_version_and_the_python(machine):
    found = labels(host(machine), c.BUILD_INFO)
    assert found["version"] == __version__
    assert found["python_version"] == "3.12.1"


def test_the_revision_is_the_commit_that_the_installer_wrote_down(tmp_path, monkeypatch):
    info = tmp_path / "tokwatt_x-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tokwatt-x\nVersion: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_revision("tokwatt-x") is None
    origin = {"url": "https://example.org/x", "vcs_info": {"vcs": "git", "commit_id": "4cf4ed0"}}
    (info / "direct_url.json").write_text(json.dumps(origin))
    assert installed_revision("tokwatt-x") == "4cf4ed0"


def test_a_copy_that_was_never_installed_has_no_revision(machine, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(host_module.metadata, "distribution", missing)
    assert "revision" not in labels(host(machine), c.BUILD_INFO)


# Power mode


@pytest.mark.parametrize(
    ("profile", "mode"),
    [
        ("low-power", "low"), ("cool", "low"), ("quiet", "low"), ("balanced", "automatic"),
        ("balanced-performance", "high"), ("performance", "high"), ("max-power", "high"),
    ],
)  # fmt: skip
def test_each_platform_profile_is_one_of_our_modes(machine, profile, mode):
    machine.write("sys/firmware/acpi", {"platform_profile": profile})
    states = sample(LinuxPowerMode(machine.sys)).values[c.POWER_MODE]
    assert [dict(pairs)["state"] for pairs, value in states.items() if value] == [mode]


def test_a_custom_profile_is_no_mode(machine):
    machine.write("sys/firmware/acpi", {"platform_profile": "custom"})
    assert not sample(LinuxPowerMode(machine.sys)).values


def test_firmware_without_profiles_has_no_mode(machine):
    with pytest.raises(NotAvailable, match="no platform profile"):
        sample(LinuxPowerMode(machine.sys))


# The process


def test_the_process_counts_its_own_cpu_time_memory_files_and_start():
    collector = Process()
    before = sum(psutil.Process().cpu_times()[:2])
    now = sample(collector)
    assert before <= now.get(c.PROCESS_CPU(0)) <= sum(psutil.Process().cpu_times()[:2])
    assert now.get(c.PROCESS_RESIDENT_MEMORY(0)) > 1_000_000
    assert now.get(c.PROCESS_START_TIME(0)) == pytest.approx(psutil.Process().create_time())
    with Path(os.devnull).open(), Path(os.devnull).open():
        assert sample(collector).get(c.PROCESS_OPEN_FDS(0)) == now.get(c.PROCESS_OPEN_FDS(0)) + 2


# The files


def test_a_file_of_proc_that_is_made_in_pieces_is_read_to_its_end(monkeypatch, tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 1\npswpin 5\n")
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: real(descriptor, min(size, 7)))
    assert text(tmp_path / "vmstat") == "nr_free_pages 1\npswpin 5"


def test_a_file_that_cannot_be_read_has_no_value(tmp_path):
    (tmp_path / "empty").write_text("\n")
    assert [text(tmp_path / name) for name in ("empty", "missing", ".")] == [None, None, None]
    assert number(tmp_path / "empty") is None


def test_reading_a_file_leaves_no_descriptor_open(tmp_path):
    (tmp_path / "temp1_input").write_text("40000\n")
    before = psutil.Process().num_fds()
    for _ in range(5):
        assert number(tmp_path / "temp1_input") == 40_000
    assert psutil.Process().num_fds() == before


def test_folders_are_listed_in_natural_order(tmp_path):
    for name in ("card10", "card2", "render1"):
        (tmp_path / name).mkdir()
    assert entries(tmp_path) == ["card2", "card10", "render1"]
    assert entries(tmp_path / "missing") == []


@pytest.mark.parametrize(
    ("content", "cpus"), [("0-3,8,10-11", [0, 1, 2, 3, 8, 10, 11]), ("0 1 2", [0, 1, 2]), ("", []), (None, [])]
)
def test_cpu_lists_of_both_forms_are_read(content, cpus):
    assert list(cpu_list(content)) == cpus
