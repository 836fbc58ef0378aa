"""Checks of the engines: which are here, and what they were started without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tokwatt_exporter.config import Config
from tokwatt_exporter.doctor.finding import Finding
from tokwatt_exporter.errors import UsageError

if TYPE_CHECKING:
    from tokwatt_exporter.engines.discovery import Found

#: What may be read of an engine's environment; the rest is nobody's business, as keys are in it.
OLLAMA = (
    "OLLAMA_HOST", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_FLASH_ATTENTION", "OLLAMA_KEEP_ALIVE", "OLLAMA_KV_CACHE_TYPE",
    "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_MAX_QUEUE", "OLLAMA_NUM_PARALLEL",
)  # fmt: skip
_TRUE = ("1", "t", "true")
_MENDS = {
    "--metrics": "start it with --metrics",
    "--enable-metrics": "start it with --enable-metrics",
    "DISABLE_METRICS": "start it without DISABLE_METRICS",
    "--disable-log-stats": "start it without --disable-log-stats",
    "API key": 'api-key-file = "FILE" in its [[engine]] table of the configuration (docs/configuration.md)',
}
_LOOKED = "engines on this machine and in the configuration"


def engines(config: Config) -> list[Finding]:
    """A finding for each engine, and what its settings leave out."""
    from tokwatt_exporter.engines.discovery import find_now

    try:
        found = find_now(config)
    except UsageError as error:
        return [Finding(check="engines", status="fault", looked=_LOOKED, found=str(error),
                        means="that engine is not asked", mend="tokwatt config check")]  # fmt: skip
    if not found:
        return [Finding(check="engines", status="absent", looked=_LOOKED, found="none answers",
                        means="there are no tokens to count; the machine is measured all the same",
                        mend="tokwatt engines --url URL says why a server is not taken for one")]  # fmt: skip
    return [finding for one in found for finding in _engine(one)]


def _engine(one: Found) -> Iterator[Finding]:
    looked = f"{one.url}, which is {one.kind or 'not recognised'}"
    check = f"engines.{one.name}"
    if not one.up:
        yield Finding(check=check, status="note", looked=looked, found=one.problem or "it does not answer",
                      means="it is in the configuration and down", mend="start it, or correct its url")  # fmt: skip
        return
    version = f"version {one.version}" if one.version else "its version is not known"
    if one.problem:
        yield Finding(check=check, status="note", looked=looked, found=f"{version}; it {one.problem}",
                      means="what it does not tell has no series", mend=_mend(one.problem))  # fmt: skip
    else:
        models = f", {len(one.models)} models" if one.models else ""
        yield Finding(check=check, status="ok", looked=looked, found=f"{version}{models}",
                      means="it tells what can be asked of it")  # fmt: skip
    if one.kind == "ollama":
        yield from _ollama(check, environment(one.pid))


def _mend(problem: str) -> str | None:
    # The longer word first: one is a part of the other.
    return next((mend for word, mend in sorted(_MENDS.items(), key=lambda row: -len(row[0])) if word in problem), None)


def environment(pid: int | None) -> Mapping[str, str] | None:
    """What Ollama was started with, as far as it may be looked at; None where the process is hidden."""
    import psutil

    try:
        environ = psutil.Process(pid).environ() if pid else None
    except (psutil.Error, OSError):
        return None
    return None if environ is None else {name: environ[name] for name in OLLAMA if environ.get(name)}


def _ollama(check: str, environ: Mapping[str, str] | None) -> Iterator[Finding]:
    check, looked = f"{check}.environment", "the variables that Ollama was started with"
    if environ is None:
        yield Finding(check=check, status="absent", looked=looked, found="its process is not to be seen by this user",
                      means="its settings are not known")  # fmt: skip
        return
    found = ", ".join(f"{name}={value}" for name, value in environ.items()) or "none of its own"
    for means, mend in troubles(environ):
        yield Finding(check=check, status="note", looked=looked, found=found, means=means, mend=mend)
    if not troubles(environ):
        yield Finding(check=check, status="ok", looked=looked, found=found, means="nothing in it works against itself")


def troubles(environ: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """What is wrong with Ollama's settings, each with what mends it."""
    found = []
    cache = environ.get("OLLAMA_KV_CACHE_TYPE", "f16").lower()
    if cache not in ("f16", "") and environ.get("OLLAMA_FLASH_ATTENTION", "").lower() not in _TRUE:
        found.append((f"{cache} for the KV cache needs flash attention, which is not asked for",
                      "start it with OLLAMA_FLASH_ATTENTION=1"))  # fmt: skip
    if environ.get("OLLAMA_HOST", "").removeprefix("http://").startswith(("0.0.0.0", "[::]", "::")):
        found.append(("everybody in the network can use it, without a password",
                      "start it with OLLAMA_HOST=127.0.0.1:11434"))  # fmt: skip
    return found
