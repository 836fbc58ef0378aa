"""Traffic of a Mac's disks."""

import pytest

from fakes.apple import recordings
from fakes.apple.machine import Machine, Node
from support.captures import shared_captures
from tokwatt_exporter.catalogue import DISK_READ, DISK_WRITTEN
from tokwatt_exporter.collectors.apple_disk import AppleDisk
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


def media(name, whole=True):
    return Node(f"{name} Media", "IOMedia", {"BSD Name": name, "Whole": whole})


def driver(read, written, *children):
    statistics = {"Bytes (Read)": read, "Bytes (Write)": written, "Operations (Read)": 1}
    return Node("IOBlockStorageDriver", "IOBlockStorageDriver", {"Statistics": statistics}, children=list(children))


def sample(fake, *nodes):
    fake.show(Machine(nodes=list(nodes)))
    return Snapshot.of(0, AppleDisk().read())


def disks(snapshot):
    return [dict(labels)["device"] for labels in snapshot.values[DISK_READ]]


def test_each_disk_has_bytes_in_both_directions_beyond_32_bits(fake):
    seen = sample(fake, driver(2**40, 2**33 + 1, media("disk0")), driver(7, 8, media("disk4")))
    assert seen.get(DISK_READ(0, device="disk0")) == 2**40
    assert seen.get(DISK_WRITTEN(0, device="disk0")) == 2**33 + 1
    assert seen.get(DISK_READ(0, device="disk4")) == 7


def test_a_driver_without_a_disk_has_no_series(fake):
    partition = media("disk9s1", whole=False)
    seen = sample(fake, driver(0, 0), driver(5, 5, partition), driver(1, 2, media("disk0")))
    assert disks(seen) == ["disk0"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_disk_that_is_there_twice_does_not_depend_on_the_order(fake, order):
    seen = sample(fake, *[driver(9, 9, media("disk0")), driver(1, 1, media("disk0"))][::order])
    assert seen.get(DISK_READ(0, device="disk0")) == 9


@pytest.mark.parametrize("statistics", [None, {}, {"Bytes (Read)": 1}, {"Bytes (Read)": "1", "Bytes (Write)": 1}, 7])
def test_a_disk_without_statistics_has_no_series(fake, statistics):
    broken = driver(0, 0, media("disk1"))
    broken.properties = {} if statistics is None else {"Statistics": statistics}
    assert disks(sample(fake, broken, driver(1, 1, media("disk0")))) == ["disk0"]


def test_without_a_disk_it_is_not_available(fake):
    with pytest.raises(NotAvailable, match="no disk"):
        sample(fake)


def test_the_statistics_of_a_real_disk_are_read(fake):
    capture = shared_captures() / "macos/ioreg/m1_macbookair10-1_macos11_iobsd_nvme.txt"
    [real] = recordings.read(capture.read_bytes()).machine.nodes
    real.children = [media("disk0")]
    seen = sample(fake, real)
    assert seen.get(DISK_READ(0, device="disk0")) == 14160125952
    assert seen.get(DISK_WRITTEN(0, device="disk0")) == 3637972992
