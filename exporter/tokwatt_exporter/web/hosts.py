"""Names under which clients may ask for this machine; a foreign `Host` is how a web page rebinds a name of its own."""

from __future__ import annotations

import ipaddress
import os
import re

from tokwatt_exporter.config import Config

_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\s:\[\]]+)(?::\d{1,5})?")


class Hosts:
    """The names of this machine, as the configuration and the system say."""

    def __init__(self, config: Config) -> None:
        name = os.uname().nodename.lower()
        short = name.partition(".")[0]
        self._names = {"localhost", name, short, f"{short}.local"}
        self._names |= {address.host.lower() for address in config.web_listen_address}
        self._names |= {host.strip("[]").rstrip(".").lower() for host in config.web_allowed_host}

    def allows(self, header: str, server: str | None) -> bool:
        """Whether `Host: header` means this machine; `server` is the address the client connected to."""
        match = _HOST.fullmatch(header.strip())
        if not match:
            return False
        host = match[1].strip("[]").lower()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host.removesuffix(".") in self._names
        return address.is_loopback or host in self._names or (server is not None and address == _address(server))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
