"""What the fake answers where a Mac's libraries do not simply answer."""

import ctypes
import errno
import struct

import pytest

from fakes.apple.calls import UTF8, Calls
from fakes.apple.machine import Machine, Node, OtherChannel, Process, SimpleChannel, StateChannel

SINT32, SINT64, FLOAT64 = 3, 4, 6


@pytest.fixture
def calls(fake):
    return Calls(fake)


@pytest.fixture
def string(calls):
    made = []

    def make(text):
        made.append(calls.string(text))
        return made[-1]

    yield make
    for each in made:
        calls.release(each)


def property_of(calls, string, fake, value):
    fake.show(Machine(nodes=[Node("x", "X", {"value": value})]))
    entry = calls.service(b"X")
    found = calls.pointer("IORegistryEntryCreateCFProperty", entry, string("value"), 0, 0)
    calls.code("IOObjectRelease", entry)
    return found


def test_the_text_of_a_string_has_no_pointer(calls, string):
    assert calls.pointer("CFStringGetCStringPtr", string("x"), UTF8) == 0


def test_a_text_needs_room_for_its_end(calls, string):
    room = ctypes.create_string_buffer(16)
    assert not calls.flag("CFStringGetCString", string("watt"), room, 4, UTF8)
    assert calls.flag("CFStringGetCString", string("watt"), room, 5, UTF8)
    assert room.value == b"watt"


def test_the_length_of_a_text_is_in_utf_16_units(calls, string):
    assert calls.number("CFStringGetLength", string("aé😀")) == 4


def test_bytes_that_are_no_text_make_no_string(calls):
    assert calls.pointer("CFStringCreateWithCString", 0, b"\xff", UTF8) == 0


@pytest.mark.parametrize(
    ("value", "kind", "into", "exact", "read"),
    [
        (7, SINT32, ctypes.c_int32(), True, 7),
        (2**31, SINT32, ctypes.c_int32(), False, -(2**31)),
        (2**64 - 1, SINT64, ctypes.c_int64(), True, -1),
        (2**53 + 1, FLOAT64, ctypes.c_double(), False, 2.0**53),
        (1.5, SINT64, ctypes.c_int64(), False, 1),
        (2.0, SINT64, ctypes.c_int64(), True, 2),
    ],
)
def test_a_number_says_when_it_does_not_fit(calls, string, fake, value, kind, into, exact, read):
    number = property_of(calls, string, fake, value)
    assert calls.flag("CFNumberGetValue", number, kind, ctypes.byref(into)) is exact
    assert into.value == read
    calls.release(number)


def test_a_container_with_callbacks_keeps_its_values(calls):
    array = calls.pointer("CFArrayCreateMutable", 0, 0, calls.constant("kCFTypeArrayCallBacks"))
    value = calls.string("x")
    calls.nothing("CFArrayAppendValue", array, value)
    calls.release(value)
    assert calls.number("CFStringGetLength", calls.pointer("CFArrayGetValueAtIndex", array, 0)) == 1
    calls.release(array)


def test_a_property_is_a_copy_that_later_changes_do_not_reach(calls, string, fake):
    text = property_of(calls, string, fake, "before")
    fake.show(Machine())
    assert calls.number("CFStringGetLength", text) == len("before")
    calls.release(text)


def test_matching_takes_the_criteria_along_and_finds_registered_services_only(calls, fake):
    fake.show(Machine(nodes=[Node("a", "X", registered=False), Node("b", "X", plane="IODeviceTree"), Node("c", "X")]))
    before, iterator = fake.live_objects(), ctypes.c_uint32()
    criteria = calls.pointer("IOServiceMatching", b"X")
    assert calls.code("IOServiceGetMatchingServices", 0, criteria, ctypes.byref(iterator)) == 0
    assert fake.live_objects() == before
    name, entry = ctypes.create_string_buffer(128), calls.code("IOIteratorNext", iterator.value)
    assert calls.code("IORegistryEntryGetName", entry, name) == 0
    assert name.value == b"c"
    assert calls.code("IOIteratorNext", iterator.value) == 0
    calls.code("IOObjectRelease", entry)
    calls.code("IOObjectRelease", iterator.value)


def test_a_number_of_an_entry_is_never_given_twice(calls, fake):
    fake.show(Machine(nodes=[Node("a", "X")]))
    first = calls.service(b"X")
    calls.code("IOObjectRelease", first)
    second = calls.service(b"X")
    assert second != first
    calls.code("IOObjectRelease", second)


@pytest.mark.parametrize("machine", [Machine(), Machine(channels=[SimpleChannel("Other", None, "x", "mJ")])])
def test_a_group_that_is_not_there_is_null(calls, fake, machine):
    fake.show(machine)
    assert calls.channels("Energy Model") == 0


def test_a_hidden_channel_is_not_listed(calls, fake):
    hidden = SimpleChannel("CLPC", "Energy Counters", "cpu", "nJ", hidden=True)
    fake.show(Machine(channels=[hidden, SimpleChannel("CLPC", "Energy Counters", "x", "nJ")]))
    channels = calls.channels("CLPC")
    assert calls.code("IOReportGetChannelCount", channels) == 1
    calls.release(channels)


def test_a_refused_group_and_a_list_without_channels_have_no_subscription(calls, string, fake):
    fake.show(Machine(channels=[SimpleChannel("AMC Stats", None, "DCS RD", "B")], refused={"AMC Stats"}))
    channels = calls.channels("AMC Stats")
    assert calls.subscribed(channels) == (0, 0)
    empty = calls.pointer("CFArrayCreateMutable", 0, 0, calls.constant("kCFTypeArrayCallBacks"))
    desired = calls.pointer("CFDictionaryCreateMutableCopy", 0, 0, channels)
    calls.nothing("CFDictionarySetValue", desired, string("IOReportChannels"), empty)
    assert calls.subscribed(desired) == (0, 0)
    for each in (channels, empty, desired):
        calls.release(each)


def test_a_unit_is_padded_and_may_be_missing_like_the_subgroup(calls, fake):
    fake.show(Machine(channels=[SimpleChannel("g", None, "x", unit) for unit in ("mJ", "furlong", None)]))
    channels = calls.channels("g")
    labels = [calls.pointer("IOReportChannelGetUnitLabel", calls.channel(channels, index)) for index in range(3)]
    room, texts = ctypes.create_string_buffer(32), []
    for label in labels[:2]:
        assert calls.flag("CFStringGetCString", label, room, 32, UTF8)
        texts.append(room.value)
    assert (texts, labels[2]) == ([b"mJ      ", b"furlong "], 0)
    assert calls.pointer("IOReportChannelGetSubGroup", calls.channel(channels)) == 0
    calls.release(channels)


def test_elements_of_a_sample_have_the_time_of_publication_at_byte_24(calls, fake):
    states = StateChannel("g", None, "states", [("OFF", 5), (None, 9)], driver_id=3, channel_id=4)
    counter = SimpleChannel("g", None, "x", "mJ", -7, published=123, driver_id=1, channel_id=2)
    fake.show(Machine(channels=[counter, states, OtherChannel("g", None, "h", values=[1, 2])]))
    channels = calls.channels("g")
    subscription, subscribed = calls.subscribed(channels)
    sample = calls.pointer("IOReportCreateSamples", subscription, subscribed, 0)
    data = calls.value(calls.channel(sample), "RawElements")
    assert calls.number("CFDataGetLength", data) == 64
    raw = ctypes.string_at(calls.pointer("CFDataGetBytePtr", data), 64)
    assert struct.unpack("<QQ8xQq", raw[:40]) == (1, 2, 123, -7)
    assert calls.value(calls.channel(sample, 1), "RawElements") == 0
    assert calls.code("IOReportStateGetCount", calls.channel(sample, 1)) == 2
    assert calls.pointer("IOReportStateGetNameForIndex", calls.channel(sample, 1), 1) == 0
    assert calls.number("IOReportStateGetResidency", calls.channel(sample, 1), 1) == 9
    assert calls.number("IOReportHistogramGetBucketHits", calls.channel(sample, 2), 1) == 2
    for each in (sample, subscribed, subscription, channels):
        calls.release(each)


def test_a_client_that_asks_for_no_temperatures_gets_none(calls, string, fake):
    fake.show(Machine(hid=[("PMU tdie1", 40.0)]))
    client = calls.pointer("IOHIDEventSystemClientCreate", 0)
    services = calls.pointer("IOHIDEventSystemClientCopyServices", client)
    service = calls.pointer("CFArrayGetValueAtIndex", services, 0)
    assert calls.pointer("IOHIDServiceClientCopyEvent", service, 15, 0, 0) == 0
    calls.release(services)
    calls.release(client)


def test_the_kernel_does_not_cut_what_it_keeps_to_a_smaller_count(calls, fake):
    host, count, room = calls.code("mach_host_self"), ctypes.c_uint32(38), ctypes.create_string_buffer(1024)

    def ask():
        return ctypes.c_int32(calls.code("host_statistics64", host, 4, room, ctypes.byref(count))).value

    fake.show(Machine(vm={"free": 5}, vm_count=62))
    assert (ask(), count.value, room.raw[0]) == (0, 38, 5)
    fake.show(Machine(vm={"free": 6}, vm_count=62, vm_cached=True))
    assert (ask(), count.value, room.raw[0]) == (-307, 62, 5)
    assert (ask(), count.value, room.raw[0]) == (0, 62, 6)


def test_sysctl_tells_its_errors_by_errno(calls, fake):
    fake.show(Machine(sysctls={"hw.model": b"MacBookPro17,1\0"}))
    size, room = ctypes.c_size_t(4), ctypes.create_string_buffer(64)

    def ask(name, buffer):
        ctypes.set_errno(0)
        code = ctypes.c_int32(calls.code("sysctlbyname", name, buffer, ctypes.byref(size), 0, 0)).value
        return code, ctypes.get_errno()

    assert ask(b"hw.model", room) == (-1, errno.ENOMEM)
    assert ask(b"hw.nothing", room) == (-1, errno.ENOENT)
    assert (ask(b"hw.model", 0), size.value) == ((0, 0), 15)
    assert (ask(b"hw.model", room), room.value) == ((0, 0), b"MacBookPro17,1")


@pytest.mark.parametrize(
    ("newest", "flavor", "pid", "error", "written"),
    [
        (6, 6, 1, 0, 464),
        (6, 4, 1, 0, 296),
        (4, 6, 1, errno.EINVAL, 0),
        (6, 6, 2, errno.EPERM, 0),
        (6, 6, 3, errno.ESRCH, 0),
    ],
)
def test_a_process_is_told_in_the_size_of_the_flavor(calls, fake, newest, flavor, pid, error, written):
    fake.show(Machine(processes=[Process(1), Process(2, errno=errno.EPERM)], rusage_flavor=newest))
    room = ctypes.create_string_buffer(b"\xee" * 512, 512)
    ctypes.set_errno(0)
    calls.code("proc_pid_rusage", pid, flavor, room)
    assert ctypes.get_errno() == error
    assert len(room.raw.rstrip(b"\xee")) == written


def test_a_name_that_nobody_posts_reads_0(calls, fake):
    token, state = ctypes.c_int(), ctypes.c_uint64(9)
    assert calls.code("notify_register_check", b"com.example.nothing", ctypes.byref(token)) == 0
    assert calls.code("notify_get_state", token.value, ctypes.byref(state)) == 0
    assert state.value == 0
    calls.code("notify_cancel", token.value)
