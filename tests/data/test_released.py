"""Data sets as they were released, `xrmb`, `mir-flickr` and `mmnist`, on small files in their formats; damaged ones."""

import re

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csr_array

from mmppl import read
from mmppl.base import memory
from mmppl.data.readers.papers import matlab_rows
from mmppl.data.readers.papers.xrmb import FILES
from mmppl.errors import DataError, UsageError


def one_line(call, *arguments, words, error=DataError, **more):
    with pytest.raises(error) as found:
        call(*arguments, **more)
    assert "\n" not in str(found.value) and re.search(words, str(found.value)), str(found.value)


# --- XRMB: three parts of 115, 12 and 20 frames of 2, 1 and 2 speakers

SPEAKERS = {"train": [3] * 100 + [8] * 15, "tune": [5] * 12, "test": [30] * 12 + [9] * 8}
VIEWS = {"train": ("X1", "X2"), "tune": ("XV1", "XV2"), "test": ("XTe1", "XTe2")}


def frames():
    """Every number of a row is that of the row, over all parts; odd in the second view."""
    first, second, at = {}, {}, 0
    for part, ids in SPEAKERS.items():
        number = np.arange(at, at + len(ids), dtype=np.float32)[:, None]
        first[VIEWS[part][0]] = np.repeat(number, 273, 1)
        second[VIEWS[part][1]] = np.repeat(number + 0.5, 112, 1)
        second |= {f"{part}Label": (number.astype(np.uint8) % 4), f"{part}ID": np.array(ids, np.uint8)[:, None]}
        at += len(ids)
    return first, second


def write(folder, arrays, *, version, names=FILES[0]):
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in zip(names, arrays):
        if version == 5:
            savemat(folder / name, content)
            continue
        with h5py.File(folder / name, "w", userblock_size=512) as file:
            for key, array in content.items():
                file[key] = array.T


@pytest.fixture(params=[5, 7.3])
def speech(tmp_path, request, monkeypatch):
    monkeypatch.setattr(matlab_rows, "BLOCK", 273 * 4 * 7)  # several blocks
    write(tmp_path / "xrmb", frames(), version=request.param, names=FILES[request.param == 5])
    return tmp_path


def in_input_units(data, name):
    m = next(m for m in data.modalities if m.name == name)
    return m.value_in_input_units(data.values[name].numpy())


def test_the_released_parts_have_other_speakers(speech):
    data = read("xrmb", root=speech)
    assert [(m.name, m.shape, m.role) for m in data.modalities] == [
        ("acoustic", (273,), "modality"), ("articulatory", (112,), "modality"), ("label", (), "label"),
    ]  # fmt: skip
    assert data.split.tolist() == [0] * 115 + [1] * 12 + [2] * 20
    np.testing.assert_allclose(in_input_units(data, "acoustic")[:, 100], np.arange(147), atol=1e-4)
    np.testing.assert_allclose(in_input_units(data, "articulatory")[:, 0], np.arange(147) + 0.5, atol=1e-4)
    label = next(m for m in data.modalities if m.name == "label")
    assert np.array_equal(np.array(label.classes)[data.values["label"].numpy()], np.arange(147) % 4)
    assert data.annotations["speaker"].tolist() == sum(SPEAKERS.values(), [])


def test_frames_of_a_speaker_are_divided_without_overlap(speech):
    data = read("xrmb:speaker=3,split=time", root=speech)
    frame = data.annotations["frame"]
    assert set(data.annotations["speaker"]) == {3}
    assert [frame[data.split == part].tolist() for part in range(3)] == [
        [*range(70)], [*range(76, 80)], [*range(86, 100)],
    ]  # fmt: skip
    drawn = read("xrmb:speaker=3,split=frames,seed=1", root=speech)
    assert np.bincount(drawn.split).tolist() == [63, 7, 30]
    assert any("share frames" in note for note in drawn.notes)


def test_one_of_many_frames_and_the_means_of_speakers(speech):
    data = read("xrmb:every=5,centre=speaker", root=speech)
    assert data.annotations["frame"].tolist() == [*range(0, 100, 5), 0, 5, 10, 0, 5, 10, 0, 5, 10, 0, 5]
    first = in_input_units(data, "acoustic")[:20, 0]
    np.testing.assert_allclose(first, np.arange(0, 100, 5) - 47.5, atol=1e-4)


def test_one_speaker_of_a_large_file_takes_the_memory_of_its_rows(tmp_path, monkeypatch):
    write(tmp_path / "xrmb", frames(), version=7.3)
    asked = []
    monkeypatch.setattr(matlab_rows, "check_room", lambda size, what: asked.append(size))
    read("xrmb:speaker=5,split=frames", root=tmp_path)
    assert max(asked) == 12 * 273 * 4


def test_options_of_xrmb(tmp_path, monkeypatch):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    one_line(read, "xrmb", words="needs XRMB1.mat and XRMB2.mat in ROOT/xrmb; give --root")
    one_line(read, "xrmb", root=tmp_path, words=f"put XRMB1.mat and XRMB2.mat into {tmp_path / 'xrmb'}")
    one_line(read, "xrmb:every=0", root=tmp_path, words="every=0; give 1 or more", error=UsageError)
    one_line(read, "xrmb:speaker=3", root=tmp_path, words="add split=time", error=UsageError)


@pytest.mark.parametrize("version", [5, 7.3])
def test_damaged_files_of_xrmb(tmp_path, version):
    (first, second), place = frames(), tmp_path / "xrmb"
    for wrong, words in [
        (({**first, "X1": first["X1"][:9]}, second), "X1 has 9 rows of 115 that have a label"),
        ((first, {**second, "tuneID": second["tuneID"][:3]}), "3 tuneID of 12 tuneLabel"),
        ((first, {**second, "tuneID": second["tuneID"] + 0.5}), "tuneID of shape .* not a whole number for each row"),
        ((first, {n: a for n, a in second.items() if n != "XTe2"}), "has no XTe2, but"),
        (({**first, "XV1": first["XV1"][:, :100]}, second), "parts of different numbers of columns"),
    ]:
        write(place, wrong, version=version)
        one_line(read, "xrmb", root=tmp_path, words=words)
    write(place, (first, second), version=version)
    one_line(read, "xrmb:speaker=4,split=time", root=tmp_path, words="no speaker 4; there are 3, 5, 8, 9, 30")
    content = (place / FILES[0][0]).read_bytes()
    (place / FILES[0][0]).write_bytes(content[: len(content) * 2 // 3])
    one_line(read, "xrmb", root=tmp_path, words="XRMB1.mat: truncated or corrupt")
    (place / FILES[0][0]).write_bytes(b"<html>")
    one_line(read, "xrmb", root=tmp_path, words="XRMB1.mat: not a .mat file")


# --- MIR-Flickr: 12 labelled photographs in three pieces and 8 others in two; 5 features, 6 tags, 3 labels


def flickr(root, *, tags=None, labels=None):
    folder, rng = root / "flickr", np.random.default_rng(0)
    for name in ("image/labelled", "image/unlabelled", "text", "splits"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    image = np.arange(20)[:, None] + np.arange(5) / 10
    for start, stop, name in [(0, 5, "00001"), (5, 9, "00002"), (9, 12, "00003_0")]:
        np.save(folder / "image" / "labelled" / f"combined-{name}-of-00100.npy", image[start:stop].astype(np.float32))
    for start, stop, name in [(12, 15, "00003_1"), (15, 20, "00004")]:
        np.save(folder / "image" / "unlabelled" / f"combined-{name}-of-00100.npy", image[start:stop])
    tags = (rng.random((20, 6)) < 0.4).astype(float) * 3 if tags is None else tags
    tags[4] = 0
    for kind, rows in (("labelled", tags[:12]), ("unlabelled", tags[12:])):
        m = csr_array(rows)
        np.savez(folder / "text" / f"text_all_2000_{kind}.npz",
                 data=m.data, indices=m.indices, indptr=m.indptr, shape=np.array(m.shape))  # fmt: skip
    (folder / "text" / "vocab.txt").write_text("".join(f"{i} word{i} {100 - i}\n" for i in range(6)))
    np.save(folder / "labels.npy", rng.integers(0, 2, (12, 3)) if labels is None else labels)
    for name, rows in (("train", [0, 1, 2, 3, 4, 11]), ("valid", [5, 6]), ("test", [7, 8, 9])):
        np.save(folder / "splits" / f"{name}_indices_2.npy", np.array(rows))
    return folder, tags


def test_photographs_with_tags_and_labels(tmp_path):
    folder, tags = flickr(tmp_path)
    data = read("mir-flickr:split=2,tags=4,unlabelled=5", root=tmp_path)
    rows = [*range(10), 11, *range(12, 17)]  # row 10 is in no part
    assert list(data.ids) == rows
    assert data.split.tolist() == [0] * 5 + [1] * 2 + [2] * 3 + [0] * 6
    np.testing.assert_allclose(in_input_units(data, "image")[:, 2], np.array(rows) + 0.2, atol=1e-5)
    assert np.array_equal(data.values["tags"].numpy(), tags[rows, :4] > 0)
    assert next(m for m in data.modalities if m.name == "tags").features == ("word0", "word1", "word2", "word3")
    labels = np.load(folder / "labels.npy")
    assert np.array_equal(data.values["label"].numpy()[:11], labels[rows[:11]])
    assert data.observed["label"].tolist() == [True] * 11 + [False] * 5
    assert data.observed["tags"].tolist() == (tags[rows, :4] > 0).any(1).tolist() and not data.observed["tags"][4]
    assert read("mir-flickr:split=2,tags=4,untagged=zeros", root=tmp_path).observed["tags"].all()
    (folder / "text" / "vocab.txt").unlink()
    assert len(read("mir-flickr:split=2,tags=6", root=tmp_path)) == 11


def test_damaged_files_of_flickr(tmp_path, monkeypatch):
    folder, _ = flickr(tmp_path)
    ask = dict(root=tmp_path)
    one_line(read, "mir-flickr:split=7", **ask, words="split=7.* give 1 to 5", error=UsageError)
    one_line(read, "mir-flickr:split=2,tags=7", **ask, words="where 12 rows of 7 tags are wanted")
    one_line(read, "mir-flickr:split=1,tags=6", **ask, words="train_indices_1.npy: cannot be read")
    one_line(read, "mir-flickr:split=2,tags=6,unlabelled=9", **ask, words="8 of 9 rows in 2 .npy files")
    np.save(folder / "splits" / "test_indices_2.npy", np.array([7, 0]))
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="rows that are there twice or in another part")
    np.save(folder / "splits" / "test_indices_2.npy", np.array([12]))
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="not numbers of rows from 0 to 11")
    flickr(tmp_path, labels=np.full((12, 3), 0.5))
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="a 0 or 1 for each of its labels")
    flickr(tmp_path)
    piece = folder / "image" / "labelled" / "combined-00002-of-00100.npy"
    np.save(piece, np.zeros((4, 3)))
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="pieces of 5 and of 3 columns")
    piece.write_bytes(piece.read_bytes()[:-9])
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="00002-of-00100.npy: truncated or corrupt")
    piece.unlink()
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="8 of 12 rows in 2 .npy files")
    flickr(tmp_path)
    text = folder / "text" / "text_all_2000_labelled.npz"
    saved = dict(np.load(text))
    np.savez(text, **saved | {"indices": saved["indices"] + 100})
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="a damaged sparse matrix")
    np.savez(text, **{n: a for n, a in saved.items() if n != "indptr"})
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="has no indptr, but")
    flickr(tmp_path)
    (folder / "text" / "vocab.txt").write_text("0 one 1\n")
    one_line(read, "mir-flickr:split=2,tags=6", **ask, words="vocab.txt: not 6 lines")
    monkeypatch.setattr(memory, "available", lambda: 100)
    monkeypatch.setattr("mmppl.data.readers.papers.flickr.check_room", lambda size, what: 1 / (size < 390) and None)
    with pytest.raises(ZeroDivisionError):  # asked before the array is made
        read("mir-flickr:split=2,tags=6,unlabelled=8", **ask)
    one_line(read, "mir-flickr", root=tmp_path / "none", words="put image/, text/, splits/ and labels.npy into")


# --- PolyMNIST


def poly(root, *, modalities=3, rows=(12, 5), side=28):
    for part, number in zip(("train", "test"), rows):
        for m in range(modalities):
            place = root / "MMNIST" / part / f"m{m}"
            place.mkdir(parents=True)
            for i in range(number):
                pixels = np.full((side, side, 3), (i, m, 7), np.uint8)
                pixels[0, 1] = 200  # row 0, column 1
                Image.fromarray(pixels).save(place / f"{i}.{i % 10}.png")
    return root / "MMNIST"


def test_released_files_of_polymnist(tmp_path):
    poly(tmp_path)
    data = read("mmnist", root=tmp_path)
    assert [(m.name, m.shape, m.likelihood) for m in data.modalities] == [
        *((f"m{i}", (3, 28, 28), "laplace") for i in range(3)), ("label", (), "categorical"),
    ]  # fmt: skip
    assert data.split.tolist() == [0] * 10 + [1] * 2 + [2] * 5
    number = np.r_[np.arange(12), np.arange(5)]
    assert np.array_equal(data.values["label"].numpy(), number % 10)  # 10 and 11 after 9: by number, not by letters
    for m in range(3):
        pixels = (255 * data.values[f"m{m}"]).round().numpy()
        assert np.array_equal(pixels[:, 0, 5, 5], number) and (pixels[:, 1, 5, 5] == m).all()
        assert (pixels[:, :, 0, 1] == 200).all() and (pixels[:, 2, 1, 0] == 7).all()
    few = read("mmnist:rows=6", root=tmp_path)
    assert few.split.tolist() == [0] * 5 + [1] + [2] * 5 and few.name == "mmnist:rows=6"


def test_damaged_files_of_polymnist(tmp_path, monkeypatch):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    one_line(read, "mmnist", words="needs train/ and test/ in ROOT/MMNIST")
    one_line(read, "mmnist", root=tmp_path, words="put train/ and test/ of PolyMNIST into")
    place = poly(tmp_path, rows=(6, 2))
    one_line(read, "mmnist:rows=2", root=tmp_path, words="rows=2; give 6 or more", error=UsageError)
    some = place / "test" / "m1" / "1.1.png"
    content = some.read_bytes()
    some.unlink()
    one_line(read, "mmnist", root=tmp_path, words="m1: differs from m0 in 1 files, such as 1.1.png")
    some.write_bytes(content[:60])
    one_line(read, "mmnist", root=tmp_path, words="1.1.png: a damaged image")
    Image.fromarray(np.zeros((20, 28, 3), np.uint8)).save(some)
    one_line(read, "mmnist", root=tmp_path, words=r"1.1.png: uint8 of \(20, 28, 3\)")
    some.write_bytes(content)
    (place / "test" / "m2" / "photo.png").write_bytes(content)
    one_line(read, "mmnist", root=tmp_path, words="'photo.png' is not named NUMBER.DIGIT.png")
    (place / "test" / "m2").rename(place / "test" / "m7")
    one_line(read, "mmnist", root=tmp_path, words="folders m0, m1, m7, where train has m0, m1, m2")
