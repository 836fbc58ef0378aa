"""The unit that tells systemd what to run; `deploy/systemd` has the one of the system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tokwatt_exporter.service.base import Command, as_run
from tokwatt_exporter.shell import WRONG_USAGE

NAME = "tokwatt.service"
#: What the unit of the system says of settings and history, and the code believes.
SYSTEM_ENVIRONMENT = {"XDG_CONFIG_HOME": "/etc"}
STATE = "tokwatt"
#: Who may read what GPUs say.
GROUPS = ("video", "render")
#: What ProtectHome hides.
HIDDEN = ("/home", "/root", "/run/user")

_UNIT = """\
# {what}
[Unit]
Description=tokwatt: what this machine and its LLM engines do, and what a token costs
{after}
[Service]
Type=exec
ExecStart={command}
Restart=on-failure
RestartSec=10s
# {wrong} is a setting that cannot be used: starting again would not change it.
RestartPreventExitStatus={wrong}
# Time to write what has been sampled to the history.
TimeoutStopSec=30s
{user}
Nice=5
MemoryMax=512M
TasksMax=64
LimitNOFILE=1024

{sandbox}
[Install]
WantedBy={target}
"""

_SYSTEM_USER = f"""
DynamicUser=yes
# GPU sensors of some drivers. A group that this machine does not have would keep the service from starting.
SupplementaryGroups=GROUPS
# History: /var/lib/{STATE}.
StateDirectory={STATE}
StateDirectoryMode=0700
UMask=0077
# Settings: {SYSTEM_ENVIRONMENT["XDG_CONFIG_HOME"]}/tokwatt/tokwatt.toml, where there is one.
Environment=XDG_CONFIG_HOME={SYSTEM_ENVIRONMENT["XDG_CONFIG_HOME"]}
# Keys stay out of the configuration and of the environment. In a drop-in (systemctl edit tokwatt):
#   [Service]
#   LoadCredential=web-token:/etc/tokwatt/web-token
#   ExecStart=
#   ExecStart=/opt/tokwatt/bin/tokwatt run --web.bearer-token-file ${{CREDENTIALS_DIRECTORY}}/web-token
"""

_SYSTEM_SANDBOX = """\
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
# Not ProtectProc, ProcSubset or PrivateUsers: engines are found by their processes, which belong to other users.
"""

#: What a manager without privileges can do too.
_SANDBOX = """\
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""

_SYSTEM_DEVICES = """\
# NVIDIA's library opens its devices; all other sensors are files.
DevicePolicy=closed
DeviceAllow=char-nvidia* rw
"""


def make(command: Command, *, system: bool, groups: Sequence[str] = GROUPS) -> str:
    """The unit as text: of the system with a user of its own in these groups, or of the user who installs it."""
    if system:
        what = "tokwatt as a system service without root. docs/deploy.md says how to install it."
        sandbox = _SYSTEM_SANDBOX + _SANDBOX + _SYSTEM_DEVICES
    else:
        what = "tokwatt as a service of the user. docs/deploy.md says how to install it."
        sandbox = "NoNewPrivileges=yes\n" + _SANDBOX
    return _UNIT.format(
        what=what,
        after="After=network.target\n" if system else "",
        # systemd looks for no variables in the program's path.
        command=" ".join([quote(command.program).replace("$$", "$"), "run", *map(quote, command.arguments)]),
        wrong=WRONG_USAGE,
        user=_SYSTEM_USER.replace("=GROUPS", f"={' '.join(groups)}") if system else "\nUMask=0077\n",
        sandbox=sandbox,
        target="multi-user.target" if system else "default.target",
    )


def read(path: Path) -> Command | None:
    """The command of a unit's file; None where there is no file, or it runs something else."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    starts = [line.partition("=")[2].strip() for line in lines if line.startswith("ExecStart=")]
    return as_run(unquote(starts[-1])) if starts else None


def quote(word: str) -> str:
    """A word of ExecStart that systemd takes as it is: no specifier, no variable, no second command."""
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$~-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(line: str) -> list[str]:
    """The words that `quote` made a line of."""
    words = []
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        word = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
        words.append(word.replace("%%", "%").replace("$$", "$"))
    return words
