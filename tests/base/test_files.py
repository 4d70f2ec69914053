"""Reading files that anybody may have made."""

import errno
import os
import socket

import pytest

from mmppl.base.files import read_regular


def test_a_regular_file_is_read_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"123")
    assert read_regular(tmp_path / "file", most=3) == b"123"
    with pytest.raises(OSError, match="more than 2 bytes"):
        read_regular(tmp_path / "file", most=2)


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"12345")
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda file: os.stat_result((*real(file)[:6], 1, *real(file)[7:10])))
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular(tmp_path / "file", most=4)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device", "socket"])
def test_nothing_else_is_opened(kind, tmp_path, monkeypatch):
    file = tmp_path / "file"
    if kind == "link":
        (tmp_path / "other").write_bytes(b"secret")
        file.symlink_to(tmp_path / "other")
    elif kind == "pipe":
        os.mkfifo(file)  # nobody writes: opening it would wait forever
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file = type(file)("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        socket.socket(socket.AF_UNIX).bind("file")
    opened = []
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args))
    with pytest.raises(OSError) as caught:
        read_regular(file)
    assert caught.value.errno == (errno.ELOOP if kind == "link" else errno.EINVAL) and caught.value.strerror
    assert not opened


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_takes_the_place_of_a_file_after_the_look_at_it(kind, tmp_path, monkeypatch):
    file = tmp_path / "file"
    monkeypatch.setattr("mmppl.base.files.check_regular", lambda path: 0)
    if kind == "link":
        file.symlink_to(tmp_path / "other")
        (tmp_path / "other").write_bytes(b"secret")
    else:
        os.mkfifo(file)
    with pytest.raises(OSError):
        read_regular(file)
