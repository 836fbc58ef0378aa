"""`tokwatt capture`: a recording is as good as the Mac it is of, and says nothing of whose it is."""

import socket
import sys

import pytest

from e2e.daemon import tokwatt
from fakes.apple import machines
from fakes.apple.machine import Node
from fakes.apple.programs import Programs
from fakes.apple.recordings import ioreg
from tokwatt_exporter.capture import capture, programs
from tokwatt_exporter.capture.mask import Mask, Secrets
from tokwatt_exporter.collectors import registry
from tokwatt_exporter.errors import NotAvailable, UsageError

SECONDS = 5.0
NOBODY = Secrets(frozenset(), frozenset())
#: Not of the machine, or replaced by what is.
OTHERS = ("process", "engines", "benchmark", "proxy", "powermetrics", "clpc", "host")
WITH_A_CLOCK = ("energy", "gpu", "system_power", "thermal", "memory_bandwidth")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    awake = wall = __call__


@pytest.fixture
def record(fake, tmp_path):
    """Capture a Mac of ours, in which five seconds pass; `change` is done to it and to what programs print."""

    def record(machine, change=lambda recording, prints: None, secrets=lambda: NOBODY, output=tmp_path / "captured"):
        recording, clock = machines.load(machine), Clock()
        run = Programs(machines.ROOT / machine, recording.machine)
        change(recording, run.prints)
        fake.show(recording.machine)

        def sleep(seconds):
            clock.now += seconds
            fake.show(recording.later())

        return capture(output, run=run, secrets=secrets, sleep=sleep, clock=clock)

    return record


def series(fake, recording):
    """What all collectors read of a Mac, five seconds after they first did."""
    clock = Clock()
    given = {name: {"clock": clock} for name in WITH_A_CLOCK}
    collectors = registry.build(lambda name, _: name not in OTHERS, platform="darwin", **given)
    fake.show(recording.machine)
    for collector in collectors:
        rows(collector)
    clock.now += recording.seconds
    fake.show(recording.later())
    found = {row for collector in collectors for row in rows(collector)}
    for collector in collectors:
        collector.close()
    return found


def rows(collector):
    try:
        return [(r.family.name, r.labels, round(r.value, 6)) for r in collector.read()]
    except NotAvailable as why:
        return [(collector.name, str(why))]


@pytest.mark.parametrize("machine", machines.MACHINES)
def test_what_is_read_from_a_recording_is_what_is_read_from_the_mac(fake, record, machine):
    of_the_mac = series(fake, machines.load(machine))
    assert len(of_the_mac) > 20
    assert series(fake, machines.load(record(machine).folder)) == of_the_mac


def test_a_recording_says_what_is_in_it_and_what_the_mac_did_not_give(record):
    report = record("vm_macos26")
    assert {path.name for path in report.folder.iterdir()} == {*report.files, "README.md"}
    assert {"sysctl.txt", "processor_ticks.txt"} <= set(report.files)
    assert any(text.startswith("smc.txt") for text in report.absent)
    assert str(report.folder) in report.lines()[0]
    assert "`sysctl.txt`" in (report.folder / "README.md").read_text()


UUID = "CA4A97E0-1234-4ABC-9DEF-0123456789AB"
CANARIES = {
    "serial": "C02CANARY123", "uuid": UUID, "board": "564D6F64-656C-4CA4-8976-000000000001", "user": "canaryuser",
    "full name": "Canary Person", "host": "canary-host", "mac": "ca:4a:97:e0:00:01",
    "ip": "192.168.86.42", "ip6": "fe80::ca4a:97ff:fee0:1", "ssid": "CanaryWifi", "process": "canaryapp",
    "pack": "F8Y1CANARYPACK",
}  # fmt: skip


def plant(recording, prints):
    """Every secret in every place where it can be."""
    board = {"IOPlatformSerialNumber": CANARIES["serial"], "IOPlatformUUID": CANARIES["board"]}
    recording.machine.nodes.append(Node("J313AP", "IOPlatformExpertDevice", board))
    ioreg.tell_apart(recording.machine.nodes)
    everything = " ".join(CANARIES.values())
    for node in ioreg.walk(recording.machine.nodes):
        node.properties |= {
            "IOSSID": everything,
            "Serial": CANARIES["pack"],
            "IOUserClientCreator": f"pid 7, {everything}",
        }
        details = node.properties.get("AdapterDetails")
        if isinstance(details, dict):
            details |= {
                "SerialString": CANARIES["pack"],
                "Description": f"{CANARIES['user']} {CANARIES['host']} {UUID}",
            }
        if node.class_name == "IOMedia":
            node.name = f"{CANARIES['user']} Media"
        if "product-name" in node.properties:
            node.properties["product-name"] = f"Mac of {CANARIES['full name']}".encode() + b"\0"
    recording.machine.smc["TSER"] = ("ch8*", CANARIES["serial"].encode())
    for program in prints:
        prints[program] += f"kern.hostname: {CANARIES['host']}\nkern.uuid: {UUID}\n SSID {everything} 1\n{everything}\n"
    prints["/usr/sbin/sysctl"] += (
        f"hw.targettype: {CANARIES['user']} {CANARIES['serial']} {CANARIES['host']} {CANARIES['ip']}\n"
    )
    prints["/usr/bin/notifyutil"] += f"com.apple.system.thermalpressurelevel {CANARIES['ip6']} {CANARIES['mac']}\n"
    prints["/usr/sbin/netstat"] += (
        f"en7        1500  <Link#9>    {CANARIES['mac']}        1     0          5        1     0          6     0\n"
        f"en7        1500  192.168.86    {CANARIES['ip']}         1     -          5        1     -          6     -\n"
        f"en7        1500  {CANARIES['ip6']}  {CANARIES['host']}  1     -          5        1     -          6     -\n"
    )


def test_nothing_in_a_recording_says_whose_mac_it_is(record, monkeypatch):
    monkeypatch.setenv("USER", CANARIES["user"])
    monkeypatch.setattr(socket, "gethostname", lambda: f"{CANARIES['host']}.local")

    def secrets():
        found = Secrets.of_this_mac()
        return found._replace(names=found.names | {CANARIES["full name"]})

    report = record("m1-macbook-air_macos15", plant, secrets)
    written = "".join(path.read_text() for path in report.folder.iterdir()).lower()
    found = [text for text in CANARIES.values() if text.lower() in written or text.encode().hex() in written]
    assert found == []
    kinds = {
        "serial numbers",
        "names of user and host",
        "hardware addresses",
        "network addresses",
        "names of processes",
    }
    assert kinds | {"UUIDs"} == report.masked.keys()
    assert all(kind in (report.folder / "README.md").read_text() for kind in kinds)


def test_masking_leaves_what_is_measured_as_it_is():
    text = (
        'CPU Stats :: CPU Core Performance States :: PCPU000 (24Mticks) = [("IDLE", 12)]\n'
        '  | "voltage-states9" = <0000000090010000>\n  TB0T  [flt ]  28.5 (bytes 00 00 e4 41)\n'
        "kern.osproductversion: 26.5.2\nmachdep.cpu.brand_string: Apple M4 Max\nCPU Energy\tmJ\t0.123\n"
    )
    assert Mask(Secrets(frozenset({"max", "cpu", "kern"}), frozenset()))(text) == text


def test_a_name_that_is_a_part_of_another_word_is_left(record):
    mask = Mask(Secrets(frozenset({"ann"}), frozenset()))
    assert mask("channel ann anna") == "channel masked anna"


@pytest.mark.skipif(sys.platform == "darwin", reason="it works there")
def test_on_another_system_it_says_so_in_a_line(tmp_path):
    result = tokwatt("capture", "--output", str(tmp_path / "new"), check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "tokwatt: capture records Macs, and this machine is none\n"
    assert not (tmp_path / "new").exists()


def test_a_folder_that_has_something_in_it_is_left_alone(record, tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="is there already"):
        record("vm_macos26", output=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_program_that_is_missing_or_fails_costs_its_own_file():
    assert programs.run(["/none/such"]) is None
    assert programs.run(["/bin/sh", "-c", "echo x; exit 1"]) is None
    assert programs.run(["/bin/sh", "-c", "echo $LC_ALL"]) == "C\n"
