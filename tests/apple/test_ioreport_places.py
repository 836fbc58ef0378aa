"""IOReport: identities are read once, and yet no value is ever given under another channel's name."""

from dataclasses import replace

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine, SimpleChannel, StateChannel
from tokwatt_exporter.apple import ioreport
from tokwatt_exporter.apple.ioreport import Simple, States, Subscription

CPU = SimpleChannel("Energy Model", None, "CPU Energy", "mJ      ", 1_000, published=77, channel_id=1)
GPU = SimpleChannel("Energy Model", None, "GPU Energy", "nJ      ", 2_000, published=78, channel_id=2)
CORE = SimpleChannel("Energy Model", None, "PACC0_CPU0", "mJ      ", 3_000, channel_id=3)
GPUPH = StateChannel("GPU Stats", "GPU Performance States", "GPUPH", [("OFF", 10), ("P1", 20)], channel_id=4)
OTHER = StateChannel("GPU Stats", "GPU SW States", "GPU_SW", [("SW_P0", 1)], channel_id=5)


def show(fake: Fake, *channels: SimpleChannel | StateChannel) -> None:
    fake.show(Machine(channels=list(channels)))


def opened(group: str) -> Subscription:
    subscription = Subscription.open(group)
    assert subscription is not None
    return subscription


def values(subscription: Subscription) -> dict[str, int]:
    return {one.channel.name: one.value for one in subscription.sample() if isinstance(one, Simple)}


@pytest.mark.parametrize("published", [77, None], ids=["with elements", "without"])
def test_channels_that_change_places_keep_their_values(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, published: int | None
) -> None:
    show(fake, *(replace(channel, published=published) for channel in (CPU, GPU, CORE)))
    subscription = opened("Energy Model")
    expected = {"CPU Energy": 1_000, "GPU Energy": 2_000, "PACC0_CPU0": 3_000}
    assert values(subscription) == expected

    items = ioreport._items
    monkeypatch.setattr(ioreport, "_items", lambda *where: items(*where)[::-1])

    assert values(subscription) == expected
    subscription.close()


def test_states_that_change_places_keep_their_residencies(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, GPUPH, OTHER)
    subscription = opened("GPU Stats")
    before = subscription.sample()

    items = ioreport._items
    monkeypatch.setattr(ioreport, "_items", lambda *where: items(*where)[::-1])

    assert subscription.sample() == before[::-1]
    subscription.close()


def test_states_that_became_fewer_are_read_anew(fake: Fake) -> None:
    show(fake, replace(GPUPH, states=[("OFF", 10), ("P1", 20), ("P2", 30)]))
    subscription = opened("GPU Stats")
    subscription.sample()
    show(fake, replace(GPUPH, states=[("OFF", 11), ("P1", 21)]))

    (sample,) = subscription.sample()

    assert isinstance(sample, States)
    assert sample.residencies == (("OFF", 11), ("P1", 21))
    subscription.close()


def test_a_channel_that_left_does_not_move_the_others(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU, GPU, CORE)
    subscription = opened("Energy Model")
    subscription.sample()

    items = ioreport._items
    monkeypatch.setattr(ioreport, "_items", lambda *where: items(*where)[1:])

    assert values(subscription) == {"GPU Energy": 2_000, "PACC0_CPU0": 3_000}
    subscription.close()


def test_names_are_read_once(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU, GPUPH)
    energy, gpu = opened("Energy Model"), opened("GPU Stats")
    energy.sample(), gpu.sample()

    def read_again(_ref: int | None) -> str:
        raise AssertionError("a name was read")

    monkeypatch.setattr(ioreport, "text", read_again)

    assert energy.sample()
    assert gpu.sample()
    energy.close()
    gpu.close()
