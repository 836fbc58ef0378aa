"""docs/collectors and docs/macos.md say what there is; their queries and alerts are ones that Prometheus takes."""

import plistlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support.components import component
from support.promql_reader import read
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.collectors.apple_powermetrics import _NOT_ROOT
from tokwatt_exporter.collectors.linux_rapl import _FORBIDDEN
from tokwatt_exporter.collectors.registry import REGISTRY

pytestmark = pytest.mark.text

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text() for path in sorted((DOCS / "collectors").glob("*.md")) if path.stem != "README"}
MAC = (DOCS / "macos.md").read_text()
GOLDEN = ROOT / "tests/apple/golden"
#: What Prometheus adds to a series, and what a test file of rules would.
SCRAPED = {"job", "instance"}

each_page = pytest.mark.parametrize("name", PAGES)


def queries(name):
    return re.findall(r"```promql\n(.*?)```", PAGES[name], re.DOTALL)


def alerts(name):
    return [
        rule for block in re.findall(r"```yaml\n(.*?)```", PAGES[name], re.DOTALL) for rule in yaml.safe_load(block)
    ]


def expressions(name):
    return [*queries(name), *(rule["expr"] for rule in alerts(name))]


def emitted(name):
    """The metrics in the table of a page, which is generated from what the collector's code names."""
    table = PAGES[name].partition("## Metrics")[2].partition("<!-- end -->")[0]
    return set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_every_collector_has_a_page_and_no_page_is_left_over():
    assert PAGES.keys() == {entry.name for entry in REGISTRY}


@each_page
def test_a_page_says_what_is_read_what_it_needs_and_what_it_costs(name):
    page = PAGES[name]
    assert page.startswith(f"# {name}\n")
    for said in ("**Needs:** ", "**Source:** ", "**Cost:** "):
        assert len(re.findall(rf"(?:^| ){re.escape(said)}\S", page, re.MULTILINE)) == 1
    assert queries(name)
    assert alerts(name)
    assert emitted(name)


@each_page
def test_examples_ask_for_metrics_of_this_collector_by_labels_and_states_that_they_have(name):
    for text in expressions(name):
        expression = read(text)
        assert expression.selectors
        labels = set(SCRAPED)
        for selector in expression.selectors:
            assert selector.metric in emitted(name)
            family = c.CATALOGUE[selector.metric]
            labels |= set(family.labels)
            assert selector.matchers.keys() <= {*family.labels, *SCRAPED}
            if isinstance(family, c.States) and "state" in selector.matchers:
                assert set(re.findall(r"\w+", selector.matchers["state"])) <= set(family.states)
            # How much a counter grew says something, its value does not; with `offset` it is whether there is one.
            assert selector.window or family.kind != c.Kind.COUNTER or "offset" in text
        assert expression.grouping <= labels


def test_prometheus_takes_every_query_and_alert(tmp_path):
    rules = [{"record": f"page:{name}:{n}".replace("-", "_"), "expr": text}
             for name in PAGES for n, text in enumerate(queries(name))]  # fmt: skip
    rules += [rule for name in PAGES for rule in alerts(name)]
    path = tmp_path / "pages.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
    result = subprocess.run(
        [component("promtool"), "check", "rules", "--lint-fatal", path], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(rules)} rules found" in result.stdout


def test_alerts_have_names_of_their_own():
    names = [rule["alert"] for name in PAGES for rule in alerts(name)]
    assert len(names) == len(set(names)) >= len(PAGES)
    assert all(name.startswith("Tokwatt") for name in names)


@pytest.mark.parametrize("reason", [_FORBIDDEN, _NOT_ROOT])
def test_the_page_that_a_refusal_points_to_exists(reason):
    assert (ROOT / reason.rpartition(" ")[2]).is_file()


def test_the_page_that_forbids_rapl_has_the_rule():
    assert "/etc/udev/rules.d/" in PAGES["rapl"].partition("## Permission")[2].partition("## Beware")[0]


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")]), ids=lambda p: str(p.relative_to(ROOT))
)
def test_every_link_leads_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    lost = []
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        at = (path.parent / target).resolve() if target else path
        if not at.exists() or (anchor and anchor not in anchors(at)):
            lost.append(f"{target}#{anchor}")
    assert lost == []


def anchors(path):
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- macos.md


def test_the_daemon_that_keeps_the_counters_moving_is_one_that_launchd_takes():
    [text] = re.findall(r"```xml\n(.*?)```", MAC, re.DOTALL)
    job = plistlib.loads(text.encode())
    assert f"LaunchDaemons/{job['Label']}.plist" in MAC
    words = job["ProgramArguments"]
    assert words[0] == "/usr/bin/powermetrics"
    # It ends by itself now and then, since it grows, and what it writes does not fill the disk.
    assert int(words[words.index("-n") + 1]) * int(words[words.index("-i") + 1]) == 6 * 3600 * 1000
    assert words[words.index("-o") + 1] == "/dev/null"
    assert job["KeepAlive"] is True


@pytest.mark.parametrize(
    ("row", "metric"),
    [
        ("CPU busy time, memory, thermal pressure, disks, network", c.CPU_BUSY),
        ("GPU busy time and memory", c.GPU_BUSY),
        ("CPU and GPU clocks", c.CPU_FREQUENCY_MAX),
        ("CPU and GPU clocks", c.GPU_FREQUENCY_MAX),
        ("CPU and GPU temperatures", c.TEMPERATURE_SENSORS),
        ("bytes of memory traffic", c.DRAM_READ),
        ("power of the whole Mac", c.SYSTEM_POWER),
    ],
)
def test_the_table_of_chips_says_what_modelled_macs_give(row, metric):
    for chip, said in table(row).items():
        for path in machines(chip):
            given = re.search(rf"^{metric.name}\b", path.read_text(), re.MULTILINE)
            # No modelled M1 to M3 runs macOS 27.
            assert bool(given) == (said in ("yes", "to macOS 26")), f"{path.name}: {row}"


@pytest.mark.parametrize(
    ("row", "device"),
    [("GPU energy", "gpu0"), ("CPU, Neural Engine and memory energy, to macOS 26", "cpu"),
     ("CPU, Neural Engine and memory energy, to macOS 26", "dram")],
)  # fmt: skip
def test_the_table_of_chips_says_whose_energy_modelled_macs_give(row, device):
    for chip, said in table(row).items():
        for path in machines(chip):
            if device == "gpu0" or "macos27" not in path.name:
                given = f'{c.ENERGY.name}{{device="{device}"}}' in path.read_text()
                assert given == (said == "yes"), f"{path.name}: {row}"


def table(row):
    header, found = (
        [cell.strip() for cell in re.search(pattern, MAC, re.MULTILINE)[1].split("|")]
        for pattern in (r"^\| \|( M1 .*)\|$", rf"^\| {re.escape(row)} \|(.*)\|$")
    )
    return dict(zip(header, found, strict=True))


def machines(chip):
    prefix = {"A18 Pro": "a18-pro", "virtual machine": "vm"}.get(chip, chip.lower())
    found = [path for path in GOLDEN.glob("*.metrics") if re.match(rf"{prefix}[-_]", path.name)]
    assert found
    return found
