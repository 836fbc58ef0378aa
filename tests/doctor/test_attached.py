"""The snapshot of a running daemon, read back from its own page; its token stays on this machine."""

import pytest

from fakes.engines import FakeEngine, response
from tokwatt_exporter import attached
from tokwatt_exporter.config import load


@pytest.mark.parametrize("here", [True, False])
def test_the_token_goes_to_an_address_of_this_machine_only(tmp_path, monkeypatch, here):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    page = response(200, b"tokwatt_memory_size_bytes 5\n", "text/plain")
    with FakeEngine({"/metrics": page, "/-/healthy": response(200, b"tokwatt samples", "text/plain")}) as daemon:
        flags = {"web.listen-address": [f"127.0.0.1:{daemon.port}"], "web.bearer-token-file": str(token)}
        if not here:
            monkeypatch.setattr(attached, "_is_here", lambda host: False)
        attached.attach(load(flags, {}))
    [asked] = [request for request in daemon.requests if request.path == "/metrics"]
    assert asked.headers.get("authorization") == ("Bearer secret" if here else None)


def test_an_address_of_another_machine_is_not_here():
    assert attached._is_here("127.0.0.1")
    # Documentation addresses: nobody has them.
    assert not attached._is_here("192.0.2.1")
    assert not attached._is_here("2001:db8::1")
