"""Identity of a Mac."""

from types import SimpleNamespace

from fakes.apple.machine import Machine
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_host import AppleHost
from tokwatt_exporter.snapshot import Snapshot

SYSTEM = SimpleNamespace(
    system=lambda: "Darwin",
    machine=lambda: "arm64",
    python_version=lambda: "3.12.1",
    mac_ver=lambda: ("10.16", ("", "", ""), ""),
)
MAC = {
    "kern.osproductversion": b"26.5.2\0",
    "machdep.cpu.brand_string": b"Apple M4 Max\0",
    "hw.model": b"Mac16,5\0",
    "kern.uuid": b"SECRET\0",
}


def identity(fake, sysctls):
    fake.show(Machine(sysctls=sysctls))
    [labels] = Snapshot.of(0, AppleHost(SYSTEM).read()).values[c.HOST_INFO]
    return dict(labels)


def test_a_mac_is_known_by_chip_model_and_version_of_the_os(fake):
    assert identity(fake, MAC) == {
        "os": "darwin",
        "os_version": "macOS 26.5.2",
        "arch": "arm64",
        "chip": "Apple M4 Max",
        "machine_model": "Mac16,5",
    }


def test_what_the_kernel_does_not_say_has_no_label(fake):
    assert identity(fake, {}) == {"os": "darwin", "arch": "arm64"}


def test_the_build_is_there_as_on_every_host(fake):
    fake.show(Machine(sysctls=MAC))
    [labels] = Snapshot.of(0, AppleHost(SYSTEM).read()).values[c.BUILD_INFO]
    assert dict(labels)["python_version"] == "3.12.1"
