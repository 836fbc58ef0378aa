"""The findings for people: a line each, and more where something can be done."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tokwatt_exporter.doctor.finding import STATUSES, Finding

_STYLES = {"ok": "green", "absent": "dim", "note": "yellow", "fault": "bold red"}


def print_findings(findings: Sequence[Finding]) -> None:
    """Print all of them, and how many there are of each kind."""
    # As wide as it needs to be where stdout is not a terminal: `grep` works.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000)
    for finding in findings:
        console.print(Text.assemble((f"{finding.status:<7}", _STYLES[finding.status]), (finding.check, "bold"),
                                    f"  {finding.found}"))  # fmt: skip
        if finding.status in ("note", "fault"):
            console.print(f"        looked at: {finding.looked}")
            console.print(f"        means:     {finding.means}")
        if finding.mend:
            console.print(f"        mend:      {finding.mend}")
    counts = {status: sum(finding.status == status for finding in findings) for status in STATUSES}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
