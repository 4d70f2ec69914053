"""Rows that are dicts: lists of them, and data sets of torch."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from mmppl.data.read import read
from mmppl.errors import DataError

N = 12
IMAGES = np.random.default_rng(0).random((N, 4, 4))


class Items(Dataset):
    def __init__(self, item, number=N):
        self.item, self.number = item, number

    def __len__(self):
        return self.number

    def __getitem__(self, row):
        return self.item(row)


def test_items_are_stacked():
    def item(row):
        found = {"image": torch.tensor(IMAGES[row]) if row % 3 else None, "label": row % 2, "word": "ab"[row % 2]}
        found |= {"age": None if row == 5 else row * 1.5, "steps": IMAGES[row, : 1 + row % 3]}
        return found | ({"extra": IMAGES[row, 0].astype(np.float32)} if row % 2 else {})

    rows = np.arange(N)
    wanted = {
        "image": IMAGES, "mask_image": rows % 3 > 0, "label": rows % 2, "word": np.array(["a", "b"] * 6),
        "age": np.where(rows == 5, np.nan, rows * 1.5), "steps": [IMAGES[row, : 1 + row % 3] for row in rows],
        "extra": IMAGES[:, 0].astype(np.float32), "mask_extra": rows % 2 == 1,
    }  # fmt: skip
    assert read(Items(item)).fingerprint() == read(wanted).fingerprint()
    assert read([item(row) for row in rows]).fingerprint() == read(wanted).fingerprint()
    half = Subset(Items(item), [0, 1, 2, 3, 4, 6])
    assert read(half).observed["image"].tolist() == [False, True, True, False, True, False]


def test_named_tuples_dataclasses_and_pictures():
    Pair = namedtuple("Pair", "x y")

    @dataclass
    class Record:
        x: float
        y: int

    wanted = read({"x": np.arange(N) / 3, "y": np.arange(N) % 2}).fingerprint()
    assert read(Items(lambda row: Pair(row / 3, row % 2))).fingerprint() == wanted
    assert read(Items(lambda row: Record(row / 3, row % 2))).fingerprint() == wanted
    pixels = np.rint(255 * IMAGES).astype(np.uint8)
    data = read(Items(lambda row: {"image": Image.fromarray(pixels[row])}))
    assert data.fingerprint() == read({"image": pixels}).fingerprint()


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield {"x": 1.0}


def failing(row):
    if row == 4:
        raise KeyError("no file\nof this name")
    return {"x": float(row)}


@pytest.mark.parametrize(
    "source, says",
    [
        (Endless(), "a Endless has no length; give its items as a list"),
        (TensorDataset(torch.zeros(N, 2), torch.zeros(N)), "item 0 is a tuple; let every item be a dict"),
        (Items(lambda row: 1.0), "item 0 is a float; let every item be a dict"),
        (Items(lambda row: {"x": 1.0}, 0), "without items"),
        (Items(failing), "Items: item 4 raises KeyError ('no file"),
        (
            Items(lambda row: {"x": 1.0 if row else IMAGES[0]}),
            "'x' is a single value in item 1, and an array in item 0",
        ),
        (Items(lambda row: {"x": IMAGES[row, :, : 3 + row % 2]}), "'x' has shape (4, 4) in row 1 and (4, 3) in row 0"),
        (Items(lambda row: {"x": object()}), "'x', item 0"),
        (Items(lambda row: {"x": [[1], [2, 3]]}), "'x', item 0"),
        (Items(lambda row: {"x": "a" if row else 1}), "holds objects (int, str)"),
        (Items(lambda row: {"x": torch.eye(3).to_sparse()}), "sparse_coo"),
        ([{"x": 1.0}, 3], "item 1 is a int; let every item be a dict"),
        ([{"x": 2**70}, {"x": 1}], "is too large for 64 bits"),
        ([{"x": IMAGES[0], "mask_x": True}, {"mask_x": False}], "items have 'mask_x', and not all have 'x'"),
    ],
)
def test_items_that_are_refused(source, says):
    with pytest.raises(DataError, match="^[^\n]*$") as error:
        read(source)
    assert says in str(error.value)
