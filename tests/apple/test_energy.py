"""Energy of an Apple chip over time: frozen counters, batches, sleep."""

import pytest

from fakes.apple import chips
from fakes.apple.machine import Machine
from support.snapshots import reasons, sample
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_energy import AppleEnergy

TICKS = 24_000_000
START = Machine.absolute_ticks
#: What macOS 27 refreshes only while powermetrics runs: all that the power manager counts.
DRIVEN = tuple(channel.name for channel in chips.m5_max().channels if (channel.unit or "") == "mJ")
LOAD = {"CPU Energy": 20.0, "GPU Energy": 30.0, "DRAM0": 4.0, "ANE0": 1.0, "DISP0": 2.0}


@pytest.fixture
def m5(mac):
    mac.machine = chips.m5_max()
    mac.show()
    return mac


@pytest.fixture
def energy(m5):
    """It has taken its first sample, so that what follows is what it counts."""
    collector = AppleEnergy(m5.clock)
    sample(collector)
    yield collector
    collector.close()


def joules(snapshot):
    return {labels[0][1]: round(value, 6) for labels, value in snapshot.values.get(c.ENERGY, {}).items()}


def watts(snapshot, device="cpu"):
    found = snapshot.get(c.POWER(0, device=device))
    return None if found is None else round(found, 6)


def run(mac, energy, seconds, times=1, **load):
    """The last of so many samples, each after so many seconds."""
    for _ in range(times):
        mac.run(seconds, **load)
        seen = sample(energy)
    return seen


def publish(mac, joules, at, name="CPU Energy"):
    """The channel shows a new value, counted from the start, published at that second from the start."""
    channel = mac.channel(name)
    channel.value, channel.published = 50_000 + round(1000 * joules), START + round(at * TICKS)
    mac.show()


def test_joules_count_from_the_start_of_the_exporter(m5, energy):
    m5.run(0)
    assert joules(sample(energy)) == {"cpu": 0, "gpu0": 0, "ane": 0, "dram": 0}
    seen = run(m5, energy, 5, times=2, cpu=0.4, watts=LOAD)
    assert joules(seen) == {"cpu": 200, "gpu0": 300, "ane": 10, "dram": 40}
    assert seen.get(c.PACKAGE_ENERGY(0)) == pytest.approx(570)
    assert reasons(seen) == []


def test_watts_are_the_mean_between_two_publications_and_absent_before_the_second(m5, energy):
    assert c.POWER not in sample(energy).values
    seen = run(m5, energy, 5, cpu=0.4, watts=LOAD)
    assert {device: watts(seen, device) for device in ("cpu", "gpu0", "ane", "dram")} == {
        "cpu": 20, "gpu0": 30, "ane": 1, "dram": 4,
    }  # fmt: skip


def test_a_frozen_rail_disappears_instead_of_reading_zero(m5, energy):
    run(m5, energy, 1, times=5, cpu=0.4, watts=LOAD)
    m5.freeze(*DRIVEN)
    seen = run(m5, energy, 1, times=3, cpu=0.4, watts=LOAD)
    assert joules(seen) == {"gpu0": 30 * 8}
    assert watts(seen, "gpu0") == 30
    assert watts(seen) is None
    assert c.PACKAGE_ENERGY not in seen.values
    assert reasons(seen) == ["macOS refreshes the energy of cpu, ane, dram only while powermetrics runs"]


def test_a_frozen_rail_is_gone_at_the_second_sample_where_samples_are_far_apart(m5, energy):
    run(m5, energy, 5, times=2, cpu=0.4, watts=LOAD)
    m5.freeze(*DRIVEN)
    assert joules(run(m5, energy, 5, cpu=0.4, watts=LOAD)).keys() == {"gpu0"}


def test_one_sample_without_growth_is_not_frozen(m5, energy):
    m5.publish_every = 2.1
    for _ in range(30):
        seen = run(m5, energy, 1, cpu=0.4, watts=LOAD)
        assert joules(seen).keys() == {"cpu", "gpu0", "ane", "dram"}


def test_a_counter_that_stands_while_the_cpu_rests_is_not_called_frozen(m5, energy):
    run(m5, energy, 1, times=5, cpu=0.4, watts=LOAD)
    m5.freeze(*DRIVEN)
    assert "cpu" in joules(run(m5, energy, 1, times=20, cpu=0.005))
    # A core that works for less than a second in all says too little.
    assert "cpu" in joules(run(m5, energy, 0.9, cpu=0.4))
    assert "cpu" not in joules(run(m5, energy, 0.9, cpu=0.4))


def test_what_was_frozen_before_the_exporter_began_is_not_shown_as_zero(m5):
    m5.freeze(*DRIVEN)
    m5.run(60, watts={"GPU Energy": 30.0})
    energy = AppleEnergy(m5.clock)
    # It is the age of the counter that tells: what the CPU does is not known yet.
    assert joules(sample(energy)) == {"gpu0": 0}
    seen = run(m5, energy, 5, watts={"GPU Energy": 30.0})
    assert joules(seen) == {"gpu0": 150}
    assert reasons(seen) == ["macOS refreshes the energy of cpu, ane, dram only while powermetrics runs"]
    energy.close()


def test_a_counter_that_moves_again_goes_on_from_its_old_total_without_the_jump(m5, energy):
    run(m5, energy, 1, times=6, cpu=0.4, watts=LOAD)
    m5.freeze(*DRIVEN)
    run(m5, energy, 1, times=60, cpu=0.4, watts=LOAD)
    m5.thaw(*DRIVEN)
    for name in ("CPU Energy", "DRAM0", "ANE0", "DISP0"):
        m5.channel(name).value += 1_000_000
    seen = run(m5, energy, 1, cpu=0.4, watts=LOAD)
    assert joules(seen) == {"cpu": 120, "gpu0": 67 * 30, "ane": 6, "dram": 24}
    # Nobody knows over which time it drew what it jumped by.
    assert watts(seen) is None
    seen = run(m5, energy, 1, cpu=0.4, watts=LOAD)
    assert joules(seen)["cpu"] == 140
    assert watts(seen) == 20
    assert seen.get(c.PACKAGE_ENERGY(0)) == pytest.approx(140 + 68 * 30 + 7 + 28 + 14)
    assert reasons(seen) == []


def test_an_idle_neural_engine_draws_nothing_and_is_not_frozen_while_the_cpu_is_counted(m5, energy):
    load = {name: power for name, power in LOAD.items() if name != "ANE0"}
    m5.freeze("ANE0")
    seen = run(m5, energy, 1, times=20, cpu=0.4, watts=load)
    assert joules(seen)["ane"] == 0
    assert watts(seen, "ane") == 0
    assert reasons(seen) == []


def test_an_idle_gpu_draws_nothing_and_is_not_frozen_though_all_else_is(m5, energy):
    sample(energy)
    m5.freeze(*DRIVEN, "GPU Energy")
    seen = run(m5, energy, 1, times=20, cpu=0.4)
    assert joules(seen) == {"gpu0": 0}
    assert watts(seen, "gpu0") == 0


def test_memory_that_stands_is_frozen_by_itself(m5, energy):
    run(m5, energy, 1, times=5, cpu=0.4, watts=LOAD)
    m5.freeze("DRAM0")
    seen = run(m5, energy, 1, times=3, cpu=0.4, watts=LOAD)
    assert joules(seen).keys() == {"cpu", "gpu0", "ane"}
    assert c.PACKAGE_ENERGY not in seen.values
    assert reasons(seen) == ["macOS refreshes the energy of dram only while powermetrics runs"]


def test_a_gpu_that_the_power_manager_counts_is_frozen_with_the_cpu(m5):
    m5.remove_channel("GPU Energy")
    energy = AppleEnergy(m5.clock)
    load = {"CPU Energy": 20.0, "GPU0": 30.0, "DRAM0": 1.0}
    assert joules(run(m5, energy, 1, times=5, cpu=0.4, watts=load))["gpu0"] == 120
    m5.freeze(*DRIVEN)
    seen = run(m5, energy, 1, times=6, cpu=0.4)
    assert joules(seen) == {}
    assert reasons(seen) == ["macOS refreshes the energy of cpu, gpu0, ane, dram only while powermetrics runs"]
    energy.close()


def test_a_counter_that_still_moves_is_not_frozen_with_the_cpu_for_one_sample_without_growth(m5):
    m5.remove_channel("GPU Energy")
    energy = AppleEnergy(m5.clock)
    sample(energy)
    m5.freeze("CPU Energy", "DRAM0", "ANE0")
    m5.publish_every = 2.1
    for _ in range(20):
        assert "gpu0" in joules(run(m5, energy, 1, cpu=0.4, watts={"GPU0": 30.0}))
    energy.close()


def test_a_cpu_that_works_for_the_system_works(m5, energy):
    m5.freeze(*DRIVEN)
    for _ in range(3):
        m5.machine.cpu_ticks = [(u, s + 40, i, n) for u, s, i, n in m5.machine.cpu_ticks]
        seen = run(m5, energy, 1)
    assert joules(seen) == {"gpu0": 0}


def test_a_frozen_rail_is_still_frozen_after_a_sleep(m5, energy):
    run(m5, energy, 1, times=5, cpu=0.4, watts=LOAD)
    m5.freeze(*DRIVEN)
    run(m5, energy, 1, times=5, cpu=0.4, watts=LOAD)
    m5.sleep(6 * 3600)
    # That it was set back says nothing of whether it counts.
    m5.channel("CPU Energy").value = 0
    m5.show()
    energy.rebase()
    assert joules(sample(energy)).keys() == {"gpu0"}
    assert joules(run(m5, energy, 1, cpu=0.4, watts=LOAD)).keys() == {"gpu0"}


def test_batches_every_two_seconds_make_steady_watts(m5, energy):
    m5.publish_every = 2.1
    sample(energy)
    seen = [watts(run(m5, energy, 1, cpu=0.4, watts=LOAD)) for _ in range(30)]
    first = next(place for place, value in enumerate(seen) if value is not None)
    assert seen[first:] == [20] * (30 - first)
    assert first >= 2


def test_the_second_part_of_a_batch_belongs_to_the_next_one(m5, energy):
    m5.freeze("CPU Energy")
    power = []
    for second in range(1, 41):
        m5.run(1)
        if second % 2 == 0:
            # 40 J in two seconds, of which the last 4 J come 20 ms later, between two samples.
            publish(m5, joules=20 * second - 4, at=second - 0.01)
        elif second > 1:
            publish(m5, joules=20 * (second - 1), at=second - 0.99)
        power.append(watts(sample(energy)))
    assert power[3:] == [20] * len(power[3:])


def test_watts_are_held_until_ten_seconds_without_a_publication(m5, energy):
    run(m5, energy, 1, times=3, cpu=0.4, watts=LOAD)
    m5.freeze(*DRIVEN)
    assert watts(run(m5, energy, 1, times=9)) == 20
    assert watts(run(m5, energy, 1)) is None
    m5.thaw(*DRIVEN)
    # The first publication after the gap ends no span.
    assert watts(run(m5, energy, 1, cpu=0.4, watts=LOAD)) is None
    assert watts(run(m5, energy, 1, cpu=0.4, watts=LOAD)) == 20


def test_publications_that_are_further_apart_than_the_samples_are_long_make_watts_too(m5, energy):
    sample(energy)
    assert watts(run(m5, energy, 60, times=3, cpu=0.4, watts=LOAD)) == 20


@pytest.mark.parametrize("published", [None, START])
def test_without_a_time_of_publication_that_moves_the_time_of_the_sample_counts(m5, energy, published):
    def show(seconds):
        m5.run(seconds, cpu=0.4, watts=LOAD)
        m5.channel("CPU Energy").published = published
        m5.show()
        return watts(sample(energy))

    show(0)
    assert [show(2), show(4)] == [20] * 2


def test_what_is_drawn_asleep_is_not_counted_and_makes_no_watts(m5, energy):
    run(m5, energy, 5, times=2, cpu=0.4, watts=LOAD)
    m5.sleep(6 * 3600)
    m5.channel("CPU Energy").value += 900_000
    energy.rebase()
    seen = run(m5, energy, 5, cpu=0.4, watts=LOAD)
    assert joules(seen)["cpu"] == 200
    assert watts(seen) is None
    assert watts(run(m5, energy, 5, cpu=0.4, watts=LOAD)) == 20


def test_a_counter_that_wake_reset_goes_on(m5, energy):
    run(m5, energy, 5, times=2, cpu=0.4, watts=LOAD)
    m5.channel("CPU Energy").value = 0
    seen = run(m5, energy, 5, cpu=0.4, watts=LOAD)
    assert joules(seen)["cpu"] == 300
    assert watts(seen) is None
    assert watts(run(m5, energy, 5, cpu=0.4, watts=LOAD)) == 20


def test_an_invalid_value_is_absent_and_nothing_is_lost(m5, energy):
    run(m5, energy, 5, times=2, cpu=0.4, watts=LOAD)
    channel = m5.channel("CPU Energy")
    before, channel.value = channel.value, -(2**63)
    m5.show()
    seen = sample(energy)
    assert "cpu" not in joules(seen)
    assert c.PACKAGE_ENERGY not in seen.values
    channel.value = before
    assert joules(run(m5, energy, 5, cpu=0.4, watts=LOAD))["cpu"] == 300
