"""Real daemons in demo mode, scraped by a real Prometheus: every panel of every board has something to show."""

import subprocess
import time
from contextlib import ExitStack

import pytest

from grafana.boards import BOARDS, answers, panels
from support.components import component
from support.demo import daemon
from support.net import free_port, get, wait_for
from support.tsdb import prometheus
from tokwatt_exporter.catalogue import DEMO_INFO, STORE_LAST_FLUSH

pytestmark = pytest.mark.e2e

#: One that tells all that a Mac tells, and one that is never without requests.
MACHINE, BUSY = "mac-studio", "linux-box"
FLAGS = ("--sample-interval", "500ms", "--history.flush-interval", "1s")
PANELS = [pytest.param(panel, id=f"{name}-{panel['title']}") for name in BOARDS for panel in panels(BOARDS[name])]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    ports = {name: free_port() for name in (MACHINE, BUSY)}
    with ExitStack() as stack:
        urls = [stack.enter_context(daemon(name, folder, port, *FLAGS)) for name, port in ports.items()]
        database = stack.enter_context(prometheus(folder, {}, 20, scrape=ports))
        # Rates need some samples, and the age of the history a commit.
        enough = f"count_over_time({STORE_LAST_FLUSH.name}[1m]) > 9"
        wait_for(lambda: len(database.query(enough, time.time())) == 2, 60, "Prometheus to have scraped for a while")
        yield urls[0], folder, database._replace(now=int(time.time()))


def test_promtool_finds_nothing_to_say_about_the_page(scraped):
    text = get(f"{scraped[0]}/metrics").content
    result = subprocess.run(
        [component("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")
    assert f'{DEMO_INFO.name}{{machine="{MACHINE}"}} 1.0'.encode() in text


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_of_every_board_shows_something(scraped, panel):
    _, _, database = scraped
    assert any(answers(database, panel, ".+", window="10s"))


def test_its_history_is_not_that_of_the_user(scraped):
    _, folder, _ = scraped
    assert [path.name for path in (folder / MACHINE).iterdir()] == [f"demo-{MACHINE}"]
    assert (folder / MACHINE / f"demo-{MACHINE}" / "history.duckdb").exists()
