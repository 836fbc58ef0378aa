"""Checks of the daemon: does it run, is it a service, which version is it, whose is the port."""

from __future__ import annotations

from collections.abc import Iterator

from tokwatt_exporter import __version__
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.attached import Attached, place
from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor.finding import Finding
from tokwatt_exporter.errors import ServiceError, UsageError


def daemon(config: Config, attached: Attached | None, why: str) -> Finding:
    """Whether a daemon answers where these settings say; `why` is why it does not."""
    looked = f"http://{place(config)}{config.web_telemetry_path}"
    if attached:
        return Finding(
            check="daemon", status="ok", looked=looked, found=f"it answers with {len(attached.snapshot)} series",
            means="this machine is measured now",
        )  # fmt: skip
    if "credentials" in why:
        return Finding(check="daemon", status="note", looked=looked, found=why,
                       means="it runs, and what it reads cannot be looked at from here",
                       mend="tokwatt doctor --web.bearer-token-file FILE")  # fmt: skip
    return Finding(check="daemon", status="absent", looked=looked, found=why, means="nothing is measured now",
                   mend="tokwatt service install, or tokwatt run for as long as the terminal is open")  # fmt: skip


def version(attached: Attached | None) -> Iterator[Finding]:
    """Whether the daemon that runs is the tokwatt that is installed."""
    if attached is None:
        return
    running = next((dict(labels).get("version") for labels in attached.snapshot.values.get(c.BUILD_INFO, {})), None)
    looked = "version that runs against the one installed"
    if running is None:
        return
    if running == __version__:
        yield Finding(check="version", status="ok", looked=looked, found=f"both are {running}",
                      means="what is installed is what runs")  # fmt: skip
    else:
        yield Finding(
            check="version", status="note", looked=looked, found=f"{running} runs, {__version__} is installed",
            means="the daemon was not started again since the change", mend="tokwatt service restart",
        )  # fmt: skip


def port(config: Config, attached: Attached | None, why: str) -> Iterator[Finding]:
    """Whether the daemon could listen, where none does."""
    from tokwatt_exporter.web.listen import listen

    if attached or "credentials" in why:
        return
    addresses = ", ".join(map(str, config.web_listen_address))
    looked = f"whether {addresses} is free"
    try:
        for sock in listen(config.web_listen_address):
            sock.close()
    except UsageError as error:
        yield Finding(check="port", status="fault", looked=looked, found=str(error),
                      means="the daemon cannot start there", mend="tokwatt run --web.listen-address 127.0.0.1:PORT",
                      )  # fmt: skip
    else:
        yield Finding(
            check="port", status="ok", looked=looked, found=f"{addresses} is free", means="the daemon can start there"
        )


def service(config: Config) -> Finding:
    """Whether tokwatt is a service, and how that is doing."""
    from tokwatt_exporter.service import find

    looked = "the service of launchd or systemd"
    try:
        status = find.service("status", system=False).status()
    except (ServiceError, OSError) as error:
        return Finding(check="service", status="absent", looked=looked, found=str(error),
                       means="tokwatt runs only while somebody runs it")  # fmt: skip
    if not status.installed:
        return Finding(check="service", status="absent", looked=looked, found="not installed",
                       means="tokwatt runs only while somebody runs it", mend="tokwatt service install")  # fmt: skip
    if status.problem:
        return Finding(check="service", status="fault", looked=looked, found=status.problem,
                       means="it is installed and does not do its work", mend="tokwatt service status")  # fmt: skip
    if status.data_dir and status.data_dir != config.data_dir:
        return Finding(
            check="service", status="note", looked=looked, found=f"it runs, with its history in {status.data_dir}",
            means=f"commands without --data-dir look into {config.data_dir}",
            mend=f"tokwatt doctor --data-dir {status.data_dir}",
        )  # fmt: skip
    return Finding(check="service", status="ok", looked=looked, found=f"it runs (pid {status.pid})",
                   means="it starts again by itself")  # fmt: skip
