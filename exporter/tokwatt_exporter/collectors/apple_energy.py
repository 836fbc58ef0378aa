"""Energy of the parts of an Apple chip, from the counters of its power manager and of the GPU's driver."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from tokwatt_exporter.apple import mach
from tokwatt_exporter.apple.ioreport import Channel, Simple, Subscription
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, ENERGY, PACKAGE_ENERGY, POWER
from tokwatt_exporter.clock import Clock, SystemClock
from tokwatt_exporter.collectors.apple_frozen import STILL_SECONDS, Activity, Watch
from tokwatt_exporter.collectors.apple_meter import Meter
from tokwatt_exporter.collectors.apple_rails import DEVICES, JOULES, Rails, is_energy, rails
from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.delta import Accumulator
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Reading

_GROUP = ("Energy Model", None)
#: Where the first chip keeps rails that the group above lacks there.
_OLD_GROUP = ("PMP", "Energy Counters")

#: Rails that draw energy whenever the CPU works. Others may rest, and then stand still in truth.
_NEVER_REST = ("cpu", "dram")
#: Counted by the GPU's driver, which goes on where the power manager's counters are frozen.
_DRIVER_UNIT = "nJ"


class AppleEnergy(Collector):
    """Joules of CPU, GPU, Neural Engine, memory and the whole chip since the start; only what is truly counted."""

    name = "energy"

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._joules = Accumulator(self._clock)
        self._activity = Activity()
        self._subscriptions: list[Subscription] = []
        self._rails: list[_Rail] = []
        self._problems: list[Reading] = []
        self._last: float | None = None

    def read(self) -> Iterator[Reading]:
        """Joules since the first read, and mean watts. `NotAvailable` where the chip counts none."""
        if not self._rails:
            self._open()
        now = self._clock.awake()
        seconds, self._last = now - self._last if self._last is not None else 0.0, now
        samples = {
            sample.channel: sample
            for subscription in self._subscriptions
            for sample in subscription.sample()
            if isinstance(sample, Simple)
        }
        moment = _Moment(now, seconds, self._activity.busy(), mach.absolute_ticks(), mach.tick_seconds())
        leader: _Rail | None = None
        totals: dict[str, float] = {}
        for rail in self._rails:
            total = rail.read(samples, moment, leader, self._joules)
            if total is not None:
                totals[rail.name] = total
            leader = leader or (rail if rail.name in _NEVER_REST else None)
        yield from self._readings(totals)

    def rebase(self) -> None:
        """What was counted during the sleep is not ours, nor is its power a mean of anything."""
        self._joules.rebase()
        for rail in self._rails:
            rail.rebase()

    def close(self) -> None:
        """Give the subscriptions back."""
        for subscription in self._subscriptions:
            subscription.close()

    def _open(self) -> None:
        parts = [_subscribe(*_GROUP, None)]
        if lacking := set(DEVICES) - parts[0][1].channels.keys():
            parts.append(_subscribe(*_OLD_GROUP, lacking))
        self._subscriptions = [subscription for subscription, _ in parts if subscription]
        found = {name: channels for _, part in parts for name, channels in part.channels.items()}
        if not found:
            raise NotAvailable("macOS counts no energy of this chip")
        # First those that say whether others, which stand, are frozen.
        order = sorted(found, key=lambda name: (name not in _NEVER_REST, name))
        self._rails = [_Rail(name, found[name]) for name in order]
        dropped = [channel for _, part in parts for channels in part.dropped.values() for channel in channels]
        self._problems = [_problem(f"the unit of {channel.name} is not known") for channel in dropped]
        if absent := [device for device in DEVICES if device not in found]:
            self._problems.append(_problem(f"this chip has no energy counter of {', '.join(absent)}"))

    def _readings(self, totals: Mapping[str, float]) -> Iterator[Reading]:
        devices = [rail for device in DEVICES for rail in self._rails if rail.name == device]
        for rail in devices:
            if rail.name in totals:
                yield ENERGY(totals[rail.name], device=rail.name)
                if rail.watts is not None:
                    yield POWER(rail.watts, device=rail.name)
        # Without one of its parts, or on a chip that does not count its CPU, the sum is not the package's.
        if len(totals) == len(self._rails) and {"cpu", "gpu0"} <= totals.keys():
            yield PACKAGE_ENERGY(sum(totals.values()))
        yield from self._problems
        if frozen := [rail.name for rail in devices if rail.frozen]:
            yield _problem(f"macOS refreshes the energy of {', '.join(frozen)} only while powermetrics runs")


class _Moment(NamedTuple):
    """When a sample was taken, and what is known of the time since the one before."""

    awake: float
    seconds: float
    busy: bool
    ticks: int
    tick_seconds: float


class _Rail:
    """The channels that make one sum."""

    def __init__(self, name: str, channels: Sequence[Channel]) -> None:
        self.name = name
        self.watts: float | None = None
        self._meters = {channel: Meter() for channel in channels}
        self._watch: Watch | None = None
        self._driven = all(channel.unit == _DRIVER_UNIT for channel in channels)

    @property
    def frozen(self) -> bool:
        return self._watch is not None and self._watch.frozen

    def read(
        self, samples: Mapping[Channel, Simple], moment: _Moment, leader: _Rail | None, joules: Accumulator
    ) -> float | None:
        """Joules since the start; None while one of the channels is not to be had, or they are frozen."""
        found = [samples[channel] for channel in self._meters if channel in samples]
        self.watts = None
        if len(found) < len(self._meters):
            return None
        self._watch = self._look(found, moment, leader)
        if self._watch.frozen:
            # What it jumps by when it moves again was drawn at a time that nobody knows.
            joules.rebase(*self._meters)
            self._meters = {channel: Meter() for channel in self._meters}
            return None
        self.watts = self._power(found, moment, self._watch, leader)
        return sum(joules.add(one.channel, one.value * JOULES[one.channel.unit]).total for one in found)

    def rebase(self) -> None:
        self._meters = {channel: Meter() for channel in self._meters}
        if self._watch:
            self._watch.rebase()

    def _look(self, found: Sequence[Simple], moment: _Moment, leader: _Rail | None) -> Watch:
        stamps = [one.published for one in found if one.published is not None]
        age = (moment.ticks - max(stamps)) * moment.tick_seconds if stamps else None
        watch = self._watch or Watch(age)
        raw = tuple(one.value for one in found)
        if self._driven or self.name not in _NEVER_REST:
            watch.follow(raw, moment.seconds, leader._watch if leader and not self._driven else None)
        else:
            watch.look(raw, moment.seconds, moment.busy)
        return watch

    def _power(self, found: Sequence[Simple], moment: _Moment, watch: Watch, leader: _Rail | None) -> float | None:
        watts: float | None = 0.0
        for one in found:
            stamp = one.published * moment.tick_seconds if one.published is not None else None
            part = self._meters[one.channel].read(one.value * JOULES[one.channel.unit], stamp, moment.awake)
            watts = watts + part if watts is not None and part is not None else None
        # A rail at rest may not be published anew, but what counts and does not grow draws nothing.
        rests = self._driven or (self.name not in _NEVER_REST and leader is not None and leader.watts is not None)
        return 0.0 if rests and watch.still >= STILL_SECONDS else watts


def _subscribe(group: str, subgroup: str | None, keep: Collection[str] | None) -> tuple[Subscription | None, Rails]:
    """The rails of a group, or those of them to keep, and a subscription to just what they are made of."""
    listed = Subscription.open(group, subgroup, is_energy)
    if listed is None:
        return None, Rails({}, {})
    listed.close()
    found = rails(listed.channels)
    found = found.only(keep) if keep is not None else found
    wanted = {channel for channels in found.channels.values() for channel in channels}
    return Subscription.open(group, subgroup, wanted.__contains__), found


def _problem(reason: str) -> Reading:
    return COLLECTOR_PROBLEM(collector=AppleEnergy.name, problem="not_available", reason=reason)
