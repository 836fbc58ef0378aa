"""Memory of a Linux host."""

import pytest

from fakes.sysfs import Machine
from tokwatt_exporter.catalogue import (
    MEMORY_AVAILABLE,
    MEMORY_PRESSURE,
    MEMORY_SIZE,
    MEMORY_STALLED,
    MEMORY_USED,
    SWAP_IN,
    SWAP_OUT,
    SWAP_SIZE,
    SWAP_USED,
)
from tokwatt_exporter.collectors.linux_memory import LinuxMemory, meminfo
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def sample(machine, page_size=4096):
    return Snapshot.of(0, LinuxMemory(machine.proc, page_size).read())


def used(machine):
    return {dict(labels)["kind"]: value for labels, value in sample(machine).values[MEMORY_USED].items()}


def test_sizes_are_bytes_though_the_kernel_writes_kb(machine):
    machine.meminfo(MemTotal=1000, MemAvailable=400, AnonPages=1, SUnreclaim=0)
    assert sample(machine).get(MEMORY_SIZE(0)) == 1_024_000
    assert sample(machine).get(MEMORY_AVAILABLE(0)) == 409_600


def test_page_cache_buffers_and_reclaimable_slab_are_not_used_memory(machine):
    machine.meminfo(MemTotal=1000, AnonPages=1, SUnreclaim=2)
    before = used(machine)
    machine.meminfo(
        MemTotal=1000, AnonPages=1, SUnreclaim=2, Cached=700, Buffers=50, SReclaimable=90, Slab=92, Mapped=300,
        KReclaimable=90, VmallocUsed=40, Mlocked=5,
    )  # fmt: skip
    assert used(machine) == before == {"anon": 1024, "kernel": 2048}


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("AnonPages", "anon"), ("SUnreclaim", "kernel"), ("KernelStack", "kernel"), ("PageTables", "kernel"),
        ("SecPageTables", "kernel"), ("Percpu", "kernel"), ("Shmem", "shmem"), ("Hugetlb", "hugepages"),
        ("Zswap", "compressed"),
    ],
)  # fmt: skip
def test_each_field_is_in_one_kind_only(machine, field, kind):
    fields = dict.fromkeys(("AnonPages", "SUnreclaim", "Shmem", "Hugetlb", "Zswap"), 0)
    machine.meminfo(MemTotal=1000, **{**fields, field: 10})
    assert {name: value for name, value in used(machine).items() if value} == {kind: 10_240}


def test_a_kind_the_kernel_does_not_count_is_absent(machine):
    machine.meminfo(MemTotal=1000, AnonPages=1, SUnreclaim=1)
    assert used(machine).keys() == {"anon", "kernel"}


def test_fields_without_a_unit_are_counts_and_no_bytes(machine):
    machine.meminfo(MemTotal=1000)
    assert meminfo(machine.proc / "meminfo") == {"MemTotal": 1_024_000}


def test_a_kernel_without_swap_has_none(machine):
    machine.meminfo(MemTotal=1000)
    assert not sample(machine).values.keys() & {SWAP_SIZE, SWAP_USED, SWAP_IN, SWAP_OUT}


def test_swap_is_what_is_not_free_of_it(machine):
    machine.meminfo(MemTotal=1000, SwapTotal=500, SwapFree=125)
    assert sample(machine).get(SWAP_SIZE(0)) == 512_000
    assert sample(machine).get(SWAP_USED(0)) == 384_000


def test_swap_traffic_is_pages_times_the_size_of_a_page(machine):
    machine.meminfo(MemTotal=1000)
    machine.write("proc", {"vmstat": "nr_x 1\npswpin 3\npswpout 5\nzswpin 9"})
    now = sample(machine, page_size=16384)
    assert now.get(SWAP_IN(0)) == 3 * 16384
    assert now.get(SWAP_OUT(0)) == 5 * 16384


def test_stalls_are_seconds(machine):
    machine.meminfo(MemTotal=1000)
    machine.pressure(0, 0, some_us=2_500_000, full_us=1_000_000)
    assert sample(machine).get(MEMORY_STALLED(0, scope="some")) == 2.5
    assert sample(machine).get(MEMORY_STALLED(0, scope="full")) == 1


@pytest.mark.parametrize(
    ("some", "full", "state"),
    [
        (0.0, 0.0, "normal"), (9.99, 9.99, "normal"), (10.0, 9.99, "warn"), (100.0, 0.0, "warn"),
        (10.0, 10.0, "critical"), (90.0, 60.0, "critical"),
    ],
)  # fmt: skip
def test_pressure_warns_when_some_tasks_stand_still_and_is_critical_when_all_do(machine, some, full, state):
    machine.meminfo(MemTotal=1000)
    machine.pressure(some, full, 1, 1)
    states = {dict(labels)["state"]: value for labels, value in sample(machine).values[MEMORY_PRESSURE].items()}
    assert states == {name: float(name == state) for name in ("normal", "warn", "critical")}


def test_a_kernel_without_psi_has_no_pressure(machine):
    machine.meminfo(MemTotal=1000)
    assert not sample(machine).values.keys() & {MEMORY_PRESSURE, MEMORY_STALLED}


def test_a_kernel_that_refuses_to_read_psi_has_no_pressure(machine):
    machine.meminfo(MemTotal=1000)
    # Booted with psi=0 the file opens and cannot be read; so does a folder.
    (machine.proc / "pressure/memory").mkdir(parents=True)
    assert not sample(machine).values.keys() & {MEMORY_PRESSURE, MEMORY_STALLED}


def test_without_proc_there_is_no_memory_to_read(machine):
    with pytest.raises(NotAvailable, match="is /proc mounted"):
        sample(machine)
