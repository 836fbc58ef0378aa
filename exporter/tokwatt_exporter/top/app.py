"""The screen of `tokwatt top`."""

from __future__ import annotations

from typing import ClassVar, Protocol

from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from tokwatt_exporter import show
from tokwatt_exporter.panel import View
from tokwatt_exporter.snapshot import Snapshot
from tokwatt_exporter.top.lines import Past, screen, watts


class Source(Protocol):
    """Where snapshots come from."""

    source: str

    def newest(self) -> Snapshot:
        """The newest snapshot."""
        ...


class Top(App[None]):
    """The machine on one screen, anew every `every` seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit"), ("p", "pause", "Pause"), ("r", "refresh", "Now")]
    CSS = "#head { height: 1; text-style: bold; } #screen { height: 1fr; } Static { width: 100%; }"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, feed: Source, every: float = 2.0) -> None:
        super().__init__()
        self._feed = feed
        self._every = every
        self._past = Past()
        self._last: Snapshot | None = None
        self.paused = False

    def compose(self) -> ComposeResult:
        """A line at the top, the parts below it, the keys at the bottom."""
        yield Static("tokwatt", id="head", markup=False)
        with VerticalScroll(id="screen"):
            yield Static("the first sample is being taken", id="parts", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        self.look()
        self.set_interval(self._every, self._beat)

    def action_pause(self) -> None:
        """Stand still, or go on."""
        self.paused = not self.paused
        self._head()

    def action_refresh(self) -> None:
        """Look now."""
        self.look()

    def _beat(self) -> None:
        if not self.paused:
            self.look()

    @work(thread=True, exclusive=True, group="look")
    def look(self) -> None:
        """Take a snapshot beside the screen, which stays alive."""
        now = self._feed.newest()
        self.call_from_thread(self._show, now)

    def _show(self, now: Snapshot) -> None:
        # The same sample again has no rates.
        if self._last is None or now.time_ms > self._last.time_ms:
            view = View(self._last or now, now)
            self._past.add(watts(view))
            self._last = now
            self.query_one("#parts", Static).update(screen(view, self._past))
        self._head()

    def _head(self) -> None:
        time = show.iso(self._last.time_ms) if self._last else ""
        paused = "paused · " if self.paused else ""
        self.query_one("#head", Static).update(f"tokwatt · {paused}{time} · {self._feed.source}")
