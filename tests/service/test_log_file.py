"""The daemon's own log file: it rotates, is its owner's only, and is never somebody else's."""

import logging
import os
import stat

import pytest

from tokwatt_exporter import config, logs
from tokwatt_exporter.errors import UsageError


@pytest.fixture
def log_to(monkeypatch):
    """`logs.configure` into a file; what was configured before comes back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def configure(path, format="text"):
        logs.configure("info", format, path)
        return logging.getLogger("tokwatt_exporter.test")

    yield configure
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)


def test_lines_go_to_the_file_and_not_to_stderr(log_to, tmp_path, capfd):
    path = tmp_path / "logs/tokwatt.log"
    log_to(path).info("it is said")
    assert 'msg="it is said"' in path.read_text()
    assert capfd.readouterr().err == ""


def test_nobody_else_can_read_it(log_to, tmp_path):
    path = tmp_path / "logs/tokwatt.log"
    path.parent.mkdir()
    path.touch(0o644)
    log_to(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = tmp_path / "new/tokwatt.log"
    log_to(other)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    assert stat.S_IMODE(other.parent.stat().st_mode) == 0o700


def test_there_are_never_more_than_three_files_of_ten_megabytes(log_to, tmp_path):
    log = log_to(tmp_path / "tokwatt.log")
    for number in range(45):
        log.info("%s %s", number, "x" * 1_000_000)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["tokwatt.log", "tokwatt.log.1", "tokwatt.log.2"]
    assert all(path.stat().st_size <= 10_000_000 for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert "44 xxx" in files[0].read_text()


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_what_is_no_file_is_refused(log_to, tmp_path, kind):
    path = tmp_path / "tokwatt.log"
    if kind == "link":
        (tmp_path / "other").touch()
        path.symlink_to(tmp_path / "other")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(UsageError, match=r"log\.file: .* cannot be written"):
        log_to(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_file_of_another_user_is_refused(log_to, tmp_path):
    path = tmp_path / "tokwatt.log"
    path.touch()
    os.chown(path, 12345, -1)
    with pytest.raises(UsageError, match="it is not a file of this user"):
        log_to(path)


def test_a_place_that_cannot_be_written_is_one_line(log_to):
    with pytest.raises(UsageError, match=r"log\.file: /dev/null/tokwatt\.log cannot be written: Not a directory"):
        log_to(config.load({"log.file": "/dev/null/tokwatt.log"}, environ={}).log_file)
