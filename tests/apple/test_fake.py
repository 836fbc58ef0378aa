"""The fake ends a program that does what crashes or leaks on a Mac, and says which call it was."""

import ctypes
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.apple import build
from fakes.apple.calls import Calls

TESTS = Path(__file__).parents[1]

#: Runs each misuse in a process of its own, in which `c` calls the fake; tells how it ended and what it said.
MISUSER = """
import ctypes, json, os, resource, sys, tempfile
from fakes.apple.calls import Calls
from fakes.apple.control import Fake
from fakes.apple.machine import Machine
fake, m = Fake(), Machine.sample()
fake.show(m)
c = Calls(fake)
out, wide, room = ctypes.c_uint32(), ctypes.c_uint64(), ctypes.create_string_buffer(1024)
def subscribed():
    found = c.channels("Energy Model")
    return c.subscribed(found)
def sample():
    return c.pointer("IOReportCreateSamples", *subscribed(), 0)
def misuse(what):
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(said.fileno(), 2)
            try:
                exec(what, globals())
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode()
json.dump([misuse(what) for what in json.load(sys.stdin)], sys.stdout)
"""

ENDS = {
    "a reference released twice": (
        's = c.string("x"); c.release(s); c.release(s)',
        "CFRelease: 0x[0-9a-f]+ was freed",
    ),
    "a borrowed reference released": (
        'found = c.channels("CPU Stats"); c.release(c.value(found, "IOReportChannels"))',
        "CFRelease: over-release: the caller owns no reference to this CFArray",
    ),
    "more references released than there are": (
        'found = c.channels("CPU Stats"); a = c.value(found, "IOReportChannels")\n'
        'c.pointer("CFRetain", a); c.release(a); c.release(a)',
        "CFRelease: over-release: the caller owns no reference to this CFArray",
    ),
    "NULL released": ("c.release(0)", "CFRelease: NULL for a CFType"),
    "an object used after its release": (
        's = c.string("x"); c.release(s); c.number("CFStringGetLength", s)',
        "CFStringGetLength: 0x[0-9a-f]+ was freed",
    ),
    "an object used after its release when others were made since": (
        's = c.string("x"); c.release(s); [c.string("y") for _ in range(1000)]; c.number("CFStringGetLength", s)',
        "CFStringGetLength: 0x[0-9a-f]+ was freed",
    ),
    "a value that only an array without callbacks has": (
        'a = c.pointer("CFArrayCreateMutable", 0, 0, 0); s = c.string("x"); c.nothing("CFArrayAppendValue", a, s)\n'
        'c.release(s); c.number("CFStringGetLength", c.pointer("CFArrayGetValueAtIndex", a, 0))',
        "CFStringGetLength: 0x[0-9a-f]+ was freed",
    ),
    "a value used after its container": (
        'found = c.channels("CPU Stats"); a = c.value(found, "IOReportChannels"); c.release(found)\n'
        'c.number("CFArrayGetCount", a)',
        "CFArrayGetCount: 0x[0-9a-f]+ was freed",
    ),
    "an object of another type": (
        's = c.string("x"); c.number("CFArrayGetCount", s)',
        "CFArrayGetCount: got a CFString for a CFArray",
    ),
    "a pointer cut to 32 bits": (
        's = c.string("x"); c.number("CFStringGetLength", s & 0xFFFFFFFF)',
        "CFStringGetLength: 0x[0-9a-f]{1,8} is no object",
    ),
    "what a function without restype gave": (
        "f = ctypes.CDLL(fake.path).CFStringCreateWithCString\n"
        'c.number("CFStringGetLength", f(None, b"x", 0x08000100))',
        "CFStringGetLength: 0xffffffff[0-9a-f]{8} is no object",
    ),
    "memory that is no object": (
        'c.number("CFStringGetLength", ctypes.addressof(room))',
        "CFStringGetLength: 0x[0-9a-f]+ is no object",
    ),
    "another encoding": (
        'c.pointer("CFStringCreateWithCString", 0, b"x", 4)',
        "CFStringCreateWithCString: encoding 0x4",
    ),
    "an index beyond the end": (
        'a = c.value(c.channels("GPU Stats"), "IOReportChannels"); c.pointer("CFArrayGetValueAtIndex", a, 2)',
        "CFArrayGetValueAtIndex: index 2 of 2",
    ),
    "a change to what is not mutable": (
        'found = c.channels("CPU Stats"); k = c.string("x"); c.nothing("CFDictionarySetValue", found, k, k)',
        "CFDictionarySetValue: the CFDictionary is not mutable",
    ),
    "callbacks that are none": (
        'c.pointer("CFArrayCreateMutable", 0, 0, ctypes.addressof(room))',
        "CFArrayCreateMutable: callbacks that are not CoreFoundation's",
    ),
    "matching criteria released after the call that takes them": (
        'd = c.pointer("IOServiceMatching", b"IOAccelerator")\n'
        'c.code("IOServiceGetMatchingServices", 0, d, ctypes.byref(out)); c.release(d)',
        "CFRelease: 0x[0-9a-f]+ was freed",
    ),
    "an iterator used after its release": (
        'c.code("IOServiceGetMatchingServices", 0, c.pointer("IOServiceMatching", b"AppleSMC"), ctypes.byref(out))\n'
        'c.code("IOObjectRelease", out.value); c.code("IOIteratorNext", out.value)',
        "IOIteratorNext: 0x[0-9a-f]+ was released",
    ),
    "an entry used after its release": (
        'e = c.service(b"IOAccelerator"); c.code("IOObjectRelease", e); c.service(b"IOAccelerator")\n'
        'c.code("IORegistryEntryGetName", e, room)',
        "IORegistryEntryGetName: 0x[0-9a-f]+ was released",
    ),
    "an entry released twice": (
        'e = c.service(b"IOAccelerator"); c.code("IOObjectRelease", e); c.code("IOObjectRelease", e)',
        "IOObjectRelease: 0x[0-9a-f]+ was released",
    ),
    "no entry released": ('c.code("IOObjectRelease", 0)', "IOObjectRelease: 0 was never given"),
    "an entry taken for an iterator": (
        'c.code("IOIteratorNext", c.service(b"IOAccelerator"))',
        "IOIteratorNext: 0x[0-9a-f]+ is a registry entry, not a iterator",
    ),
    "a connection released like an entry": (
        'c.code("IOServiceOpen", c.service(b"AppleSMC"), 0x203, 0, ctypes.byref(out))\n'
        'c.code("IOObjectRelease", out.value)',
        "IOObjectRelease: a connection is closed, not released",
    ),
    "a connection used after it was closed": (
        'c.code("IOServiceOpen", c.service(b"AppleSMC"), 0x203, 0, ctypes.byref(out))\n'
        'c.code("IOServiceClose", out.value); c.code("IOServiceClose", out.value)',
        "IOServiceClose: 0x[0-9a-f]+ was released",
    ),
    "a task that is not this one": (
        'c.code("IOServiceOpen", c.service(b"AppleSMC"), 0, 0, ctypes.byref(out))',
        "IOServiceOpen: task 0 is not this one",
    ),
    "channels that are not mutable": (
        'c.pointer("IOReportCreateSubscription", 0, c.channels("CPU Stats"), ctypes.byref(wide), 0, 0)',
        "IOReportCreateSubscription: the channels are not in a mutable dictionary",
    ),
    "channels of another subscription": (
        'one, other = subscribed(), subscribed(); c.pointer("IOReportCreateSamples", one[0], other[1], 0)',
        "IOReportCreateSamples: the channels of another subscription",
    ),
    "channels of the subscription not kept": (
        'one = subscribed(); c.release(one[1]); c.pointer("IOReportCreateSamples", *one, 0)',
        "IOReportCreateSamples: 0x[0-9a-f]+ was freed",
    ),
    "a name of what is no channel": (
        'c.pointer("IOReportChannelGetChannelName", sample())',
        "IOReportChannelGetChannelName: not the dictionary of a channel",
    ),
    "a residency of a counter": (
        'c.number("IOReportStateGetResidency", c.channel(sample()), 0)',
        "IOReportStateGetResidency: the channel has format 1, not 2",
    ),
    "a state beyond the last": (
        's = c.pointer("IOReportCreateSamples", *c.subscribed(c.channels("GPU Stats")), 0)\n'
        'c.pointer("IOReportStateGetNameForIndex", c.channel(s), 7)',
        "IOReportStateGetNameForIndex: index 7 of 7",
    ),
    "a value of a channel that was not sampled": (
        'c.number("IOReportSimpleGetIntegerValue", c.channel(c.channels("Energy Model")), 0)',
        "IOReportSimpleGetIntegerValue: the channel has no values: it is not from a sample",
    ),
    "a HID client for each reading": (
        'for _ in range(9): c.pointer("IOHIDEventSystemClientCreate", 0)',
        "IOHIDEventSystemClientCreate: 9 clients at a time: each holds a mach port",
    ),
    "the host port asked for at each reading": (
        'for _ in range(17): c.code("mach_host_self")',
        "mach_host_self: called 17 times: each call leaks a port right",
    ),
    "more virtual memory counters than the kernel has": (
        'out.value = 41; c.code("host_statistics64", c.code("mach_host_self"), 4, room, ctypes.byref(out))',
        "host_statistics64: count is larger than expected: 41 of 40",
    ),
    "a part of the kernel's memory given back": (
        'n = ctypes.c_uint32(); host = c.code("mach_host_self")\n'
        'c.code("host_processor_info", host, 2, ctypes.byref(n), ctypes.byref(wide), ctypes.byref(out))\n'
        'c.code("vm_deallocate", 0x203, wide.value, out.value)',
        "vm_deallocate: 32 bytes of 128",
    ),
    "the kernel's memory given back twice": (
        'n = ctypes.c_uint32(); host = c.code("mach_host_self")\n'
        'c.code("host_processor_info", host, 2, ctypes.byref(n), ctypes.byref(wide), ctypes.byref(out))\n'
        'for _ in range(2): c.code("vm_deallocate", 0x203, wide.value, 4 * out.value)',
        "vm_deallocate: 0x[0-9a-f]+ is nothing that the kernel gave",
    ),
    "a registration used after it was cancelled": (
        'c.code("notify_register_check", b"x", ctypes.byref(out)); c.code("notify_cancel", out.value)\n'
        'c.code("notify_get_state", out.value, ctypes.byref(wide))',
        "notify_get_state: token 7 was cancelled",
    ),
}


@pytest.fixture(scope="module")
def ends():
    """How each misuse ended, and what was said then."""
    build.library()
    misuses = json.dumps([misuse for misuse, _ in ENDS.values()])
    ran = subprocess.run(
        [sys.executable, "-c", MISUSER], cwd=TESTS, input=misuses, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(zip(ENDS, json.loads(ran.stdout), strict=True))


@pytest.mark.parametrize("misuse", ENDS)
def test_it_ends_the_program_and_says_why(fake, ends, misuse):
    _, message = ENDS[misuse]
    code, said = ends[misuse]
    assert code == -signal.SIGABRT
    assert re.fullmatch(f"fake: {message}\n", said), said


def test_objects_lie_above_4_gib(fake):
    calls = Calls(fake)
    string = calls.string("x")
    assert string >= 2**32
    calls.release(string)


def test_a_leaked_reference_is_counted(fake):
    calls, before = Calls(fake), fake.live_objects()
    string = calls.string("x")
    calls.pointer("CFRetain", string)
    assert fake.live_objects() == before + 2
    calls.release(string)
    calls.release(string)
    assert fake.live_objects() == before


def test_a_leaked_container_is_counted_once_however_much_is_in_it(mac, fake):
    calls, before = Calls(fake), fake.live_objects()
    channels = calls.channels("Energy Model")
    assert fake.live_objects() == before + 1
    calls.release(channels)
    assert fake.live_objects() == before


def test_the_bytes_of_a_freed_object_are_poison(mac, fake):
    calls = Calls(fake)
    entry, key = calls.code("IORegistryEntryFromPath", 0, b"IODeviceTree:/product"), calls.string("product-name")
    data = calls.pointer("IORegistryEntryCreateCFProperty", entry, key, 0, 0)
    bytes_ = calls.pointer("CFDataGetBytePtr", data)
    assert ctypes.string_at(bytes_ + 8, 3) == b"Pro"
    calls.release(data)
    assert ctypes.string_at(bytes_ + 8, 3) == b"\xdd\xdd\xdd"
    calls.release(key)
    calls.code("IOObjectRelease", entry)
