"""Where alerts go: a notification on the desktop, a webhook, an Alertmanager."""

from __future__ import annotations

import hashlib
import html
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from tokwatt_exporter.alerts.judge import Alert, Change
from tokwatt_exporter.errors import TokwattError, UsageError
from tokwatt_exporter.show import iso

PATIENCE = 10.0
#: Seconds after which an Alertmanager takes an alert for over that nobody told it again.
_KEEP_MS = 5 * 60_000
_NOTIFY = (
    "on run argv", "display notification (item 1 of argv) with title (item 2 of argv)", "end run",
)  # fmt: skip


class NotSent(TokwattError):
    """The receiver did not take it; the text says why, and names no secret that its URL may hold."""


class Receiver(Protocol):
    """Takes changes."""

    name: str

    def send(self, changes: Sequence[Change]) -> int:
        """How many of them it took, from the first on; `NotSent` where it took none."""
        ...

    def remind(self, firing: Iterable[Alert], now_ms: int) -> None:
        """Tell it of what still fires, where it wants to hear that again and again."""
        ...


class Desktop:
    """A notification on this machine's screen."""

    name = "desktop"

    def __init__(self, system: str = sys.platform) -> None:
        self._mac = system == "darwin"
        program = "osascript" if self._mac else "notify-send"
        found = shutil.which(program)
        if found is None:
            raise UsageError(f"--desktop: there is no {program} on this machine")
        self._program = found

    def send(self, changes: Sequence[Change]) -> int:
        """One at a time."""
        [change, *_] = changes
        try:
            done = subprocess.run(self._command(change), stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=PATIENCE, check=False)  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotSent(f"{self._program} does not end: {error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise NotSent(f"{self._program}: {said[-1] if said else f'exit status {done.returncode}'}")
        return 1

    def remind(self, firing: Iterable[Alert], now_ms: int) -> None:
        """Nobody wants to see it again."""

    def _command(self, change: Change) -> list[str]:
        title = f"tokwatt: {change.status}"
        if self._mac:
            # As arguments and not in the script: what a label holds must not be run.
            lines = [word for line in _NOTIFY for word in ("-e", line)]
            return [self._program, *lines, change.alert.summary, title]
        urgent = dict(change.alert.labels).get("severity") == "critical" and change.status == "firing"
        # The body may hold markup.
        return [self._program, "--app-name=tokwatt", f"--urgency={'critical' if urgent else 'normal'}", "--", title,
                html.escape(change.alert.summary)]  # fmt: skip


class _Http:
    """Posts JSON."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _post(self, content: Any) -> None:
        host = urlsplit(self._url).hostname
        try:
            answer = httpx.post(self._url, json=content, timeout=PATIENCE, headers={"User-Agent": "tokwatt"})
        except httpx.HTTPError as error:
            raise NotSent(f"{host} does not answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise NotSent(f"{host} answers with HTTP {answer.status_code}")


class Webhook(_Http):
    """A URL that takes what an Alertmanager posts to webhooks (version 4), one alert at a time."""

    name = "webhook"

    def send(self, changes: Sequence[Change]) -> int:
        """One at a time."""
        [change, *_] = changes
        alert, labels = change.alert, dict(change.alert.labels)
        group = {"alertname": alert.name}
        self._post({
            "version": "4", "groupKey": f'{{}}:{{alertname="{alert.name}"}}', "truncatedAlerts": 0,
            "status": change.status, "receiver": "tokwatt", "groupLabels": group,
            "commonLabels": {**group, **labels}, "commonAnnotations": dict(alert.annotations), "externalURL": "",
            "alerts": [{
                "status": change.status, "labels": {**group, **labels}, "annotations": dict(alert.annotations),
                "startsAt": iso(alert.since_ms), "endsAt": iso(alert.resolved_ms) if alert.resolved_ms else _NEVER,
                "generatorURL": "", "fingerprint": fingerprint({**group, **labels}),
            }],
        })  # fmt: skip
        return 1

    def remind(self, firing: Iterable[Alert], now_ms: int) -> None:
        """It was told."""


#: How an Alertmanager writes that there is no end.
_NEVER = "0001-01-01T00:00:00Z"


class Alertmanager(_Http):
    """An Alertmanager, which groups, silences and sends on by itself. It must hear again and again of what fires."""

    name = "alertmanager"

    def __init__(self, url: str) -> None:
        super().__init__(f"{url}/api/v2/alerts")
        self.keep_ms = _KEEP_MS

    def send(self, changes: Sequence[Change]) -> int:
        """All at once."""
        self._post([self._alert(change.alert, change.alert.resolved_ms) for change in changes])
        return len(changes)

    def remind(self, firing: Iterable[Alert], now_ms: int) -> None:
        """As long as this is repeated they go on."""
        if alerts := [self._alert(alert, now_ms + self.keep_ms) for alert in firing]:
            self._post(alerts)

    def _alert(self, alert: Alert, ends_ms: int | None) -> dict[str, Any]:
        ends = ends_ms if ends_ms is not None else (alert.fired_ms or alert.since_ms) + self.keep_ms
        return {
            "labels": {"alertname": alert.name, **dict(alert.labels)}, "annotations": dict(alert.annotations),
            "startsAt": iso(alert.since_ms), "endsAt": iso(ends),
        }  # fmt: skip


def fingerprint(labels: Mapping[str, str]) -> str:
    """Tells one set of labels from another, the same at every time."""
    text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
