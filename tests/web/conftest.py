"""A server for each test that asks for one, and certificates made for the run."""

import pytest

from web import certificates, serving


@pytest.fixture
def web():
    with serving.running() as running:
        yield running


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("pki"))
