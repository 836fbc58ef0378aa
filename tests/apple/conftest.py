"""Apple's libraries are a C library of ours, which ends the process where a Mac would crash or leak."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.apple.control import Fake
from fakes.apple.mac import Mac
from fakes.apple.machine import Machine
from tokwatt_exporter.apple import libraries, mach


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """In place of Apple's libraries, with an empty Mac; at the end all has to be given back."""
    fake = Fake()
    for name in libraries.PATHS:
        monkeypatch.setitem(libraries.PATHS, name, fake.path)
    # What was learnt of one kernel does not hold for the next.
    monkeypatch.setattr(mach, "_vm_counts", {})
    before = fake.live_objects(), fake.live_handles()
    yield fake
    assert (fake.live_objects(), fake.live_handles()) == before, "not given back: objects, handles"


@pytest.fixture
def mac(fake: Fake) -> Iterator[Mac]:
    """A Mac that has every source; the collectors that it read are closed at the end."""
    mac = Mac(fake, Machine.sample())
    yield mac
    mac.close_all()
