"""What is on the screen, as text: no colour says anything that a word or a number does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from tokwatt_exporter import catalogue as c
from tokwatt_exporter import panel
from tokwatt_exporter.panel import View

#: Samples of a sparkline.
WIDTH = 24
_BARS = "▁▂▃▄▅▆▇█"
#: Parts of the panel that have lines of their own here.
_OWN = ("Power", "Engines")


class Past:
    """The watts of each part over the last samples."""

    def __init__(self) -> None:
        self._watts: dict[str, deque[float]] = {}

    def add(self, watts: Mapping[str, float]) -> None:
        """A sample more; a part that is not known now is forgotten."""
        self._watts = {part: self._watts.get(part, deque(maxlen=WIDTH)) for part in watts}
        for part, value in watts.items():
            self._watts[part].append(value)

    def lines(self) -> Iterator[str]:
        """A line a part: name, watts, and how it got there."""
        for part, values in self._watts.items():
            yield f"{part:<10.10} {values[-1]:7.1f} W  {sparkline(values)}"


def sparkline(values: deque[float]) -> str:
    """A bar a value, from nothing to the highest."""
    highest = max(values) or 1.0
    return "".join(_BARS[min(int(max(value, 0) / highest * len(_BARS)), len(_BARS) - 1)] for value in values)


def watts(view: View) -> dict[str, float]:
    """Watts by part, the whole machine first where it is known."""
    found = {"machine": view.one(c.SYSTEM_POWER), "package": view.rate(c.PACKAGE_ENERGY)}
    known = {part: value for part, value in found.items() if value is not None}
    return known | view.by(c.POWER, "device")


def screen(view: View, past: Past) -> str:
    """All of it, a part after the other."""
    parts = [("Power", list(past.lines())), ("Engines", [*_engines(view), *_cost(view)])]
    parts += [(title, lines) for title, lines in panel.rows(view) if title not in _OWN]
    parts.append(("Benchmarks", list(_benchmarks(view))))
    return "\n".join(f"{title}\n" + "".join(f"  {line}\n" for line in lines) for title, lines in parts if lines)


def _engines(view: View) -> Iterator[str]:
    up = view.by(c.ENGINE_UP, "engine")
    for labels, _ in view.all(c.ENGINE_INFO):
        engine = labels["engine"]
        models = [row["model"] for row, _ in view.all(c.MODEL_INFO) if row["engine"] == engine]
        numbers = [
            f"{total:.0f} {word}"
            for word, family in (("running", c.REQUESTS_RUNNING), ("waiting", c.REQUESTS_WAITING))
            if (total := view.total(family, engine=engine)) is not None
        ]
        for word, counter in (("tokens/s", c.GENERATION_TOKENS), ("prompt tokens/s", c.PROMPT_TOKENS)):
            if (speed := view.growth(counter, engine=engine)) is not None:
                numbers.append(f"{speed:.1f} {word}")
        state = "up" if up.get(engine) else "down"
        yield " · ".join([engine, state, *numbers, *models])


def _cost(view: View) -> Iterator[str]:
    """Joules a token, of all engines at once: the machine's watts are not any one's."""
    speeds = [view.growth(c.GENERATION_TOKENS, engine=labels["engine"]) for labels, _ in view.all(c.ENGINE_INFO)]
    tokens = sum(speed for speed in speeds if speed is not None)
    power = watts(view)
    for part in ("machine", "package", "gpu", "gpu0"):
        if tokens > 0 and part in power:
            yield f"{power[part] / tokens:.3g} J/token ({part})"
            return


def _benchmarks(view: View) -> Iterator[str]:
    for labels, speed in view.all(c.BENCHMARK_GENERATION_SPEED):
        joules = view.one(c.BENCHMARK_ENERGY_PER_TOKEN, **labels)
        cost = f" · {joules:.3g} J/token" if joules is not None else ""
        yield f"{labels['engine']} · {labels['model']} · {labels['scenario']} · {speed:.1f} tokens/s{cost}"
