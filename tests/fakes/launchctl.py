"""A `launchctl` with a launchd behind it that is one JSON file: `python launchctl.py STATE VERB …`.

What it prints of a service is what real ones printed, with this service's facts in it. It ends jobs as slowly as the
real one (`leaving`), refuses with the same codes, and knows no `load` and `unload`. With `spawn` jobs really run.
"""

from __future__ import annotations

import contextlib
import json
import os
import plistlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NO_PROCESS, IO_ERROR, ALREADY, NO_SERVICE, WRONG_DOMAIN = 3, 5, 37, 113, 125


class Refused(Exception):
    """The code to end with, and what to say."""


class Launchd:
    """The state in the file, and the verbs that change it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.state: dict[str, Any] = json.loads(file.read_text())

    def save(self) -> None:
        """Keep it for the next call."""
        self.file.write_text(json.dumps(self.state))

    def do(self, verb: str, *arguments: str) -> None:
        """One call of launchctl."""
        self.state["calls"].append([verb, *arguments])
        if (codes := self.state["codes"].get(verb)) and (code := codes.pop(0)):
            raise Refused(code, f"{verb.capitalize()} failed: {code}: scripted")
        getattr(self, verb.replace("-", "_"), self.unknown)(*arguments)

    def unknown(self, *_: str) -> None:
        """Verbs that nobody should use any more."""
        raise Refused(64, "Unrecognized subcommand")

    def print(self, target: str) -> None:
        """A domain or a service."""
        if target.count("/") < (1 if target.startswith("system") else 2):
            if target not in self.state["domains"]:
                raise Refused(self.state["no_domain"], "Domain does not support specified action")
            sys.stdout.write(f"{target} = {{\n\ttype = login\n\tservices = {{\n\t}}\n}}\n")
            return
        sys.stdout.write(self._shown(target, self._service(target)))

    def print_disabled(self, domain: str) -> None:
        """The overrides, in the words of newer or older systems."""
        words = self.state["words"]
        rows = "".join(f'\t\t"{label}" => {words[off]}\n' for label, off in self.state["disabled"].items())
        sys.stdout.write(f"\tdisabled services = {{\n{rows}\t}}\n")

    def enable(self, target: str) -> None:
        """Undo an override, unless somebody else keeps it."""
        if not self.state["sticky"]:
            self.state["disabled"][target.rpartition("/")[2]] = False

    def bootstrap(self, domain: str, path: str) -> None:
        """Load a file."""
        if domain not in self.state["domains"]:
            raise Refused(WRONG_DOMAIN, "Bootstrap failed: 125: Domain does not support specified action")
        job = self._usable(domain, Path(path))
        target = f"{domain}/{job['Label']}"
        if (known := self.state["services"].get(target)) is not None:
            raise Refused(ALREADY if known["leaving"] else IO_ERROR, "Bootstrap failed: Input/output error")
        self.state["services"][target] = {"path": path, "job": job, "leaving": 0, "runs": 0, "pid": None, "exit": None}
        if job.get("RunAtLoad"):
            self._start(target)

    def bootout(self, target: str) -> None:
        """Unload a service: it is gone some `print`s later."""
        service = self._service(target, NO_PROCESS)
        if service["pid"]:
            self._signal(target, service, signal.SIGTERM)
        service["leaving"] = self.state["leaving"]
        if not service["leaving"]:
            del self.state["services"][target]

    def kickstart(self, *arguments: str) -> None:
        """Start a service, or start it again."""
        *flags, target = arguments
        service = self._service(target)
        if service["pid"] and "-k" not in flags:
            raise Refused(ALREADY, "Operation already in progress")
        if service["pid"]:
            self._signal(target, service, signal.SIGTERM)
        self._start(target)

    def kill(self, name: str, target: str) -> None:
        """Send a signal."""
        service = self._service(target)
        if not service["pid"]:
            raise Refused(NO_PROCESS, "No process to signal.")
        self._signal(target, service, signal.Signals[f"SIG{name}"])

    def _usable(self, domain: str, path: Path) -> dict[str, Any]:
        """The job in a file, where launchd would take it."""
        status = path.stat()
        try:
            job: dict[str, Any] = plistlib.loads(path.read_bytes())
            usable = bool(job["Label"] and Path(job["ProgramArguments"][0]).is_absolute())
        except Exception:
            usable = False
        session = "Background" if domain.startswith("user/") else None
        mine = status.st_uid == self.state["owner"] and not status.st_mode & 0o022
        off = usable and self.state["disabled"].get(job["Label"])
        if not usable or not mine or off or job.get("LimitLoadToSessionType") != session:
            raise Refused(IO_ERROR, "Bootstrap failed: 5: Input/output error")
        return job

    def _service(self, target: str, code: int = NO_SERVICE) -> dict[str, Any]:
        service: dict[str, Any] | None = self.state["services"].get(target)
        if service and service["leaving"]:
            service["leaving"] -= 1
            if not service["leaving"]:
                del self.state["services"][target]
        if service is None:
            raise Refused(code, f'Could not find service "{target.rpartition("/")[2]}" in domain')
        self._look(service)
        return service

    def _look(self, service: dict[str, Any]) -> None:
        """What became of a job that really runs."""
        if note := service.get("note"):
            with contextlib.suppress(FileNotFoundError):
                service["exit"] = int(Path(note + ".exit").read_text())
                service["pid"] = None

    def _start(self, target: str) -> None:
        service = self.state["services"][target]
        service["runs"] += 1
        if self.state["spawn"]:
            service["note"] = str(self.file.with_name(f"job-{len(self.state['calls'])}"))
            service["pid"] = _spawn(service["job"], service["note"])
        elif self.state["ends_with"] is None:
            self.state["next_pid"] += 1
            service["pid"] = self.state["next_pid"]
        else:
            service["exit"] = self.state["ends_with"]

    def _signal(self, target: str, service: dict[str, Any], number: signal.Signals) -> None:
        if service.get("note"):
            os.kill(service["pid"], number)
        elif not self.state["deaf"]:
            service["pid"], service["exit"] = None, self.state["term_exit"]

    def _shown(self, target: str, service: dict[str, Any]) -> str:
        """A real print with other facts in it."""
        capture = self.state["captures"]["running" if service["pid"] else "not running"]
        state = "running" if service["pid"] else "spawn scheduled" if service["exit"] else "not running"
        exit_code = {None: "(never exited)", 78: "78: EX_CONFIG"}.get(service["exit"], service["exit"])
        facts = {"path": service["path"], "state": state, "runs": service["runs"], "last exit code": exit_code}
        if service["pid"]:
            facts["pid"] = service["pid"]
        text = re.sub(r"\A.*", lambda _: f"{target} = {{", capture)
        for key, value in facts.items():
            text, found = re.subn(rf"(?m)^\t{key} = .*", lambda _, k=key, v=value: f"\t{k} = {v}", text)
            assert found == 1, key
        words = "".join(f"\t\t{word}\n" for word in service["job"]["ProgramArguments"])
        return re.sub(r"(?ms)^\targuments = \{\n.*?^\t\}\n", lambda _: f"\targuments = {{\n{words}\t}}\n", text)


def _spawn(job: dict[str, Any], note: str) -> int:
    """Run a job as launchd does; who waits for it writes down how it ends."""
    subprocess.Popen(
        [sys.executable, __file__, "--wait", note], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True, text=True,
    ).communicate(json.dumps(job))  # fmt: skip
    return int(Path(note).read_text())


def _wait(note: str) -> None:
    job = json.loads(sys.stdin.read())
    if os.fork():
        while not Path(note).exists():
            time.sleep(0.01)
        return
    environ = {**job["EnvironmentVariables"], "HOME": job["WorkingDirectory"]}
    with Path(job["StandardErrorPath"]).open("ab") as errors:
        child = subprocess.Popen(
            job["ProgramArguments"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            cwd=job["WorkingDirectory"], env=environ, umask=job["Umask"],
        )  # fmt: skip
    Path(note + ".new").write_text(str(child.pid))
    Path(note + ".new").rename(note)
    code = child.wait()
    Path(note + ".exit").write_text(str(code))


def main(file: str, *arguments: str) -> int:
    """One call, and its exit code."""
    if file == "--wait":
        _wait(*arguments)
        return 0
    launchd = Launchd(Path(file))
    try:
        launchd.do(*arguments)
    except Refused as error:
        code, said = error.args
        sys.stderr.write(f"{said}\n")
        return int(code)
    finally:
        launchd.save()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
