"""A Mac on which time passes: what works draws energy and spends time in states, all else rests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from fakes.apple.control import Fake
from fakes.apple.machine import Channel, Machine, Node, SimpleChannel, StateChannel
from fakes.sysfs import FakeTime
from tokwatt_exporter.collectors.base import Collector

_UNITS = {"mJ": 1e3, "uJ": 1e6, "nJ": 1e9}
_CPU_TICKS = 100
_STATE_TICKS = 24_000_000
_RESTING = ("IDLE", "DOWN", "OFF")
_CORES, _GPU = "CPU Stats", "GPU Stats"


class Mac:
    """`machine` may be changed at any time; `show` or `run` then let the collectors see it."""

    def __init__(self, fake: Fake, machine: Machine) -> None:
        self.fake, self.machine, self.clock = fake, machine, FakeTime()
        #: Seconds between two publications of energy; 0 publishes at the end of each `run`.
        self.publish_every = 0.0
        self._frozen: set[str] = set()
        #: What was not yet published or is less than one of its unit, by channel.
        self._pending: defaultdict[int, float] = defaultdict(float)
        self._left: defaultdict[tuple[str, int], float] = defaultdict(float)
        self._published = self.clock.uptime
        self._collectors: list[Collector] = []
        self.show()

    def show(self, machine: Machine | None = None) -> None:
        """The Mac as `machine` is now, or another one from now on."""
        self.machine = machine or self.machine
        self.fake.show(self.machine)

    def run(
        self, seconds: float, *, cpu: float = 0.0, gpu: float = 0.0, watts: Mapping[str, float] | None = None
    ) -> None:
        """It is awake that long, with these busy shares of every core and of the GPU, and this power by channel name.

        The busy time is spent in the fastest state. AppleCLPC's hidden channels take part by their names.
        """
        self.clock.pass_time(seconds)
        self.machine.absolute_ticks += round(seconds * _STATE_TICKS)
        self.machine.cpu_ticks = [self._cpu(number, seconds, cpu) for number in range(len(self.machine.cpu_ticks))]
        for channel in self.machine.channels:
            if isinstance(channel, StateChannel) and channel.group in (_CORES, _GPU):
                self._states(channel, seconds, gpu if channel.group == _GPU else cpu)
        self._energy(seconds, watts or {})
        self.show()

    def sleep(self, seconds: float) -> None:
        """The lid is closed that long: no clock but the wall's goes on."""
        self.clock.pass_time(0, asleep=seconds)

    def freeze(self, *names: str) -> None:
        """From now on these channels keep their value, and the time at which it was published."""
        self._frozen |= {self.channel(name).name for name in names}

    def thaw(self, *names: str) -> None:
        """They go on from where they stand."""
        self._frozen -= set(names)

    def channel(self, name: str, group: str | None = None) -> Channel:
        """The first of that name."""
        return next(one for one in self.machine.channels if one.name == name and group in (None, one.group))

    def simple(self, name: str, group: str | None = None) -> SimpleChannel:
        """The first of that name, which counts one thing."""
        channel = self.channel(name, group)
        assert isinstance(channel, SimpleChannel)
        return channel

    def states(self, name: str, group: str | None = None) -> StateChannel:
        """The first of that name, which counts time in states."""
        channel = self.channel(name, group)
        assert isinstance(channel, StateChannel)
        return channel

    def node(self, called: str) -> Node:
        """The first entry of that name or class, wherever it is."""
        return next(node for node in _walk(self.machine.nodes) if called in (node.name, node.class_name))

    def remove_group(self, group: str, subgroup: str | None = None) -> None:
        """IOReport does not have it."""
        self.machine.channels = [
            one for one in self.machine.channels if one.group != group or subgroup not in (None, one.subgroup)
        ]
        self.show()

    def remove_channel(self, *names: str) -> None:
        """IOReport does not have them."""
        self.machine.channels = [one for one in self.machine.channels if one.name not in names]
        self.show()

    def remove_node(self, called: str) -> None:
        """The registry has no entry of that name or class."""
        _remove(self.machine.nodes, called)
        self.show()

    def remove_smc(self, *keys: str) -> None:
        """The SMC does not have these keys; without any, there is no SMC."""
        smc = self.machine.smc or {}
        self.machine.smc = {key: value for key, value in smc.items() if key not in keys} if keys else None
        self.show()

    def remove_sysctl(self, *names: str) -> None:
        """The kernel does not know these names."""
        for name in names:
            self.machine.sysctls.pop(name, None)
        self.show()

    def read(self, collector: Collector) -> dict[str, float]:
        """Its readings as they look in text format; the collector is closed at the end of the test."""
        if collector not in self._collectors:
            self._collectors.append(collector)
        found = {}
        for family, labels, value in collector.read():
            pairs = ",".join(f'{name}="{text}"' for name, text in labels)
            found[f"{family.name}{{{pairs}}}" if pairs else family.name] = value
        return found

    def close(self, collector: Collector) -> None:
        """Close it before the test ends."""
        self._collectors.remove(collector)
        collector.close()

    def close_all(self) -> None:
        """Close what was read."""
        for collector in list(self._collectors):
            self.close(collector)

    def _cpu(self, number: int, seconds: float, busy: float) -> tuple[int, int, int, int]:
        user, system, idle, nice = self.machine.cpu_ticks[number]
        worked = self._whole(("busy", number), seconds * _CPU_TICKS * busy)
        rested = self._whole(("idle", number), seconds * _CPU_TICKS * (1 - busy))
        return user + worked, system, idle + rested, nice

    def _states(self, channel: StateChannel, seconds: float, busy: float) -> None:
        names = [name for name, _ in channel.states]
        resting = next((at for at, name in enumerate(names) if name in ("IDLE", "OFF")), 0)
        fastest = next((at for at in reversed(range(len(names))) if names[at] not in _RESTING), resting)
        for at, share in ((fastest, busy), (resting, 1 - busy)):
            name, ticks = channel.states[at]
            channel.states[at] = (name, ticks + round(seconds * _STATE_TICKS * share))

    def _energy(self, seconds: float, watts: Mapping[str, float]) -> None:
        if unknown := watts.keys() - {one.name for one in self.machine.channels if isinstance(one, SimpleChannel)}:
            raise KeyError(f"no channel {sorted(unknown)}")
        due = self.clock.uptime - self._published >= self.publish_every
        if due:
            self._published = self.clock.uptime
        for channel in self.machine.channels:
            if not isinstance(channel, SimpleChannel) or channel.unit not in _UNITS or channel.name in self._frozen:
                continue
            self._pending[channel.channel_id] += watts.get(channel.name, 0.0) * seconds * _UNITS[channel.unit]
            if due:
                channel.value += self._whole(("energy", channel.channel_id), self._pending.pop(channel.channel_id))
                channel.published = None if channel.published is None else self.machine.absolute_ticks

    def _whole(self, what: tuple[str, int], amount: float) -> int:
        """The amount in whole numbers; the rest is added to the next one of that kind."""
        exact = amount + self._left[what]
        # A sum of tenths may be a hair short of the number it is.
        whole = int(exact + 1e-9)
        self._left[what] = exact - whole
        return whole


def _walk(nodes: Iterable[Node]) -> Iterable[Node]:
    for node in nodes:
        yield node
        yield from _walk(node.children)


def _remove(nodes: list[Node], called: str) -> None:
    nodes[:] = [node for node in nodes if called not in (node.name, node.class_name)]
    for node in nodes:
        _remove(node.children, called)
