"""`code`: Python functions that are run, and their results compared. Nothing is run unless the user says so."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tokwatt_bench.quality.base import Item, Options, Suite, shown
from tokwatt_bench.quality.sandbox import Outcome, run
from tokwatt_bench.quality.text import Said
from tokwatt_bench.scenarios.base import asked

_RULE = "Answer with one block of Python code that needs the standard library only."
_BLOCK = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


class _Task(NamedTuple):
    name: str
    text: str
    #: Arguments and the result of each call.
    calls: tuple[tuple[tuple[Any, ...], Any], ...]


TASKS = (
    _Task("rotate", "Write a function rotate(items, n) that returns a list with the items moved n places to the right, "
          "those at the end coming to the beginning; n may be negative or larger than the list.",
          ((([1, 2, 3, 4], 1), [4, 1, 2, 3]), (([1, 2, 3], -1), [2, 3, 1]), (([], 5), []),
           ((["a", "b"], 7), ["b", "a"]))),
    _Task("merge", "Write a function merge(intervals) that joins overlapping or touching pairs of whole numbers and "
          "returns them as a sorted list of lists of two.",
          ((([[5, 8], [1, 3], [2, 4]],), [[1, 4], [5, 8]]), (([],), []), (([[1, 10], [2, 3]],), [[1, 10]]),
           (([[1, 2], [2, 3], [9, 9]],), [[1, 3], [9, 9]]))),
    _Task("roman", "Write a function roman(n) that returns the Roman numeral of a number from 1 to 3999.",
          (((1994,), "MCMXCIV"), ((4,), "IV"), ((3999,), "MMMCMXCIX"), ((40,), "XL"), ((2026,), "MMXXVI"))),
    _Task("balanced", "Write a function balanced(text) that returns whether all brackets ()[]{} in a text are closed "
          "in the right order; other characters do not matter.",
          ((("f(a[1]) { }",), True), (("(]",), False), (("((",), False), (("",), True), ((")(",), False))),
    _Task("anagrams", "Write a function anagrams(words) that returns groups of at least two words with the same "
          "letters, each group sorted, the groups sorted by their first word.",
          (((["tea", "eat", "tan", "ate", "nat", "bat"],), [["ate", "eat", "tea"], ["nat", "tan"]]), (([],), []),
           ((["a"],), []))),
    _Task("duration", "Write a function seconds(text) that returns the seconds of a text such as '1h30m', '45s' or "
          "'2d4h', and None for any other text, the empty one included.",
          ((("1h30m",), 5400), (("45s",), 45), (("2d4h",), 187200), (("",), None), (("5x",), None), (("h",), None))),
    _Task("spiral", "Write a function spiral(rows) that returns the numbers of a rectangular list of lists in the "
          "order of a spiral from the top left, clockwise.",
          ((([[1, 2, 3], [4, 5, 6], [7, 8, 9]],), [1, 2, 3, 6, 9, 8, 7, 4, 5]), (([[1, 2], [3, 4], [5, 6]],),
           [1, 2, 4, 6, 5, 3]), (([],), []), (([[7]],), [7]))),
    _Task("steps", "Write a function steps(grid) that returns the least number of moves (up, down, left, right) from "
          "the top left to the bottom right of a grid of texts in which # is a wall, or -1 where there is no way.",
          (((["..", ".."],), 2), ((["..#", "#.#", "..."],), 4), (([".#", "#."],), -1), (([".",],), 0),
           ((["....", "###.", "....", ".###", "...."],), 13))),
)  # fmt: skip


def source(answer: str, name: str) -> str | None:
    """The code that defines a function: of the last block that does, else all of the text."""
    blocks = [*_BLOCK.findall(answer), *([] if "```" in answer else [answer])]
    return next((block for block in reversed(blocks) if re.search(rf"^def {name}\(", block, re.MULTILINE)), None)


def verify(answer: str, task: _Task, execute: Callable[[str], Outcome] = run) -> str | None:
    """What is wrong with an answer, found out by running it; the results that are right never reach its process."""
    name = _function(task)
    code = source(answer, name)
    if code is None:
        return f"it has no function {name}"
    mark = secrets.token_hex(8)
    outcome = execute(_program(code, name, [arguments for arguments, _ in task.calls], mark))
    if outcome.problem:
        return outcome.problem
    results = [line.removeprefix(mark) for line in outcome.output.splitlines() if line.startswith(mark)]
    if len(results) != len(task.calls):
        return "it ended before all calls were made"
    for result, (arguments, wanted) in zip(results, task.calls, strict=True):
        if result != json.dumps(wanted):
            return (
                f"{name}({shown(', '.join(map(repr, arguments)))}) is {shown(result)}, not {shown(json.dumps(wanted))}"
            )
    return None


def _function(task: _Task) -> str:
    found = re.search(r"function (\w+)\(", task.text)
    assert found
    return found[1]


def _program(code: str, name: str, calls: Sequence[Sequence[Any]], mark: str) -> str:
    """The answer, then each call with its result on a line of its own."""
    return (
        f"import json as _json\n_dumps, _loads = _json.dumps, _json.loads\n{code}\n\n"
        f"for _call in _loads({json.dumps(calls)!r}):\n"
        "    try:\n"
        f"        _result = _dumps({name}(*_call))\n"
        "    except Exception as _error:\n"
        "        _result = type(_error).__name__\n"
        f"    print({mark!r} + _result, flush=True)\n"
    )


def _items(options: Options) -> Sequence[Item]:
    return [_item(task) for task in TASKS] if options.execute else []


def _item(task: _Task) -> Item:
    def right(said: Said) -> str | None:
        return verify(said.answer, task)

    return Item(task.name, asked(f"{task.text} {_RULE}"), right)


SUITE = Suite("code", "Python functions that are run in a sandbox, and their results compared", _items)
