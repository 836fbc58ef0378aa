"""What a Mac is, as plain data: recordings are parsed into it, the fake shows it to the product."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

_entry_ids = count(0x1_0000_0200)
_channel_ids = count(0x4000)


@dataclass
class Node:
    """One entry of the IORegistry.

    Properties are str, int, float, bool, bytes, list or dict; integers as on the Mac, below 2**64. IOServiceMatching
    finds registered IOService nodes whose class or one of its superclasses has that name.
    """

    name: str
    class_name: str
    properties: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    plane: str = "IOService"
    registered: bool = True
    id: int = field(default_factory=lambda: next(_entry_ids))
    superclasses: tuple[str, ...] = ()


@dataclass
class SimpleChannel:
    """An IOReport counter; `published` is in mach ticks, None where the sample has no RawElements.

    A hidden one is not listed: it answers who appends it to the channels himself (AppleCLPC does that).
    """

    group: str
    subgroup: str | None
    name: str
    unit: str | None
    value: int = 0
    published: int | None = None
    driver_id: int = 0x1_0000_0100
    channel_id: int = field(default_factory=lambda: next(_channel_ids))
    driver: str = "AppleT8103PMGR"
    hidden: bool = False


@dataclass
class StateChannel:
    """An IOReport channel of residencies: (state name, 24 MHz ticks since boot) in the driver's order."""

    group: str
    subgroup: str | None
    name: str
    states: list[tuple[str | None, int]] = field(default_factory=list)
    unit: str | None = "24Mticks"
    driver_id: int = 0x1_0000_0101
    channel_id: int = field(default_factory=lambda: next(_channel_ids))
    driver: str = "AppleT8103PMGR"


@dataclass
class OtherChannel:
    """An IOReport channel that is neither: format 3 is a histogram, 4 an array of counters."""

    group: str
    subgroup: str | None
    name: str
    unit: str | None = "events"
    format: int = 3
    values: list[int] = field(default_factory=list)
    driver_id: int = 0x1_0000_0102
    channel_id: int = field(default_factory=lambda: next(_channel_ids))
    driver: str = "AppleT8103PMGR"


Channel = SimpleChannel | StateChannel | OtherChannel


@dataclass
class Interface:
    """A network interface with the kernel's 64 bit counters."""

    name: str
    received: int = 0
    sent: int = 0
    received_packets: int = 0
    sent_packets: int = 0


@dataclass
class Process:
    """A process with the fields of rusage_info by their names without `ri_`; errno 1 is EPERM, 3 ESRCH."""

    pid: int
    usage: dict[str, int] = field(default_factory=dict)
    errno: int = 0


@dataclass
class Machine:
    """A Mac; a source that is None or empty is not there."""

    sysctls: dict[str, bytes] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    #: Groups whose subscription the OS refuses.
    refused: set[str] = field(default_factory=set)
    #: Key to (FourCC type, bytes as they lie in the SMC). `#KEY` is added by the fake.
    smc: dict[str, tuple[str, bytes]] | None = None
    #: Product name and degrees; a sensor that gives no event is None.
    hid: list[tuple[str, float | None]] | None = None
    notify: dict[str, int] = field(default_factory=dict)
    #: Fields of vm_statistics64 by their names without `_count`; see control.VM_FIELDS.
    vm: dict[str, int] | None = None
    #: Integers in this kernel's struct: 38, 40 from macOS 26, 62 from 26.6.
    vm_count: int = 38
    #: The kernel answers from its cache, so a smaller count than `vm_count` is an error (-307).
    vm_cached: bool = False
    #: user, system, idle, nice in 1/100 s per logical CPU.
    cpu_ticks: list[tuple[int, int, int, int]] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    #: The newest flavor that proc_pid_rusage knows: 6 from macOS 13, else 4.
    rusage_flavor: int = 6
    power_preferences: dict[str, dict[str, int]] | None = None
    page_size: int = 16384
    absolute_ticks: int = 24_000_000 * 1_000
    timebase: tuple[int, int] = (125, 3)

    @classmethod
    def sample(cls) -> Machine:
        """A small M1 notebook (4 efficiency and 4 performance cores) that has every source."""
        from fakes.apple.sample import m1

        return m1()
