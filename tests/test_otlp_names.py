"""The naming rules of OTLP receivers against results of Prometheus' own translator."""

import pytest

from support.otlp_names import Strategy, Type, translate

#: Name, unit, type, and the names in the order of Strategy: what `prometheus/otlptranslator` gave when it was run, and
#: below the line what its rules say.
KNOWN = [
    ("hw.gpu.utilization", "1", Type.GAUGE,
     ("hw_gpu_utilization_ratio", "hw_gpu_utilization", "hw.gpu.utilization_ratio", "hw.gpu.utilization")),
    ("hw.energy", "J", Type.MONOTONIC_SUM,
     ("hw_energy_joules_total", "hw_energy", "hw.energy_joules_total", "hw.energy")),
    ("x_device_energy_joules_total", "J", Type.MONOTONIC_SUM, ("x_device_energy_joules_total",) * 4),
    ("x_gpu_utilization_ratio", "1", Type.GAUGE, ("x_gpu_utilization_ratio",) * 4),
    ("x_device_info", "1", Type.GAUGE,
     ("x_device_info_ratio", "x_device_info", "x_device_info_ratio", "x_device_info")),
    ("x_total_foo_total", "", Type.MONOTONIC_SUM,
     ("x_foo_total", "x_total_foo_total", "x_total_foo_total", "x_total_foo_total")),
    # ----
    ("x_device_info", "", Type.OTHER_SUM, ("x_device_info",) * 4),
    ("x_tokens", "{token}", Type.GAUGE, ("x_tokens",) * 4),
    ("fan.speed", "rpm", Type.GAUGE, ("fan_speed_rpm", "fan_speed", "fan.speed_rpm", "fan.speed")),
    ("memory.share", "%", Type.GAUGE,
     ("memory_share_percent", "memory_share", "memory.share_percent", "memory.share")),
    ("io", "By/s", Type.GAUGE, ("io_bytes_per_second", "io", "io_bytes_per_second", "io")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "unit", "kind", "expected"), KNOWN, ids=[f"{row[0]}-{row[1]}" for row in KNOWN])
def test_a_receiver_names_a_metric_as_prometheus_translator_does(name, unit, kind, expected):
    assert tuple(translate(name, unit, kind, strategy) for strategy in Strategy) == expected


def test_a_rate_that_says_so_in_its_name_and_in_its_unit_is_renamed():
    name = translate("x_bytes_per_second", "By/s", Type.GAUGE, Strategy.UnderscoreEscapingWithSuffixes)
    assert name == "x_bytes_per_second_per_second"


def test_a_name_cannot_start_with_a_digit():
    names = [translate("2nd.fan", "", Type.GAUGE, strategy) for strategy in Strategy]
    assert names == ["_2nd_fan", "_2nd_fan", "2nd.fan", "2nd.fan"]
