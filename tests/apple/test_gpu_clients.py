"""GPU time of processes on a Mac."""

import pytest

from fakes.apple import chips, recordings
from fakes.apple.machine import Machine, Node
from support.captures import shared_captures
from tokwatt_exporter.collectors.apple_gpu_clients import GpuClients


@pytest.fixture
def show(mac):
    """Show the GPU with these clients."""

    def shown(*clients):
        below = chips.accelerator("Apple M1", 8)
        below.children = list(clients)
        mac.machine = Machine(nodes=[below])
        mac.show()

    return shown


def client(id, creator, *seconds):
    usage = [{"API": "Metal", "lastSubmittedTime": 1, "accumulatedGPUTime": round(one * 1e9)} for one in seconds]
    properties = {"AppUsage": usage, "IOUserClientCreator": creator}
    return Node("AGXDeviceUserClient", "AGXDeviceUserClient", properties, registered=False, id=id)


def test_the_time_of_a_process_is_that_of_all_its_clients_and_queues(show):
    show(
        client(1, "pid 900, ollama", 1.5, 0.5),
        client(2, "pid 900, ollama", 4.0),
        client(3, "pid 357, WindowServer", 9.0),
    )
    assert GpuClients().read() == {900: 6.0, 357: 9.0}


def test_time_does_not_fall_when_a_client_closes(show):
    clients = GpuClients()
    show(client(1, "pid 900, ollama", 5.0), client(2, "pid 900, ollama", 3.0))
    clients.read()
    show(client(2, "pid 900, ollama", 4.0))
    assert clients.read() == {900: 9.0}
    # A new client has counted nothing before it was opened.
    show(client(2, "pid 900, ollama", 4.0), client(7, "pid 900, ollama", 2.0))
    assert clients.read() == {900: 11.0}


def test_a_client_that_was_overlooked_once_is_not_counted_anew(show):
    clients = GpuClients()
    show(client(1, "pid 900, ollama", 100.0))
    clients.read()
    show()
    assert clients.read() == {900: 100.0}
    show(client(1, "pid 900, ollama", 101.0))
    assert clients.read() == {900: 101.0}


def test_a_process_that_closed_its_clients_long_ago_is_forgotten_for_its_pid_may_be_anothers(show):
    clients = GpuClients()
    show(client(1, "pid 900, ollama", 100.0))
    clients.read()
    show()
    for _ in range(10):
        clients.read()
    assert clients.read() == {}
    show(client(8, "pid 900, mlx", 1.0))
    assert clients.read() == {900: 1.0}


@pytest.mark.parametrize(
    ("creator", "pids"),
    [
        ("pid 42, a,b, pid 7", [42]),
        ("pid 42, ", [42]),
        ("pid 42", [42]),
        ("pid 42x, a", []),
        ("process 42, a", []),
        ("", []),
        (b"pid 42, a", []),
    ],
)
def test_the_pid_ends_at_the_first_comma(show, creator, pids):
    show(client(1, creator, 1.0))
    assert list(GpuClients().read()) == pids


def test_a_client_that_has_not_worked_yet_has_used_no_time(show):
    show(client(1, "pid 409, runningboardd"))
    assert GpuClients().read() == {409: 0.0}


def test_what_is_not_a_time_is_not_counted(show):
    odd = client(1, "pid 1, a")
    odd.properties["AppUsage"] = [{"API": "Metal"}, "x", {"accumulatedGPUTime": "7"}, {"accumulatedGPUTime": 10**9}]
    show(odd, client(2, "pid 2, b"))
    assert GpuClients().read() == {1: 1.0, 2: 0.0}


def test_only_clients_of_the_gpu_count(show):
    other = client(1, "pid 1, a", 5.0)
    other.class_name = "IOAccelMemoryInfoUserClient"
    show(other)
    assert GpuClients().read() == {}


def test_real_clients_of_an_m1(mac):
    path = shared_captures() / "macos/ioreg/m1_macbookair10-1_macos11_agx.txt"
    mac.machine = recordings.read(path.read_bytes()).machine
    mac.show()
    seconds = GpuClients().read()
    assert seconds[357] == pytest.approx(249.658696208 + 0.005914750, abs=1)
    assert seconds[942] == 0


def test_reading_keeps_nothing_open(mac):
    clients = GpuClients()
    clients.read()
    before = mac.fake.live_objects(), mac.fake.live_handles()
    assert clients.read().keys() == {357, 900}
    assert (mac.fake.live_objects(), mac.fake.live_handles()) == before
