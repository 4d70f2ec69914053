"""`poly-mnist` on a few images of MNIST's kind: which images and which part of which photograph a row shows."""

import numpy as np
import pytest
import torch

from mmppl import read
from mmppl.data.recipes.mnist import poly_mnist
from mmppl.data.recipes.parts.photographs import BANDS, strips
from mmppl.errors import DataError, UsageError


@pytest.fixture
def small(monkeypatch):
    """MNIST of 700 images, of which image i is empty but for the bits of i in columns of its first row."""
    images = torch.zeros(700, 28, 28)
    images[:, 0, :10] = ((torch.arange(700)[:, None] >> torch.arange(10)) & 1).float()
    split = np.repeat([0, 1, 2], [500, 100, 100]).astype(np.int8)
    monkeypatch.setattr(poly_mnist, "load_mnist", lambda *_: (images, np.arange(700) % 10, split))


def test_every_modality_shows_images_of_the_class_and_part_on_its_own_background(small, monkeypatch):
    """Photographs whose colours are coordinates tell where a crop is from, and inverted pixels which image it shows."""
    pictures = []
    for number in range(2):
        picture = torch.zeros(3, 130, 256, dtype=torch.uint8)
        picture[0], picture[1], picture[2] = torch.arange(256), torch.arange(130)[:, None], 60 + number
        pictures.append(picture)
    monkeypatch.setattr(poly_mnist, "photographs", lambda *_: pictures)
    data = read("poly-mnist:modalities=3,rows=700,seed=4")
    assert np.bincount(data.split).tolist() == [500, 100, 100]
    assert data.name == "poly-mnist:modalities=3,rows=700,seed=4"
    label = data.values["label"].numpy()
    first = {0: range(500), 1: range(500, 600), 2: range(600, 700)}
    shown = {}
    for m, (which, top) in enumerate([(0, 0), (1, 0), (0, 65)]):
        pixels = (255 * data.values[f"m{m}"]).round().long().numpy()
        assert (pixels[:, 2, 5] == 60 + which).all()  # no digit there
        y, x = pixels[:, 1, 5, 0] - 5, pixels[:, 0, 5, 0]
        height = 65 if which == 0 else 130
        assert y.min() >= top and y.max() <= top + height - 28
        for part in range(3):
            left, right = (round(256 * edge) for edge in BANDS[part : part + 2])
            mine = x[data.split == part]
            assert mine.min() >= left and mine.max() + 28 <= right
        inverted = pixels[:, 2, 0, :10] != 60 + which
        image = (inverted << np.arange(10)).sum(1)
        shown[m] = image
        assert (image % 10 == label).all()
        assert all(image[row] in first[part] for row, part in enumerate(data.split))
        for part in range(3):
            assert len(np.unique(image[data.split == part])) == (data.split == part).sum()  # each once
    assert (shown[0] != shown[1]).mean() > 0.9
    again, other = (read(f"poly-mnist:modalities=3,rows=700,seed={s}") for s in (4, 5))
    assert again.fingerprint() == data.fingerprint() != other.fingerprint()


def test_strips_are_apart_and_high_enough():
    pictures = [torch.arange(90).reshape(1, 90, 1).expand(3, 90, 300), torch.zeros(3, 60, 300)]
    found = strips(pictures, 5, 28, "mine")[::2]
    assert [s[0, 0, 0].item() for s in found] == [0, 30, 60] and all(s.shape[1] == 30 for s in found)
    with pytest.raises(DataError, match="^mine: 6 backgrounds of 2 pictures, of which one is 60 high and gives 3;"):
        strips(pictures, 6, 28, "mine")


def test_options(small, tmp_path):
    for spec, words in (("modalities=1", "give 2 to 10"), ("modalities=11", "give 2 to 10"), ("rows=7", "give 100 to")):
        with pytest.raises(UsageError, match=f"^poly-mnist: {spec}; {words}"):
            read(f"poly-mnist:{spec}")
    with pytest.raises(DataError, match="^poly-mnist: photos=.* is no folder"):
        read(f"poly-mnist:rows=700,photos={tmp_path / 'none'}")


@pytest.mark.slow
def test_ten_modalities_of_the_bundled_photographs(data_root):
    data = read("poly-mnist:modalities=10,rows=1000", root=data_root)
    assert len(data) == 1000 and {tuple(data.values[f"m{i}"].shape) for i in range(10)} == {(1000, 3, 28, 28)}
    means = torch.stack([data.values[f"m{i}"].mean((0, 2, 3)) for i in range(10)])
    assert torch.cdist(means, means).add(torch.eye(10)).min() > 0.005  # backgrounds differ
    assert data.values["m3"].min() >= 0 and data.values["m3"].max() <= 1
