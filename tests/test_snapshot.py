"""Readings, snapshots and the catalogue's constants."""

import pytest

from tokwatt_exporter.catalogue import ENERGY, ENGINE_INFO, MEMORY_SIZE, MEMORY_USED, POWER_SOURCE
from tokwatt_exporter.snapshot import Snapshot


def test_a_metric_called_is_a_reading():
    reading = MEMORY_USED(2**30, kind="anon")
    assert (reading.family, reading.labels, reading.value) == (MEMORY_USED, (("kind", "anon"),), 2.0**30)


@pytest.mark.parametrize("labels", [{}, {"kind": "anon", "device": "cpu"}, {"knd": "anon"}])
def test_wrong_labels_are_a_programming_error(labels):
    with pytest.raises(TypeError, match="labels"):
        MEMORY_USED(1, **labels)


def test_an_info_leaves_out_what_is_not_known():
    assert ENGINE_INFO(engine="ollama", kind="ollama", version=None).labels == (
        ("engine", "ollama"),
        ("kind", "ollama"),
    )


def test_an_info_refuses_a_label_it_does_not_have():
    with pytest.raises(TypeError, match="pid"):
        ENGINE_INFO(engine="ollama", pid="1")


def test_a_state_set_has_one_series_per_state_and_one_of_them_is_on():
    assert [(dict(r.labels)["state"], r.value) for r in POWER_SOURCE("battery")] == [("ac", 0.0), ("battery", 1.0)]


def test_a_state_set_refuses_a_state_it_does_not_have():
    with pytest.raises(ValueError, match="solar"):
        POWER_SOURCE("solar")


def test_a_snapshot_cannot_be_changed():
    snapshot = Snapshot.of(1, [MEMORY_SIZE(1)])
    with pytest.raises(AttributeError):
        snapshot.time_ms = 2
    with pytest.raises(TypeError):
        snapshot.values[MEMORY_SIZE] = {}
    with pytest.raises(TypeError):
        snapshot.values[MEMORY_SIZE][()] = 2.0


def test_a_snapshot_gives_back_its_readings_by_family():
    readings = [ENERGY(1, device="cpu"), MEMORY_SIZE(2), ENERGY(3, device="gpu0")]
    snapshot = Snapshot.of(1, readings)
    assert sorted(map(str, snapshot)) == sorted(map(str, readings))
    assert len(snapshot) == 3
    assert snapshot.get(ENERGY(0, device="gpu0")) == 3
    assert snapshot.get(ENERGY(0, device="ane")) is None
