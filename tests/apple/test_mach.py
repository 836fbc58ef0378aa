"""The kernel's time base, processor ticks and virtual memory."""

from typing import Any

import pytest

from fakes.apple.control import Fake
from fakes.apple.machine import Machine
from tokwatt_exporter.apple import libraries, mach

VM = {name: number for number, name in enumerate(mach.VmStatistics._fields, 2**31)}


def test_ticks_are_those_of_the_time_base(fake: Fake) -> None:
    fake.show(Machine(absolute_ticks=2**40 + 1, timebase=(125, 3)))

    assert mach.absolute_ticks() == 2**40 + 1
    assert mach.tick_seconds() == pytest.approx(1 / 24e6)


def test_the_page_size_is_asked_for_not_assumed(fake: Fake) -> None:
    fake.show(Machine(page_size=4096))

    assert mach.page_size() == 4096


def test_ticks_of_each_processor_come_in_order_and_their_memory_goes_back(fake: Fake) -> None:
    fake.show(Machine(cpu_ticks=[(1, 2, 3, 4), (2**32 - 1, 6, 7, 8)]))

    assert mach.processor_ticks() == [
        mach.CpuTicks(user=1, system=2, idle=3, nice=4),
        mach.CpuTicks(user=2**32 - 1, system=6, idle=7, nice=8),
    ]
    assert fake.live_handles() == 0


def test_no_ticks_are_an_error_not_an_idle_machine(fake: Fake) -> None:
    fake.show(Machine(cpu_ticks=[]))

    with pytest.raises(OSError):
        mach.processor_ticks()


def test_an_error_of_the_kernel_is_raised_with_its_number() -> None:
    with pytest.raises(OSError, match="-307"):
        mach.check(-307 & 0xFFFFFFFF)


def test_the_host_port_is_asked_for_once(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    mach._host.cache_clear()
    asked = []
    real = libraries.Functions.__getattr__

    def counted(functions: libraries.Functions, name: str) -> object:
        asked.append(name)
        return real(functions, name)

    monkeypatch.setattr(libraries.Functions, "__getattr__", counted)
    for _ in range(3):
        mach.page_size()

    assert asked.count("mach_host_self") == 1


def test_the_state_of_the_memory_comes_under_its_names(fake: Fake) -> None:
    fake.show(Machine(vm=VM))

    assert mach.vm_statistics()._asdict() == VM


def test_counters_of_pages_do_not_wrap_at_32_bits(fake: Fake) -> None:
    fake.show(Machine(vm={"swapins": 2**40, "uncompressed_in_compressor": 2**41}))

    statistics = mach.vm_statistics()

    assert (statistics.swapins, statistics.uncompressed_in_compressor) == (2**40, 2**41)


@pytest.mark.parametrize("count", [40, 62], ids=["macOS 26", "macOS 26.6"])
def test_a_larger_answer_from_the_kernels_cache_is_asked_for_again_and_remembered(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    fake.show(Machine(vm=VM, vm_count=count, vm_cached=True))
    where = (libraries.PATHS["system"], "host_statistics64")
    real = mach.MACH.host_statistics64
    asked = []

    def counted(host: int, flavor: int, buffer: Any, size: Any) -> int:
        asked.append(size._obj.value)
        return int(real(host, flavor, buffer, size))

    monkeypatch.setitem(mach.MACH._bound, where, counted)

    assert [mach.vm_statistics()._asdict() for _ in range(3)] == [VM] * 3
    assert asked == [38, count, count, count]


def test_a_kernel_that_does_not_answer_is_an_error_not_zeros(fake: Fake) -> None:
    fake.show(Machine(vm=None))

    with pytest.raises(OSError, match="the kernel answers 5"):
        mach.vm_statistics()


def test_an_answer_that_is_cut_is_an_error_not_zeros(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_host: int, _flavor: int, _buffer: Any, size: Any) -> int:
        size._obj.value = 36
        return 0

    monkeypatch.setitem(mach.MACH._bound, (libraries.PATHS["system"], "host_statistics64"), cut)

    with pytest.raises(OSError, match="less than it should"):
        mach.vm_statistics()
