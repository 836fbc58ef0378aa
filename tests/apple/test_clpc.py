"""Energy from the reports of AppleCLPC that nobody promises: believed when it makes sense, and not before."""

import pytest

from fakes.apple import sample as a_mac
from support.snapshots import reasons, sample
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_clpc import AppleClpc
from tokwatt_exporter.errors import NotAvailable

LOAD = {"cpu": 20.0, "gpu0": 30.0, "ane": 1.0}


@pytest.fixture
def clpc(mac):
    collector = AppleClpc(mac.clock)
    yield collector
    collector.close()


def run(mac, clpc, seconds=1.0, times=1, cpu=0.4, watts=LOAD):
    """The last of so many samples."""
    for _ in range(times):
        mac.run(seconds, cpu=cpu, watts=watts)
        seen = sample(clpc)
    return seen


def joules(snapshot):
    return {labels[0][1]: round(value, 6) for labels, value in snapshot.values.get(c.ENERGY, {}).items()}


def watts(snapshot):
    return {labels[0][1]: round(value, 6) for labels, value in snapshot.values.get(c.POWER, {}).items()}


def answer(mac, version, bundle, reports):
    """The chip and version of macOS, and the report of each device that its AppleCLPC answers to."""
    mac.machine.sysctls["kern.osproductversion"] = a_mac.text(version)
    mac.node("AppleCLPC").properties["CFBundleIdentifier"] = bundle
    for device, report in reports.items():
        mac.simple(device, "CLPC").channel_id = report
    mac.show()


def test_joules_count_from_the_start_once_the_working_cpu_was_seen_to_draw_some(mac, clpc):
    seen = sample(clpc)
    assert joules(seen) == {}
    assert reasons(seen) == ["AppleCLPC has yet to report energy of the working CPU"]
    seen = run(mac, clpc, seconds=5)
    assert joules(seen) == {"cpu": 100, "gpu0": 150, "ane": 5}
    assert watts(seen) == LOAD
    assert reasons(seen) == []


@pytest.mark.parametrize(
    ("version", "bundle", "indices", "keys"),
    [
        ("26.5.2", "T8103CLPCv3", (16, 24, 23), (0x2CDD31F2, 0x21BECF42, 0x0667FB81)),
        ("27.0.1", "T8103CLPCv3", (16, 25, 24), (0x2CDD31F2, 0x21BECF42, 0x0667FB81)),
        ("27.2", "T6050dCLPC", (16, 25, 24), (0x18B3010E, 0xEDECA11A, 0x188BD883)),
        ("26.0", "T8152CLPC", (16, 24, 23), (0x485D4BFC, 0x11784654, 0x9380C6BB)),
    ],
)
def test_each_chip_and_version_of_macos_has_reports_of_its_own(mac, clpc, version, bundle, indices, keys):
    reports = [index << 32 | key for index, key in zip(indices, keys, strict=True)]
    answer(mac, version, f"com.apple.driver.Apple{bundle}", dict(zip(LOAD, reports, strict=True)))
    sample(clpc)
    assert joules(run(mac, clpc)) == {"cpu": 20, "gpu0": 30, "ane": 1}


@pytest.mark.parametrize("version", ["15.7", "28.0", "", "beta"])
def test_other_versions_of_macos_are_not_asked(mac, clpc, version):
    answer(mac, version, "com.apple.driver.AppleT8103CLPCv3", {})
    with pytest.raises(NotAvailable, match="macOS 26 and 27"):
        sample(clpc)


@pytest.mark.parametrize("bundle", ["com.apple.driver.AppleT9999CLPC", "com.apple.driver.AppleT8103", "", None])
def test_other_chips_are_not_asked(mac, clpc, bundle):
    answer(mac, "27.0", bundle, {})
    with pytest.raises(NotAvailable, match="on this chip"):
        sample(clpc)


def test_without_the_driver_there_is_nobody_to_ask(mac, clpc):
    mac.remove_node("AppleCLPC")
    with pytest.raises(NotAvailable, match="on this chip"):
        sample(clpc)


def test_a_subscription_that_macos_refuses_is_absence(mac, clpc):
    mac.machine.refused.add("CLPC")
    mac.show()
    with pytest.raises(NotAvailable, match="does not answer"):
        sample(clpc)


def test_a_report_that_is_not_there_leaves_the_others(mac, clpc):
    mac.simple("ane", "CLPC").value = -(2**63)
    mac.show()
    sample(clpc)
    mac.run(1, cpu=0.4, watts={"cpu": 20.0, "gpu0": 30.0})
    mac.simple("ane", "CLPC").value = -(2**63)
    mac.show()
    assert joules(sample(clpc)) == {"cpu": 20, "gpu0": 30}


def test_without_the_report_of_the_cpu_nothing_is_believed(mac, clpc):
    mac.simple("cpu", "CLPC").value = -(2**63)
    mac.show()
    with pytest.raises(NotAvailable, match="does not answer"):
        sample(clpc)


@pytest.mark.parametrize("device", ["cpu", "gpu0", "ane"])
def test_more_than_a_chip_can_draw_is_never_believed_again(mac, clpc, device):
    run(mac, clpc, times=3)
    seen = run(mac, clpc, watts={**LOAD, device: 501.0})
    assert (joules(seen), watts(seen)) == ({}, {})
    assert reasons(seen) == ["AppleCLPC reports more than a chip can draw"]
    assert joules(run(mac, clpc)) == {}


def test_as_much_as_a_chip_can_draw_is_believed(mac, clpc):
    sample(clpc)
    assert watts(run(mac, clpc, watts={**LOAD, "cpu": 499.0}))["cpu"] == 499


def test_no_energy_of_a_working_cpu_is_not_believed(mac, clpc):
    run(mac, clpc, times=3)
    seen = run(mac, clpc, times=3, watts={"gpu0": 30.0})
    assert joules(seen) == {}
    assert reasons(seen) == ["AppleCLPC reports no energy while the CPU works"]


def test_a_cpu_whose_report_stood_from_the_start_is_not_believed_for_a_moment(mac, clpc):
    sample(clpc)
    assert joules(run(mac, clpc, watts={"gpu0": 30.0})) == {}


def test_a_report_that_stood_before_a_sleep_is_not_believed_for_being_set_back(mac, clpc):
    run(mac, clpc, times=3)
    run(mac, clpc, times=4, watts={"gpu0": 30.0})
    mac.sleep(6 * 3600)
    mac.simple("cpu", "CLPC").value = 0
    mac.show()
    clpc.rebase()
    assert joules(sample(clpc)) == {}


def test_a_report_that_moves_again_goes_on_without_the_jump(mac, clpc):
    run(mac, clpc, times=3)
    run(mac, clpc, times=10, watts={"gpu0": 30.0})
    mac.simple("cpu", "CLPC").value += 300 * 10**9
    seen = run(mac, clpc)
    # The two samples before the third without growth were not yet known to be frozen.
    assert joules(seen)["cpu"] == 40
    assert joules(run(mac, clpc))["cpu"] == 60


def test_energy_of_a_cpu_that_rests_proves_nothing(mac, clpc):
    sample(clpc)
    assert joules(run(mac, clpc, times=5, cpu=0.001)) == {}
    assert joules(run(mac, clpc)) == {"cpu": 120, "gpu0": 180, "ane": 6}


def test_what_is_drawn_asleep_is_not_counted(mac, clpc):
    run(mac, clpc, times=3)
    mac.sleep(6 * 3600)
    mac.simple("cpu", "CLPC").value += 900 * 10**9
    mac.show()
    clpc.rebase()
    seen = sample(clpc)
    assert joules(seen)["cpu"] == 40
    assert watts(seen) == {}
    assert joules(run(mac, clpc))["cpu"] == 60
