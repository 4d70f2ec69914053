"""A folder is never walked or left beyond what a reader needs."""

import os

import pytest

from mmppl.data.readers.parts import tree
from mmppl.data.readers.parts.tree import files_below, open_files
from mmppl.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "all" / "a" / ".hidden").mkdir(parents=True)
    for name in ("1.wav", "a/2.wav", "a/.hidden/3.wav", ".4.wav"):
        (tmp_path / "all" / name).write_bytes(name.encode())
    (tmp_path / "secret.wav").write_bytes(b"secret")
    return tmp_path / "all"


def test_files_below(folder):
    assert sorted(files_below(folder)) == ["1.wav", "a/2.wav"]


def test_links_to_folders_are_not_followed(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "5.wav").touch()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    assert sorted(files_below(folder)) == ["1.wav", "a/2.wav"]


def test_links_to_files_are_followed_inside_alone(folder, tmp_path):
    (folder / "in.wav").symlink_to("a/2.wav")
    (folder / "out.wav").symlink_to(tmp_path / "secret.wav")
    (tmp_path / "all2").mkdir()  # a name that begins as the folder's
    (tmp_path / "all2" / "6.wav").write_bytes(b"6")
    (folder / "beside.wav").symlink_to("../all2/6.wav")
    (tmp_path / "named").symlink_to(folder)  # the folder itself may be named by a link
    for named in (folder, tmp_path / "named"):
        with open_files(named) as (names, content):
            assert names == ["1.wav", "a/2.wav", "beside.wav", "in.wav", "out.wav"]
            assert content("in.wav") == b"a/2.wav"
            for name in ("out.wav", "beside.wav"):
                with pytest.raises(DataError, match=f"^[^\n]*{name}: a link out of the folder[^\n]*$"):
                    content(name)


def test_too_many_and_too_deep(folder, monkeypatch):
    monkeypatch.setattr(tree, "DEEPEST", 3)
    (folder / "1" / "2" / "3").mkdir(parents=True)
    assert len(list(files_below(folder))) == 2
    (folder / "1" / "2" / "3" / "4").mkdir()
    with pytest.raises(DataError, match="folders more than 3 deep"):
        list(files_below(folder))
    os.removedirs(folder / "1" / "2" / "3" / "4")
    monkeypatch.setattr(tree, "MOST", 4)
    with pytest.raises(DataError, match="more than 4 files"):
        list(files_below(folder))
