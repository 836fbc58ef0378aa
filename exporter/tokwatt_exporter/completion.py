"""What the shell completes: names that the code knows. Neither the history nor an engine is asked for it."""

from __future__ import annotations

from collections.abc import Callable


def words(*known: str) -> Callable[[str], list[str]]:
    """Completes to one of a few words."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def metrics(incomplete: str) -> list[tuple[str, str]]:
    """Names of metrics, and what each says."""
    from tokwatt_exporter.catalogue import SERIES

    return [(name, family.help) for name, family in SERIES.items() if name.startswith(incomplete)]


def engines(incomplete: str) -> list[str]:
    """Kinds of engines."""
    from tokwatt_exporter.engines.registry import KINDS

    return words(*KINDS)(incomplete)


#: What an option of this name completes to, whichever command has it.
BY_NAME: dict[str, Callable[[str], list[str] | list[tuple[str, str]]]] = {"metric": metrics, "engine": engines}
