"""The fake's functions called as a C program would, without the bindings of the product."""

from __future__ import annotations

import ctypes
from typing import Any

from fakes.apple.control import Fake

UTF8 = 0x08000100


class Calls:
    """Integers and pointers are passed in 64 bits; the method that calls says what comes back."""

    def __init__(self, fake: Fake) -> None:
        self._library = ctypes.CDLL(fake.path, use_errno=True)

    def pointer(self, name: str, *arguments: Any) -> int:
        """A pointer, 0 for NULL; also for unsigned numbers of 64 bits."""
        return self._call(name, ctypes.c_void_p, arguments) or 0

    def number(self, name: str, *arguments: Any) -> int:
        """A signed number of 64 bits."""
        return int(self._call(name, ctypes.c_int64, arguments))

    def code(self, name: str, *arguments: Any) -> int:
        """An unsigned number of 32 bits."""
        return int(self._call(name, ctypes.c_uint32, arguments))

    def flag(self, name: str, *arguments: Any) -> bool:
        """A Boolean."""
        return bool(self._call(name, ctypes.c_bool, arguments))

    def real(self, name: str, *arguments: Any) -> float:
        """A double."""
        return float(self._call(name, ctypes.c_double, arguments))

    def nothing(self, name: str, *arguments: Any) -> None:
        """No result."""
        self._call(name, None, arguments)

    def constant(self, name: str) -> int:
        """The address of a variable."""
        return ctypes.addressof(ctypes.c_char.in_dll(self._library, name))

    def string(self, text: str) -> int:
        """A CFString that is the caller's."""
        return self.pointer("CFStringCreateWithCString", 0, text.encode(), UTF8)

    def release(self, reference: int) -> None:
        """CFRelease."""
        self.nothing("CFRelease", reference)

    def value(self, dictionary: int, key: str) -> int:
        """What is under a text in a CFDictionary, borrowed."""
        name = self.string(key)
        found = self.pointer("CFDictionaryGetValue", dictionary, name)
        self.release(name)
        return found

    def service(self, class_name: bytes) -> int:
        """The first service of a class."""
        return self.code("IOServiceGetMatchingService", 0, self.pointer("IOServiceMatching", class_name))

    def channels(self, group: str) -> int:
        """A group's channels, the caller's."""
        name = self.string(group)
        found = self.pointer("IOReportCopyChannelsInGroup", name, 0, 0, 0, 0)
        self.release(name)
        return found

    def channel(self, channels: int, index: int = 0) -> int:
        """One channel of a group or a sample, borrowed."""
        return self.pointer("CFArrayGetValueAtIndex", self.value(channels, "IOReportChannels"), index)

    def subscribed(self, channels: int) -> tuple[int, int]:
        """A subscription to a group's channels, and the channels in it; both the caller's, both 0 if refused."""
        desired = self.pointer("CFDictionaryCreateMutableCopy", 0, 0, channels)
        out = ctypes.c_void_p()
        subscription = self.pointer("IOReportCreateSubscription", 0, desired, ctypes.byref(out), 0, 0)
        self.release(desired)
        return subscription, out.value or 0

    def _call(self, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
        function = self._library[name]
        function.restype = result
        wide = [ctypes.c_int64(each) if isinstance(each, int) else each for each in arguments]
        return function(*wide)
