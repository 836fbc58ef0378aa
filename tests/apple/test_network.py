"""Traffic of a Mac's network interfaces."""

import pytest

from fakes.apple import recordings
from fakes.apple.machine import Interface, Machine
from support.captures import shared_captures
from tokwatt_exporter.catalogue import NETWORK_RECEIVED, NETWORK_SENT
from tokwatt_exporter.collectors.apple_network import AppleNetwork
from tokwatt_exporter.errors import NotAvailable
from tokwatt_exporter.snapshot import Snapshot


def sample(fake, *interfaces):
    fake.show(Machine(interfaces=list(interfaces)))
    return Snapshot.of(0, AppleNetwork().read())


def devices(snapshot, family=NETWORK_SENT):
    return [dict(labels)["device"] for labels in snapshot.values.get(family, {})]


def test_bytes_are_whole_beyond_4_gibibytes(fake):
    seen = sample(fake, Interface("en0", received=3 * 2**32 + 7, sent=2**40))
    assert seen.get(NETWORK_RECEIVED(0, device="en0")) == 3 * 2**32 + 7
    assert seen.get(NETWORK_SENT(0, device="en0")) == 2**40


@pytest.mark.parametrize(
    "name", ["lo0", "awdl0", "llw0", "utun3", "anpi1", "ap1", "bridge0", "bridge100", "gif0", "stf0"]
)
def test_interfaces_that_carry_no_traffic_of_their_own_are_left_out(fake, name):
    assert devices(sample(fake, Interface(name, 5, 5), Interface("en0", 5, 5))) == ["en0"]


@pytest.mark.parametrize("name", ["en5", "ppp0", "vmenet0", "apx0"])
def test_all_others_are_there(fake, name):
    assert devices(sample(fake, Interface(name, 5, 5))) == [name]


def test_an_interface_that_sends_and_never_receives_does_not_count_what_it_receives(fake):
    seen = sample(fake, Interface("en0", received=0, sent=1000))
    assert devices(seen, NETWORK_RECEIVED) == []
    assert seen.get(NETWORK_SENT(0, device="en0")) == 1000


def test_an_interface_that_was_never_used_has_received_0_bytes(fake):
    assert sample(fake, Interface("en4")).get(NETWORK_RECEIVED(0, device="en4")) == 0


def test_a_mac_with_nothing_but_loopback_is_without_a_network(fake):
    with pytest.raises(NotAvailable, match="no network interface"):
        sample(fake, Interface("lo0", 5, 5))


def test_the_interfaces_of_a_real_mac_are_read(fake):
    capture = shared_captures() / "macos/network/netstat_-ib_partial.txt"
    seen = sample(fake, *recordings.read(capture.read_bytes()).machine.interfaces)
    assert devices(seen) == ["en0", "en9"]
    assert seen.get(NETWORK_RECEIVED(0, device="en0")) == 500000
    assert seen.get(NETWORK_SENT(0, device="en9")) == 2000
