"""Which manager this machine has, and what of whom tokwatt is to be."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokwatt_exporter import config
from tokwatt_exporter.errors import ServiceError, UsageError
from tokwatt_exporter.service import program
from tokwatt_exporter.service.base import Account, Service

LAUNCHCTL = "/bin/launchctl"
SYSTEMCTL = ("/usr/bin/systemctl", "/bin/systemctl")


def service(verb: str, *, system: bool, user: str | None = None) -> Service:
    """The service of this user or, with `system`, of the machine; `ServiceError` where nothing here runs services.

    One that is only looked at may be the machine's without saying so, where the user has none.
    """
    manager = _manager()
    changes = verb not in ("status", "logs")
    if os.geteuid() == 0 and not system:
        if changes:
            raise UsageError(f"root has no service of its own, only that of the machine: {_command(verb)}")
        system = True
    if changes and system and os.geteuid() != 0:
        raise UsageError(f"--system needs root: {_command(verb)}")
    if system:
        account = _daemon_account(manager, user) if verb == "install" else None
        return _daemon(manager, account)
    if user is not None:
        raise UsageError("--user is for --system: another service is that of the user who installs it")
    own, other = _agent(manager, _account(os.getuid(), Path.home())), _daemon(manager, None)
    if own.file.exists() or not other.file.exists():
        return own
    if changes:
        raise UsageError(f"tokwatt is a service of the machine here ({other.file}): {_command(verb)}")
    return other


def arguments(config_file: str | None, data_dir: str | None, more: Sequence[str]) -> tuple[str, ...]:
    """The flags of `tokwatt run` for the service, which starts in another folder and is seen by everybody."""
    found: list[str] = []
    for key, value in (("config.file", config_file), ("data-dir", data_dir)):
        if value is not None:
            found += [f"--{key}", os.path.abspath(Path(value).expanduser())]  # noqa: PTH100 - absolute() keeps `..`
    found += more
    secret = {f"--{f.metadata['key']}" for f in config.options() if f.metadata["secret"]}
    for word in found:
        if not word.isprintable():
            raise UsageError(f"{word!r} has characters that the file of a service cannot hold")
        if (flag := word.partition("=")[0]) in secret:
            raise UsageError(f"{flag} would be seen by everybody here: put it into the configuration file")
    return tuple(found)


def unseen(environ: Mapping[str, str]) -> list[str]:
    """A warning of settings in this shell's environment, which the service does not have."""
    names = sorted(name for name in environ if name.startswith(("TOKWATT_", "OTEL_EXPORTER_OTLP_")))
    if not names:
        return []
    return [f"the service has an environment of its own, without {', '.join(names)}: use the configuration file"]


def _manager() -> str:
    """The path of launchctl or systemctl, whichever is here."""
    for path in (LAUNCHCTL, *SYSTEMCTL):
        if Path(path).exists():
            return path
    raise ServiceError("this machine has neither launchd nor systemd; let what it has run `tokwatt run`")


def _agent(manager: str, account: Account) -> Service:
    if manager != LAUNCHCTL:
        from tokwatt_exporter.service.systemd import Systemd

        return Systemd(systemctl=manager)
    from tokwatt_exporter.service.launchd import Launchd

    return Launchd(account)


def _daemon(manager: str, account: Account | None) -> Service:
    if manager != LAUNCHCTL:
        from tokwatt_exporter.service.systemd import Systemd

        return Systemd(system=True, systemctl=manager)
    from tokwatt_exporter.service.launchd import Launchd

    return Launchd(account, system=True)


def _daemon_account(manager: str, user: str | None) -> Account | None:
    """The user of a daemon that is to be installed: the one who said sudo, unless another is named."""
    sudo = os.environ.get("SUDO_USER", "")
    if sudo not in ("", "root"):
        own = _account(_uid(sudo, "SUDO_USER"))
        if (agent := _agent(manager, own).file).exists():
            raise UsageError(f"tokwatt is a service of {sudo} already ({agent}): `tokwatt service uninstall` first")
    if manager != LAUNCHCTL:
        if user is not None:
            raise UsageError("--user: a unit of systemd has a user of its own, that of the machine too")
        return None
    name = user or (sudo if sudo != "root" else "")
    if not name:
        raise UsageError("--user NAME is needed: the user that tokwatt runs as, who should not be root")
    account = _account(_uid(name, "--user"))
    if account.uid == 0:
        program.check_owner(program.installed())
    return account


def _account(uid: int, home: Path | None = None) -> Account:
    entry = pwd.getpwuid(uid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, home or Path(entry.pw_dir))


def _uid(name: str, where: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"{where}: this machine has no user {name}") from None


def _command(verb: str) -> str:
    # sudo has a PATH of its own.
    return f"sudo {program.installed()} service {verb} --system"
