"""The lint of the catalogue: naming rules, and that a metric's name stands there and nowhere else."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import scene
from support.components import component
from support.otlp_names import UNITS, Strategy, Type, translate
from tokwatt_exporter import catalogue
from tokwatt_exporter.catalogue import CATALOGUE, PREFIX, SERIES, Family, Kind, States
from tokwatt_exporter.sinks.prometheus import Choice, Format, Renderer

pytestmark = pytest.mark.text

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("exporter", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]
#: It makes up what others measure.
DEMO = ROOT / "exporter/tokwatt_exporter/demo"
#: Where prose and recipes may name a metric.
DOCUMENTS = ("*.md", "docs/**/*.md", "grafana/**/*.md", "deploy/**/*.*")
GENERATORS = [*sorted((ROOT / "docs").glob("*.py")), *sorted((ROOT / "grafana/src").rglob("*.py"))]
OWN_FILE = ROOT / "exporter/tokwatt_exporter/catalogue.py"

#: The only names without our prefix: what every client library says of its own process.
STANDARD = re.compile("process_(cpu_seconds_total|resident_memory_bytes|open_fds|start_time_seconds)")

#: Labels a family may have. Bounded each: no process ids, URLs, run ids, paths, and nothing a scrape adds itself.
MEASURED_BY = {"device", "cluster", "sensor", "fan", "kind", "scope", "state", "reason", "level", "collector",
               "engine", "model", "scenario", "status"}  # fmt: skip
IDENTITY = MEASURED_BY | {"version", "revision", "python_version", "os", "os_version", "arch", "chip", "machine_model",
                          "machine", "vendor", "driver_version", "cores", "quantization", "format",
                          "problem"}  # fmt: skip

#: The last word of a name, by UCUM unit; what OTLP receivers map, and the two they do not.
SUFFIXES = {unit: word for unit, word in UNITS.items() if unit in ("s", "By", "J", "W", "Cel", "Hz")}
SUFFIXES |= {"1": "ratio", "rpm": "rpm"}

CONSTANTS = {name: value for name, value in vars(catalogue).items() if isinstance(value, Family)}
#: What a client adds to the name of a histogram.
PARTS = {Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}
FAMILIES = pytest.mark.parametrize("family", CATALOGUE.values(), ids=list(CATALOGUE))


def words(family: Family) -> list[str]:
    return family.name.removesuffix("_total").split("_")


@FAMILIES
def test_a_name_is_snake_case_with_the_prefix(family):
    assert re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", family.name)
    assert family.name.startswith(PREFIX) or STANDARD.fullmatch(family.name)


@FAMILIES
def test_the_last_word_of_a_name_is_its_unit(family):
    said = [word for word in words(family) if word in SUFFIXES.values()]
    if family.unit in SUFFIXES:
        assert said == [SUFFIXES[family.unit]]
        assert words(family)[-1] == said[0]
    else:
        assert said == []
        assert re.fullmatch(r"(\{[a-z_]+\})?", family.unit), "a unit is UCUM, a count of {things}, or nothing"


@FAMILIES
def test_a_unit_never_is_per_something(family):
    # A receiver would append it to a name that says it already.
    assert "/" not in family.unit


@FAMILIES
def test_counters_end_in_total_and_nothing_else_says_total(family):
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert "total" not in words(family)


@FAMILIES
def test_ratio_is_said_once_at_the_end_of_what_has_no_dimension(family):
    assert words(family).count("ratio") == (family.unit == "1")


@FAMILIES
def test_identity_ends_in_info_and_states_in_state_and_both_have_no_unit(family):
    assert family.name.endswith("_info") == (family.kind is Kind.INFO)
    assert family.name.endswith("_state") == (family.kind is Kind.STATES)
    if family.kind in (Kind.INFO, Kind.STATES):
        assert family.unit == ""


@FAMILIES
def test_help_is_one_short_sentence(family):
    assert re.fullmatch(r"[A-Z0-9][^\n]*\.", family.help)
    assert not re.search(r"[.!?]\s", family.help), "one sentence"
    assert len(family.help) <= 100
    assert not re.search(r"\bpercent\b|percentage|%", family.help), "ratios are 0 to 1"


@FAMILIES
def test_labels_are_bounded(family):
    allowed = IDENTITY if family.kind is Kind.INFO else MEASURED_BY
    assert set(family.labels) <= allowed
    assert len(set(family.labels)) == len(family.labels)


@pytest.mark.parametrize("family", [f for f in CATALOGUE.values() if isinstance(f, States)], ids=repr)
def test_the_states_are_all_named_in_the_help(family):
    assert len(set(family.states)) == len(family.states) >= 2
    assert family.labels[-1] == "state"
    for state in family.states:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", state)
        assert re.search(rf"\b{state}\b", family.help)


@FAMILIES
@pytest.mark.parametrize("strategy", Strategy)
def test_no_receiver_of_otlp_renames_a_metric(family, strategy):
    types = {Kind.COUNTER: Type.MONOTONIC_SUM, Kind.INFO: Type.OTHER_SUM, Kind.STATES: Type.OTHER_SUM,
             Kind.HISTOGRAM: Type.HISTOGRAM}  # fmt: skip
    assert translate(family.name, family.unit, types.get(family.kind, Type.GAUGE), strategy) == family.name


def test_no_receiver_of_otlp_renames_a_label():
    labels = {label for family in CATALOGUE.values() for label in family.labels}
    assert [label for label in labels if not re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", label)] == []
    # What a scrape or a receiver sets itself would come out as exported_job and so on.
    assert not labels & {"job", "instance", "host", "le", "quantile", "service_name", "type"}


def test_every_family_is_a_constant_of_the_catalogue():
    assert {family.name for family in CONSTANTS.values()} == CATALOGUE.keys()
    assert len(CONSTANTS) == len(CATALOGUE)


def test_every_series_is_of_one_family_and_a_histogram_has_three():
    names = [f"{f.name}{end}" for f in CATALOGUE.values() for end in PARTS.get(f.kind, ("",))]
    assert list(SERIES) == names
    assert [family.name for family in SERIES.values()] == names


@pytest.mark.e2e
def test_promtool_finds_nothing_wrong_with_a_scrape_of_every_metric():
    everything = scene.snapshot(scene.workstation(600), 600)
    assert {family.name for family in everything.values} == SERIES.keys()
    text = Renderer().render(everything, Choice(Format.TEXT, gzip=False))
    promtool = component("promtool")
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")
    # That it would say something.
    wrong = text.replace(b"_joules_total", b"_millijoules_total")
    assert subprocess.run([promtool, "check", "metrics"], input=wrong, capture_output=True, check=False).returncode == 3


def test_something_in_the_code_emits_every_metric():
    measured = [path for path in CODE if path != OWN_FILE and DEMO not in path.parents]
    used = {name for path in measured for name in _identifiers(path)} | {"DEMO_INFO"}
    assert sorted(CONSTANTS.keys() - used) == []


@pytest.mark.parametrize("path", [p for p in (*CODE, *GENERATORS) if p != OWN_FILE], ids=lambda p: p.name)
def test_a_metric_is_spelled_in_the_catalogue_only(path):
    spelled = [f"line {line}: {text}" for line, text in _strings(path) if _metric_names(text)]
    assert spelled == []


@pytest.mark.parametrize(
    "path",
    [p for pattern in DOCUMENTS for p in sorted(ROOT.glob(pattern)) if "__pycache__" not in p.parts],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_a_metric_that_is_named_in_a_document_exists(path):
    assert [name for name in _metric_names(path.read_text()) if name not in CATALOGUE.keys() | SERIES.keys()] == []


def _metric_names(text: str) -> list[str]:
    """Words that are a metric's name by their look, whether they exist or not."""
    found = re.findall(rf"(?<![\w:./-]){PREFIX}[a-z0-9_]*[a-z0-9](?![\w*]|\.\w|/)", text)
    found += [match[0] for match in STANDARD.finditer(text)]
    return [name for name in found if name not in ("tokwatt_exporter", "tokwatt_bench")]


def _identifiers(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def _strings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
