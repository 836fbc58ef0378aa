"""What MkDocs does not do by itself: pages of the checkout's root, folders in `nav`, links to files beside docs/."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
#: Pages that are at home outside of docs/.
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
#: Where files that pages lead to are put.
FILES = "files"
_LINK = re.compile(r"(?P<text>\[(?:[^\]\[]|\[[^\]]*\])*\])\((?P<path>[^)#:\s]+)(?P<anchor>#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Name the pages that `*` in `nav` stands for."""
    config.nav = _expanded(config.nav, set(_named(config.nav)))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside, with links as seen from docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text()
        text = _LINK.sub(lambda link: f"{link['text']}({_from_docs(link['path'])}{link['anchor'] or ''})", text)
        files.append(File.generated(config, page, content=text.replace('"docs/', '"')))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links that leave docs/ lead to a copy of the file; one to a folder is only its text."""

    def inside(link: re.Match[str]) -> str:
        target = (DOCS / page.file.src_uri).parent / link["path"]
        target = Path(os.path.normpath(target))
        if target.is_relative_to(DOCS) or not target.exists():
            return link[0]
        if target.is_dir():
            return link["text"][1:-1]
        copy = f"{FILES}/{target.relative_to(ROOT).as_posix()}"
        if not files.get_file_from_path(copy):
            files.append(File.generated(config, copy, content=target.read_bytes()))
        return f"{link['text']}({os.path.relpath(copy, Path(page.file.src_uri).parent)})"

    return _LINK.sub(inside, markdown)


def _from_docs(path: str) -> str:
    pages = {source: page for page, source in PAGES.items()}
    if path in pages:
        return pages[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"


def _expanded(entries: list[Any], named: set[str]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            groups = {title: _expanded(below, named) for title, below in entry.items()}
            found += [{title: below} for title, below in groups.items() if below]
        elif entry.endswith("*"):
            pages = sorted((DOCS / entry).parent.glob("*.md"))
            found += [name for page in pages if (name := page.relative_to(DOCS).as_posix()) not in named]
        else:
            found.append(entry)
    return found


def _named(entries: list[Any]) -> list[str]:
    groups = [children for entry in entries if isinstance(entry, dict) for children in entry.values()]
    return [entry for entry in entries if isinstance(entry, str)] + [page for group in groups for page in _named(group)]
