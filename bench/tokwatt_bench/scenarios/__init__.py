"""What is asked of an engine: scenarios of our own, and prompts and traces of the user's.

The contents are fixed and have a version, so that two results of a scenario are of the same requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokwatt_bench.scenarios.base import VERSION, Ask, Messages, Scenario, begun
from tokwatt_bench.scenarios.batch import Batch
from tokwatt_bench.scenarios.chat import Chat
from tokwatt_bench.scenarios.code import Code
from tokwatt_bench.scenarios.cold_start import ColdStart
from tokwatt_bench.scenarios.long_context import Fitted, LongContext, fit
from tokwatt_bench.scenarios.prefix_reuse import PrefixReuse
from tokwatt_bench.scenarios.tool_call import ToolCall

__all__ = ["SCENARIOS", "VERSION", "Ask", "Fitted", "LongContext", "Messages", "Scenario", "begun", "fit", "from_file"]

SCENARIOS: Mapping[str, Scenario] = {
    one.name: one for one in (Chat(), Code(), LongContext(), PrefixReuse(), ToolCall(), Batch(), ColdStart())
}


def from_file(path: Path) -> Scenario:
    """Prompts or a trace of the user's; `UsageError` names the file, the line and what is wrong with it."""
    from tokwatt_bench.scenarios.files import from_file

    return from_file(path)
