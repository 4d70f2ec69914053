"""What dead processes left half-written is removed, and nothing else."""

import itertools
import os
import subprocess
import time
from pathlib import Path

import pytest

from mmppl.base.disk import parts
from mmppl.base.files import write


@pytest.fixture(scope="module")
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_write_removes_what_the_dead_left_beside_it(dead, tmp_path):
    here, elsewhere = parts._place(), "0" * 8
    left = [f".mmppl-{here}-{dead}-0.part", f".mmppl-{here}-{10**30}-0.part"]
    stays = [
        f".mmppl-{here}-{os.getppid()}-0.part",
        f".mmppl-{elsewhere}-{dead}-0.part",
        f".mine.{dead}.part",
        "a.part",
    ]
    for name in left + stays:
        (tmp_path / name).write_text("half")
    (tmp_path / f".mmppl-{here}-{dead}-1.part").mkdir()
    (tmp_path / f".mmppl-{here}-{dead}-1.part" / "weights").touch()
    write(tmp_path / "answer", b"whole")
    assert names(tmp_path) == {*stays, "answer"}


def test_an_old_part_is_nobodys_whoever_has_its_number_now(tmp_path):
    for place in (parts._place(), "0" * 8):
        old = tmp_path / f".mmppl-{place}-{os.getpid()}-0.part"
        old.touch()
        os.utime(old, (time.time() - 1.1 * parts.LONGEST,) * 2)
    parts.sweep(tmp_path)
    assert not names(tmp_path)


def test_a_link_is_removed_and_what_it_points_to_stays(dead, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / f".mmppl-{parts._place()}-{dead}-0.part").symlink_to(tmp_path / "mine")
    parts.sweep(tmp_path / "folder")
    assert not names(tmp_path / "folder") and names(tmp_path / "mine") == {"text"}


def test_a_folder_that_cannot_be_swept_is_left(tmp_path):
    parts.sweep(tmp_path / "nowhere")
    assert not names(tmp_path)


def test_a_part_is_its_writers_own(tmp_path):
    one, other = parts.part_in(tmp_path), parts.part_in(tmp_path)
    assert one != other and parts.NAME.fullmatch(one.name)
    one.touch()
    parts.sweep(tmp_path)
    assert one.exists()


def test_what_an_earlier_process_of_the_same_number_left_is_in_nobodys_way(tmp_path, monkeypatch):
    """As in a container, where the same program always has the same one."""
    monkeypatch.setattr(parts, "_numbers", itertools.repeat(0))
    for make in (Path.touch, Path.mkdir):
        make(tmp_path / f".mmppl-{parts._place()}-{os.getpid()}-0.part")
        write(tmp_path / "answer", b"whole")
        assert names(tmp_path) == {"answer"}


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    write(tmp_path / ("x" * 255), b"whole")
    with pytest.raises(OSError, match="File name too long: '[^']*/x{256}'"):
        write(tmp_path / ("x" * 256), b"whole")
    assert names(tmp_path) == {"x" * 255}
