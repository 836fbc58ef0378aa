"""All checks in order."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from tokwatt_exporter.attached import Attached, NotAttached, attach
from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor import engines, history, machine, receivers, running
from tokwatt_exporter.doctor.finding import Finding


def diagnose(config: Config, prometheus: str | None = None) -> list[Finding]:
    """Every finding; nothing of the machine, the history or the engines is changed."""
    ours = logging.getLogger("tokwatt_exporter")
    level = ours.level
    # What a part would log is what its check says.
    ours.setLevel(logging.CRITICAL)
    try:
        return list(_checks(config, prometheus))
    finally:
        ours.setLevel(level)


def _checks(config: Config, prometheus: str | None) -> Iterator[Finding]:
    attached: Attached | None = None
    why = ""
    try:
        attached = attach(config)
    except NotAttached as error:
        why = str(error)
    yield machine.settings(config)
    yield machine.permissions(config.data_dir)
    yield machine.disk(config.data_dir)
    yield machine.clock()
    yield running.daemon(config, attached, why)
    yield from running.port(config, attached, why)
    yield from running.version(attached)
    yield running.service(config)
    yield from _sensors(config, attached)
    yield from engines.engines(config)
    yield from history.history(config, attached is not None)
    yield receivers.otlp(config)
    if prometheus:
        yield receivers.prometheus(config, prometheus)


def _sensors(config: Config, attached: Attached | None) -> Iterator[Finding]:
    if attached:
        return machine.sensors(attached.snapshot, f"as the daemon at {attached.url} says")
    from tokwatt_exporter.daemon import sample_once

    return machine.sensors(sample_once(config)[1], "as this user")
