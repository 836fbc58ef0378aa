"""One machine, one moment: power and tokens are the same number on every surface that shows them."""

import asyncio
import json
import re
import time
from itertools import pairwise
from statistics import mean
from types import SimpleNamespace

import pytest
from textual.widgets import Static

from e2e.daemon import daemon, tokwatt
from grafana.boards import BOARDS, filled_in
from mcp_server.asking import ask
from support.demo import played
from support.net import wait_for
from support.tsdb import prometheus
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.attached import attach
from tokwatt_exporter.mcp_server.server import build
from tokwatt_exporter.show import iso
from tokwatt_exporter.top.app import Top
from tokwatt_exporter.top.feed import Feed
from web.serving import settings

pytestmark = pytest.mark.e2e

#: It is never without requests, and measures CPU and GPU.
MACHINE = "linux-box"
SAMPLED, SCRAPED, WINDOW = "300ms", "150ms", 6
#: A scrape may be a sample behind at either end of the window.
NEAR = 0.2
TOKENS, JOULES, WATTS = c.GENERATION_TOKENS, c.ENERGY, c.POWER


class Watched(Feed):
    """A feed that remembers what it gave."""

    def __init__(self, config):
        super().__init__(config)
        self.seen = []

    def newest(self):
        self.seen.append(super().newest())
        return self.seen[-1]


def on_screen(config):
    """What `tokwatt top` shows after it has looked twice, and the two snapshots that it looked at."""
    feed = Watched(config)

    def later():
        return attach(config).snapshot.time_ms - feed.seen[0].time_ms >= WINDOW * 1000

    async def scene():
        app = Top(feed, every=3600)
        async with app.run_test(size=(120, 60)) as pilot:
            await app.workers.wait_for_complete()
            await asyncio.to_thread(wait_for, later, 30, "the second look")
            await pilot.press("r")
            await app.workers.wait_for_complete()
            await pilot.pause()
            return str(app.query_one("#parts", Static).content)

    return asyncio.run(scene()), feed.seen


def scraped_on_time(database, screen, looks):
    """The same, or None where Prometheus had no time to scrape: a rate over a hole is less than what was there."""
    at = looks[-1].time_ms / 1000
    series = database.query(f"{TOKENS.name}[{WINDOW}s]", at)
    times = [at - WINDOW, *(float(time) for time, _ in series[0]["values"]), at] if series else [0.0, at]
    return (screen, looks) if max(b - a for a, b in pairwise(times)) < 0.6 else None


def kept(folder, family, since):
    """Rows of `tokwatt history query`."""
    given = ["--metric", family.name, "--since", since, "--data-dir", str(folder), "--json"]
    return json.loads(tokwatt("history", "query", *given).stdout)["samples"]


def one(rows, **labels):
    """Time and value of one series."""
    return [(row["time"], row["value"]) for row in rows if row["labels"].items() >= labels.items()]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """All surfaces, asked one after the other."""
    folder = tmp_path_factory.mktemp("same")
    flags = ("--demo", MACHINE, "--sample-interval", SAMPLED, "--history.flush-interval", "1s")
    with (
        daemon(folder / "data", *flags, wait=False) as running,
        played(MACHINE) as past,
        prometheus(folder, {MACHINE: past}, 600, scrape={MACHINE: running.port}, every=SCRAPED) as database,
    ):
        data = folder / "data" / f"demo-{MACHINE}"
        config = settings(data_dir=str(data), web_listen_address=[f"127.0.0.1:{running.port}"])
        # It takes some seconds to begin, and what it has from before is older than this.
        wait_for(lambda: database.query(f"count_over_time({TOKENS.name}[2s]) > 5", time.time()), 30, "scrapes")
        screen, (first, last) = wait_for(lambda: scraped_on_time(database, *on_screen(config)), 120, "steady scrapes")
        page = running.series()
        server = build(config, prometheus=database.url)
        names = [JOULES.name, WATTS.name, TOKENS.name]
        [snapshot] = ask(server, ("snapshot", {"metrics": names}))
        since = iso(first.time_ms - 2000)
        newest = max(row["value"] for row in snapshot["readings"] if row["metric"] == JOULES.name)

        def caught_up():
            rows = kept(data, JOULES, since)
            return rows if newest in [row["value"] for row in rows] else None

        joules = wait_for(caught_up, 20, "the history to have the sample")
        history = {JOULES: joules, WATTS: kept(data, WATTS, since), TOKENS: kept(data, TOKENS, since)}
        asked = [("history", {"metric": name, "since": since, "limit": 1000}) for name in names]
        yield SimpleNamespace(
            screen=screen, first=first, last=last, page=page, snapshot=snapshot["readings"], history=history,
            database=database, server=server, paged=dict(zip(history, ask(server, *asked), strict=True)),
        )  # fmt: skip


def grown(seen, family, **labels):
    """Growth a second of a series of the history, between the two looks."""
    [first, last] = [
        next((time, value) for time, value in one(seen.history[family], **labels) if value == wanted)
        for wanted in (snapshot.get(family(0, **labels)) for snapshot in (seen.first, seen.last))
    ]
    return (last[1] - first[1]) / ((seen.last.time_ms - seen.first.time_ms) / 1000)


def board(seen, title, window, at):
    """What the queries of a panel of the board *Host* give."""
    [panel] = [panel for panel in BOARDS["tokwatt-host"]["panels"] if panel["title"] == title]
    expression = filled_in(panel["targets"][0]["expr"], MACHINE, 0, window)
    return {row["metric"].get("device"): float(row["value"][1]) for row in seen.database.query(expression, at)}


def shown(seen, pattern):
    """A number on the screen of `tokwatt top`."""
    return float(re.search(pattern, seen.screen)[1])


ENGINE = {"engine": "vllm", "model": "Qwen/Qwen3-30B-A3B-AWQ"}


SERIES = ((JOULES, {"device": "gpu0"}), (JOULES, {"device": "cpu"}), (WATTS, {"device": "gpu0"}), (TOKENS, ENGINE))


# One test, since tests of one file may run in several processes, and each would start its own machine.
def test_power_and_tokens_are_the_same_number_wherever_they_are_shown(seen):
    for family, labels in SERIES:
        check_samples(seen, family, labels)
    check_power(seen)
    check_speed(seen)
    check_fleet(seen)


def check_samples(seen, family, labels):
    """A sample on `/metrics`, in MCP, in the history and in Prometheus."""
    kept = one(seen.history[family], **labels)
    values = {value for _, value in kept}
    [by_tool] = [row["value"] for row in seen.snapshot if row["metric"] == family.name and row["labels"] == labels]
    assert by_tool in values
    assert seen.page[family.name, tuple(sorted(labels.items()))] in values
    assert seen.last.get(family(0, **labels)) in values
    # Asked one after the other, and the tool ends with the last commit: one has more at the end.
    paged = one(seen.paged[family]["rows"], **labels)
    both = min(len(paged), len(kept))
    assert paged[:both] == kept[:both]
    assert both > WINDOW
    matching = ",".join(f'{name}="{value}"' for name, value in labels.items())
    [scraped] = seen.database.query(f"{family.name}{{{matching}}}[20s]", seen.last.time_ms / 1000 + 1)
    assert seen.last.get(family(0, **labels)) in {float(value) for _, value in scraped["values"]}


def check_power(seen):
    """Watts on the screen, in the history and on the board."""
    watts = shown(seen, r"gpu0 +([\d.]+) W")
    assert watts == pytest.approx(seen.last.get(WATTS(0, device="gpu0")), abs=0.051)
    within = [iso(snapshot.time_ms) for snapshot in (seen.first, seen.last)]
    measured = mean(value for time, value in one(seen.history[WATTS], device="gpu0") if within[0] <= time <= within[1])
    assert grown(seen, JOULES, device="gpu0") == pytest.approx(measured, rel=0.05)
    at = seen.last.time_ms / 1000
    assert board(seen, "Power by device", f"{WINDOW}s", at)["gpu0"] == pytest.approx(measured, rel=NEAR)
    whole = sum(grown(seen, JOULES, device=device) for device in ("cpu", "gpu0"))
    assert board(seen, "Power", f"{WINDOW}s", at)[None] == pytest.approx(whole, rel=NEAR)


def check_speed(seen):
    """Tokens a second on the same three."""
    speed = grown(seen, TOKENS, **ENGINE)
    assert shown(seen, r"· ([\d.]+) tokens/s") == pytest.approx(speed, rel=0.001)
    on_board = board(seen, "Generation", f"{WINDOW}s", seen.last.time_ms / 1000)[None]
    assert on_board == pytest.approx(speed, rel=NEAR)


def check_fleet(seen):
    """The fleet that an agent sees and that of the board."""
    [found] = ask(seen.server, ("fleet", {}))
    [machine] = found["machines"]
    power, speed = (board(seen, title, "5m", time.time())[None] for title in ("Power", "Generation"))
    assert (machine["instance"], machine["up"], machine["alerts"]) == (MACHINE, True, [])
    assert machine["power_watts"] == pytest.approx(power, rel=NEAR)
    assert sum(one["tokens_per_second"] for one in machine["generation"]) == pytest.approx(speed, rel=NEAR)
    assert machine["joules_per_token"] == pytest.approx(power / speed, rel=NEAR)
