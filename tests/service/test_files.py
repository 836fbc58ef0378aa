"""Files that launchd and systemd read: whole, and of the right owner."""

import os
import stat

import pytest

from tokwatt_exporter.errors import ServiceError
from tokwatt_exporter.service import files


def test_a_file_is_written_whole_with_its_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        files.write(tmp_path / "new/x.plist", "text", mode=0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new/x.plist").stat().st_mode) == 0o644
    assert files.is_same(tmp_path / "new/x.plist", "text", mode=0o644)
    assert not files.is_same(tmp_path / "new/x.plist", "text", mode=0o600)
    assert not files.is_same(tmp_path / "new/x.plist", "other", mode=0o644)
    assert not files.is_same(tmp_path / "none", "text", mode=0o644)


def test_what_was_there_stays_where_the_new_one_cannot_be_finished(tmp_path, monkeypatch):
    path = tmp_path / "x.plist"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ServiceError, match="cannot be written: No space left on device"):
        files.write(path, "new", mode=0o600)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path):
    (tmp_path / "other").write_text("other")
    path = tmp_path / "x.plist"
    path.symlink_to(tmp_path / "other")
    files.write(path, "new", mode=0o600)
    assert not path.is_symlink()
    assert (tmp_path / "other").read_text() == "other"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_replaced(tmp_path):
    path = tmp_path / "x.plist"
    path.write_text("old")
    os.chown(path, 12345, -1)
    with pytest.raises(ServiceError, match=f"belongs to 12345: `sudo rm {path}`"):
        files.write(path, "new", mode=0o600)
    assert path.read_text() == "old"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_folder_for_a_log_is_its_users_or_refused(tmp_path):
    files.own_folder(tmp_path / "a/logs", 12345, 12345)
    status = (tmp_path / "a/logs").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 12345, 0o700)
    files.own_folder(tmp_path / "a/logs", 12345, 12345)
    with pytest.raises(ServiceError, match="is not a folder of user 54321"):
        files.own_folder(tmp_path / "a/logs", 54321, 54321)
