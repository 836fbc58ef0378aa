"""notify(3): a state is read by name."""

from fakes.apple.control import Fake
from fakes.apple.machine import Machine
from tokwatt_exporter.apple.notify import Notification

LEVEL = "com.apple.system.thermalpressurelevel"


def test_the_state_follows_what_is_published(fake: Fake) -> None:
    fake.show(Machine(notify={LEVEL: 0}))
    notification = Notification(LEVEL)
    seen = [notification.state()]

    for level in (2, 30, 2**64 - 1):
        fake.show(Machine(notify={LEVEL: level}))
        seen.append(notification.state())
    notification.close()

    assert seen == [0, 2, 30, 2**64 - 1]


def test_a_name_nobody_published_reads_0_as_on_a_mac(fake: Fake) -> None:
    fake.show(Machine())
    notification = Notification("com.example.typo")

    assert notification.state() == 0

    notification.close()


def test_a_closed_notification_has_no_state_and_is_cancelled_once(fake: Fake) -> None:
    notification = Notification(LEVEL)
    assert fake.live_handles() == 1

    notification.close()
    notification.close()

    assert notification.state() is None
    assert fake.live_handles() == 0
