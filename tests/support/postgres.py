"""A real PostgreSQL that any user may run: its own folder, loopback only, no password."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .components import component
from .net import free_port, wait_for

USER = "tokwatt"
#: It refuses to be root's. This is nobody, on every Linux.
_NOBODY = 65534


@contextmanager
def postgres() -> Iterator[str]:
    """A server with an empty database; gives how libpq is told where it is."""
    launch = component("postgres").parent
    # Not below a folder of the tests: those are root's alone, where root runs them.
    with TemporaryDirectory(prefix="tokwatt-postgres-") as folder:
        root = Path(folder)
        data = root / "data"
        data.mkdir(mode=0o700)
        user: int | None = None
        if os.geteuid() == 0:
            user = _NOBODY
            shutil.copytree(launch.parent, root / "tree", symlinks=True)
            launch = root / "tree" / launch.name
            for path in (root, data):
                os.chown(path, user, user)
        _run([launch / "initdb", "-D", data, "-A", "trust", "-U", USER, "--no-sync", "--no-locale", "-E", "UTF8"], user)
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (root / "log").open("wb") as log:
            server = subprocess.Popen(
                [launch / "postgres", "-D", data, *given], stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user,
                group=user, extra_groups=[] if user else None, cwd=root,
            )  # fmt: skip
        try:
            wait_for(lambda: b"ready to accept" in (root / "log").read_bytes(), 30, "PostgreSQL to be ready")
            yield f"host=127.0.0.1 port={port} user={USER} dbname=postgres"
        finally:
            # Do not wait for those who are connected.
            server.send_signal(2)
            server.wait(20)


def _run(command: list[object], user: int | None) -> None:
    done = subprocess.run(
        [str(word) for word in command], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, user=user, group=user, extra_groups=[] if user else None, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
