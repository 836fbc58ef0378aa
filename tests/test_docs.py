"""The generated documents: they say what the code says, and what they show works."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tokwatt_exporter import catalogue, config
from tokwatt_exporter.catalogue import CATALOGUE

pytestmark = pytest.mark.text

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(DOCS)
        spec.loader.exec_module(module)
    return module


def test_generated_documents_are_what_the_code_says(generate):
    texts = {name: (DOCS / name).read_text() for name in generate.DOCUMENTS}
    assert {"metrics.md", "configuration.md", "cli.md", "benchmark.md", "collectors/cpu.md"} <= texts.keys()
    assert [name for name, text in texts.items() if generate.DOCUMENTS[name](text) != text] == [], "run `make docs`"


def test_the_check_names_the_stale_document_and_line_and_fails(tmp_path):
    folder = shutil.copytree(DOCS, tmp_path / "docs")
    run = [sys.executable, folder / "generate.py"]
    subprocess.run(run, check=True, timeout=60)
    subprocess.run([*run, "--check"], check=True, timeout=60)
    for name, was, wrong in (
        ("metrics.md", "# Metrics", "# Metric"),
        ("collectors/fan.md", "`tokwatt_fan_speed_rpm` | gauge", "`tokwatt_fan_speed_rpm` | counter"),
        ("collectors/cpu.md", "<!-- facts", "<!-- facets"),
    ):
        document = folder / name
        document.write_text(document.read_text().replace(was, wrong, 1))
    result = subprocess.run([*run, "--check"], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert re.sub(r"line (?!1 )\d+", "line N", result.stderr).splitlines() == [
        "docs/metrics.md: line 1 is not what the code says: run `make docs`",
        "docs/collectors/cpu.md: not one mark of the facts",
        "docs/collectors/fan.md: line N is not what the code says: run `make docs`",
    ]


def test_what_people_wrote_into_a_page_stays(generate):
    page = (DOCS / "collectors/fan.md").read_text()
    mark = generate.MARK.format("facts")
    stale = page.replace(mark, f"Mine.\n{mark}Stale.\n")
    assert generate.DOCUMENTS["collectors/fan.md"](stale) == page.replace(mark, f"Mine.\n{mark}")


def test_a_page_that_lacks_the_end_of_a_mark_is_refused_before_its_rest_is_lost(generate):
    page = (DOCS / "collectors/fan.md").read_text().replace(generate.END, "")
    with pytest.raises(AssertionError, match="no end of the facts"):
        generate.DOCUMENTS["collectors/fan.md"](page)


def test_a_metric_is_of_the_collector_that_gives_it_not_of_one_that_shares_code_with_it(generate):
    # `power_mode` asks the battery's module whether the Mac is plugged in.
    sources = generate.emitters()
    assert sources[catalogue.BATTERY_CYCLES] == ["battery (macOS)"]
    assert sources[catalogue.POWER_MODE] == ["power_mode"]


def test_every_metric_is_in_exactly_one_section(generate):
    sections = list(generate.sections())
    assert [family for _, families in sections for family in families] == list(CATALOGUE.values())
    assert all(families for _, families in sections)
    assert len({title for title, _ in sections}) == len(sections) >= 6


def test_a_metric_says_which_collector_gives_it_and_where(generate):
    sources = generate.emitters()
    assert sources[catalogue.PACKAGE_ENERGY] == ["rapl", "energy"]
    assert sources[catalogue.MEMORY_STALLED] == ["memory (Linux)"]
    assert sources[catalogue.GENERATION_TOKENS] == ["engines"]
    assert sources[catalogue.SAMPLE_INTERVAL] == ["exporter"]


def test_every_setting_has_its_flag_variable_and_default():
    text = (DOCS / "configuration.md").read_text()
    for key in (f.metadata["key"] for f in config.options()):
        assert re.search(rf"^\| `--{re.escape(key)} [A-Z:=|\\]+` \| `{config.variable(key)}` \| `{key}` \|", text, re.M)


def test_the_example_file_is_a_valid_configuration(tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.S)
    path = tmp_path / "tokwatt.toml"
    path.write_text(example)
    loaded = config.load(environ={}, file=path)
    assert [engine.name for engine in loaded.engines] == ["big"]
    assert loaded.collectors == {"battery": False}


def test_the_readme_leads_to_every_document():
    named = set(re.findall(r"\(docs/([\w/.-]+\.md)\)", (DOCS.parent / "README.md").read_text()))
    assert {path.name for path in DOCS.glob("*.md")} - named == set()
