"""The end of log files that rotate, and what is added to them."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

_EVERY_SECONDS = 0.5


def show(paths: Sequence[Path], lines: int, follow: bool) -> None:
    """Print the last lines of each file on stdout, and with `follow` what comes, until interrupted."""
    with ExitStack() as stack:
        files = [_Followed(path) for path in paths]
        for file in files:
            stack.callback(file.close)
        texts = [file.last(lines) for file in files]
        # One file needs no title; which is which is said from the first time that there are two.
        full = [file for file, text in zip(files, texts, strict=True) if text]
        shown = full[0] if len(full) == 1 else None
        while True:
            for file, text in zip(files, texts, strict=True):
                if text and file is not shown:
                    sys.stdout.write(f"==> {file.path} <==\n")
                    shown = file
                sys.stdout.write(text)
            sys.stdout.flush()
            if not follow:
                return
            time.sleep(_EVERY_SECONDS)
            texts = [file.news() for file in files]


class _Followed:
    """One log; the file may come later, be renamed by rotation, or be cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def last(self, lines: int) -> str:
        """The last lines, those of the file that was rotated away last included."""
        found: deque[bytes] = deque(maxlen=lines)
        with suppress(FileNotFoundError), self.path.with_name(self.path.name + ".1").open("rb") as older:
            found.extend(older)
        self._open()
        found.extend(self._file or ())
        return b"".join(found).decode("utf-8", "replace")

    def news(self) -> str:
        """What was added since."""
        if self._file is None:
            self._open()
        text = self._rest()
        if self._was_replaced():
            self.close()
            self._open()
            text += self._rest()
        return text

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()

    def _open(self) -> None:
        self._file = None
        with suppress(FileNotFoundError):
            self._file = self.path.open("rb")

    def _rest(self) -> str:
        if self._file is None:
            return ""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        return self._file.read().decode("utf-8", "replace")

    def _was_replaced(self) -> bool:
        if self._file is None:
            return False
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)
