"""Files with keys: the user's own, and what systemd hands to a service (LoadCredential=)."""

import os

import pytest

from tokwatt_exporter.engines.keys import read_api_key
from tokwatt_exporter.errors import UsageError
from tokwatt_exporter.web.config import read_token


@pytest.fixture(params=[read_api_key, read_token], ids=["engine key", "bearer token"])
def read(request):
    return request.param


@pytest.fixture
def handed(tmp_path, monkeypatch):
    """A credential as systemd 254 and later makes it: mode 0440, and root's."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    path = folder / "key"
    path.write_text("sesame")
    path.chmod(0o440)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    return path


def test_a_credential_from_systemd_is_read_although_its_group_could(read, handed):
    assert read(handed)


def test_a_credential_that_everybody_can_read_is_refused(read, handed):
    handed.chmod(0o444)
    with pytest.raises(UsageError, match="others can read it"):
        read(handed)


def test_a_file_beside_the_credentials_is_no_credential(read, handed):
    beside = handed.parent.with_name("credentials-of-mine")
    beside.mkdir()
    path = beside / "key"
    path.write_text("sesame")
    path.chmod(0o440)
    with pytest.raises(UsageError, match=r"others can read it|belongs to another user"):
        read(path)


def test_without_systemd_a_group_that_could_read_is_refused(read, tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path = tmp_path / "key"
    path.write_text("sesame")
    path.chmod(0o440)
    with pytest.raises(UsageError, match="others can read it; chmod 600"):
        read(path)
