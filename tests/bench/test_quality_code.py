"""The suite of code: right functions pass, wrong ones and liars do not, and what is run is held."""

import sys

import psutil
import pytest

from tokwatt_bench.quality import code, sandbox
from tokwatt_bench.quality.base import Options
from tokwatt_bench.quality.text import Said

RIGHT = {
    "rotate": "def rotate(items, n):\n    n = n % len(items) if items else 0\n    return items[-n:] + items[:-n]\n",
    "merge": "def merge(intervals):\n    out = []\n    for a, b in sorted(intervals):\n"
             "        if out and a <= out[-1][1]:\n            out[-1][1] = max(out[-1][1], b)\n"
             "        else:\n            out.append([a, b])\n    return out\n",
    "roman": "def roman(n):\n    out = ''\n    for v, s in zip((1000,900,500,400,100,90,50,40,10,9,5,4,1),"
             "('M','CM','D','CD','C','XC','L','XL','X','IX','V','IV','I')):\n"
             "        out += s * (n // v)\n        n %= v\n    return out\n",
    "balanced": "def balanced(text):\n    stack = []\n    pairs = {')': '(', ']': '[', '}': '{'}\n    for c in text:\n"
                "        if c in '([{':\n            stack.append(c)\n        elif c in pairs:\n"
                "            if not stack or stack.pop() != pairs[c]:\n                return False\n"
                "    return not stack\n",
    "anagrams": "def anagrams(words):\n    d = {}\n    for w in words:\n"
                "        d.setdefault(''.join(sorted(w)), []).append(w)\n"
                "    return sorted(sorted(g) for g in d.values() if len(g) > 1)\n",
    "duration": "import re\ndef seconds(text):\n    if not text or not re.fullmatch(r'(\\d+[dhms])+', text):\n"
                "        return None\n    return sum(int(n) * {'d': 86400, 'h': 3600, 'm': 60, 's': 1}[u]\n"
                "               for n, u in re.findall(r'(\\d+)([dhms])', text))\n",
    "spiral": "def spiral(rows):\n    out = []\n    while rows:\n        out += rows[0]\n"
              "        rows = [list(r) for r in zip(*rows[1:])][::-1]\n    return out\n",
    "steps": "from collections import deque\ndef steps(grid):\n    h, w = len(grid), len(grid[0])\n"
             "    seen, q = {(0, 0)}, deque([(0, 0, 0)])\n    while q:\n        y, x, d = q.popleft()\n"
             "        if (y, x) == (h - 1, w - 1):\n            return d\n"
             "        for a, b in ((y+1, x), (y-1, x), (y, x+1), (y, x-1)):\n"
             "            if 0 <= a < h and 0 <= b < w and grid[a][b] != '#' and (a, b) not in seen:\n"
             "                seen.add((a, b))\n                q.append((a, b, d + 1))\n    return -1\n",
}  # fmt: skip
TASKS = {task.name: task for task in code.TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_a_right_function_passes(name):
    assert code.verify(f"Here it is:\n\n```python\n{RIGHT[name]}```\nIt works.", TASKS[name]) is None


@pytest.mark.parametrize("answer, said", [
    ("I would loop over the list.", "it has no function rotate"),
    ("```python\ndef turn(items, n):\n    return items\n```", "it has no function rotate"),
    ("def rotate(items, n):\n    return items", "rotate([1, 2, 3, 4], 1) is [1, 2, 3, 4], not [4, 1, 2, 3]"),
    ("def rotate(items, n):\n    return items[-n:] + items[:-n]",
     'rotate([\'a\', \'b\'], 7) is ["a", "b"], not ["b", "a"]'),
    ("def rotate(items, n):\n    return 1 / 0", "rotate([1, 2, 3, 4], 1) is ZeroDivisionError, not [4, 1, 2, 3]"),
    ("def rotate(items, n):\n    return {items}", "rotate([1, 2, 3, 4], 1) is TypeError"),
    ("def rotate(items, n):\n  return items +", "it failed"),
    ("def rotate(items, n):\n    while True: pass", "it used more than 1 s of CPU"),
    ("def rotate(items, n):\n    import time\n    time.sleep(99)", "it ran for more than 3 s"),
    ("import os\ndef rotate(items, n):\n    os._exit(0)", "it ended before all calls were made"),
    ("import sys\ndef rotate(items, n):\n    sys.exit()", "it ended before all calls were made"),
    # It says what it likes on stdout, but the mark of a result is not known to it.
    ("def rotate(items, n):\n    print('[4, 1, 2, 3]')\n    return None", "rotate([1, 2, 3, 4], 1) is null"),
    ("class Any:\n    __eq__ = lambda *a: True\ndef rotate(items, n):\n    return Any()",
     "rotate([1, 2, 3, 4], 1) is Type"),
    ("import json\njson.dumps = lambda *a: '[4, 1, 2, 3]'\ndef rotate(items, n):\n    return 5",
     "rotate([1, 2, 3, 4], 1) is 5"),
])  # fmt: skip
def test_a_wrong_function_and_a_liar_do_not_pass(answer, said):
    found = code.verify(answer, TASKS["rotate"], lambda text: sandbox.run(text, cpu_seconds=1, seconds=3.0))
    # A busy machine may not give it its second of CPU within three.
    assert found.startswith((said, "it ran for more than 3 s")) if "CPU" in said else found.startswith(said)


def test_the_last_block_with_the_function_counts_or_the_bare_text():
    blocks = "```python\ndef f(x):\n    return 1\n```\nBetter:\n```python\ndef f(x):\n    return 2\n```\n```\nf(1)\n```"
    assert code.source(blocks, "f") == "def f(x):\n    return 2\n"
    assert code.source("def f(x):\n    return 1", "f") == "def f(x):\n    return 1"
    assert code.source("```python\ndef f(x):\n    return 1", "f") == "def f(x):\n    return 1"
    assert code.source("Call f(x).", "f") is None


def test_nothing_is_run_unless_it_was_asked_for():
    assert code.SUITE.items(Options(execute=False)) == []


def test_an_item_runs_what_was_answered_and_not_what_was_thought():
    item = next(item for item in code.SUITE.items(Options(execute=True)) if item.name == "rotate")
    assert item.verify(Said(f"<think>def rotate(items, n): ...</think>{RIGHT['rotate']}")) is None


HELD = "processes" in sandbox.guards()
linux = pytest.mark.skipif(sys.platform != "linux" or not HELD, reason="no namespaces for this user")


def test_code_sees_nothing_of_the_user_and_of_the_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    found = sandbox.run(
        "import os, sys\nprint(sorted(os.environ), os.listdir('.'), [p for p in sys.path if 'site' in p])"
    )
    assert found.problem is None
    assert found.output.startswith("['HOME', ") and "SECRET" not in found.output
    assert found.output.endswith("] [] []\n")
    assert sandbox.run("import psutil").problem == "it failed"


@pytest.mark.parametrize("text", [
    "x = bytearray(2 * 10**9)",
    "print('a' * 10**7)",
    "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
    "f = [open('/dev/null') for _ in range(100)]",
])  # fmt: skip
def test_memory_output_files_and_limits_are_limited(text):
    found = sandbox.run(text)
    assert found.problem == "it failed"
    assert len(found.output) <= sandbox.FILE_BYTES


@linux
def test_there_is_no_network_and_no_way_to_write(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = sandbox.run(f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 2)\n"
                            "except OSError as error:\n    print(type(error).__name__)")  # fmt: skip
    assert found.output == "OSError\n"
    for place in (tmp_path / "file", "file", "/tmp/tokwatt-never"):
        found = sandbox.run(f"try:\n    open({str(place)!r}, 'w')\nexcept OSError as error:\n    print(error.strerror)")
        assert found.output == "Read-only file system\n"
    assert not (tmp_path / "file").exists()


@linux
def test_what_it_leaves_behind_ends_with_it():
    mark = "tokwatt_left_behind_54321"
    sandbox.run(f"import os, time, ctypes\n{mark} = 1\ntry:\n    if os.fork() == 0:\n        os.setsid()\n"
                f"        ctypes.CDLL(None).prctl(15, b'left54321')\n        time.sleep(60)\n"
                "except OSError:\n    pass\nprint('gone')")  # fmt: skip
    assert [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "left54321"] == []


@linux
def test_other_processes_are_out_of_its_reach():
    victim = psutil.Process().pid
    found = sandbox.run(
        f"import os\ntry:\n    os.kill({victim}, 0)\nexcept OSError as error:\n    print(error.strerror)"
    )
    assert found.output == "No such process\n"


def test_on_a_mac_the_process_is_started_by_its_sandbox(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name, path: f"{path}/{name}")
    command = sandbox._command("/folder", 5, "darwin")
    assert command[:2] == ["/usr/bin/sandbox-exec", "-p"]
    assert "(deny network*)" in command[2] and "(deny file-write*)" in command[2]
    assert sandbox._command("/folder", 5, "linux")[0] == sys.executable
