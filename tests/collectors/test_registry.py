"""Which collectors run: those of the platform, and one for each source of the same series."""

import logging

import pytest

from tokwatt_exporter.collectors.base import Collector
from tokwatt_exporter.collectors.registry import REGISTRY, Entry, build


def names(monkeypatch, *wanted, platform="darwin"):
    """Of the collectors that are built where these are wanted; without importing any."""
    monkeypatch.setattr("tokwatt_exporter.collectors.registry._load", lambda path: lambda: path.rpartition(".")[2])
    by_class = {path.rpartition(".")[2]: e.name for e in REGISTRY for path in e.classes.values()}
    return [by_class[made] for made in build(lambda name, default: name in wanted, platform)]


def test_one_source_of_the_same_series_runs(monkeypatch):
    assert names(monkeypatch, "energy", "gpu") == ["energy", "gpu"]
    assert names(monkeypatch, "energy", "clpc", "gpu") == ["clpc", "gpu"]
    assert names(monkeypatch, "energy", "powermetrics", "gpu") == ["powermetrics", "gpu"]
    assert names(monkeypatch, "energy", "clpc", "powermetrics") == ["powermetrics"]


def test_the_log_says_what_runs_in_place_of_what(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    names(monkeypatch, "gpu", "energy", "clpc")
    assert caplog.messages == ["collector clpc runs in place of energy"]
    caplog.clear()
    names(monkeypatch, "clpc", "powermetrics")
    assert caplog.messages == ["collector powermetrics runs in place of clpc"]


def test_a_collector_of_another_platform_replaces_nothing(monkeypatch):
    registry = (Entry("a", "", {"linux": "x:A"}), Entry("b", "", {"darwin": "x:B"}, replaces=("a",)))
    monkeypatch.setattr("tokwatt_exporter.collectors.registry.REGISTRY", registry)
    monkeypatch.setattr("tokwatt_exporter.collectors.registry._load", lambda path: lambda: path)
    assert build(lambda name, default: True, "linux") == ["x:A"]


def test_only_what_needs_root_or_is_undocumented_is_off_by_default():
    assert [entry.name for entry in REGISTRY if not entry.enabled] == ["powermetrics", "clpc"]


def test_what_a_collector_replaces_exists_and_runs_where_it_does():
    by_name = {entry.name: entry for entry in REGISTRY}
    for entry in REGISTRY:
        assert all(entry.classes.keys() <= by_name[other].classes.keys() for other in entry.replaces)


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)
def test_every_class_of_the_registry_exists_and_has_the_name_it_is_registered_under(entry):
    from tokwatt_exporter.collectors import registry

    for path in entry.classes.values():
        loaded = registry._load(path)
        assert issubclass(loaded, Collector)
        assert loaded.name == entry.name
