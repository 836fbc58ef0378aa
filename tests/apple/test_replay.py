"""What is read from recordings of Macs, through bindings, fake and sampler: `make replay-apple`."""

import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.apple.machines import MACHINES, ROOT
from support.captures import shared_captures

PROGRAM = Path(__file__).parents[1] / "replay_apple.py"


def run(*folders):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, folders)], capture_output=True, text=True, timeout=250, check=False
    )


def replayed(folder):
    """By file: the series that were read with their values, or the words behind `none: `."""
    result = run(folder)
    assert (result.returncode, result.stderr) == (0, "")
    return {name: series(held) for name, held in (line.split("\t") for line in result.stdout.splitlines())}


def series(held):
    if held.startswith("none: "):
        return held.removeprefix("none: ")
    return {
        name.removeprefix("tokwatt_"): float(value)
        for name, value in (one.rsplit("=", 1) for one in held.split("; "))
    }  # fmt: skip


@pytest.fixture(scope="module")
def recorded():
    return replayed(shared_captures() / "macos")


#: Small recordings, replayed together.
SMALL = {
    "battery": "+-o AppleSmartBattery  <class AppleSmartBattery, id 0x100000963, registered>\n    {\n"
    '      "InstantAmperage" = 18446744073709550616\n      "Voltage" = 12000\n      "CurrentCapacity" = 73\n'
    '      "MaxCapacity" = 100\n      "ExternalConnected" = No\n    }\n',
    "disk": '  | "Statistics" = {"Bytes (Read)"=5000000000,"Bytes (Write)"=7}\n',
    "m6": "+-o pmgr  <class AppleARMIODevice, id 0x100000112, registered>\n"
    "  +-o pmgr-child  <class AppleARMIODevice, id 0x100000113, registered>\n      {\n"
    '        "voltage-states1-sram" = <20cc100090010000a0252600f4010000>\n      }\n',
    "states and tables": "voltage-states5-sram: (f) 1000000000 3000000000\n"
    'CPU Stats :: CPU Core Performance States :: PCPU000 (24Mticks) = [("DOWN", 5), ("IDLE", 1), ("V0P1", 1), '
    '("V1P0", 3)]\n',
    "two tables": "voltage-states1-sram (f) 1020000 2592000\nvoltage-states5-sram (f) 1260000 4512000\n",
    "tree": "+-o cpus  <class IOPlatformDevice, id 0x100000110, registered>\n"
    "  +-o cpu0@0  <class IOPlatformDevice, id 0x100000111, registered>\n"
    '      {\n        "logical-cpu-id" = <00000000>\n        "cluster-type" = <"E">\n      }\n'
    "  +-o cpu1@1  <class IOPlatformDevice, id 0x100000112, registered>\n"
    '      {\n        "logical-cpu-id" = <01000000>\n        "cluster-type" = <"P">\n      }\n',
    "idle gpu": 'GPU Stats :: GPU Performance States :: GPUPH (24Mticks) = [("OFF", 50), ("P1", 0)]\n',
    "heavy": "com.apple.system.thermalpressurelevel 2\n",
    "level of iOS": "com.apple.system.thermalpressurelevel 30\n",
    "hello": "hello\n",
    "empty": "",
    "bytes": bytes(range(256)),
    "list": plistlib.dumps([]),
    "x.source": "hw.memsize: 8589934592\n",
    "README.md": "hw.memsize: 8589934592\n",
    "INDEX.md": "hw.memsize: 8589934592\n",
    ".hidden": "hw.memsize: 8589934592\n",
    "below/x": "hw.memsize: 8589934592\n",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "below").mkdir()
    for name, text in SMALL.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return replayed(folder)


def test_every_recording_has_a_line_and_no_other_file_has(recorded):
    folder = shared_captures() / "macos"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert recorded.keys() == {name for name in files if not name.endswith(".source")}


def test_no_recording_breaks_anything(recorded):
    assert {name: held for name, held in recorded.items() if isinstance(held, str) and "crashed" in held} == {}


def test_each_counter_of_two_dies_is_counted_once(recorded):
    found = recorded["ioreport/m1ultra_mac13-2_macos27.0_26A428_energy_model.tsv"]
    watts = {device: found[f'device_power_watts{{device="{device}"}}'] for device in ("cpu", "gpu0", "ane", "dram")}
    assert watts == {"cpu": 2, "gpu0": 1, "ane": 2, "dram": 2}


def test_shares_of_states_are_those_of_the_recording(recorded):
    found = recorded["ioreport/m4pro_macos27_cpu_gpu_states_partial.txt"]
    assert found['gpu_utilization_ratio{device="gpu0"}'] == pytest.approx(1480080 / (1148773 + 1480080), rel=1e-9)
    assert not any("frequency" in name or "cpu" in name for name in found), "there are no tables of clocks in it"


def test_tables_give_the_highest_clocks(recorded):
    found = recorded["dvfs/a18pro_mac17-5_macos26.6.2_pmgr_raw_partial.txt"]
    assert found['gpu_frequency_max_hertz{device="gpu0"}'] == 1_470_000_000
    assert found['cpu_frequency_max_hertz{cluster="cpu"}'] == 4_044_000_000  # 65536000 / 0x3F4D MHz


def test_the_load_of_the_gpu_is_not_its_decoy(recorded):
    found = recorded["ioreg/m5x_g17x_llm_busy_agx_trim.txt"]
    assert found == {
        'gpu_driver_utilization_ratio{device="gpu0",kind="device"}': 0.99,
        'gpu_driver_utilization_ratio{device="gpu0",kind="renderer"}': 0.01,
        'gpu_driver_utilization_ratio{device="gpu0",kind="tiler"}': 0,
        'gpu_memory_allocated_bytes{device="gpu0"}': 31368167424,
        'gpu_memory_used_bytes{device="gpu0"}': 28367667200,
        'gpu_recoveries_total{device="gpu0"}': 0,
    }


def test_what_vm_stat_left_out_has_no_series(recorded):
    found = recorded["memory/m3max_macos26.6.2_vm_stat.txt"]
    assert found['memory_used_bytes{kind="wired"}'] == 221191 * 16384
    assert found['memory_used_bytes{kind="app"}'] == (1624916 - 20933) * 16384
    assert not any(name.startswith("swap") for name in found)


def test_levels_of_cores_have_the_names_that_macos_gives_them(recorded):
    found = recorded["sysctl/m6_macos27.0.1_perflevels_partial.txt"]
    cores = {name: value for name, value in found.items() if name.startswith("cpu_cores")}
    assert cores == {
        'cpu_cores{cluster="super"}': 2,
        'cpu_cores{cluster="performance"}': 4,
        'cpu_cores{cluster="efficiency"}': 6,
    }


def test_swap_in_german_is_the_same_swap(recorded):
    assert recorded["sysctl/m_swapusage_de_DE_comma.txt"] == {
        "swap_size_bytes": 2**30,
        "swap_used_bytes": round(80.31 * 2**20),
    }


def test_a_stream_of_powermetrics_is_read_by_its_collector(recorded):
    found = recorded["powermetrics/m4pro_mac16-8_macos15.5_24F74_gpu_power.plist"]
    assert found['device_energy_joules_total{device="gpu0"}'] == 0.009
    assert "no energy" in recorded["powermetrics/m4pro_mac16-8_macos15.5_24F74_battery_multiple_samples.plist"]


def test_a_battery_gives_ratios_and_signed_watts(small):
    found = small["battery"]
    assert (found["battery_power_watts"], found["battery_charge_ratio"]) == (-12.0, 0.73)


def test_a_disk_whose_name_was_not_recorded_is_unnamed(small):
    assert small["disk"] == {
        'disk_read_bytes_total{device="unnamed"}': 5_000_000_000,
        'disk_written_bytes_total{device="unnamed"}': 7,
    }


def test_tables_of_an_m6_are_found_below_the_power_manager(small):
    assert small["m6"] == {'cpu_frequency_max_hertz{cluster="cpu"}': 2_500_000_000}


def test_states_and_tables_in_one_file_give_the_clock(small):
    assert small["states and tables"] == {
        'cpu_frequency_hertz{cluster="cpu"}': 2_500_000_000,
        'cpu_frequency_max_hertz{cluster="cpu"}': 3_000_000_000,
    }


def test_tables_of_two_kinds_of_cores_are_of_two_clusters(small):
    assert small["two tables"] == {
        'cpu_frequency_max_hertz{cluster="efficiency"}': 2_592_000_000,
        'cpu_frequency_max_hertz{cluster="performance"}': 4_512_000_000,
    }


def test_cores_are_counted_where_their_tree_was_recorded_and_nowhere_else(small):
    assert small["tree"] == {'cpu_cores{cluster="efficiency"}': 1, 'cpu_cores{cluster="performance"}': 1}
    assert [name for name, held in small.items() if "cpu_cores" in str(held)] == ["tree"]


def test_an_idle_gpu_is_not_taken_for_what_was_made_up(small):
    assert small["idle gpu"] == {'gpu_busy_seconds_total{device="gpu0"}': 0, 'gpu_utilization_ratio{device="gpu0"}': 0}


def test_heavy_thermal_pressure_is_time_spent_throttled(small):
    found = small["heavy"]
    assert found['thermal_state{state="serious"}'] == 1
    assert found['throttled_seconds_total{device="soc",reason="thermal"}'] == 5


def test_a_level_of_another_system_is_no_reading(small):
    assert "macOS does not have" in small["level of iOS"]


def test_of_a_recording_that_has_nothing_nothing_is_made_up(small):
    assert {type(small[name]) for name in ("hello", "empty", "bytes", "list")} == {str}


def test_files_beside_recordings_have_no_line(small):
    assert SMALL.keys() - small.keys() == {"x.source", "README.md", "INDEX.md", ".hidden"}
    assert small["below/x"] == {"memory_size_bytes": 8589934592}


def test_a_folder_that_is_not_there_is_one_line_and_2(tmp_path):
    result = run(tmp_path / "none")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)


def test_what_breaks_costs_its_own_line_only(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("hw.memsize: 8589934592\n")
    program = (
        "import ctypes, sys, replay_apple as r\n"
        "whole, broken = r.replay, {'a': lambda: 1 / 0, 'b': lambda: ctypes.string_at(0)}\n"
        "r.replay = lambda path: broken[path.name]() if path.name in broken else whole(path)\n"
        "r.main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, cwd=PROGRAM.parent)
    assert result.stdout.splitlines() == [
        "a\tnone: crashed, ZeroDivisionError: division by zero",
        "b\tnone: crashed, no word",
        "c\ttokwatt_memory_size_bytes=8589934592",
    ]


def test_files_of_our_own_machines_are_all_used():
    found = replayed(ROOT)
    assert {name.split("/")[0] for name in found} == set(MACHINES)
    assert {name: held for name, held in found.items() if isinstance(held, str)} == {}
