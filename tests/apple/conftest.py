"""Apple's libraries are a C library of ours, which ends the process where a Mac would crash or leak."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.apple.control import Fake
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
