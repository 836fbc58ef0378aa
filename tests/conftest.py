"""Every test has a home of its own and sees none of the settings of the machine it runs on."""

import os

import pytest

from support import cache

OURS = ("TOKWATT_TEST_CACHE", "TOKWATT_SHARED_CAPTURES")


def pytest_configure() -> None:
    # Tests get another home, and what is in the cache should be found from there too.
    os.environ["TOKWATT_TEST_CACHE"] = str(cache.root())


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for folder in ("DATA", "CONFIG", "CACHE", "STATE", "RUNTIME"):
        monkeypatch.delenv(f"XDG_{folder}_HOME", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for name in os.environ:
        settings = name.startswith(("TOKWATT_", "OTEL_")) and name not in OURS
        if settings or name.lower().endswith("_proxy") or name in ("STATE_DIRECTORY", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
