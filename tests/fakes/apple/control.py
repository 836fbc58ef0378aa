"""The fake from the side of a test: which Mac it shows, and what the program under test has not given back."""

from __future__ import annotations

import ctypes
from functools import cache

from fakes.apple import build
from fakes.apple.encoding import encoded, machine_data
from fakes.apple.machine import Machine


class Fake:
    """The library, loaded once in a process; `path` goes where the paths of Apple's libraries were."""

    def __init__(self) -> None:
        self.path = str(build.library())
        self._library = _load(self.path)
        self._library.fake_forget_host_ports()
        self.show(Machine())

    def show(self, machine: Machine) -> None:
        """From now on this is the Mac. What the program holds open goes on and sees its values."""
        data = encoded(machine_data(machine))
        self._library.fake_show(data, len(data))

    def live_objects(self) -> int:
        """CoreFoundation references that the program has to release."""
        return int(self._library.fake_live_objects())

    def live_handles(self) -> int:
        """Registry entries, iterators, connections, tokens, HID clients and kernel memory that it holds."""
        return int(self._library.fake_live_handles())


@cache
def _load(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path)
    library.fake_show.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.fake_show.restype = library.fake_forget_host_ports.restype = None
    library.fake_live_objects.restype = library.fake_live_handles.restype = ctypes.c_int64
    return library
