"""Every test has a home of its own and sees none of the settings of the machine it runs on."""

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import cache

OURS = ("TOKWATT_TEST_CACHE", "TOKWATT_SHARED_CAPTURES")
#: What starts hundreds of processes, dies at every step or throws dice: one Python version is enough for it.
SLOW = (
    "apple/test_replay", "apple/test_soak", "apple/test_capture", "service/test_launchd_runs",
    "service/test_service_cli", "store/test_crash", "store/test_full_disk", "store/test_upkeep", "store/test_care",
    "store/test_backup", "proxy/test_command", "proxy/test_relay", "grafana/test_demo", "mcp_server/", "top/",
    "doctor/", "bench/test_cli", "bench/test_traps", "bench/test_bootstrap", "bench/test_compar", "bench/test_report",
    "alerts/test_watch", "store/test_export", "store/test_import", "store/test_ingest", "store/test_read",
    "store/test_expression", "web/test_openapi", "engines/test_hostile", "proxy/test_crowd", "proxy/test_dialects",
    "bench/test_intervals", "bench/test_memory", "bench/test_solo", "bench/test_quality_suites",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--few", type=int, metavar="N", help="of a test with many cases, run N that stand for all")


def pytest_configure() -> None:
    # Tests get another home, and what is in the cache should be found from there too.
    os.environ["TOKWATT_TEST_CACHE"] = str(cache.root())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(SLOW):
            item.add_marker("slow")
    if few := config.getoption("--few"):
        items[:] = _few(items, few)


def _few(items: list[pytest.Item], count: int) -> list[pytest.Item]:
    """Cases of each test, far from each other: Python versions differ in how code runs, not in what it is given."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen = {id(ones[len(ones) * n // count]) for ones in cases.values() for n in range(count)}
    return [item for item in items if id(item) in chosen]


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # Not one of pytest's own folders for each: it counts all there are to name the next.
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_log_levels() -> Iterator[None]:
    # A command that was run in this process has set those of its log.
    yield
    for name in ("tokwatt_exporter", "tokwatt_bench"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _own_home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    home = next(_homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for folder in ("DATA", "CONFIG", "CACHE", "STATE", "RUNTIME"):
        monkeypatch.delenv(f"XDG_{folder}_HOME", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for name in os.environ:
        settings = name.startswith(("TOKWATT_", "OTEL_")) and name not in OURS
        if settings or name.lower().endswith("_proxy") or name in ("STATE_DIRECTORY", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    # Tests run side by side: whoever looks for engines says on which port, and disturbs nobody else's servers.
    monkeypatch.setenv("TOKWATT_DISCOVERY_ENABLED", "false")
