"""Energy from powermetrics: its documents, its stream, and the child that writes it."""

import os
import shlex
import subprocess
import sys
from itertools import pairwise

import psutil
import pytest

from fakes.sysfs import FakeTime
from support.captures import shared_captures
from support.net import wait_for
from tokwatt_exporter.catalogue import COLLECTOR_PROBLEM, ENERGY, POWER
from tokwatt_exporter.collectors.apple_powermetrics import COMMAND, ApplePowermetrics
from tokwatt_exporter.collectors.apple_powermetrics_plist import Splitter, parse
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot

M1 = "m1_mbp17-1_macos13.3_22E252_a.plist"
M4_PRO = "m4pro_mac16-8_macos15.5_24F74_gpu_power.plist"
BATTERY = "m4pro_mac16-8_macos15.5_24F74_battery_multiple_samples.plist"


def capture(name):
    return (shared_captures() / "macos/powermetrics" / name).read_bytes()


def document(seconds=1.0, **millijoules):
    """A document with the energy of the processor's parts, in the layout of the recordings."""
    energy = "".join(f"<key>{part}_energy</key><integer>{mj}</integer>\n" for part, mj in millijoules.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0">\n<dict>\n<key>is_delta</key><true/>\n'
        f"<key>elapsed_ns</key><integer>{round(seconds * 1e9)}</integer>\n"
        f"<key>processor</key>\n<dict>\n{energy}</dict>\n</dict>\n</plist>\n"
    ).encode()


# Documents


def test_the_energy_of_an_m1_is_what_its_document_says():
    seconds, joules = parse(capture(M1))
    assert seconds == pytest.approx(0.525992374)
    assert joules == {"cpu": 0.054, "gpu0": 0.010, "ane": 0.0}


def test_energy_is_power_times_time_where_only_power_is_told():
    whole = capture(M1)
    lines = [line for line in whole.splitlines() if b"_energy" not in line]
    # The value of an energy of the processor is on the line after its key.
    bare = b"\n".join(line for line in lines if line.strip() not in (b"<integer>54</integer>", b"<integer>10</integer>",
                                                                     b"<integer>0</integer>"))  # fmt: skip
    assert b"_energy" not in bare
    assert parse(bare).joules == pytest.approx({"cpu": 0.054, "gpu0": 0.010, "ane": 0.0}, abs=1e-5)


def test_a_gpu_without_the_sampler_of_the_cpu_is_read_from_its_own_part():
    assert parse(capture(M4_PRO)).joules == {"gpu0": 0.009}


def test_every_document_of_every_recording_is_read():
    read = {}
    for path in sorted((shared_captures() / "macos/powermetrics").glob("*.plist")):
        splitter = Splitter()
        documents = splitter.feed(path.read_bytes())
        read[path.name] = [parse(each).joules.keys() for each in documents]
        assert not splitter.garbage
        assert not splitter.unfinished
    assert read == {M1: [{"cpu", "gpu0", "ane"}], M4_PRO: [{"gpu0"}], BATTERY: [set(), set(), set()]}


@pytest.mark.parametrize(
    ("was", "wrong"),
    [
        (b"<integer>54</integer>", b"<integer>-54</integer>"),
        (b"<integer>54</integer>", b"<true/>"),
        (b"<integer>54</integer>", b"<string>54</string>"),
        (b"<integer>54</integer>", b"<real>nan</real>"),
        (b"<integer>54</integer>", b"<integer>900000</integer>"),
    ],
)
def test_an_energy_that_cannot_be_is_absent_and_the_others_stay(was, wrong):
    broken = capture(M1).replace(was, wrong)
    # The power beside it would give the same energy another way.
    broken = broken.replace(b"<real>102.663</real>", b"<string/>")
    assert parse(broken).joules == {"gpu0": 0.010, "ane": 0.0}


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"powermetrics must be invoked as the superuser",
        b'<?xml version="1.0"?><plist version="1.0"><array/></plist>',
        b'<?xml version="1.0"?><plist version="1.0"><dict/></plist>',
        b'<?xml version="1.0"?><plist version="1.0"><dict><key>elapsed_ns</key><integer>0</integer></dict></plist>',
        b'<?xml version="1.0"?><plist version="1.0"><dict><key>timestamp</key><date>now</date></dict></plist>',
        b'<?xml version="1.0"?><plist version="1.0"><dict><integer>5</integer></dict></plist>',
        b'<!DOCTYPE plist [<!ENTITY a "b">]><plist version="1.0"><dict/></plist>',
    ],
)
def test_what_is_no_document_is_refused(broken):
    with pytest.raises(ValueError, match=r"."):
        parse(broken)


def test_a_document_that_ends_early_is_refused_wherever_it_ends():
    whole = capture(M1)
    for end in range(0, len(whole.rstrip()) - 1, 997):
        with pytest.raises(ValueError, match=r"."):
            parse(whole[:end])


def test_totals_since_the_boot_are_not_taken_for_a_sample():
    assert parse(capture(M1).replace(b"<key>is_delta</key><true/>", b"<key>is_delta</key><false/>")).joules == {}


# The stream


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_a_stream_is_cut_into_its_documents_however_it_arrives(size):
    stream = capture(BATTERY) + b"\0" + capture(M1)
    splitter = Splitter()
    documents = [each for at in range(0, len(stream), size) for each in splitter.feed(stream[at : at + size])]
    assert [round(parse(each).seconds, 3) for each in documents] == [1.002, 1.004, 1.001, 0.526]
    assert not splitter.garbage


def test_a_document_is_complete_before_the_one_after_it_begins():
    assert len(Splitter().feed(capture(M1).rstrip())) == 1


def test_what_was_cut_off_is_thrown_away_and_the_next_document_is_not():
    splitter = Splitter()
    [last] = splitter.feed(capture(M1)[:5000] + b"\0" + capture(M4_PRO))
    assert parse(last).joules == {"gpu0": 0.009}
    assert splitter.garbage == 1


def test_a_stream_without_an_end_does_not_fill_the_memory():
    splitter = Splitter()
    for _ in range(20):
        assert splitter.feed(b"x" * 2**20) == []
    assert splitter.garbage == 2
    assert len(splitter.feed(b"\0" + document(cpu=5))) == 1


# The child


class Clock(FakeTime):
    """It counts how often the time of day was asked for: once at each start of a child and at each good document."""

    asked = 0

    def wall(self):
        self.asked += 1
        return super().wall()


class Program:
    """A powermetrics whose output is what the test writes; it dies when the test says so."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = Clock()
        self.path = folder / "powermetrics"
        self.output = None
        self.install()
        self.collector = ApplePowermetrics((str(self.path), "-f", "plist"), 1.0, self.clock, lambda: 0)

    def install(self, before=":"):
        quoted = shlex.quote(str(self.folder))
        self.path.write_text(
            f'#!/bin/sh\nmkfifo {quoted}/output.$$\necho "LC_ALL=$LC_ALL" > {quoted}/environment\n'
            f'echo "$$ $*" >> {quoted}/starts\n{before}\nexec cat {quoted}/output.$$\n'
        )
        self.path.chmod(0o755)

    @property
    def starts(self):
        path = self.folder / "starts"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def pid(self):
        return int(self.starts[-1].split()[0])

    def start(self):
        """The read that starts the child."""
        known = len(self.starts)
        snapshot = self.read()
        wait_for(lambda: len(self.starts) > known, 10)
        if self.output:
            self.output.close()
        # Waits until the program opens its end.
        self.output = (self.folder / f"output.{self.pid}").open("wb", buffering=0)
        return snapshot

    def write(self, data, documents=None):
        """Write, and wait until as many documents were counted."""
        expected = self.clock.asked + (data.count(b"</plist>") if documents is None else documents)
        self.output.write(data)
        wait_for(lambda: self.clock.asked >= expected, 10)

    def die(self):
        """The program ends, and what it wrote was read."""
        self.output.close()
        wait_for(lambda: self.collector._child.ended and not self.collector._child._thread.is_alive(), 10)

    def read(self):
        return Snapshot.of(0, self.collector.read())

    def problems(self, snapshot):
        return [
            (dict(labels)["problem"], dict(labels)["reason"]) for labels in snapshot.values.get(COLLECTOR_PROBLEM, {})
        ]

    def until_problem(self):
        """Read until there is a problem; its reason."""
        found = []
        wait_for(lambda: found.extend(self.problems(self.read())) or found, 10)
        return found[0][1]


@pytest.fixture
def program(tmp_path):
    program = Program(tmp_path)
    yield program
    program.collector.close()
    if program.output:
        program.output.close()


def joules(snapshot):
    return {dict(labels)["device"]: value for labels, value in snapshot.values.get(ENERGY, {}).items()}


def watts(snapshot):
    return {dict(labels)["device"]: value for labels, value in snapshot.values.get(POWER, {}).items()}


def test_one_child_serves_all_samples(program):
    program.start()
    for total in (0.054, 0.108, 0.162):
        program.write(b"\0" + capture(M1))
        assert joules(program.read())["cpu"] == pytest.approx(total)
    assert [line.split(maxsplit=1)[1] for line in program.starts] == ["-f plist -i 1000"]


def test_nothing_is_known_before_the_first_document(program):
    assert not program.start().values
    program.write(capture(M1)[:-20], documents=0)
    assert not program.read().values


def test_joules_add_up_and_watts_are_the_mean_over_the_documents_since_the_last_sample(program):
    program.start()
    program.write(document(cpu=3000, gpu=100, ane=0) + b"\0" + document(cpu=1000, gpu=100, ane=0))
    now = program.read()
    assert joules(now) == pytest.approx({"cpu": 4, "gpu0": 0.2, "ane": 0})
    assert watts(now) == pytest.approx({"cpu": 2, "gpu0": 0.1, "ane": 0})
    program.write(b"\0" + document(seconds=2, cpu=1000, gpu=0, ane=500))
    now = program.read()
    assert joules(now) == pytest.approx({"cpu": 5, "gpu0": 0.2, "ane": 0.5})
    assert watts(now) == pytest.approx({"cpu": 0.5, "gpu0": 0, "ane": 0.25})


def test_a_device_that_the_newest_document_does_not_tell_is_absent(program):
    program.start()
    program.write(document(cpu=3000, gpu=100))
    program.write(b"\0" + document(cpu=3000))
    assert joules(program.read()).keys() == {"cpu"}


def test_a_document_may_serve_two_samples_and_no_more_than_three_intervals(program):
    program.start()
    program.write(document(cpu=3000))
    for _ in range(2):
        assert (joules(program.read()), watts(program.read())) == ({"cpu": 3}, {"cpu": 3})
        program.clock.pass_time(1.5)
    program.clock.pass_time(0.1)
    now = program.read()
    assert not joules(now)
    assert not watts(now)
    assert program.problems(now) == [("failed", "powermetrics has given no document for three intervals")]


def test_a_child_that_says_nothing_is_a_problem_after_three_intervals_and_a_start(program):
    program.start()
    program.clock.pass_time(5)
    assert not program.problems(program.read())
    program.clock.pass_time(0.1)
    assert program.problems(program.read()) == [("failed", "powermetrics has given no document for three intervals")]


def test_joules_of_the_time_in_which_nothing_was_known_are_not_in_the_next_watts(program):
    program.start()
    program.write(document(cpu=9000))
    program.clock.pass_time(4)
    assert not joules(program.read())
    program.write(b"\0" + document(cpu=1000))
    assert (joules(program.read()), watts(program.read())) == ({"cpu": 10}, {"cpu": 1})


def test_documents_without_energy_are_a_problem_of_this_machine(program):
    program.start()
    program.write(capture(BATTERY))
    now = program.read()
    assert not joules(now)
    assert program.problems(now) == [("not_available", "powermetrics gives no energy on this machine")]


def test_a_broken_document_is_a_problem_of_one_sample_and_costs_no_other(program):
    program.start()
    program.write(document(cpu=1000) + b"\0" + capture(M1)[:9000] + b"\0" + document(cpu=1000), documents=2)
    now = program.read()
    assert program.problems(now) == [("failed", "powermetrics wrote a document that cannot be read")]
    assert joules(now) == {"cpu": 2}
    assert not program.problems(program.read())


def test_a_document_that_is_no_property_list_is_a_problem(program):
    program.start()
    program.write(document(cpu=1000).replace(b"<dict>", b"<dcit>", 1), documents=0)
    assert program.until_problem() == "powermetrics wrote a document that cannot be read"


def test_energy_that_stands_still_disappears_instead_of_reading_zero_watts(program):
    program.start()
    program.write(document(seconds=1, cpu=5000, gpu=10, ane=10))
    program.write(b"\0" + document(seconds=9, cpu=0, gpu=10, ane=0))
    assert watts(program.read()).keys() == {"cpu", "gpu0", "ane"}
    program.write(b"\0" + document(seconds=1, cpu=0, gpu=10, ane=0))
    now = program.read()
    assert joules(now).keys() == watts(now).keys() == {"gpu0"}
    assert program.problems(now) == [("not_available", "the energy of the CPU stands still in powermetrics")]
    program.write(b"\0" + document(cpu=5000, gpu=10, ane=0))
    assert joules(program.read()).keys() == {"cpu", "gpu0", "ane"}


def test_a_cpu_that_never_used_energy_is_not_known(program):
    program.start()
    program.write(document(cpu=0, gpu=10, ane=0))
    assert joules(program.read()).keys() == {"gpu0"}


def test_a_child_that_dies_within_a_document_is_started_again_and_the_joules_go_on(program):
    program.start()
    program.write(document(cpu=3000) + b"\0" + capture(M1)[:9000], documents=1)
    program.die()
    now = program.read()
    assert program.problems(now) == [
        ("failed", "powermetrics wrote a document that cannot be read"),
        ("failed", "powermetrics ended; it is started again after a wait"),
    ]
    assert joules(now) == {"cpu": 3}
    program.clock.pass_time(1)
    program.start()
    program.write(document(cpu=1000))
    now = program.read()
    assert joules(now) == {"cpu": 4}
    assert not program.problems(now)
    assert len(program.starts) == 2


def test_a_child_that_keeps_dying_is_started_ever_less_often(program):
    program.install("echo 'assertion failed: the state count' >&2; exit 3")
    starts, child = [], None
    while len(starts) < 11:
        program.read()
        if program.collector._child not in (None, child):
            child = program.collector._child
            starts.append(program.clock.awake())
            wait_for(lambda child=child: child.ended, 10)
        program.clock.pass_time(0.5)
    waits = [later - earlier for earlier, later in pairwise(starts)]
    # Half a second until the death is seen.
    assert waits == [1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 60.5, 60.5, 60.5, 60.5]


def test_why_the_child_died_is_in_the_log_once(program, caplog):
    program.install("echo 'starting' >&2; echo 'assertion failed: the state count' >&2; exit 3")
    for _ in range(3):
        program.read()
        wait_for(lambda: program.collector._child.ended, 10)
        program.read()
        program.clock.pass_time(100)
    assert len(program.starts) == 3
    assert caplog.messages == ["powermetrics ended with code 3: assertion failed: the state count"]


def test_a_child_that_lived_is_started_again_after_a_short_wait(program):
    program.start()
    for _ in range(3):
        program.die()
        program.read()
        program.clock.pass_time(60)
        program.start()
    program.clock.pass_time(60)
    program.die()
    program.read()
    program.clock.pass_time(1)
    program.start()
    assert len(program.starts) == 5


def test_a_child_is_replaced_after_six_hours_without_a_problem(program):
    program.start()
    program.write(document(cpu=3000) + b"\0" + capture(M1)[:9000], documents=1)
    first = program.pid
    program.clock.pass_time(6 * 3600)
    now = program.start()
    assert not psutil.pid_exists(first)
    assert not program.problems(now)
    program.write(document(cpu=3000))
    now = program.read()
    assert joules(now) == {"cpu": 6}
    assert not program.problems(now)
    assert len(program.starts) == 2


def test_complaints_of_the_child_do_not_stop_it(program):
    program.install("head -c 1000000 /dev/zero | tr '\\0' 'x' >&2")
    program.start()
    program.write(document(cpu=3000))
    assert joules(program.read()) == {"cpu": 3}


def test_numbers_have_a_point_whatever_the_language(program, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    program.start()
    assert (program.folder / "environment").read_text() == "LC_ALL=C\n"


def test_a_document_over_a_sleep_is_not_counted(program):
    program.start()
    program.write(document(cpu=3000))
    program.read()
    program.clock.pass_time(0, asleep=3600)
    program.write(b"\0" + document(seconds=3600, cpu=900_000))
    program.collector.rebase()
    assert not program.read().values
    program.write(b"\0" + document(cpu=1000))
    assert (joules(program.read()), watts(program.read())) == ({"cpu": 4}, {"cpu": 1})


def test_a_document_from_before_a_sleep_is_not_shown_after_it(program):
    program.start()
    program.write(document(cpu=3000))
    assert joules(program.read())
    program.collector.rebase()
    assert not program.read().values


@pytest.mark.parametrize("before", [":", "trap '' TERM; sleep 60 & wait"])
def test_closing_ends_the_child_and_leaves_nothing_behind(program, before, monkeypatch):
    monkeypatch.setattr("tokwatt_exporter.collectors.apple_powermetrics._END_SECONDS", 1.5)
    process = psutil.Process()
    open_before = process.num_fds()
    program.install(before)
    program.read()
    wait_for(lambda: program.starts, 10)
    pid, thread = program.pid, program.collector._child._thread
    assert process.num_fds() > open_before
    program.collector.close()
    assert not psutil.pid_exists(pid)
    assert not thread.is_alive()
    assert process.num_fds() == open_before


def test_an_exporter_that_ends_without_closing_leaves_no_child_behind(program):
    code = "import sys; from tokwatt_exporter.collectors.apple_powermetrics import ApplePowermetrics as A\n"
    code += "collector = A(sys.argv[1:2], user=lambda: 0); list(collector.read()); input()"
    run = subprocess.Popen([sys.executable, "-c", code, program.path], stdin=subprocess.PIPE)
    wait_for(lambda: program.starts, 20)
    assert psutil.pid_exists(program.pid)
    run.communicate(b"\n", timeout=20)
    assert run.returncode == 0
    assert not psutil.pid_exists(program.pid)


def test_dying_children_leave_neither_zombies_nor_descriptors(program):
    process = psutil.Process()
    before = process.num_fds()
    program.install("exit 1")
    for _ in range(6):
        program.read()
        wait_for(lambda: program.collector._child.ended, 10)
        program.read()
        program.clock.pass_time(100)
    assert len(program.starts) == 6
    assert process.num_fds() == before
    assert process.children() == []


def test_ctrl_c_for_the_exporter_does_not_reach_the_child(program):
    program.start()
    assert os.getpgid(program.pid) == program.pid != os.getpgid(0)


def test_without_root_nothing_is_started(program):
    program.collector._user = lambda: 501
    with pytest.raises(NotAvailable, match="powermetrics must run as root"):
        program.read()
    assert not program.starts


def test_a_system_without_the_program_has_no_such_source(program):
    program.path.unlink()
    with pytest.raises(NotAvailable, match="no /usr/bin/powermetrics on this system"):
        program.read()


def test_the_command_asks_for_energy_line_by_line_and_nothing_about_processes():
    assert COMMAND[0] == "/usr/bin/powermetrics"
    assert "tasks" not in COMMAND[-1]
    assert {"cpu_power", "gpu_power", "ane_power"} <= set(COMMAND[-1].split(","))
    assert COMMAND[COMMAND.index("-b") + 1] == "1"
