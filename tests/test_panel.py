"""The panel of `tokwatt sample`: what is known in a line a part, and nothing for what is not."""

import pytest

from support import scene
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.panel import panel
from tokwatt_exporter.snapshot import Snapshot


def snapshots(machine, t=1000):
    return [scene.snapshot(machine(time), time) for time in (t, t + 10)]


@pytest.fixture
def shown(capsys):
    def show(before, now):
        panel(before, now)
        parts: dict[str, list[str]] = {}
        title = ""
        for line in capsys.readouterr().out.splitlines():
            title = line[:10].strip() or title
            parts.setdefault(title, []).append(line[10:].strip())
        return parts

    return show


def test_a_machine_with_every_sensor_is_told_part_by_part(shown):
    parts = shown(*snapshots(scene.workstation))
    assert parts["Machine"] == ["AMD Ryzen 9 7950X, workstation, 13, 64.0 GiB memory"]
    assert parts["Power"][0].startswith("whole machine ")
    assert "adapter of 140 W" in parts["Power"][1]
    assert "thermal pressure nominal" in parts["Heat"][1]
    assert "pressure normal" in parts["Memory"][1]
    assert [line.partition(" ")[0] for line in parts["Engines"]] == ["ollama", "llama_cpp"]
    assert "loaded: qwen3:8b" in parts["Engines"][0]
    assert parts["Not here"] == ["amdgpu: no AMD GPU: is the driver loaded?"]


def test_what_is_not_known_has_no_line(shown):
    parts = shown(*snapshots(scene.virtual_machine))
    assert list(parts) == ["Machine", "CPU", "Memory", "Not here"]


def test_rates_are_growth_over_the_time_between_the_two_looks(shown):
    before = Snapshot.of(0, [c.CPU_BUSY(10, cluster="super"), c.CPU_CORES(4, cluster="super")])
    now = Snapshot.of(2000, [c.CPU_BUSY(14, cluster="super"), c.CPU_CORES(4, cluster="super")])
    assert shown(before, now)["CPU"] == ["super: 4 cores · 50% busy"]


def test_a_cluster_that_was_not_there_before_has_no_load_yet(shown):
    now = Snapshot.of(2000, [c.CPU_BUSY(14, cluster="super"), c.CPU_CORES(4, cluster="super")])
    assert shown(Snapshot.of(0, []), now)["CPU"] == ["super: 4 cores"]


def test_the_hottest_sensor_of_a_device_stands_for_it(shown):
    readings = [c.TEMPERATURE(celsius, device="cpu", sensor=str(celsius)) for celsius in (41, 82, 60)]
    assert shown(Snapshot.of(0, []), Snapshot.of(1, readings))["Heat"] == ["cpu 82 °C"]


def test_the_drivers_view_of_a_gpu_is_shown_where_there_is_no_better_one(shown):
    readings = [c.GPU_DRIVER_UTILIZATION(0.5, device="gpu0", kind="device")]
    assert shown(Snapshot.of(0, []), Snapshot.of(1, readings))["GPU"] == ["gpu0 · 50% busy"]
