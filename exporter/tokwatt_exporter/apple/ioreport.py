"""IOReport: energy, residency and traffic counters of the chip, subscribed to once and sampled at each read."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ctypes import c_int32, c_int64, c_uint64
from typing import NamedTuple

from tokwatt_exporter.apple.corefoundation import CF, Owned, items, made, string, text
from tokwatt_exporter.apple.libraries import POINTER, Functions

SIMPLE, STATE = 1, 2

_INVALID = -(2**63)
_ARRAY = "IOReportChannels"
#: An element begins with provider and channel, then, behind its type, the mach ticks at which it was published.
_ELEMENTS, _HEADER = "RawElements", struct.Struct("<16s8xQ")
_unpack, _header_at = _HEADER.unpack_from, (ctypes.c_char * _HEADER.size).from_address
#: Type of a synthetic channel: simple, made of one element, in all its categories.
_SYNTHETIC = SIMPLE | 2 << 16 | 1 << 32

IOREPORT = Functions(
    "ioreport",
    {
        "IOReportCopyChannelsInGroup": (POINTER, [POINTER, POINTER, c_uint64, c_uint64, c_uint64]),
        "IOReportCreateSubscription": (POINTER, [POINTER, POINTER, POINTER, c_uint64, POINTER]),
        "IOReportCreateSamples": (POINTER, [POINTER, POINTER, POINTER]),
    },
)

CHANNEL = Functions(
    "ioreport",
    {
        "IOReportChannelGetGroup": (POINTER, [POINTER]),
        "IOReportChannelGetSubGroup": (POINTER, [POINTER]),
        "IOReportChannelGetChannelName": (POINTER, [POINTER]),
        "IOReportChannelGetUnitLabel": (POINTER, [POINTER]),
        "IOReportChannelGetDriverID": (c_uint64, [POINTER]),
        "IOReportChannelGetChannelID": (c_uint64, [POINTER]),
        "IOReportChannelGetFormat": (c_int32, [POINTER]),
        "IOReportSimpleGetIntegerValue": (c_int64, [POINTER, POINTER]),
        "IOReportStateGetCount": (c_int32, [POINTER]),
        "IOReportStateGetNameForIndex": (POINTER, [POINTER, c_int32]),
        "IOReportStateGetResidency": (c_int64, [POINTER, c_int32]),
    },
    quick=True,
)


class Channel(NamedTuple):
    """What a channel is; texts are "" where IOReport has none, the unit is stripped, the format 1 simple or 2 state."""

    group: str
    subgroup: str
    name: str
    unit: str
    driver_id: int
    channel_id: int
    format: int


class Simple(NamedTuple):
    """A channel's count in its unit, and the mach ticks at which its provider published it, where that is known."""

    channel: Channel
    value: int
    published: int | None


class States(NamedTuple):
    """Names of a channel's states in their order, and the time spent in each so far, in ticks of 24 MHz."""

    channel: Channel
    residencies: tuple[tuple[str, int], ...]


class _Slot(NamedTuple):
    """What stands at one place of a sample."""

    channel: Channel
    wanted: bool
    #: Their names; None for a simple channel.
    states: tuple[str, ...] | None
    #: Provider and channel as its element has them; None where the channel comes without elements.
    element: bytes | None


def _every(_channel: Channel) -> bool:
    return True


class Subscription:
    """Channels of one group, kept for as long as they are sampled."""

    def __init__(self, owned: ExitStack, subscription: int, subscribed: int, wanted: Sequence[Channel]) -> None:
        self._owned = owned
        self._subscription = subscription
        self._subscribed = subscribed
        self._array_key = owned.enter_context(string(_ARRAY))
        self._elements_key = owned.enter_context(string(_ELEMENTS))
        self._slots: list[_Slot] = []
        self._get_value = CF.CFDictionaryGetValue
        self._get_bytes = CF.CFDataGetBytePtr
        self._get_driver_id = CHANNEL.IOReportChannelGetDriverID
        self._get_channel_id = CHANNEL.IOReportChannelGetChannelID
        self._get_integer = CHANNEL.IOReportSimpleGetIntegerValue
        self._get_count = CHANNEL.IOReportStateGetCount
        self._get_residency = CHANNEL.IOReportStateGetResidency
        self._ids = {_ids(channel) for channel in wanted}
        there = [_channel(ref) for ref in _items(subscribed, self._array_key)]
        self.channels = tuple(channel for channel in there if _ids(channel) in self._ids)

    @classmethod
    def open(
        cls, group: str, subgroup: str | None = None, keep: Callable[[Channel], bool] = _every
    ) -> Subscription | None:
        """The group's simple and state channels that `keep` picks; None where there are none or IOReport refuses."""
        with ExitStack() as stack:
            name = stack.enter_context(string(group))
            part = stack.enter_context(string(subgroup)) if subgroup is not None else None
            found = stack.enter_context(Owned(IOREPORT.IOReportCopyChannelsInGroup(name, part, 0, 0, 0)))
            if not found:
                return None
            key = stack.enter_context(string(_ARRAY))
            channels = [(ref, _channel(ref)) for ref in _items(found, key)]
            kept = [(ref, one) for ref, one in channels if one.format in (SIMPLE, STATE) and keep(one)]
            # What is subscribed to is walked at each sample, so all else is taken out.
            array = stack.enter_context(made([]))
            for ref, _ in kept:
                CF.CFArrayAppendValue(array, ref)
            desired = stack.enter_context(Owned(CF.CFDictionaryCreateMutableCopy(None, 0, found)))
            CF.CFDictionarySetValue(desired, key, array)
            return cls._subscribe(desired, [one for _, one in kept])

    @classmethod
    def of(
        cls,
        group: str,
        subgroup: str,
        driver_id: int,
        driver_name: str,
        unit_code: int,
        ids_and_names: Sequence[tuple[int, str]],
    ) -> Subscription | None:
        """Simple channels that a driver answers to without listing them; None where IOReport refuses."""
        entries = [
            {
                "DriverID": driver_id,
                "DriverName": driver_name,
                "IOReportGroupName": group,
                "IOReportSubGroupName": subgroup,
                "IOReportChannelInfo": {"IOReportChannelUnit": unit_code},
                "LegendChannel": [channel_id, _SYNTHETIC, name],
            }
            for channel_id, name in ids_and_names
        ]
        with made({_ARRAY: entries}) as desired, string(_ARRAY) as key:
            return cls._subscribe(desired, [_channel(ref) for ref in _items(desired, key)])

    @classmethod
    def _subscribe(cls, desired: int, wanted: Sequence[Channel]) -> Subscription | None:
        if not wanted:
            return None
        with ExitStack() as stack:
            out = POINTER()
            made_of = IOREPORT.IOReportCreateSubscription(None, desired, ctypes.byref(out), 0, None)
            subscription = stack.enter_context(Owned(made_of))
            subscribed = stack.enter_context(Owned(out.value))
            if not subscription or not subscribed:
                return None
            kept = cls(stack, subscription, subscribed, wanted)
            if not kept.channels:
                return None
            kept._owned = stack.pop_all()
            return kept

    def sample(self) -> list[Simple | States]:
        """All channels as they count now, without those that are invalid; OSError where IOReport gives no sample."""
        with Owned(IOREPORT.IOReportCreateSamples(self._subscription, self._subscribed, None)) as sample:
            if not sample:
                raise OSError("IOReport gives no sample")
            refs = _items(sample, self._array_key)
            found = self._read(refs) if len(refs) == len(self._slots) else None
            if found is None:
                # The first sample, or channels came, went or changed places.
                self._slots = [self._slot(ref) for ref in refs]
                found = self._read(refs)
            return found or []

    def close(self) -> None:
        """Give the subscription back."""
        self._owned.close()
        self._subscription = self._subscribed = 0

    def _slot(self, ref: int) -> _Slot:
        channel = _channel(ref)
        states: tuple[str, ...] | None = None
        element = None
        if channel.format == STATE:
            count = range(CHANNEL.IOReportStateGetCount(ref))
            states = tuple(text(CHANNEL.IOReportStateGetNameForIndex(ref, index)) or "" for index in count)
        else:
            data = CF.CFDictionaryGetValue(ref, self._elements_key)
            if data and CF.CFDataGetLength(data) >= _HEADER.size:
                element, _ = _unpack(_header_at(CF.CFDataGetBytePtr(data)))
        return _Slot(channel, _ids(channel) in self._ids, states, element)

    def _read(self, refs: Sequence[int]) -> list[Simple | States] | None:
        """None where a channel is not the one that stood in its place before."""
        found: list[Simple | States] = []
        add, simple, key = found.append, Simple._make, self._elements_key
        get_value, get_bytes, get_integer = self._get_value, self._get_bytes, self._get_integer
        for ref, (channel, wanted, states, element) in zip(refs, self._slots, strict=True):
            if not wanted:
                continue
            published = None
            if element is None:
                if not self._is(ref, channel):
                    return None
            else:
                data = get_value(ref, key)
                # No shorter than when the slot was made: the number of a channel's elements is its driver's choice.
                there, published = _unpack(_header_at(get_bytes(data))) if data else (None, None)
                if there != element:
                    return None
            if states is None:
                value = get_integer(ref, None)
                if value != _INVALID:
                    add(simple((channel, value, published or None)))
            elif self._get_count(ref) != len(states):
                return None
            elif _INVALID not in (ticks := [self._get_residency(ref, index) for index in range(len(states))]):
                add(States(channel, tuple(zip(states, ticks, strict=True))))
        return found

    def _is(self, ref: int, channel: Channel) -> bool:
        return bool(self._get_channel_id(ref) == channel.channel_id and self._get_driver_id(ref) == channel.driver_id)


def _items(dictionary: int, key: int) -> list[int]:
    """The channels in a dictionary, borrowed from it."""
    array = CF.CFDictionaryGetValue(dictionary, key)
    return items(array) if array else []


def _ids(channel: Channel) -> tuple[int, int]:
    return channel.driver_id, channel.channel_id


def _channel(ref: int) -> Channel:
    return Channel(
        text(CHANNEL.IOReportChannelGetGroup(ref)) or "",
        text(CHANNEL.IOReportChannelGetSubGroup(ref)) or "",
        text(CHANNEL.IOReportChannelGetChannelName(ref)) or "",
        (text(CHANNEL.IOReportChannelGetUnitLabel(ref)) or "").strip(),
        CHANNEL.IOReportChannelGetDriverID(ref),
        CHANNEL.IOReportChannelGetChannelID(ref),
        CHANNEL.IOReportChannelGetFormat(ref),
    )
