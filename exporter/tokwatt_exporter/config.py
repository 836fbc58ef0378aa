"""Every setting, once: the flag, the environment variable and the TOML key are one word, `web.listen-address`.

Flags win over `TOKWATT_WEB_LISTEN_ADDRESS`, which wins over `[web] listen-address = …` in the file, which wins over
the default. A value that cannot be read is a `UsageError` that names where it came from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from tokwatt_exporter import parse
from tokwatt_exporter.collectors.registry import NAMES
from tokwatt_exporter.config_file import read_file
from tokwatt_exporter.demo import NAMES as DEMO_NAMES
from tokwatt_exporter.engine_config import EngineConfig as EngineConfig
from tokwatt_exporter.engine_config import engine_config
from tokwatt_exporter.errors import UsageError

#: One port for the whole product; claimed once, never incremented on conflict: it is part of `instance`.
DEFAULT_PORT = 10021
#: Of the MCP server over HTTP.
MCP_PORT = DEFAULT_PORT + 1


def option(
    key: str, convert: Callable[[Any], Any], default: Any, help: str, *, many: bool = False, secret: bool = False,
    metavar: str = "TEXT",
) -> Any:  # fmt: skip
    """A setting: its dotted key, the function that reads it, its default as a user would write it, and its help."""
    data = {
        "key": key, "convert": convert, "help": help, "many": many, "secret": secret, "metavar": metavar,
        "default": default,
    }  # fmt: skip
    return field(metadata=data)


def default_data_dir() -> Path:
    """Where the history lives: root's daemons share `/var/lib/tokwatt`, users have their own."""
    if os.environ.get("STATE_DIRECTORY"):
        return Path(os.environ["STATE_DIRECTORY"].split(":")[0])
    return platformdirs.user_data_path("tokwatt", appauthor=False)


def default_config_file() -> Path:
    """The file that is read when it exists and `--config.file` is not given."""
    return platformdirs.user_config_path("tokwatt", appauthor=False) / "tokwatt.toml"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The effective settings; durations in seconds."""

    data_dir: Path = option("data-dir", parse.path, default_data_dir, "Where the history is kept.", metavar="DIR")
    sample_interval: float = option(
        "sample-interval", parse.duration, "5s", "Time between two samples.", metavar="DURATION"
    )
    web_listen_address: tuple[parse.Address, ...] = option(
        "web.listen-address", parse.address, (f"127.0.0.1:{DEFAULT_PORT}",), "Address to listen on; repeatable.",
        many=True, metavar="HOST:PORT",
    )  # fmt: skip
    web_config_file: Path | None = option(
        "web.config.file", parse.optional_path, None, "TLS and authentication, in the exporter-toolkit's YAML.",
        metavar="FILE",
    )  # fmt: skip
    web_bearer_token_file: Path | None = option(
        "web.bearer-token-file", parse.optional_path, None, "File with the bearer token that requests must carry.",
        metavar="FILE",
    )  # fmt: skip
    web_telemetry_path: str = option(
        "web.telemetry-path", parse.url_path, "/metrics", "Path of the metrics.", metavar="PATH"
    )
    web_allowed_host: tuple[str, ...] = option(
        "web.allowed-host", str, (), "Further name clients may use for this machine in Host; repeatable.", many=True,
        metavar="NAME",
    )  # fmt: skip
    history_enabled: bool = option("history.enabled", parse.boolean, True, "Keep samples in DuckDB.", metavar="BOOL")
    history_flush_interval: float | None = option(
        "history.flush-interval", parse.optional_duration, None,
        "Time between two commits to DuckDB; the journal holds the rest. Default: 24 samples, at most 2m.",
        metavar="DURATION",
    )  # fmt: skip
    history_retention_raw: float = option(
        "history.retention-raw", parse.duration, "14d", "How long samples are kept; roll-ups stay.", metavar="DURATION"
    )
    history_retention_1m: float = option(
        "history.retention-1m", parse.duration, "90d", "How long roll-ups by the minute are kept.", metavar="DURATION"
    )
    history_retention_1h: float | None = option(
        "history.retention-1h", parse.optional_duration, None,
        "How long roll-ups by the hour are kept. Default: for ever.", metavar="DURATION",
    )  # fmt: skip
    history_export: str | None = option(
        "history.export", parse.optional_destination, None,
        "Folder or URL that gets the history as Parquet on schedule. Off unless set.", metavar="DIR|URL",
    )  # fmt: skip
    history_export_interval: float = option(
        "history.export-interval", parse.duration, "1h", "Time between two exports.", metavar="DURATION"
    )
    history_attach: str | None = option(
        "history.attach", parse.optional_destination, None,
        "DuckLake of a fleet, ducklake:postgres:…, or its Parquet folder, which gets the history too.", secret=True,
        metavar="LAKE",
    )  # fmt: skip
    history_attach_data_path: str | None = option(
        "history.attach-data-path", parse.optional_destination, None,
        "Folder or URL of the DuckLake's Parquet files, where its catalogue does not know it yet.", metavar="DIR|URL",
    )  # fmt: skip
    history_attach_python: Path | None = option(
        "history.attach-python", parse.optional_path, None,
        "Python whose DuckDB has the extension ducklake. Default: the one that runs tokwatt.", metavar="FILE",
    )  # fmt: skip
    otlp_endpoint: str | None = option(
        "otlp.endpoint", parse.optional_url, None,
        "URL that gets metrics by OTLP/HTTP, used as given. Off unless set; OTEL_EXPORTER_OTLP_* are read too.",
        metavar="URL",
    )  # fmt: skip
    otlp_headers: tuple[str, ...] = option(
        "otlp.header", parse.header, (), "Header NAME=VALUE sent with each push; repeatable.", many=True, secret=True,
        metavar="NAME=VALUE",
    )  # fmt: skip
    otlp_interval: float = option(
        "otlp.interval", parse.duration, "15s", "Time between two pushes.", metavar="DURATION"
    )
    otlp_max_backfill: float = option(
        "otlp.max-backfill", parse.duration, "6h", "How far back missed samples are sent after an outage.",
        metavar="DURATION",
    )  # fmt: skip
    discovery_enabled: bool = option(
        "discovery.enabled", parse.boolean, True, "Look for engines on loopback.", metavar="BOOL"
    )
    discovery_port: tuple[int, ...] = option(
        "discovery.port", parse.port, (), "Look on this port only; repeatable. Default: wherever an engine may be.",
        many=True, metavar="PORT",
    )  # fmt: skip
    discovery_interval: float = option(
        "discovery.interval", parse.duration, "15s", "Time between two looks for engines.", metavar="DURATION"
    )
    discovery_forget_after: float = option(
        "discovery.forget-after", parse.duration, "1h", "When an engine that is down is forgotten.", metavar="DURATION"
    )
    demo: str | None = option(
        "demo", parse.choice(*DEMO_NAMES), None,
        f"Play a machine that does not exist instead of reading this one: {', '.join(DEMO_NAMES)}.", metavar="MACHINE",
    )  # fmt: skip
    path_procfs: Path = option("path.procfs", parse.path, "/proc", "Where procfs is mounted (Linux).", metavar="DIR")
    path_sysfs: Path = option("path.sysfs", parse.path, "/sys", "Where sysfs is mounted (Linux).", metavar="DIR")
    log_level: str = option(
        "log.level", parse.choice("debug", "info", "warning", "error"), "info", "debug, info, warning or error.",
        metavar="LEVEL",
    )  # fmt: skip
    log_file: Path | None = option(
        "log.file", parse.optional_path, None, "File for the log instead of stderr; 3 of 10 MB.", metavar="FILE"
    )
    log_format: str = option("log.format", parse.choice("text", "json"), "text", "text or json.", metavar="FORMAT")
    engines: tuple[EngineConfig, ...] = ()
    collectors: Mapping[str, bool] = field(default_factory=dict)
    #: Where each value came from, by key: `default`, `file …`, `environment …` or `flag …`.
    sources: Mapping[str, str] = field(default_factory=dict)
    #: The file that was read, as `sources` would say it.
    file_source: str = "default"

    def collector_enabled(self, name: str, default: bool) -> bool:
        """Whether `--collector.NAME` or the registry's default wants it."""
        return self.collectors.get(name, default)

    @property
    def flush_interval(self) -> float:
        """Seconds between two commits to DuckDB."""
        return self.history_flush_interval or min(24 * self.sample_interval, 120.0)

    @property
    def retention(self) -> dict[str, float | None]:
        """Seconds that samples and roll-ups are kept, as the history's upkeep takes them."""
        return {
            "raw": self.history_retention_raw, "minutes": self.history_retention_1m, "hours": self.history_retention_1h,
        }  # fmt: skip

    @property
    def instance(self) -> str:
        """`host:port` as a scrape would say it; stable over restarts."""
        return f"{os.uname().nodename}:{self.web_listen_address[0].port}"


def options() -> list[Field[Any]]:
    """The fields of `Config` that are flags, in order; `field.metadata` says everything about each."""
    return [f for f in fields(Config) if f.metadata]


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Config:
    """The effective configuration. `flags` are by dotted key and hold only what was given."""
    flags = flags or {}
    path = file or _path_from(environ) or default_config_file()
    known = {f.metadata["key"] for f in options()} | {f"collector.{name}" for name in NAMES}
    tables = read_file(path, known, must_exist=file is not None or bool(_path_from(environ)))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in options():
        key = f.metadata["key"]
        raw, source = _pick(key, flags, environ, tables, path)
        values[f.name] = _convert(f, f.metadata["default"] if source == "default" else raw, source)
        sources[key] = source
    collectors = _collectors(flags, environ, tables, path, sources)
    engines = tuple(engine_config(table, path) for table in tables.get("engine", []))
    return Config(**values, collectors=collectors, engines=engines, sources=sources, file_source=f"file {path}")


def variable(key: str) -> str:
    """The environment variable of a key: `web.listen-address` → `TOKWATT_WEB_LISTEN_ADDRESS`."""
    return "TOKWATT_" + key.upper().replace(".", "_").replace("-", "_")


def _path_from(environ: Mapping[str, str]) -> Path | None:
    given = environ.get(variable("config.file"))
    return Path(given) if given else None


def _pick(
    key: str, flags: Mapping[str, Any], environ: Mapping[str, str], tables: Mapping[str, Any], path: Path
) -> tuple[Any, str]:
    if key in flags:
        return flags[key], f"flag --{key}"
    if (name := variable(key)) in environ:
        return environ[name], f"environment {name}"
    if key in tables:
        return tables[key], f"file {path}"
    return None, "default"


def _convert(f: Field[Any], raw: Any, source: str) -> Any:
    convert, key = f.metadata["convert"], f.metadata["key"]
    raw = raw() if callable(raw) else raw
    if raw is None:
        return None
    try:
        if not f.metadata["many"]:
            return convert(raw)
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list | tuple):
            raise ValueError("must be a list")
        return tuple(convert(part.strip() if isinstance(part, str) else part) for part in parts)
    except ValueError as error:
        where = "" if source == "default" else f" ({source})"
        raise UsageError(f"{key}: {error}{where}") from None


def _collectors(
    flags: Mapping[str, Any], environ: Mapping[str, str], tables: Mapping[str, Any], path: Path,
    sources: dict[str, str],
) -> dict[str, bool]:  # fmt: skip
    chosen: dict[str, bool] = {}
    for name in NAMES:
        key = f"collector.{name}"
        raw, source = _pick(key, flags, environ, tables, path)
        if source != "default":
            try:
                chosen[name] = parse.boolean(raw)
            except ValueError as error:
                raise UsageError(f"{key}: {error} ({source})") from None
            sources[key] = source
    return chosen


assert all(f.default is MISSING for f in options())
