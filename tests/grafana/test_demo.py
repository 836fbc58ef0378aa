"""Machines of the demo: the same at the same time, plausible, labelled, and away from the history of a real one."""

import itertools

import pytest

from support.demo import SetClock, played
from tokwatt_exporter import catalogue as c
from tokwatt_exporter.catalogue import Counter, Kind
from tokwatt_exporter.config import Config, load
from tokwatt_exporter.daemon import _apart
from tokwatt_exporter.demo import NAMES, collectors
from tokwatt_exporter.demo.load import BEGAN
from tokwatt_exporter.demo.machines import MACHINES
from tokwatt_exporter.errors import NotAvailable, UsageError

EACH = pytest.mark.parametrize("name", NAMES)
HOUR = range(0, 3601, 60)


def readings(name, time):
    clock = SetClock()
    clock.now = time
    for collector in collectors(name, clock):
        if collector.name != "process":
            try:
                yield from collector.read()
            except NotAvailable:
                continue


def values(name, time):
    return {(family, labels): value for family, labels, value in readings(name, time)}


@EACH
def test_a_demo_says_the_same_at_the_same_time(name):
    assert values(name, BEGAN + 123_456.7) == values(name, BEGAN + 123_456.7)
    assert values(name, BEGAN + 123_456.7) != values(name, BEGAN + 123_556.7)


@EACH
def test_counters_never_fall_and_ratios_are_ratios(name):
    hour = [values(name, BEGAN + 7 * 86400 + t) for t in HOUR]
    for before, after in itertools.pairwise(hour):
        for (family, labels), value in after.items():
            if isinstance(family, Counter) and (family, labels) in before:
                assert value >= before[family, labels], (family, labels)
            if family.unit == "1":
                assert 0 <= value <= 1, (family, labels)
            assert value >= 0 or family is c.BATTERY_POWER, (family, labels)


@EACH
def test_the_rate_of_energy_is_the_power(name):
    begin, end = (values(name, BEGAN + 5000 + t) for t in (0, 1))
    for (family, labels), watts in begin.items():
        if family is c.POWER:
            grown = end[c.ENERGY, labels] - begin[c.ENERGY, labels]
            assert grown == pytest.approx((watts + end[family, labels]) / 2, rel=0.01)


@EACH
def test_a_whole_machine_takes_more_than_its_parts(name):
    for t in HOUR:
        now = values(name, BEGAN + t)
        parts = sum(value for (family, _), value in now.items() if family is c.POWER)
        assert now.get((c.SYSTEM_POWER, ()), 1e9) > parts


@EACH
def test_histograms_are_whole(name):
    now = values(name, BEGAN + 5000)
    by_family = {}
    for (family, labels), value in now.items():
        by_family.setdefault(family, {})[labels] = value
    spreads = [family for family in c.CATALOGUE.values() if family.kind is Kind.HISTOGRAM]
    published = any(engine.metrics and not engine.down for engine in MACHINES[name].engines)
    assert all(bool(family.distributions(by_family)) == published for family in spreads[:3])


@EACH
def test_a_demo_is_labelled(name):
    [demo] = [r for r in readings(name, BEGAN + 1) if r.family is c.DEMO_INFO]
    assert dict(demo.labels) == {"machine": name}
    [host] = [r for r in readings(name, BEGAN + 1) if r.family is c.HOST_INFO]
    assert dict(host.labels)["chip"].endswith("(demo)")
    models = [dict(r.labels)["model"] for r in readings(name, BEGAN + 1) if r.family is c.DEVICE_INFO]
    assert all(model.endswith("(demo)") for model in models)


def test_a_real_machine_is_not():
    with played("laptop") as machine:
        assert any(r.family is c.DEMO_INFO for r in machine(0, BEGAN))
    from tokwatt_exporter.collectors.host import Host

    assert all(r.family is not c.DEMO_INFO for r in Host().read())


def test_a_demo_has_a_history_of_its_own(tmp_path):
    config = load({"data-dir": str(tmp_path), "demo": "laptop"}, environ={})
    assert _apart(config).data_dir == tmp_path / "demo-laptop"
    assert _apart(load({"data-dir": str(tmp_path)}, environ={})).data_dir == tmp_path


def test_an_unknown_machine_costs_one_line():
    with pytest.raises(UsageError, match="demo: 'mac-pro' is not one of mac-studio, laptop, linux-box"):
        load({"demo": "mac-pro"}, environ={})


def test_nothing_is_a_demo_unless_asked_for():
    config: Config = load({}, environ={})
    assert config.demo is None
