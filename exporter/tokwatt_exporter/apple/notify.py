"""notify(3): states that system services publish under a name."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_uint32, c_uint64

from tokwatt_exporter.apple.libraries import POINTER, Functions
from tokwatt_exporter.errors import NotAvailable

NOTIFY = Functions(
    "system",
    {
        "notify_register_check": (c_uint32, [c_char_p, POINTER]),
        "notify_get_state": (c_uint32, [c_int, POINTER]),
        "notify_cancel": (c_uint32, [c_int]),
    },
)


class Notification:
    """One published state, registered for once. `NotAvailable` where the system takes no registration."""

    def __init__(self, name: str) -> None:
        token = c_int()
        if NOTIFY.notify_register_check(name.encode(), ctypes.byref(token)):
            raise NotAvailable("notify(3) takes no registration")
        self._token: int | None = token.value

    def state(self) -> int | None:
        """The state now, None where it cannot be read; a name that nobody ever published reads 0."""
        found = c_uint64()
        if self._token is None or NOTIFY.notify_get_state(self._token, ctypes.byref(found)):
            return None
        return found.value

    def close(self) -> None:
        """Cancel the registration."""
        token, self._token = self._token, None
        if token is not None:
            NOTIFY.notify_cancel(token)
