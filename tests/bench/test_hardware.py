"""Which machine a result is of: from the exporter's own collectors, and nothing that names its owner."""

import os

from fakes.sysfs import Machine
from tokwatt_bench.hardware import hardware
from tokwatt_bench.report.rows import hardware as shown


def machine(tmp_path):
    made = Machine(tmp_path / "machine")
    (made.proc / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Cray X-MP\n")
    (made.proc / "meminfo").write_text("MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable: 1 kB\n")
    dmi = made.sys / "class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "product_name").write_text("Deskmini X300\n")
    (dmi / "product_serial").write_text("SECRET-7\n")
    return made


def test_chip_model_and_memory_are_those_of_the_collectors(tmp_path):
    made = machine(tmp_path)
    found = hardware(made.proc, made.sys)
    assert (found["chip"], found["machine_model"], found["memory"]) == ("Cray X-MP", "Deskmini X300", "64 GiB")
    assert shown({"hardware": found}).startswith("Cray X-MP, Deskmini X300, 64 GiB")


def test_neither_serial_number_nor_host_name_is_in_it(tmp_path):
    made = machine(tmp_path)
    text = str(hardware(made.proc, made.sys))
    assert "SECRET" not in text and os.uname().nodename not in text


def test_what_is_not_known_is_not_in_it(tmp_path):
    found = hardware(tmp_path / "none", tmp_path / "none")
    assert not {"chip", "machine_model", "memory"} & found.keys()
