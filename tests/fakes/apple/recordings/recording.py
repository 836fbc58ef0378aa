"""What one recording says of a Mac: how it is at a first read, and what its counters have grown by at the second."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

from fakes.apple.machine import Channel, Interface, Machine, SimpleChannel, StateChannel

#: From the first read to the second where a recording does not say how long it took.
SECONDS = 5.0
#: Ticks of a residency, and of `mach_absolute_time`, in a second.
TICKS = 24_000_000
#: Joules of a count in each unit that an energy channel is known to have.
JOULES = {"mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9}
#: The state in which a channel is not at work, by name.
IDLE = ("DOWN", "IDLE", "OFF")


class NoSensor(Exception):
    """The recording is understood, or not, and nothing that is measured is in it; the text says why."""


@dataclass
class Recording:
    """A Mac of which the recorded part is there; `machine` at the first read, `later()` at the second."""

    machine: Machine = field(default_factory=Machine)
    seconds: float = SECONDS
    #: What a channel (by its id) counts until the second read: one number, or one a state.
    growth: dict[int, list[int]] = field(default_factory=dict)
    #: The power that an energy channel (by its id) runs at; one that is not here stands.
    watts: dict[int, float] = field(default_factory=dict)
    #: The same for interfaces (received, sent), by name, and for CPU ticks, by CPU.
    traffic: dict[str, tuple[int, int]] = field(default_factory=dict)
    cpu_growth: list[tuple[int, int, int, int]] = field(default_factory=list)
    #: What is in it, in words: "temperatures of the SMC".
    holds: list[str] = field(default_factory=list)
    #: What powermetrics wrote.
    powermetrics: bytes = b""

    def counter(self, group: str, subgroup: str, name: str, unit: str, grows: int = 0) -> None:
        """Add a counter that `grows` until the second read."""
        channel = SimpleChannel(group, subgroup, name, unit)
        self.machine.channels.append(channel)
        self.growth[channel.channel_id] = [grows]

    def energy(self, group: str, subgroup: str, name: str, unit: str, watts: float | None) -> None:
        """Add a counter of energy that runs at `watts`; None: it was last published a minute ago, and stands.

        One in a unit that nobody knows counts nothing.
        """
        now = self.machine.absolute_ticks
        channel = SimpleChannel(group, subgroup, name, unit, published=now if watts is not None else now - 60 * TICKS)
        self.machine.channels.append(channel)
        if watts is not None:
            self.watts[channel.channel_id] = watts if unit in JOULES else 0.0

    def states(self, group: str, subgroup: str, name: str, states: list[tuple[str, int]], unit: str) -> None:
        """Add a channel of residencies that grow by `states` until the second read."""
        channel = StateChannel(group, subgroup, name, [(state, TICKS) for state, _ in states], unit)
        self.machine.channels.append(channel)
        self.growth[channel.channel_id] = [ticks for _, ticks in states]

    def fit(self) -> None:
        """Make time and residencies agree: shares of states stay exact, for they are multiplied by whole numbers."""
        grown = [self.growth[c.channel_id] for c in self.machine.channels if isinstance(c, StateChannel)]
        longest = max(map(sum, grown), default=0)
        self.seconds = max(self.seconds, longest / TICKS)
        for ticks in grown:
            times = int(self.seconds * TICKS // sum(ticks)) if sum(ticks) else 1
            ticks[:] = [max(times, 1) * tick for tick in ticks]

    def add(self, other: Recording) -> None:
        """Take in what `other` says of the same Mac."""
        ours, theirs = self.machine, other.machine
        ours.sysctls |= theirs.sysctls
        ours.nodes += theirs.nodes
        ours.channels += theirs.channels
        ours.refused |= theirs.refused
        ours.notify |= theirs.notify
        ours.interfaces += theirs.interfaces
        for name in ("smc", "hid", "vm", "power_preferences", "cpu_ticks", "processes"):
            setattr(ours, name, getattr(theirs, name) or getattr(ours, name))
        if theirs.vm is not None:
            ours.page_size, ours.vm_count = theirs.page_size, theirs.vm_count
        self.growth |= other.growth
        self.watts |= other.watts
        self.traffic |= other.traffic
        self.cpu_growth = self.cpu_growth or other.cpu_growth
        self.powermetrics += other.powermetrics
        self.holds += [what for what in other.holds if what not in self.holds]
        self.seconds = max(self.seconds, other.seconds)

    def later(self) -> Machine:
        """The Mac `seconds` later."""
        machine = deepcopy(self.machine)
        machine.absolute_ticks += round(self.seconds * TICKS)
        machine.channels = [self._grown(channel, machine.absolute_ticks) for channel in machine.channels]
        machine.interfaces = [self._passed(interface) for interface in machine.interfaces]
        grown = self.cpu_growth or [(0, 0, 0, 0)] * len(machine.cpu_ticks)
        machine.cpu_ticks = [_sum(before, more) for before, more in zip(machine.cpu_ticks, grown, strict=True)]
        return machine

    def _grown(self, channel: Channel, now: int) -> Channel:
        number = channel.channel_id
        if isinstance(channel, StateChannel):
            grown = self.growth[number]
            channel.states = [(state, ticks + more) for (state, ticks), more in zip(channel.states, grown, strict=True)]
        elif isinstance(channel, SimpleChannel) and number in self.watts:
            # All of them are published at once, also those that did not change.
            channel.published = now
            if joules := self.watts[number] * self.seconds:
                channel.value += round(joules / JOULES[channel.unit or ""])
        elif isinstance(channel, SimpleChannel) and number in self.growth:
            channel.value += self.growth[number][0]
        return channel

    def _passed(self, interface: Interface) -> Interface:
        received, sent = self.traffic.get(interface.name, (0, 0))
        interface.received += received
        interface.sent += sent
        return interface


def _sum(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]
