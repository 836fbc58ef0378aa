"""`tokwatt top` under Textual's pilot, and in a real terminal where tmux is here."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from textual.widgets import Static

from support.net import free_port, wait_for
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.top.app import Top

LABELS = {"engine": "llama", "model": "tiny"}


class Script:
    """A feed of a second a sample: 20 W, and 10 tokens more each time."""

    source = "a script"

    def __init__(self):
        self.taken = 0

    def newest(self):
        self.taken += 1
        return Snapshot.of(self.taken * 1000, [
            c.SYSTEM_POWER(20), c.POWER(5 * self.taken, device="gpu"), c.ENGINE_UP(1, engine="llama"),
            c.ENGINE_INFO(engine="llama", kind="llama_cpp", version="b1"),
            c.MODEL_INFO(**LABELS, quantization="Q4", format="gguf"), c.REQUESTS_RUNNING(2, **LABELS),
            c.REQUESTS_WAITING(1, **LABELS), c.GENERATION_TOKENS(10 * self.taken, **LABELS),
            c.BENCHMARK_GENERATION_SPEED(42, **LABELS, scenario="default"),
        ])  # fmt: skip


def text(app, name="#parts"):
    return str(app.query_one(name, Static).content)


async def settled(pilot):
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def test_the_second_sample_has_speeds_and_joules_per_token():
    async def scene():
        app = Top(Script(), every=3600)
        async with app.run_test(size=(100, 40)) as pilot:
            await settled(pilot)
            assert "tokens/s" not in text(app).partition("Benchmarks")[0], "no rate of one sample"
            await pilot.press("r")
            await settled(pilot)
            return text(app), text(app, "#head")

    shown, head = asyncio.run(scene())
    assert "llama · up · 2 running · 1 waiting · 10.0 tokens/s · tiny" in shown
    assert "2 J/token (machine)" in shown
    assert "gpu           10.0 W  ▅█" in shown
    assert "llama · tiny · default · 42.0 tokens/s" in shown
    assert "a script" in head


def test_pause_stands_still_and_q_ends():
    async def scene():
        feed = Script()
        app = Top(feed, every=0.05)
        async with app.run_test() as pilot:
            await pilot.press("p")
            await settled(pilot)
            taken = feed.taken
            await pilot.pause(0.3)
            assert feed.taken == taken
            assert "paused" in text(app, "#head")
            await pilot.press("p")
            while feed.taken == taken:
                await pilot.pause(0.02)
            await pilot.press("q")
        return app.return_code

    assert asyncio.run(scene()) == 0


@pytest.mark.parametrize("width", [60, 200])
def test_it_fits_narrow_and_wide_terminals(width):
    async def scene():
        app = Top(Script(), every=3600)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.resize_terminal(width, 24)
            await settled(pilot)
            parts = app.query_one("#parts", Static)
            return app.size.width, parts.size.width

    screen, parts = asyncio.run(scene())
    assert (screen, parts <= width) == (width, True)


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which("tmux"), reason="needs tmux")
def test_in_a_real_terminal_of_60_columns_without_colours_it_samples_by_itself(tmp_path):
    tmux = ["tmux", "-S", str(tmp_path / "s"), "-f", "/dev/null"]
    command = [sys.executable, "-m", "tokwatt_exporter", "top", "--every", "500ms", "--no-collector.engines",
               "--web.listen-address", f"127.0.0.1:{free_port()}"]  # fmt: skip

    def run(*words):
        return subprocess.run([*tmux, *words], capture_output=True, text=True, check=False, timeout=30)

    start = [*tmux, "new-session", "-d", "-x", "60", "-y", "40", shlex.join(command)]
    subprocess.run(start, check=True, env={**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}, timeout=30)
    try:
        screen = wait_for(
            lambda: re.search("own samples.*Memory", run("capture-pane", "-p").stdout, re.S), 30, "a screen"
        )
        assert max(map(len, screen.string.splitlines())) <= 60
        run("send-keys", "q")
        wait_for(lambda: run("has-session").returncode, 20, "top to end")
    finally:
        run("kill-server")
