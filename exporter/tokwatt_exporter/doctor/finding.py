"""What a check of the doctor found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: `absent` is what is not installed or not on this machine, `note` works and could do better; neither is a failure.
Status = Literal["ok", "absent", "note", "fault"]
STATUSES: tuple[Status, ...] = ("ok", "absent", "note", "fault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: a sentence on each question. `mend` is a command, or what to change, None where there is nothing."""

    check: str
    status: Status
    looked: str
    found: str
    means: str
    mend: str | None = None

    def as_json(self) -> dict[str, Any]:
        """An entry of `checks` in `tokwatt doctor --json`."""
        return {
            "check": self.check, "status": self.status, "looked": self.looked, "found": self.found,
            "means": self.means, "mend": self.mend,
        }  # fmt: skip


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """What `tokwatt doctor --json` prints."""
    return {
        "faults": sum(finding.status == "fault" for finding in findings),
        "checks": [finding.as_json() for finding in findings],
    }
