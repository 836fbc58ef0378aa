"""Write docs/metrics.md and docs/configuration.md from the code; `--check` only says whether they are what it says."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tokwatt_exporter import catalogue, config
from tokwatt_exporter.catalogue import Family
from tokwatt_exporter.collectors.registry import REGISTRY
from tokwatt_exporter.engines.registry import ADAPTERS, KINDS

HERE = Path(__file__).parent
PACKAGE = Path(catalogue.__file__).parent
SYSTEMS = {"linux": "Linux", "darwin": "macOS"}
#: Collectors whose parts are found by name when they run, so that their imports do not lead to them.
LOADED_BY_NAME = {"engines": [f"engines.{path.partition(':')[0]}" for path in ADAPTERS.values()]}

METRICS = """\
# Metrics

Generated from `catalogue.py` by `make docs`.

A metric that cannot be read has no series: never 0, -1 or NaN. `rate()` of joules is watts; ratios are 0 to 1. Names are
the same on `/metrics`, over OTLP with every naming strategy, and in the history. The machine is `instance` (or the OTLP
resource), not a label. *info* is 1 with its facts in the labels, *states* is one series per state, 1 for the current one.
The last column says which collector gives it, with a system where it does so on that system only; *exporter* are its own
parts.
"""

CONFIGURATION = """\
# Configuration

Generated from `config.py` by `make docs`.

Everything works without. A setting has one name: `--web.listen-address` as a flag, `TOKWATT_WEB_LISTEN_ADDRESS` in the
environment, `web.listen-address` in the TOML file (`listen-address` in the table `[web]` is the same). Flags win over the
environment, which wins over the file, which wins over the default. `tokwatt config show` prints every value and where it
came from, `tokwatt config check` says what is wrong with a file. Lists are repeated as a flag, `a,b` in the environment
and `["a", "b"]` in the file. Durations are `500ms`, `5s`, `10m`, `6h`, `14d`.

The file is `--config.file` or `TOKWATT_CONFIG_FILE`; without either, `tokwatt.toml` in the user's configuration directory
(Linux `~/.config/tokwatt`, macOS `~/Library/Application Support/tokwatt`) where there is one.
"""

EXAMPLE = """\
sample-interval = "5s"

[web]
listen-address = ["127.0.0.1:{port}"]

[otlp]
endpoint = "http://127.0.0.1:4318/v1/metrics"

[collector]
battery = false

[[engine]]
name = "big"
url = "http://127.0.0.1:8080"
kind = "llama_cpp"
api-key-file = "/etc/tokwatt/big.key"
"""

#: What `[[engine]]` takes; that these are all of its keys is checked below.
ENGINE_KEYS = {
    "url": "Where it listens: scheme, host and port. Required.",
    "name": "What it is called in the label `engine`. Default: its kind.",
    "kind": f"What it is, instead of what it looks like: {', '.join(f'`{kind}`' for kind in KINDS)}.",
    "api_key_file": "File with the API key, readable by its owner only. The key is sent to this address and no other.",
    "allow_insecure": "Send the key over plain `http` to another machine all the same. Default: false.",
}


def metrics() -> str:
    """The catalogue as tables."""
    sources = emitters()
    parts = [METRICS]
    for title, families in sections():
        rows = [
            (f"`{f.name}`", f.kind, f"`{f.unit}`" if f.unit else "", _code(f.labels), f.help,
             _code([f.semconv] if f.semconv else []), ", ".join(sources.get(f, [])))
            for f in families
        ]  # fmt: skip
        header = ("Metric", "Kind", "Unit", "Labels", "What it says", "OpenTelemetry convention", "From")
        parts.append(f"\n## {title}\n\n{_table(header, rows)}")
    return "".join(parts)


def configuration() -> str:
    """Every setting, the collectors and the `[[engine]]` tables."""
    assert set(ENGINE_KEYS) == set(config.EngineConfig._fields), "ENGINE_KEYS is not what EngineConfig has"
    settings = [
        (f"`--{m['key']} {m['metavar']}`", f"`{config.variable(m['key'])}`", f"`{m['key']}`", _default(m["default"]),
         m["help"]) for m in (f.metadata for f in config.options())
    ]  # fmt: skip
    collectors = [
        (f"`--[no-]collector.{e.name}`", f"`{config.variable(f'collector.{e.name}')}`", f"`collector.{e.name}`",
         "on" if e.enabled else "off", e.summary, ", ".join(SYSTEMS[s] for s in e.classes)) for e in REGISTRY
    ]  # fmt: skip
    engine = [(f"`{key.replace('_', '-')}`", text) for key, text in ENGINE_KEYS.items()]
    return "".join([
        CONFIGURATION,
        "\n## Settings\n\n", _table(("Flag", "Variable", "Key in the file", "Default", "What it does"), settings),
        "\n## Collectors\n\nOne that finds nothing to read is silent: a row of "
        f"`{catalogue.COLLECTOR_PROBLEM.name}` says why.\n\n",
        _table(("Flag", "Variable", "Key in the file", "Default", "What it reads", "Where"), collectors),
        "\n## Engines\n\nEngines on this machine are found. One elsewhere, or one that needs a key or a name of its "
        "own, has a table `[[engine]]` in the file. What is said there wins over any guess.\n\n",
        _table(("Key", "What it is"), engine),
        f"\n## Example\n\n```toml\n{EXAMPLE.format(port=config.DEFAULT_PORT)}```\n",
    ])  # fmt: skip


def sections() -> Iterator[tuple[str, list[Family]]]:
    """Title and families, as the comments of the catalogue divide it."""
    title = ""
    families: list[Family] = []
    for line in inspect.getsource(catalogue).splitlines():
        if heading := re.fullmatch(r"# ([A-Z].*)", line):
            if families:
                yield title, families
            title, families = heading[1], []
        elif constant := re.match(r"([A-Z_0-9]+) = _add\(", line):
            families.append(getattr(catalogue, constant[1]))
    if families:
        yield title, families


def emitters() -> dict[Family, list[str]]:
    """Which collectors give a metric, as far as the constants that their modules use tell it."""
    found: dict[Family, list[str]] = {}
    for entry in REGISTRY:
        systems: dict[Family, list[str]] = {}
        for system, path in entry.classes.items():
            for family in _used([path.partition(":")[0], *LOADED_BY_NAME.get(entry.name, [])]):
                systems.setdefault(family, []).append(system)
        for family, where in systems.items():
            only = "" if len(where) == len(entry.classes) else f" ({', '.join(SYSTEMS[s] for s in where)})"
            found.setdefault(family, []).append(f"{entry.name}{only}")
    own = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py") if path.stem != "catalogue"]
    for family in _used(".".join(path.parts) for path in own if path.parts[0] not in ("collectors", "engines")):
        found.setdefault(family, []).append("exporter")
    return found


def _used(modules: Iterable[str]) -> set[Family]:
    """The families whose constants these modules name, or those that they import from."""
    names: set[str] = set()
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and node.module:
                _, _, imported = node.module.partition("tokwatt_exporter.")
                if imported.startswith(("collectors.", "engines.")):
                    todo.append(imported)
    return {value for name, value in vars(catalogue).items() if name in names and isinstance(value, Family)}


def _default(value: object) -> str:
    if callable(value):
        return (inspect.getdoc(value) or "").rstrip(".")
    if value is None or value == ():
        return ""
    return _code(value if isinstance(value, tuple) else [str(value).lower() if value in (True, False) else value])


def _code(words: Iterable[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


DOCUMENTS: dict[str, Callable[[], str]] = {"metrics.md": metrics, "configuration.md": configuration}


def main(arguments: list[str], folder: Path = HERE) -> int:
    """Write the documents, or with `--check` compare them: 1 when one is not what the code says."""
    stale = 0
    for name, text in ((name, make()) for name, make in DOCUMENTS.items()):
        path = folder / name
        if "--check" not in arguments:
            path.write_text(text)
        elif (old := path.read_text() if path.exists() else "") != text:
            stale = 1
            number = next((n for n, (a, b) in enumerate(zip(old.splitlines(), text.splitlines(), strict=False), 1)
                           if a != b), min(old.count("\n"), text.count("\n")) + 1)  # fmt: skip
            print(f"docs/{name}: line {number} is not what the code says: run `make docs`", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
