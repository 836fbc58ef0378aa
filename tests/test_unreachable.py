"""A "no route to host" that is a permission."""

import pytest

from tokwatt_exporter.unreachable import explain_unreachable

REFUSED = OSError(65, "No route to host")


@pytest.mark.parametrize(
    "host", ["192.168.1.20", "10.0.0.1", "172.16.9.9", "169.254.3.4", "fe80::1%en0", "[fd00::1]", "nas.local"]
)
def test_local_network_privacy_is_explained_with_what_gets_around_it(host):
    said = explain_unreachable(REFUSED, host)
    assert said.startswith("no route to host: macOS ")
    assert "`sudo tokwatt service install --system`" in said


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "127.0.0.1", "::1"])
def test_what_it_does_not_cover_has_another_reason(host):
    assert explain_unreachable(REFUSED, host) is None


@pytest.mark.parametrize("error", [OSError(113, "No route to host"), OSError(61, "refused"), ValueError(65)])
def test_another_error_has_another_reason(error):
    assert explain_unreachable(error, "192.168.1.20") is None
