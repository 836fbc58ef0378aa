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

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["metrics.md", "configuration.md"])
def test_a_generated_document_is_what_the_code_says(generate, name):
    assert (DOCS / name).read_text() == generate.DOCUMENTS[name](), "run `make docs`"


def test_the_check_names_the_stale_document_and_line_and_fails(tmp_path):
    shutil.copy(DOCS / "generate.py", tmp_path)
    run = [sys.executable, tmp_path / "generate.py"]
    subprocess.run(run, check=True, timeout=60)
    subprocess.run([*run, "--check"], check=True, timeout=60)
    document = tmp_path / "metrics.md"
    document.write_text(document.read_text().replace("# Metrics", "# Metric"))
    result = subprocess.run([*run, "--check"], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "docs/metrics.md: line 1 is not what the code says: run `make docs`\n"


def test_every_metric_is_in_exactly_one_section(generate):
    sections = list(generate.sections())
    assert [family for _, families in sections for family in families] == list(CATALOGUE.values())
    assert all(families for _, families in sections)
    assert len({title for title, _ in sections}) == len(sections) >= 6


def test_a_metric_says_which_collector_gives_it_and_where(generate):
    sources = generate.emitters()
    assert sources[catalogue.PACKAGE_ENERGY] == ["rapl"]
    assert sources[catalogue.CPU_FREQUENCY] == ["cpu (Linux)"]
    assert sources[catalogue.GENERATION_TOKENS] == ["engines"]
    assert sources[catalogue.SAMPLE_INTERVAL] == ["exporter"]


def test_every_setting_has_its_flag_variable_and_default():
    text = (DOCS / "configuration.md").read_text()
    for key in (f.metadata["key"] for f in config.options()):
        assert re.search(rf"^\| `--{re.escape(key)} [A-Z:=]+` \| `{config.variable(key)}` \| `{key}` \|", text, re.M)


def test_the_example_file_is_a_valid_configuration(tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.S)
    path = tmp_path / "tokwatt.toml"
    path.write_text(example)
    loaded = config.load(environ={}, file=path)
    assert [engine.name for engine in loaded.engines] == ["big"]
    assert loaded.collectors == {"battery": False}
