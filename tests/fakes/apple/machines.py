"""Whole Macs, each a folder of recordings of one machine."""

from __future__ import annotations

from pathlib import Path

from fakes.apple.recordings import Recording, ioreg, read

ROOT = Path(__file__).parents[2] / "captures/apple"
#: The folders of our own: modelled, not recorded, see the README beside them.
MACHINES = tuple(sorted(folder.name for folder in ROOT.iterdir() if folder.is_dir()))


def load(folder: str | Path) -> Recording:
    """The Mac in a folder, or one of ours by its name; `NoSensor` where one of its files cannot be used."""
    whole = Recording()
    for path in sorted((ROOT / folder).iterdir()):
        if path.is_file() and not path.name.upper().startswith("README"):
            whole.add(read(path.read_bytes()))
    ioreg.tell_apart(whole.machine.nodes)
    whole.fit()
    return whole
