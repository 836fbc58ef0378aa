"""IOReport: only what is wanted is subscribed to, and each value belongs to the channel it is given under."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine, Node, OtherChannel, SimpleChannel, StateChannel
from tokwatt_exporter.apple import ioreport, libraries
from tokwatt_exporter.apple.ioreport import Channel, Simple, States, Subscription

CPU = SimpleChannel("Energy Model", None, "CPU Energy", "mJ      ", 1_000, published=77, channel_id=1)
GPU = SimpleChannel("Energy Model", None, "GPU Energy", "nJ      ", 2_000, published=78, channel_id=2)
CORE = SimpleChannel("Energy Model", None, "PACC0_CPU0", "mJ      ", 3_000, channel_id=3)
GPUPH = StateChannel("GPU Stats", "GPU Performance States", "GPUPH", [("OFF", 10), ("P1", 20)], channel_id=4)
OTHER = StateChannel("GPU Stats", "GPU SW States", "GPU_SW", [("SW_P0", 1)], channel_id=5)


def show(fake: Fake, *channels: SimpleChannel | StateChannel | OtherChannel, refused: set[str] | None = None) -> None:
    fake.show(Machine(channels=list(channels), refused=refused or set()))


def opened(group: str, subgroup: str | None = None, keep: Callable[[Channel], bool] = lambda _: True) -> Subscription:
    subscription = Subscription.open(group, subgroup, keep)
    assert subscription is not None
    return subscription


def values(subscription: Subscription) -> dict[str, int]:
    return {one.channel.name: one.value for one in subscription.sample() if isinstance(one, Simple)}


def test_a_counter_comes_with_its_identity_and_the_time_it_was_published(fake: Fake) -> None:
    show(fake, CPU, GPU)
    subscription = opened("Energy Model")

    cpu = Channel("Energy Model", "", "CPU Energy", "mJ", CPU.driver_id, 1, ioreport.SIMPLE)
    gpu = Channel("Energy Model", "", "GPU Energy", "nJ", GPU.driver_id, 2, ioreport.SIMPLE)
    assert subscription.channels == (cpu, gpu)
    assert subscription.sample() == [Simple(cpu, 1_000, 77), Simple(gpu, 2_000, 78)]

    subscription.close()


def test_without_elements_the_time_of_publication_is_not_known(fake: Fake) -> None:
    show(fake, CORE)
    subscription = opened("Energy Model")

    assert [(one.value, one.published) for one in subscription.sample() if isinstance(one, Simple)] == [(3_000, None)]

    subscription.close()


def test_a_counter_that_was_never_published_has_no_time_of_publication(fake: Fake) -> None:
    show(fake, replace(CPU, published=0))
    subscription = opened("Energy Model")

    assert [(one.value, one.published) for one in subscription.sample() if isinstance(one, Simple)] == [(1_000, None)]

    subscription.close()


def test_residencies_come_by_state_and_a_state_without_name_is_empty(fake: Fake) -> None:
    show(fake, replace(GPUPH, states=[("OFF", 10), (None, 20), ("P2", 2**62)]))
    subscription = opened("GPU Stats", "GPU Performance States")

    (sample,) = subscription.sample()

    assert isinstance(sample, States)
    assert sample.channel.unit == "24Mticks"
    assert sample.residencies == (("OFF", 10), ("", 20), ("P2", 2**62))
    subscription.close()


def test_only_the_subgroup_asked_for_is_there(fake: Fake) -> None:
    show(fake, GPUPH, OTHER)
    subscription = opened("GPU Stats", "GPU Performance States")

    assert [channel.name for channel in subscription.channels] == ["GPUPH"]

    subscription.close()


def test_what_is_not_kept_is_not_walked_at_a_sample(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU, GPU, CORE)
    subscription = opened("Energy Model", keep=lambda channel: channel.name == "GPU Energy")
    walked = []
    items = ioreport._items
    monkeypatch.setattr(ioreport, "_items", lambda *where: walked.extend(found := items(*where)) or found)

    assert values(subscription) == {"GPU Energy": 2_000}
    assert len(walked) == 1

    subscription.close()


def test_channels_of_other_formats_are_never_subscribed_to(fake: Fake) -> None:
    show(fake, OtherChannel("Energy Model", None, "histogram", format=3), CPU)
    asked: list[Channel] = []
    subscription = opened("Energy Model", keep=lambda channel: not asked.append(channel))

    assert [channel.name for channel in asked] == ["CPU Energy"]
    assert values(subscription) == {"CPU Energy": 1_000}

    subscription.close()


def test_texts_that_ioreport_has_not_are_empty(fake: Fake) -> None:
    show(fake, SimpleChannel("AMC Stats", None, "", None, 5))
    subscription = opened("AMC Stats")

    (channel,) = subscription.channels
    assert (channel.subgroup, channel.name, channel.unit) == ("", "", "")

    subscription.close()


@pytest.mark.parametrize(
    ("group", "keep"),
    [("No Such Group", lambda _: True), ("Energy Model", lambda _: False)],
    ids=["no group", "nothing kept"],
)
def test_where_there_is_nothing_to_sample_there_is_no_subscription(
    fake: Fake, group: str, keep: Callable[[Channel], bool]
) -> None:
    show(fake, CPU)

    assert Subscription.open(group, None, keep) is None
    assert fake.live_objects() == 0


def test_ioreport_is_not_asked_to_subscribe_to_nothing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("asked")

    show(fake, CPU)
    monkeypatch.setitem(ioreport.IOREPORT._bound, (libraries.PATHS["ioreport"], "IOReportCreateSubscription"), asked)

    assert Subscription.open("Energy Model", None, lambda _: False) is None


def test_a_subscription_without_channels_is_none(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU)
    items = ioreport._items
    answers = []

    def without_the_second(*where: int) -> list[int]:
        answers.append(items(*where))
        return answers[-1] if len(answers) == 1 else []

    monkeypatch.setattr(ioreport, "_items", without_the_second)

    assert Subscription.open("Energy Model") is None
    assert fake.live_objects() == 0


def test_a_group_that_ioreport_refuses_costs_only_itself(fake: Fake) -> None:
    show(fake, CPU, SimpleChannel("AMC Stats", "Perf Counters", "DCS RD", "B", 5), refused={"AMC Stats"})

    assert Subscription.open("AMC Stats") is None
    assert fake.live_objects() == 0
    subscription = opened("Energy Model")
    assert values(subscription) == {"CPU Energy": 1_000}

    subscription.close()


def test_a_filter_that_fails_leaves_nothing_behind(fake: Fake) -> None:
    show(fake, CPU)

    def fails(_channel: Channel) -> bool:
        raise KeyError

    with pytest.raises(KeyError):
        Subscription.open("Energy Model", None, fails)

    assert fake.live_objects() == 0


def test_invalid_values_are_left_out_and_come_back(fake: Fake) -> None:
    show(fake, replace(CPU, value=-(2**63)), GPU)
    subscription = opened("Energy Model")

    assert values(subscription) == {"GPU Energy": 2_000}
    show(fake, CPU, GPU)
    assert values(subscription) == {"CPU Energy": 1_000, "GPU Energy": 2_000}

    subscription.close()


def test_one_invalid_residency_makes_the_channel_unknown(fake: Fake) -> None:
    show(fake, replace(GPUPH, states=[("OFF", 10), ("P1", -(2**63))]))
    subscription = opened("GPU Stats")

    assert subscription.sample() == []

    subscription.close()


def test_negative_and_large_values_are_exact(fake: Fake) -> None:
    show(fake, replace(CPU, value=2**63 - 1), replace(GPU, value=-1))
    subscription = opened("Energy Model")

    assert values(subscription) == {"CPU Energy": 2**63 - 1, "GPU Energy": -1}

    subscription.close()


def test_channels_that_nobody_wanted_are_not_given(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU, GPU)
    subscription = opened("Energy Model")
    monkeypatch.setattr(subscription, "_ids", {(CPU.driver_id, CPU.channel_id)})

    assert values(subscription) == {"CPU Energy": 1_000}

    subscription.close()


def test_a_failed_sample_is_an_error_and_the_next_one_counts(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU)
    subscription = opened("Energy Model")

    with monkeypatch.context() as patch:
        name = (libraries.PATHS["ioreport"], "IOReportCreateSamples")
        patch.setitem(ioreport.IOREPORT._bound, name, lambda *_: None)
        with pytest.raises(OSError, match="no sample"):
            subscription.sample()

    assert values(subscription) == {"CPU Energy": 1_000}
    subscription.close()


def test_an_error_within_a_sample_leaves_nothing_behind(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    show(fake, CPU)
    subscription = opened("Energy Model")
    before = fake.live_objects()

    def fails(*_: object) -> int:
        raise KeyError

    monkeypatch.setattr(subscription, "_get_integer", fails)
    with pytest.raises(KeyError):
        subscription.sample()

    assert fake.live_objects() == before
    subscription.close()


def test_hidden_channels_answer_to_who_knows_their_numbers(fake: Fake) -> None:
    driver = Node("AppleCLPC", "AppleCLPC")
    cpu = SimpleChannel("CLPC", "Energy Counters", "CPU", "nJ", 5_000, driver_id=driver.id, channel_id=0x10_2CDD31F2)
    fake.show(Machine(nodes=[driver], channels=[replace(cpu, hidden=True)]))
    assert Subscription.open("CLPC") is None

    nanojoules = 3 << 56 | 118 << 32
    subscription = Subscription.of(
        "CLPC", "Energy Counters", driver.id, "AppleCLPC", nanojoules, [(0x10_2CDD31F2, "CPU")]
    )

    assert subscription is not None
    (sample,) = subscription.sample()
    assert isinstance(sample, Simple)
    assert sample.value == 5_000
    assert sample.channel[:6] == ("CLPC", "Energy Counters", "CPU", "nJ", driver.id, 0x10_2CDD31F2)
    subscription.close()


def test_no_hidden_channels_are_no_subscription(fake: Fake) -> None:
    show(fake, CPU)

    assert Subscription.of("CLPC", "Energy Counters", 99, "AppleCLPC", 0, []) is None
    assert fake.live_objects() == 0


def test_a_subscription_is_given_back_once(fake: Fake) -> None:
    show(fake, CPU)
    subscription = opened("Energy Model")

    subscription.close()
    subscription.close()

    assert fake.live_objects() == 0
