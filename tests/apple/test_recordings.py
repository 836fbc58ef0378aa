"""Recordings in the forms of a Mac's tools, as the Mac that they were made on."""

import contextlib
import plistlib
import struct

import pytest

from fakes.apple.recordings import NoSensor, read
from support.captures import shared_captures


def machine(text):
    return read(text.encode() if isinstance(text, str) else text).machine


def node(text):
    return machine(text).nodes[0]


def reason(text):
    with pytest.raises(NoSensor) as why:
        machine(text)
    return str(why.value)


def test_an_inventory_of_energy_counters_is_channels_with_their_units():
    channels = machine("# comment\nCPU Energy\tmJ\napciec0 Energy\tuJ\n").channels
    assert [(c.group, c.name, c.unit) for c in channels] == [
        ("Energy Model", "CPU Energy", "mJ"),
        ("Energy Model", "apciec0 Energy", "uJ"),
    ]


def test_counters_of_an_inventory_run_at_a_watt_and_others_at_what_was_measured():
    recording = read(b"A\tmJ\nB\tnJ\t2.5\n")
    assert [channel.value for channel in recording.later().channels] == [5000, 12_500_000_000]


def test_a_counter_that_was_not_published_stands_and_is_old():
    recording = read(b"CPU Energy\tmJ\t-\n")
    (before,), (after,) = recording.machine.channels, recording.later().channels
    assert (after.value, after.published) == (before.value, before.published)
    assert before.published < recording.machine.absolute_ticks - 30 * 24_000_000


@pytest.mark.parametrize(
    "text",
    [
        'GPU Stats :: GPU Performance States :: GPUPH (24Mticks) = [("OFF", 30), ("P1", 10)]\n',
        "Grp: GPU Stats   Subgrp: GPU Performance States   Chn: GPUPH   State: OFF   Res: 30\n"
        "Grp: GPU Stats   Subgrp: GPU Performance States   Chn: GPUPH   State: P1   Res: 10\n",
    ],
)
def test_residencies_grow_by_what_was_dumped_in_whole_multiples(text):
    recording = read(text.encode())
    recording.fit()
    (before,), (after,) = recording.machine.channels, recording.later().channels
    grown = [now - then for (_, now), (_, then) in zip(after.states, before.states, strict=True)]
    assert [name for name, _ in after.states] == ["OFF", "P1"]
    assert grown[0] == 3 * grown[1]
    assert sum(grown) == 5 * 24_000_000


def test_powers_of_a_dump_are_counters_that_run_at_them():
    recording = read(b"Energy Model ::  :: DIE_0_CPU Energy (mJ) = 0.05W\n")
    assert recording.machine.channels[0].name == "DIE_0_CPU Energy"
    assert recording.later().channels[0].value == 250


def test_a_residency_that_is_cut_is_none():
    assert "no format" in reason('CPU Stats :: X :: PCPU000 (24Mticks) = [("IDLE", 1), ("V0P\n')


def test_tables_are_frequency_and_millivolts_in_pairs():
    text = "  voltage-states9: (v) 400 618\n  voltage-states9: (f) 0 444000000\n voltage-states5-sram: (f) 702000000\n"
    properties = node(text).properties
    assert properties["voltage-states9"] == struct.pack("<4I", 0, 400, 444_000_000, 618)
    assert properties["voltage-states5-sram"] == struct.pack("<2I", 702_000_000, 0)


def test_tables_of_the_registry_are_of_the_power_manager_where_its_heading_was_cut_off():
    found = node('  |   "voltage-states5" = <16580100490200002ccb000076020000>\n')
    assert (found.name, found.class_name) == ("pmgr", "AppleARMIODevice")
    assert found.properties["voltage-states5"][:4] == bytes.fromhex("16580100")


def test_a_key_of_the_smc_is_its_bytes_whatever_was_decoded_of_them():
    keys = machine("  TB0T  [flt ]  28.5 (bytes 00 00 e4 41)\n  TG0A  [ioft]  (bytes 00 80 1c 00 00 00 00 00)\n").smc
    assert keys == {"TB0T": ("flt ", b"\0\0\xe4\x41"), "TG0A": ("ioft", bytes.fromhex("00801c0000000000"))}


def test_a_key_of_the_smc_without_its_bytes_is_what_was_decoded():
    assert machine("  PSTR  [flt ]  23.5\n").smc == {"PSTR": ("flt ", struct.pack("<f", 23.5))}


@pytest.mark.parametrize("between", ["\t", "   | "])
def test_thermometers_are_name_and_degrees(between):
    text = f"PMU tdie1{between}42.9\nPMU tdev4{between}-21.5\n"
    assert machine(text).hid == [("PMU tdie1", 42.9), ("PMU tdev4", -21.5)]


def test_a_table_of_other_things_is_no_list_of_thermometers():
    assert "no format" in reason("apples | 3\npears | 4.5\n")


def test_a_tree_has_its_entries_below_each_other():
    text = (
        "    | |   +-o AGXAcceleratorG13G_B0  <class AGXAcceleratorG13G_B0, id 0x100000652, registered, retain 31>\n"
        "    | |   | {\n"
        '    | |   |   "gpu-core-count" = 8\n'
        "    | |   | }\n"
        "    | |   +-o AGXDeviceUserClient  <class AGXDeviceUserClient, id 0x1000009be, !registered, retain 6>\n"
        "    | |       {\n"
        '    | |         "AppUsage" = ({"API"="Metal","accumulatedGPUTime"=7})\n'
        '    | |         "IOUserClientCreator" = "pid 357, WindowServer"\n'
        "    | |       }\n"
    ).replace("    | |   +-o AGXD", "    | |   | +-o AGXD")
    gpu = node(text)
    (client,) = gpu.children
    assert (gpu.id, gpu.superclasses, gpu.registered) == (0x100000652, ("IOAccelerator",), True)
    assert (client.registered, client.properties["AppUsage"]) == (False, [{"API": "Metal", "accumulatedGPUTime": 7}])


def test_entries_at_the_same_depth_are_beside_each_other():
    heading = "+-o AGXDeviceUserClient  <class AGXDeviceUserClient, id 0x10000000{}, !registered>\n"
    assert len(machine(heading.format(1) + heading.format(2)).nodes) == 2


def test_an_entry_is_named_without_its_place():
    assert node("+-o pmgr@10000000  <class AppleARMIODevice, id 0x100000112, registered>\n").name == "pmgr"


def test_values_of_the_registry_are_read_in_all_their_forms():
    text = (
        "+-o AppleSmartBattery  <class AppleSmartBattery, id 0x100000963, registered>\n"
        "    {\n"
        '      "InstantAmperage" = 18446744073709550566\n'
        '      "IsCharging" = Yes\n'
        '      "name" = <"arm-io","t8103">\n'
        '      "Data" = {"AdapterPower"=,"Cell"=(1,2),"Raw"=(<00ea>),"Name"="60W USB-C, white","No"=No,"Inner"={}}\n'
        '      "Said" = "a "quoted" word"\n'
        "    }\n"
    )
    assert node(text).properties == {
        "InstantAmperage": 2**64 - 1050,
        "IsCharging": True,
        "name": b"arm-io\0t8103\0",
        "Data": {"Cell": [1, 2], "Raw": [b"\0\xea"], "Name": "60W USB-C, white", "No": False, "Inner": {}},
        "Said": 'a "quoted" word',
    }


def test_a_property_that_is_cut_is_not_there():
    text = (
        '  |   "gpu-core-count" = 10\n  |   "PerformanceStatistics" = {"Alloc system memory"=7,"Device Utilization %"=8'
    )
    assert node(text + "\n").properties == {"gpu-core-count": 10}


@pytest.mark.parametrize(
    ("key", "value"), [("model", '"Apple M4"'), ("gpu-core-count", "10"), ("PerformanceStatistics", "{}")]
)
def test_a_last_line_without_an_end_is_left_out_where_its_value_may_be_cut(key, value):
    last = f'  |   "{key}" = {value}'
    found = node(f'  |   "AGCInfo" = {{}}\n{last}')
    assert (key in found.properties) == (not value.isdecimal())


def test_what_ioreg_writes_as_a_property_list_is_the_same_tree():
    client = {
        "IOObjectClass": "AGXDeviceUserClient",
        "IORegistryEntryName": "AGXDeviceUserClient",
        "IORegistryEntryID": 4294969790,
        "AppUsage": [{"accumulatedGPUTime": 7}],
    }
    gpu = {
        "IOObjectClass": "AGXAcceleratorG16X",
        "IORegistryEntryName": "AGXAcceleratorG16X",
        "IORegistryEntryID": 4294968255,
        "PerformanceStatistics": {"Device Utilization %": 4},
        "AGXParameterBufferMaxSize": 18446744072001552384,
        "IORegistryEntryChildren": [client],
    }
    found = node(plistlib.dumps([gpu]))
    assert (found.class_name, found.id, found.superclasses) == ("AGXAcceleratorG16X", 4294968255, ("IOAccelerator",))
    assert found.properties["AGXParameterBufferMaxSize"] == 18446744072001552384
    assert found.children[0].registered is False


def test_a_variable_is_as_long_as_the_kernel_makes_it():
    sysctls = machine(
        "hw.memsize: 17179869184\nhw.nperflevels: 2\nhw.l2cachesize: 4194304\nhw.cacheconfig: 8 1 4\n"
        "hw.model: Mac16,5\n"
        "kern.osproductversion: 26\nkern.boottime: { sec = 1786, usec = 5 } Sat Aug  8\nhw.osenvironment: \n"
    ).sysctls
    assert sysctls == {
        "hw.memsize": struct.pack("<q", 17179869184),
        "hw.nperflevels": struct.pack("<i", 2),
        "hw.l2cachesize": struct.pack("<q", 4194304),
        "hw.cacheconfig": struct.pack("<3q", 8, 1, 4),
        "hw.model": b"Mac16,5\0",
        "kern.osproductversion": b"26\0",
        "kern.boottime": struct.pack("<qii", 1786, 5, 0),
        "hw.osenvironment": b"\0",
    }


@pytest.mark.parametrize("point", [".", ","])
def test_swap_is_bytes_in_any_language(point):
    text = f"total = 1024{point}00M  used = 80{point}50M  free = 943{point}50M  (encrypted)\n"
    total, available, used = struct.unpack_from("<3Q", machine(text).sysctls["vm.swapusage"])
    assert (total, available, used) == (2**30, round(943.5 * 2**20), round(80.5 * 2**20))


def test_free_pages_have_the_speculative_ones_among_them():
    text = "Mach Virtual Memory Statistics: (page size of 4096 bytes)\nPages free: 10.\nPages speculative: 4.\n"
    found = machine(text)
    assert (found.vm, found.page_size) == ({"free": 14, "speculative": 4}, 4096)


def test_lines_about_tags_mean_the_longer_struct():
    text = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages active: 10.\nPages tagged: 4.\n"
    assert machine(text).vm_count == 62


def test_of_an_interface_only_the_row_of_its_link_counts():
    text = (
        "Name       Mtu   Network       Address            Ipkts Ierrs     Ibytes    Opkts Oerrs     Obytes  Coll\n"
        "lo0        16384 <Link#1>                             3     0        900        3     0        900     0\n"
        "en0*       1500  <Link#4>    00:00:00:00:00:00        5     0 8589934592        4     0        700     0\n"
        "en0        1500  192.0.2       192.0.2.1              5     - 8589934592        4     -        700     -\n"
    )
    found = machine(text).interfaces
    assert [(one.name, one.received, one.sent) for one in found] == [("lo0", 900, 900), ("en0", 8589934592, 700)]


def test_the_power_source_and_charge_of_pmset_are_those_of_the_battery():
    text = (
        "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=3)\t48%; discharging; 0:43 remaining present: true\n"
    )
    properties = node(text).properties
    assert (properties["CurrentCapacity"], properties["ExternalConnected"]) == (48, False)


def test_the_power_mode_of_pmset_is_the_setting_of_each_source():
    text = "Battery Power:\n lowpowermode         1\nAC Power:\n powermode            2\n"
    modes = {source: settings["LowPowerMode"] for source, settings in machine(text).power_preferences.items()}
    assert modes == {"Battery Power": 1, "AC Power": 2}


def test_the_level_of_notifyutil_is_the_thermal_pressure():
    assert machine("com.apple.system.thermalpressurelevel 2\n").notify == {"com.apple.system.thermalpressurelevel": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  \n\n", "empty"),
        ("hello\nworld\n", "no format"),
        ("com.apple.system.thermalpressurelevel: Failed with code 9\n", "could not read"),
        ("Note: No CPU power status has been recorded\n", "says nothing"),
        ("Note: No thermal warning level has been recorded\n", "says nothing"),
        ("Now drawing from 'AC Power'\n", "without a battery"),
        ("Mach Virtual Memory Statistics: (page size of 16384 bytes)\n", "without its lines"),
        ('{"all_power": 0.6, "sys_power": 10.4}\n', "macmon"),
        ('{"models": []}', "engine"),
        ('{"models": [', "cut or damaged"),
        ('{"SPHardwareDataType": []}', "system_profiler"),
        ("COMMAND     PID    USER   FD   TYPE  DEVICE\n", "lsof"),
        ("gui/501/x = {\n\tstate = running\n}\n", "launchctl"),
        ("+-o Root  <class IORegistryEntry, id 0x100000100, retain 25>\n", "without an entry that is read"),
        ('<?xml version="1.0"?>\n<plist version="1.0"><dict><key>is_', "cut or damaged"),
        ("<?xml version='1.0'?><plist version='1.0'><dict/></plist>", "neither ioreg's nor powermetrics'"),
    ],
)
def test_where_nothing_is_measured_it_says_why(text, words):
    assert words in reason(text)


@pytest.mark.parametrize("data", [b"\xff\xfe\0\x01" * 50, b"bplist00\0\0\0", b"a\0b\n"])
def test_bytes_of_no_known_kind_are_refused(data):
    assert reason(data)


@pytest.mark.parametrize(
    "text", ['    "x" = ' + '{"a"=' * 100_000, "A :: B :: C (u) = " + "[" * 100_000, "[" * 100_000, "<plist>" * 10_000]
)
def test_brackets_without_end_are_refused(text):
    assert reason(text + "\n")


def test_no_recording_breaks_the_parsers_where_it_is_cut():
    for path in (shared_captures() / "macos").rglob("*.*"):
        if path.is_file() and path.suffix != ".source":
            data = path.read_bytes()
            for share in (3, 20, 50, 80, 97, 99):
                with contextlib.suppress(NoSensor):
                    read(data[: len(data) * share // 100]).fit()
