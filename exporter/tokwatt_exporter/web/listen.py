"""Listening sockets for the configured addresses."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence

from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.parse import Address

#: Connections the kernel keeps for us while we are busy.
BACKLOG = 128

_WHY = {
    errno.EACCES: "ports below 1024 need privileges",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
}


def listen(addresses: Sequence[Address]) -> list[socket.socket]:
    """A listening socket for each address, two where a name has two; `UsageError` names the one that cannot be had."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets += _listen(address)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def bound(sock: socket.socket) -> Address:
    """Where a socket really listens."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(bound(sock).host).is_loopback


def _listen(address: Address) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, place in _places(address):
        try:
            sockets.append(_open(family, place))
        except OSError as error:
            problem = error
            # Half of a name is good enough only where the other half does not exist on this machine.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for sock in sockets:
                    sock.close()
                raise UsageError(f"web.listen-address: {address} {_explain(error, address)}") from None
    if problem and not sockets:
        raise UsageError(f"web.listen-address: {address} {_explain(problem, address)}")
    return sockets


def _places(address: Address) -> Sequence[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"web.listen-address: {address.host} is not a name or address of this machine") from None
    places = [(family, (str(place[0]), int(place[1]))) for family, _, _, _, place in found]
    # Two sockets with a port of the system's choice would have two ports.
    return places if address.port else places[:1]


def _open(family: socket.AddressFamily, place: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(place)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(error: OSError, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"is in use by {_owner(address.port) or 'another process'}; stop that or choose another port"
    return _WHY.get(error.errno or 0, f"cannot be listened on: {error.strerror}")


def _owner(port: int) -> str | None:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        # macOS tells this to root only.
        pass
    return None
