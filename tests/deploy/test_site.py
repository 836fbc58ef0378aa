"""The site of docs/: every page is in it, every link leads somewhere, and nothing is fetched from elsewhere."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytestmark = pytest.mark.text

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs/site"


def build(config, into):
    return subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "-f", config, "-d", into],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    result = build(SITE / "mkdocs.yml", folder)
    assert result.returncode == 0, result.stderr
    return folder


class Leads(HTMLParser):
    """Where a page leads to, and what it loads to be shown."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loaded = set(), set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        loads = tag in ("script", "img", "source", "link") and given.get("rel") not in ("canonical", "next", "prev")
        places = {given[name] for name in ("src", "srcset", "href") if given.get(name)}
        (self.loaded if loads else self.links).update(places)


def test_every_document_is_a_page_and_so_are_those_of_the_root(site):
    sources = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    pages = {path.with_name("index.md") if path.name == "README.md" else path for path in sources}
    assert [str(page) for page in pages if not (site / page.with_suffix(".html")).exists()] == []
    assert "make run" in (site / "index.html").read_text()
    assert (site / "contributing.html").exists()


def test_a_page_shows_without_anything_from_elsewhere_and_leads_to_what_is_there(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        leads = Leads(page)
        assert [place for place in leads.loaded if re.match(r"(https?:)?//", place)] == []
        local = {place for place in leads.loaded | leads.links if not re.match(r"\w+:|#", place)}
        missing = {place for place in local if not (page.parent / unquote(re.split("[#?]", place)[0])).exists()}
        assert missing == set(), page


def test_a_file_beside_the_documents_is_put_beside_the_pages(site):
    assert (site / "files/deploy/prometheus.yml").read_bytes() == (ROOT / "deploy/prometheus.yml").read_bytes()
    assert 'href="files/deploy/prometheus.yml"' in (site / "deploy.html").read_text()


@pytest.fixture
def small(tmp_path):
    """A checkout with the configuration of the site and one page."""
    shutil.copytree(SITE, tmp_path / "docs/site", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (tmp_path / name).write_text("# A page\n\n[Deploy](docs/deploy.md)\n")
    (tmp_path / "docs/deploy.md").write_text("# Deploy\n")
    config = tmp_path / "docs/site/mkdocs.yml"
    head, _, _ = config.read_text().partition("\nnav:")
    config.write_text(f"{head}\nnav:\n  - index.md\n  - deploy.md\n  - contributing.md\n  - changelog.md\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("forgotten.md", "# Nobody finds this\n", "forgotten.md"),
        ("deploy.md", "# Deploy\n\n[x](gone.md)\n", "gone.md"),
        ("deploy.md", "# Deploy\n\n[x](../deploy/gone.yml)\n", "gone.yml"),
        ("deploy.md", "# Deploy\n\n[x](#nowhere)\n", "nowhere"),
    ],
)
def test_a_page_that_is_in_no_menu_and_a_link_that_leads_nowhere_fail_the_build(small, name, text, said):
    (small / "docs" / name).write_text(text)
    result = build(small / "docs/site/mkdocs.yml", small / "site")
    assert result.returncode == 1
    assert said in result.stdout + result.stderr


def test_a_star_in_the_menu_is_each_page_of_the_folder_that_is_not_named(tmp_path):
    spec = importlib.util.spec_from_file_location("site_hooks", SITE / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    hooks.DOCS = tmp_path
    (tmp_path / "engines").mkdir()
    for name in ("engines/b.md", "engines/a.md", "engines/c.md", "new.md", "old.md"):
        (tmp_path / name).touch()
    nav = ["old.md", {"Engines": ["engines/c.md", "engines/*"]}, {"More": ["*"]}, {"None": ["nowhere/*"]}]
    assert hooks._expanded(nav, set(hooks._named(nav))) == [
        "old.md", {"Engines": ["engines/c.md", "engines/a.md", "engines/b.md"]}, {"More": ["new.md"]}]  # fmt: skip
