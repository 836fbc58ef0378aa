"""A page in a real browser: what it asked of the network, what it complained about, what it looks like.

It is driven over a pipe by Chromium's own protocol, so that it takes nothing but the browser.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .debian import NotInstallable
from .grafana_render import _chromium
from .missing import missing

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", "--disable-background-networking"
)  # fmt: skip
#: Chromium reads commands from 3 and answers on 4.
_START = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(commands, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """An open tab; `faults` are errors and warnings of its console, `asked` the URLs beside its own."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._buffer, self._id, self._session = b"", 0, ""
        self.faults: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, file: Path, *, dark: bool = False, width: int = 1280, timeout: float = 60.0) -> None:
        """Load a file and wait until its script says it has drawn in `data-drawn`."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        # Elsewhere first, so that what the page before it drew is not taken for its own.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=file.as_uri())
        self.wait("document.documentElement?.dataset.drawn", timeout)

    def evaluate(self, script: str) -> Any:
        """What an expression of JavaScript gives; promises are waited for."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, timeout: float = 60.0) -> Any:
        """The first truthy value of an expression."""
        end = time.monotonic() + timeout
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, f"not within {timeout:g} s: {script}; {self.faults}"
            time.sleep(0.05)
        return value

    def picture(self, file: Path) -> None:
        """The whole page as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of the browser to a command."""
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data) :]
        while True:
            said = self._read()
            if said.get("id") == self._id:
                assert "error" not in said, f"{method}: {said['error']}"
                answer: dict[str, Any] = said["result"]
                return answer
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        method, given = said.get("method", ""), said.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(given["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.faults.append(json.dumps(given["args"])[:600])
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.faults.append(given["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.faults.append(f"a dialog: {given['message']}")
        elif method == "Network.requestWillBeSent":
            url = given["request"]["url"]
            if given["type"] != "Document" and not url.startswith(("data:", "blob:")):
                self.asked.append(url)

    def _read(self, timeout: float = 60.0) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._receive], [], [], timeout)[0], "the browser says nothing"
            part = os.read(self._receive, 2**20)
            assert part, "the browser went away"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a browser of its own; a test without one is skipped, or fails in CI."""
    try:
        executable = _chromium()
    except NotInstallable as reason:
        missing(f"chromium cannot be installed: {reason}")
    to_browser, send = os.pipe()
    receive, from_browser = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(to_browser), str(from_browser), executable, *_FLAGS,
         f"--user-data-dir={profile}"],
        pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(send, receive)
    finally:
        os.close(send)
        os.close(receive)
        process.terminate()
        process.wait(30)
