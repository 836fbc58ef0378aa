"""`tokwatt capture`: a recording of this Mac for tokwatt's tests, without what says whose Mac it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tokwatt_exporter import __version__
from tokwatt_exporter.apple import libraries
from tokwatt_exporter.capture import counters, programs, sensors
from tokwatt_exporter.capture.mask import Mask, Secrets
from tokwatt_exporter.errors import NotAvailable, UsageError

#: How long counters are watched: twice as long as macOS 27 takes between two batches of them.
SECONDS = 5.0

_README = """\
# A Mac, recorded by tokwatt {version}

What the sources of one Mac said at one time, in the forms in which Apple's tools print them. `states.txt`,
`energy_model.tsv` and `processor_ticks.txt` tell what was counted in {seconds:.0f} seconds.

| File | From |
|---|---|
{files}

Masked: {masked}.

Left out, in any case: all other variables of the kernel, all other properties of devices, keys of the SMC that hold
text, addresses of interfaces, names of processes. Please look through the files before you give them to anybody.
"""


class Report(NamedTuple):
    """Where the recording is, which files it has, how often what was masked, and what this Mac did not give."""

    folder: Path
    files: tuple[str, ...]
    masked: Counter[str]
    absent: tuple[str, ...]

    def lines(self) -> list[str]:
        """What to tell who asked for it."""
        return [
            f"recorded this Mac in {len(self.files)} files: {self.folder}",
            f"masked: {_said(self.masked)}",
            *(f"not on this Mac: {text}" for text in self.absent),
            "please look through the files before you give them to anybody",
        ]


def capture(
    folder: Path,
    *,
    run: programs.Run = programs.run,
    secrets: Callable[[], Secrets] = Secrets.of_this_mac,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    seconds: float = SECONDS,
) -> Report:
    """Record this Mac into `folder`, in about `seconds`; `NotAvailable` on other systems.

    `UsageError` where the folder has something in it already.
    """
    try:
        libraries.load("iokit")
    except NotAvailable:
        raise NotAvailable("capture records Macs, and this machine is none") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--output: {folder} is there already; name a new folder")
    mask = Mask(secrets())
    found = {**programs.texts(run), **sensors.texts(), **counters.texts(seconds, sleep, clock)}
    kept = {name: mask(text) for name, (text, _) in found.items() if text}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in kept.items():
        (folder / name).write_text(text)
    rows = "\n".join(f"| `{name}` | {found[name][1]} |" for name in sorted(kept))
    masked = _said(mask.counts)
    (folder / "README.md").write_text(
        _README.format(version=__version__, seconds=seconds, files=rows, masked=masked)
    )  # fmt: skip
    absent = tuple(sorted(f"{name} ({source})" for name, (text, source) in found.items() if not text))
    return Report(folder, tuple(sorted(kept)), mask.counts, absent)


def _said(masked: Counter[str]) -> str:
    """What was masked, in words."""
    return ", ".join(f"{count} {what}" for what, count in sorted(masked.items())) or "nothing that was left had to be"
