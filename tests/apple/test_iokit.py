"""The IORegistry: entries are found by class, name and path, and let go of."""

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine, Node
from tokwatt_exporter.apple import iokit


def accelerator(**properties: object) -> Node:
    clients = [Node("client", "AGXDeviceUserClient", {"number": number}, registered=False) for number in range(3)]
    return Node("sgx", "AGXAcceleratorG13X", properties, children=clients, superclasses=("IOAccelerator",))


def test_a_service_is_found_by_the_class_it_derives_from(fake: Fake) -> None:
    node = accelerator(model="Apple M1")
    fake.show(Machine(nodes=[Node("other", "AppleARMIODevice"), node]))

    found = [
        (entry.name, entry.class_name, entry.id, entry.property("model")) for entry in iokit.services("IOAccelerator")
    ]

    assert found == [("sgx", "AGXAcceleratorG13X", node.id, "Apple M1")]


def test_services_are_found_by_name(fake: Fake) -> None:
    fake.show(Machine(nodes=[Node("pmgr", "AppleARMIODevice"), Node("other", "AppleARMIODevice")]))

    assert [entry.class_name for entry in iokit.named("pmgr")] == ["AppleARMIODevice"]


def test_a_class_that_is_not_there_gives_nothing(fake: Fake) -> None:
    fake.show(Machine(nodes=[]))

    assert list(iokit.services("AppleSmartBattery")) == []


def test_each_service_is_open_only_until_the_next(fake: Fake) -> None:
    fake.show(Machine(nodes=[Node(str(number), "X") for number in range(5)]))
    before = fake.live_handles()

    for entry in iokit.services("X"):
        assert entry.handle
        assert fake.live_handles() == before + 2  # this one and the iterator

    assert fake.live_handles() == before


def test_leaving_the_loop_early_lets_go_of_everything(fake: Fake) -> None:
    fake.show(Machine(nodes=[Node(str(number), "X") for number in range(5)]))
    before = fake.live_handles()

    with pytest.raises(KeyError):
        for _ in iokit.services("X"):
            raise KeyError
    for _ in iokit.services("X"):
        break
    iokit.services("X")

    assert fake.live_handles() == before
    assert fake.live_objects() == 0


def test_children_are_seen_though_no_matching_finds_them(fake: Fake) -> None:
    fake.show(Machine(nodes=[accelerator()]))
    assert list(iokit.services("AGXDeviceUserClient")) == []

    numbers = []
    for entry in iokit.services("IOAccelerator"):
        for child in entry.children():
            with child:
                numbers.append(child.property("number"))

    assert numbers == [0, 1, 2]


def test_a_property_that_is_not_there_is_none(fake: Fake) -> None:
    fake.show(Machine(nodes=[accelerator()]))

    assert [entry.property("PerformanceStatistics") for entry in iokit.services("IOAccelerator")] == [None]


def test_an_entry_is_found_by_its_path(fake: Fake) -> None:
    cpus = Node("cpus", "IOService", plane="IODeviceTree", children=[Node("cpu0", "IOService", plane="IODeviceTree")])
    fake.show(Machine(nodes=[cpus]))

    entry = iokit.at("IODeviceTree:/cpus")
    assert entry is not None
    with entry:
        names = []
        for child in entry.children("IODeviceTree"):
            with child:
                names.append(child.name)

    assert names == ["cpu0"]
    assert iokit.at("IODeviceTree:/nothing") is None


def test_an_entry_is_let_go_of_once(fake: Fake) -> None:
    fake.show(Machine(nodes=[Node("cpus", "IOService", plane="IODeviceTree")]))
    entry = iokit.at("IODeviceTree:/cpus")
    assert entry is not None

    entry.close()
    entry.close()

    assert fake.live_handles() == 0


def test_energy_settings_come_by_power_source(fake: Fake) -> None:
    fake.show(Machine(power_preferences={"AC Power": {"LowPowerMode": 0}, "Battery Power": {"LowPowerMode": 1}}))

    assert iokit.power_preferences() == {"AC Power": {"LowPowerMode": 0}, "Battery Power": {"LowPowerMode": 1}}


def test_a_mac_without_energy_settings_has_none(fake: Fake) -> None:
    fake.show(Machine(power_preferences=None))

    assert iokit.power_preferences() is None


def test_an_error_of_the_system_is_raised_with_its_code(fake: Fake) -> None:
    with pytest.raises(OSError, match="0xe00002c2"):
        iokit.check(0xE00002C2)
