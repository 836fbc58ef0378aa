"""Write the documents that the code tells, whole or between marks; `--check` only says whether they are what it says."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import commands
import man

from tokwatt_bench import explain
from tokwatt_exporter import catalogue, config
from tokwatt_exporter.catalogue import Family
from tokwatt_exporter.collectors.registry import REGISTRY, Entry
from tokwatt_exporter.engines.registry import ADAPTERS, KINDS

HERE = Path(__file__).parent
PAGES, MAN = "collectors", "man"
PACKAGE = Path(catalogue.__file__).parent
SYSTEMS = {"linux": "Linux", "darwin": "macOS"}
#: Collectors whose parts are found by name when they run, so that their imports do not lead to them.
LOADED_BY_NAME = {"engines": [f"engines.{path}" for path in ADAPTERS.values()]}
#: What of the exporter has metrics of its own; others look at metrics, too.
OWN_PARTS = ("sampler", "selfmetrics", "sinks", "web")
#: What stands between a mark and its end is written by this program, the rest of a page by people.
MARK, END = "<!-- {}: written by docs/generate.py -->\n", "<!-- end -->\n"

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
    "api_key_env": "Environment variable with the API key, instead of a file.",
    "api_key_command": "Program that prints the API key, and its arguments, instead of a file: "
    '`["security", "find-generic-password", "-w", "-s", "tokwatt"]` asks the keychain of macOS.',
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
        parts.append(f"\n## {title}\n\n{commands.table(header, rows)}")
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
        "\n## Settings\n\n", commands.table(("Flag", "Variable", "Key in the file", "Default", "What it does"), settings),
        "\n## Collectors\n\nOne that finds nothing to read is silent: a row of "
        f"`{catalogue.COLLECTOR_PROBLEM.name}` says why.\n\n",
        commands.table(("Flag", "Variable", "Key in the file", "Default", "What it reads", "Where"), collectors),
        "\n## Engines\n\nEngines on this machine are found. One elsewhere, or one that needs a key or a name of its "
        "own, has a table `[[engine]]` in the file. What is said there wins over any guess.\n\n",
        commands.table(("Key", "What it is"), engine),
        f"\n## Example\n\n```toml\n{EXAMPLE.format(port=config.DEFAULT_PORT)}```\n",
    ])  # fmt: skip


def index(text: str) -> str:
    """The page of all collectors: its table has what each says itself of what it needs."""
    rows = [
        (f"[{e.name}]({e.name}.md)", e.summary, *("yes" if system in e.classes else "" for system in SYSTEMS),
         "on" if e.enabled else "off", _needs(e)) for e in REGISTRY
    ]  # fmt: skip
    header = ("Collector", "Reads", *SYSTEMS.values(), "Default", "Needs")
    return _between(text, "collectors", commands.table(header, rows))


def page(entry: Entry, text: str) -> str:
    """The page of a collector: what it is, and its metrics."""
    switch, other = f"`--collector.{entry.name}`", f"`--no-collector.{entry.name}`"
    facts = f"Reads {entry.summary}, on {' and '.join(SYSTEMS[s] for s in entry.classes)}. "
    facts += f"On by default, {other} turns it off." if entry.enabled else f"Off by default, {switch} turns it on."
    if entry.replaces:
        facts += f" It runs in place of {' and '.join(f'[{other}]({other}.md)' for other in entry.replaces)}."
    found = {f: where for f, where in emitted(entry).items() if f is not catalogue.COLLECTOR_PROBLEM}
    header: tuple[str, ...] = ("Metric", "Kind", "Unit", "Labels", "What it says")
    rows: list[tuple[str, ...]] = [
        (f"`{f.name}`", f.kind, f"`{f.unit}`" if f.unit else "", _code(f.labels), f.help) for f in found
    ]
    if any(len(where) < len(entry.classes) for where in found.values()):
        header = (*header, "Where")
        rows = [(*row, ", ".join(where)) for row, where in zip(rows, found.values(), strict=True)]
    return _between(_between(text, "facts", f"{facts}\n"), "metrics", commands.table(header, rows))


def _needs(entry: Entry) -> str:
    found = re.search(r"^\*\*Needs:\*\* (.+?)\.$", (HERE / PAGES / f"{entry.name}.md").read_text(), re.M)
    assert found, f"{PAGES}/{entry.name}.md does not say in a line what it needs"
    return found[1]


def _between(text: str, what: str, written: str) -> str:
    mark = MARK.format(what)
    assert text.count(mark) == 1, f"not one mark of the {what}"
    before, _, rest = text.partition(mark)
    assert END in rest, f"no end of the {what}"
    return f"{before}{mark}{written}{END}{rest.partition(END)[2]}"


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
    """Which collectors give a metric, as far as the constants that their code uses tell it."""
    found: dict[Family, list[str]] = {}
    for entry in REGISTRY:
        for family, where in emitted(entry).items():
            only = "" if len(where) == len(entry.classes) else f" ({', '.join(where)})"
            found.setdefault(family, []).append(f"{entry.name}{only}")
    own = [path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py")]
    for family in _used(".".join(parts) for parts in own if parts[0] in OWN_PARTS):
        found.setdefault(family, []).append("exporter")
    return found


def emitted(entry: Entry) -> dict[Family, list[str]]:
    """The metrics of a collector, in the catalogue's order, and the systems on which it gives them."""
    on = {SYSTEMS[s]: _used([path, *LOADED_BY_NAME.get(entry.name, [])]) for s, path in entry.classes.items()}
    given = {family: [system for system in on if family in on[system]] for family in catalogue.CATALOGUE.values()}
    return {family: systems for family, systems in given.items() if systems}


def _used(places: Iterable[str]) -> set[Family]:
    """The families that are named in these places (`module:name`, or all of `module`) and in what these use."""
    families: set[Family] = set()
    seen: set[str] = set()
    todo = list(places)
    while todo:
        place = todo.pop()
        module, _, name = place.partition(":")
        if place in seen or not PACKAGE.joinpath(*module.split(".")).with_suffix(".py").exists():
            continue
        seen.add(place)
        names, definitions, imported = _module(module)
        used = definitions.get(name, set()) if name else names
        families |= {value for n in used if isinstance(value := vars(catalogue).get(n), Family)}
        todo += [f"{module}:{n}" for n in used if n in definitions] + [imported[n] for n in used if n in imported]
    return families


@functools.cache
def _module(module: str) -> tuple[set[str], dict[str, set[str]], dict[str, str]]:
    """The names that a module uses, those that each of its definitions uses, and the places it imports from."""
    definitions: dict[str, set[str]] = {}
    imported: dict[str, str] = {}
    tree = ast.parse(PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text())
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for name in [getattr(node, "name", ""), *(getattr(target, "id", "") for target in targets)]:
            if name:
                definitions.setdefault(name, set()).update(_names(node))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE.name}."):
            place = node.module.partition(".")[2]
            if place.startswith(("collectors.", "engines.")):
                imported |= {alias.asname or alias.name: f"{place}:{alias.name}" for alias in node.names}
    return _names(tree), definitions, imported


def _names(tree: ast.AST) -> set[str]:
    nodes = list(ast.walk(tree))
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}


def _default(value: object) -> str:
    if callable(value):
        return (inspect.getdoc(value) or "").rstrip(".")
    if value is None or value == ():
        return ""
    return _code(value if isinstance(value, tuple) else [str(value).lower() if value in (True, False) else value])


def _code(words: Iterable[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


#: Each by what it is made from, and how: those that people write a part of are made from what they wrote.
DOCUMENTS: dict[str, Callable[[str], str]] = {
    "metrics.md": lambda _: metrics(),
    "configuration.md": lambda _: configuration(),
    "cli.md": lambda _: commands.page(),
    "benchmark.md": lambda text: _between(text, "figures", explain.markdown()),
    f"{PAGES}/README.md": index,
    **{f"{PAGES}/{entry.name}.md": functools.partial(page, entry) for entry in REGISTRY},
    **{f"{MAN}/{name}": functools.partial(lambda name, _: man.pages()[name], name) for name in man.pages()},
}


def main(arguments: list[str]) -> int:
    """Write the documents, or with `--check` compare them: 1 when one is not what the code says."""
    stale = 0
    for path in {*(HERE / MAN).glob("*")} - {HERE / MAN / name for name in man.pages()}:
        if stale := int("--check" in arguments):
            print(f"docs/{MAN}/{path.name}: there is no such command: run `make docs`", file=sys.stderr)
        else:
            path.unlink()
    for name, make in DOCUMENTS.items():
        path = HERE / name
        old = path.read_text() if path.exists() else ""
        try:
            text = make(old)
        except (AssertionError, FileNotFoundError) as error:
            stale = 1
            print(f"docs/{name}: {error}", file=sys.stderr)
            continue
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif old != text:
            stale = 1
            number = next((n for n, (a, b) in enumerate(zip(old.splitlines(), text.splitlines(), strict=False), 1)
                           if a != b), min(old.count("\n"), text.count("\n")) + 1)  # fmt: skip
            print(f"docs/{name}: line {number} is not what the code says: run `make docs`", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
