"""Processes of an engine: the one that listens and its children, however they come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from support.net import wait_for
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.engines.processes import Processes
from tokwatt_exporter.engines.sockets import Listener, started

#: A parent that starts a child which burns CPU; each line on stdin makes the child burn, "end" ends it.
PARENT = """
import subprocess, sys
burn = "import sys\\nfor _ in sys.stdin: sum(range(3_000_000)); print(flush=True)"
child = subprocess.Popen([sys.executable, "-c", burn],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(child.pid, flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        child.stdin.close(); child.wait(); child.stdout.close()
    else:
        child.stdin.write("x\\n"); child.stdin.flush(); child.stdout.readline()
    print(flush=True)
"""


class Parent:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        assert process.stdout
        self.child = int(process.stdout.readline())
        self.listener = Listener("127.0.0.1", 1, self.pid, started(self.pid))

    def say(self, word: str) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()


@pytest.fixture
def parent() -> Iterator[Parent]:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Parent(process)
        assert process.stdin
        process.stdin.close()


def values(processes: Processes) -> dict[object, float]:
    return {reading.family: reading.value for reading in processes.readings("e")}


def test_an_engine_and_its_children_are_summed(parent: Parent):
    processes = Processes()
    processes.find({"e": parent.listener})
    seen = values(processes)
    assert seen[c.ENGINE_PROCESSES] == 2
    resident = sum(psutil.Process(pid).memory_info().rss for pid in (parent.pid, parent.child))
    assert seen[c.ENGINE_PROCESS_MEMORY] == pytest.approx(resident, rel=0.05)


def test_cpu_seconds_do_not_fall_when_a_child_ends(parent: Parent):
    processes = Processes()
    processes.find({"e": parent.listener})
    for _ in range(5):
        parent.say("burn")
    before = values(processes)
    child = sum(psutil.Process(parent.child).cpu_times()[:2])
    assert child > 0.1
    parent.say("end")
    wait_for(lambda: not psutil.pid_exists(parent.child))
    after = values(processes)
    assert after[c.ENGINE_PROCESSES] == 1
    assert after[c.ENGINE_PROCESS_CPU] >= before[c.ENGINE_PROCESS_CPU]


def test_cpu_seconds_go_on_when_the_engine_is_started_again(parent: Parent):
    processes = Processes()
    processes.find({"e": parent.listener})
    parent.say("burn")
    before = values(processes)[c.ENGINE_PROCESS_CPU]
    processes.find({"e": None})
    assert values(processes) == {}
    processes.find({"e": Listener("127.0.0.1", 1, os.getpid(), started(os.getpid()))})
    assert values(processes)[c.ENGINE_PROCESS_CPU] >= before


def test_a_process_and_its_children_have_the_engine_as_owner(parent: Parent):
    processes = Processes()
    processes.find({"e": parent.listener})
    assert processes.owner(parent.pid) == processes.owner(parent.child) == "e"
    assert processes.owner(os.getpid()) is None
    assert processes.owner(2**22 + 1) is None


def test_a_child_started_since_the_last_look_has_an_owner_too(parent: Parent):
    processes = Processes()
    processes.find({"e": Listener("127.0.0.1", 1, os.getpid(), started(os.getpid()))})
    processes._trees = {"e": (psutil.Process(os.getpid()),)}
    assert processes.owner(parent.child) == "e"


def test_processes_that_may_not_be_read_are_absent(parent: Parent, monkeypatch: pytest.MonkeyPatch):
    def denied(self: psutil.Process) -> bool:
        raise psutil.AccessDenied(self.pid)

    processes = Processes()
    processes.find({"e": parent.listener})
    monkeypatch.setattr(psutil.Process, "is_running", denied)
    assert values(processes) == {}


def test_an_engine_without_a_visible_process_has_no_process_series():
    processes = Processes()
    processes.find({"e": Listener("127.0.0.1", 1)})
    assert values(processes) == {}
