"""`mnist-svhn` and `mnist-svhn-text` on small files in SVHN's format, and how damaged ones are reported."""

import struct
import sys
import types

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from small_files import mnist

from mmppl import read
from mmppl.data.readers.papers.matlab import read_mat
from mmppl.data.recipes.parts.digits import NAMES
from mmppl.data.recipes.parts.svhn import FILES, read_svhn
from mmppl.data.recipes.parts.words import ALPHABET
from mmppl.errors import DataError, UsageError

COUNTS = (27, 13, 9, 7, 12, 5, 6, 11, 8, 3)  # of the digits 0, 1, … in a sixth of the train file, and in the test file
WORDS = "Correct the file|fetch|another file|take format 2|save it again"


def house_numbers(counts, first):
    """X and y: two channels of an image encode its number, the third its digit; in y, 10 stands for 0."""
    digits = np.repeat(np.arange(10), counts)
    digits = np.random.default_rng(first).permutation(digits)
    x = np.zeros((32, 32, 3, len(digits)), np.uint8)
    number = first + np.arange(len(digits))
    x[:, :, 0], x[:, :, 1], x[:, :, 2] = number // 256, number % 256, digits
    x[3, 5, 2] = 200  # row 3, column 5: tells the axes
    return x, np.where(digits == 0, 10, digits)[:, None].astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """MNIST with 2×2 images; SVHN with 606 train and 101 test images, the last sixth of the former like the latter."""
    root = tmp_path_factory.mktemp("data")
    (root / "mnist").mkdir()
    for name, content in mnist().items():
        (root / "mnist" / name).write_bytes(content)
    (root / "svhn").mkdir()
    parts = [house_numbers([5 * count for count in COUNTS], 0), house_numbers(COUNTS, 505)]
    x, y = (np.concatenate(both, axis) for both, axis in zip(zip(*parts), (-1, 0)))
    savemat(root / "svhn" / FILES[0], {"X": x, "y": y}, do_compression=True)
    x, y = house_numbers(COUNTS, 606)
    savemat(root / "svhn" / FILES[1], {"X": x, "y": y})
    return root


def sources(data):
    """(N,) which house number every row shows, and (N,) which digit that one is."""
    pixels = (255 * data.values["svhn"][:, :, 0, 0]).round().long()
    return (256 * pixels[:, 0] + pixels[:, 1]).numpy(), pixels[:, 2].numpy()


@pytest.mark.parametrize("text", [False, True])
def test_pairs_are_of_a_class_and_of_a_part(root, text):
    data = read("mnist-svhn-text" if text else "mnist-svhn", root=root)
    assert [(m.name, m.shape, m.likelihood, m.role) for m in data.modalities if m.name != "text"] == [
        ("image", (2, 2), "bernoulli", "modality"),
        ("svhn", (3, 32, 32), "laplace", "modality"),
        ("label", (), "categorical", "label"),
    ]
    assert ("text" in data.values) == text and list(data.values) == [m.name for m in data.modalities]
    assert np.bincount(data.split).tolist() == [505, 101, 101]
    label = data.values["label"].numpy()
    for part, (start, stop) in enumerate([(0, 505), (505, 606), (606, 707)]):
        rows = data.split == part
        house, digit = sources(data)
        assert (digit == label)[rows].all()
        assert sorted(house[rows]) == list(range(start, stop))  # the rarer side: each once
        assert (np.bincount(label[rows]) == (5 if part == 0 else 1) * np.array(COUNTS)).all()
        assert len(np.unique(label[rows][:20])) > 4  # in no order
    grey = (255 * data.values["image"][:, 0, 0]).round().numpy()  # i mod 251 of images that are labelled i mod 10
    assert len(np.unique(grey[data.split == 0])) > 150  # drawn from all of the class, not from its first ones
    assert (data.values["svhn"][:, 2, 3, 5] * 255).round().eq(200).all() and data.values["svhn"].max() <= 1
    if text:
        words = ["".join(ALPHABET[code] for code in row).strip() for row in data.values["text"].tolist()]
        assert words == [NAMES[digit] for digit in label]


def test_more_rounds_use_up_the_house_numbers_evenly(root):
    data = read("mnist-svhn:pairs=3,seed=1", root=root)
    assert np.bincount(data.split).tolist() == [3 * 505, 101, 101]
    house, digit = sources(data)
    assert (digit == data.values["label"].numpy()).all()
    assert (np.bincount(house[data.split == 0]) == 3).all()


def test_the_seed_draws_the_pairs(root):
    first, again, other = (read(f"mnist-svhn-text:seed={seed}", root=root) for seed in (0, 0, 1))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert (sources(first)[0] != sources(other)[0]).any()


def test_fresh_partners_are_of_the_train_rows_and_repeat_with_seed_and_epoch(root):
    fixed, data = (read(f"mnist-svhn-text:partners={how}", root=root) for how in ("fixed", "fresh"))
    assert fixed.refresh is None and torch.equal(fixed.values["svhn"], data.values["svhn"])
    first, again, other = data.refresh(0, 1), data.refresh(0, 1), data.refresh(0, 2)
    assert set(first) == {"svhn", "text"} and all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    train = data.take(data.rows("train")).replaced(first)
    house, digit = sources(train)
    assert (digit == train.values["label"].numpy()).all() and sorted(house) == list(range(505))


def test_a_row_without_a_digit_is_refused(root, tmp_path):
    (tmp_path / "svhn").mkdir()
    (tmp_path / "mnist").symlink_to(root / "mnist")
    for name in FILES:
        x, y = house_numbers([60, *COUNTS[1:]], 0)
        keep = y[:, 0] != 7
        savemat(tmp_path / "svhn" / name, {"X": x[..., keep], "y": y[keep]})
    with pytest.raises(DataError, match="^mnist-svhn: no train row can show a 7; [^\n]*need all digits.$"):
        read("mnist-svhn", root=tmp_path)


def test_files_that_are_not_there(root, tmp_path, monkeypatch):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    with pytest.raises(DataError, match="^mnist-svhn: needs train_32x32.mat, test_32x32.mat in ROOT/svhn.*--root ROOT"):
        read("mnist-svhn")
    with pytest.raises(DataError) as error:
        read("mnist-svhn-text", root=tmp_path)
    for part in (*FILES, str(tmp_path / "svhn"), "train-images-idx3-ubyte", "mnist/ beside it", "--download"):
        assert part in str(error.value)
    (tmp_path / "svhn").symlink_to(root / "svhn")
    with pytest.raises(DataError, match=f"^mnist-svhn: put train-images[^\n]* into {tmp_path / 'mnist'}"):
        read("mnist-svhn", root=tmp_path)


def test_a_download_goes_where_the_files_are_looked_for(root, tmp_path, monkeypatch):
    (tmp_path / "mnist").symlink_to(root / "mnist")

    def svhn(folder, split, download):
        (tmp_path / "svhn").mkdir(exist_ok=True)
        assert folder == str(tmp_path / "svhn") and download
        (tmp_path / "svhn" / f"{split}_32x32.mat").write_bytes((root / "svhn" / f"{split}_32x32.mat").read_bytes())

    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", types.SimpleNamespace(SVHN=svhn))
    assert len(read("mnist-svhn", root=tmp_path, download=True)) == 707


def test_options(root):
    with pytest.raises(UsageError, match="^mnist-svhn: pairs=0: at least one round is needed.$"):
        read("mnist-svhn:pairs=0", root=root)
    with pytest.raises(UsageError, match="pairs='many' is not a whole number"):
        read("mnist-svhn:pairs=many", root=root)
    with pytest.raises(UsageError, match="Did you mean pairs?"):
        read("mnist-svhn-text:pair=2", root=root)


def changed(**arrays):
    x, y = house_numbers(COUNTS, 0)
    return {key: value for key, value in ({"X": x, "y": y} | arrays).items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (changed(y=None), "has no y, but X"),
        (changed(X=None, Z=np.eye(3)), "has no X, but y, Z"),
        (changed(X=np.zeros((32, 32, 3, 101))), "X is float64"),
        (changed(X=np.zeros((101, 32, 32, 3), np.uint8)), r"of shape \(101, 32, 32, 3\)"),
        (changed(X=np.zeros((32, 32, 3, 102), np.uint8)), r"y has shape \(101, 1\) where X has 102 images"),
        (changed(X="32"), "X holds no real numbers"),
        (changed(y=np.r_[1, 11, [3] * 99][:, None]), r"y\[1\] is 11; digits are 1 to 10"),
        (changed(y=np.r_[[3] * 100, 0][:, None]), r"y\[100\] is 0"),
        (changed(y=np.full((101, 1), 1.5)), r"y\[0\] is 1.5"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_that_are_not_the_formats(tmp_path, arrays, words, compressed):
    path = tmp_path / "train_32x32.mat"
    savemat(path, arrays, do_compression=compressed)
    with pytest.raises(DataError, match=f"^{path}: [^\n]*{words}") as error:
        read_svhn(path)
    assert any(word in str(error.value) for word in WORDS.split("|"))


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files(tmp_path, compressed):
    """Whatever is cut off or flipped: a file is read as it was, with other numbers (uncompressed), or refused."""
    path = tmp_path / "train_32x32.mat"
    savemat(path, changed(), do_compression=compressed)
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    for size in (0, 1, 127, 128, 131, 136, 150, 190, *draw.integers(200, len(whole), 20), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=f"^{path}: [^\n]*({WORDS})"):
            read_svhn(path)
    good = 0
    for number in range(300):
        bad = bytearray(whole)
        place = int(draw.integers(len(whole) if number % 2 else 250))
        bad[place] ^= 1 << int(draw.integers(8))
        path.write_bytes(bad)
        try:
            images, _ = read_svhn(path)
            good += 1
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert images.shape == (101, 3, 32, 32)
    assert good < 300


def test_other_versions(tmp_path):
    path = tmp_path / "train_32x32.mat"
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    for content in (head.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(600), b"\x89HDF\r\n\x1a\n" + bytes(600)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: MATLAB's version 7.3 .HDF5.; save it again with -v7.$"):
            read_svhn(path)
    for content in (b"<!DOCTYPE html>" * 40, bytes(300)):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a .mat file of version 5"):
            read_svhn(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_svhn(tmp_path / "none.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_those_that_scipy_reads(tmp_path, compressed):
    draw = np.random.default_rng(0)
    kinds = [*(f"{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8)), "f4", "f8"]
    arrays = {kind: draw.integers(0, 100, (3, 4, 2)).astype(kind) for kind in kinds}
    arrays |= {"empty": np.zeros((0, 3)), "a_longer_name": np.arange(7)}
    path = tmp_path / "a.mat"
    savemat(path, arrays | {"words": "text", "cells": np.array([1, "x"], object)}, do_compression=compressed)
    found, wanted = read_mat(path, list(arrays)), loadmat(path)
    for name in arrays:
        assert found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name])


def test_files_of_big_endian_machines(tmp_path):
    def element(kind, content):
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    matrix = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 2))
    matrix += struct.pack(">HH", 1, 1) + b"q\0\0\0" + element(3, struct.pack(">hh", -3, 500))
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\1\0MI" + element(14, matrix))
    array = read_mat(path, ["q"])["q"]
    assert array.dtype == np.float64 and array.tolist() == [[-3, 500]] == loadmat(path)["q"].tolist()
