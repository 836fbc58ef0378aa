"""PromQL made of catalogue constants: a metric or label that does not exist is an error when files are generated."""

from __future__ import annotations

import re

from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Counter, Family, States

#: What tells machines apart; everything else is a label of the family.
TARGET = ("job", "instance")
ON_TARGET = f"on ({', '.join(TARGET)})"
#: The states of thermal pressure in which a machine slows itself down.
HOT = 'state=~"serious|critical"'


class Queries:
    """Expressions over the series of some machines; `target` are matchers that every selector gets."""

    def __init__(self, *target: str, window: str) -> None:
        self._target = target
        self.window = window

    def series(self, family: Family, *matchers: str) -> str:
        """The family's series that match, such as `device="cpu"`."""
        for matcher in matchers:
            label = re.match(r'(\w+)(=~|!~|!=|=)"', matcher)
            if not label or label[1] not in family.labels:
                raise ValueError(f"{family.name} has the labels {family.labels}, not {matcher}")
        inside = ", ".join((*self._target, *matchers))
        return f"{family.name}{{{inside}}}" if inside else family.name

    def rate(self, counter: Counter, *matchers: str) -> str:
        """Growth per second."""
        return f"rate({self.series(counter, *matchers)}[{self.window}])"

    def increase(self, counter: Counter, *matchers: str) -> str:
        """Growth within the window."""
        return f"increase({self.series(counter, *matchers)}[{self.window}])"

    def state(self, family: States) -> str:
        """The current state as its number in `family.states`; absent where the family is."""
        # The first is 0 and adds nothing. `or` of all of them is the same at twice the cost, which a fleet notices.
        each = [by("sum", self.series(family, f'state="{state}"')) for state in family.states]
        return " + ".join(f"{number} * {series}" for number, series in enumerate(each) if number)

    def machine_joules(self, grown: str = "rate") -> str:
        """Energy of the machine: `rate` is watts, `increase` joules within the window.

        The whole machine where that is measured. Elsewhere the larger of the CPU package and the sum of the devices:
        which devices are inside the package depends on the chip, and a sum would count those twice.
        """
        grow = getattr(self, grown)
        package = f'label_replace({grow(c.PACKAGE_ENERGY)}, "part", "package", "", "")'
        larger = by("max", f"{package} or {by('sum', grow(c.ENERGY))}")
        return f"{by('sum', grow(c.SYSTEM_ENERGY))} or {larger}"

    def joules_per_token(self) -> str:
        """All measured energy, idle included, over all generated tokens; absent while nothing is generated."""
        tokens = by("sum", self.rate(c.GENERATION_TOKENS))
        return f"({self.machine_joules()}) / ({tokens} > 0)"

    def engine_joules_per_token(self, *matchers: str) -> str:
        """What can be attributed to an engine: CPU energy of its processes, and its share of the GPUs' energy."""
        used = by("sum", self.rate(c.ENGINE_PROCESS_GPU_SECONDS, *matchers), "engine")
        share = f"{used} / {ON_TARGET} group_left () ({by('sum', self.rate(c.GPU_BUSY))} > 0)"
        gpus = by("sum", self.rate(c.ENERGY, 'device=~"gpu.*"'))
        # Two clocks that are not read at the same moment may say a little more than all of it.
        gpu = f"clamp_max({share}, 1) * {ON_TARGET} group_left () {gpus}"
        tokens = by("sum", self.rate(c.GENERATION_TOKENS, *matchers), "engine")
        return f"({by('sum', self.rate(c.ENGINE_PROCESS_ENERGY, *matchers), 'engine')} + {gpu}) / ({tokens} > 0)"


def by(operator: str, expression: str, *labels: str) -> str:
    """One value per machine, and per value of `labels`."""
    return f"{operator} by ({', '.join((*TARGET, *labels))}) ({expression})"


#: Everything on a board is of the machines that are chosen above it.
BOARD = Queries('job=~"$job"', 'instance=~"$instance"', window="$__rate_interval")

#: The whole time that is shown.
SHOWN = Queries('job=~"$job"', 'instance=~"$instance"', window="$__range")

#: Rules are for every machine; five minutes are right for every scrape interval up to a minute.
RULES = Queries(window="5m")
