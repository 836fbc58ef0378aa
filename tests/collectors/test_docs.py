"""docs/collectors.md says what there is."""

import re
from pathlib import Path

from tokwatt_exporter.collectors.linux_rapl import _FORBIDDEN
from tokwatt_exporter.collectors.registry import REGISTRY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/collectors.md").read_text()
#: Name, and what stands under Linux and macOS, of each row of the table.
ROWS = {name: (linux, mac) for name, linux, mac in re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", PAGE, re.MULTILINE)}


def test_the_table_has_every_collector_of_the_hardware_where_it_runs():
    none = "\N{EN DASH}"
    documented = {name: (linux != none, mac != none) for name, (linux, mac) in ROWS.items()}
    registered = {entry.name: ("linux" in entry.classes, "darwin" in entry.classes) for entry in REGISTRY}
    for elsewhere in ("engines", "benchmark"):
        registered.pop(elsewhere, None)
        documented.pop(elsewhere, None)
    assert documented == registered


def test_the_page_that_a_refusal_points_to_has_the_rule():
    assert (ROOT / _FORBIDDEN.rpartition(" ")[2]).is_file()
    assert "/etc/udev/rules.d/" in PAGE.partition("## rapl")[2].partition("## nvidia")[0]
