"""`mnist-photo-text`: its words, its crops, and its messages about bad pictures."""

import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from mmppl import read
from mmppl.base.random import generator
from mmppl.data.recipes.parts.digits import NAMES
from mmppl.data.recipes.parts.photographs import BANDS, on_photographs, photographs
from mmppl.data.recipes.parts.words import ALPHABET, written
from mmppl.errors import DataError

PLACES = [os.environ.get("MMPPL_DATA"), Path(__file__).parents[2] / "shared" / "data"]
ROOT = next((Path(place) for place in PLACES if place and (Path(place) / "mnist").is_dir()), None)


def test_the_alphabet_is_the_sources():
    assert len(ALPHABET) == len(set(ALPHABET)) == 71


def test_words_are_spelled_and_stand_anywhere():
    """Places of "one", six of them, by a chi-square test at 1e-4."""
    labels = np.tile(np.arange(10), 300)
    text = written(labels, generator(0, "test"))
    spelled = ["".join(ALPHABET[code] for code in row) for row in text.tolist()]
    assert all(word.strip() == NAMES[label] for word, label in zip(spelled, labels))
    places = [word.index("one") for word, label in zip(spelled, labels) if label == 1]
    assert chisquare(np.bincount(places, minlength=6)).pvalue > 1e-4


def test_crops_are_inverted_where_the_digit_is_and_keep_to_their_part():
    """A picture whose colours are its coordinates shows where every pixel came from."""
    height, width, n = 40, 256, 600
    picture = torch.zeros(3, height, width, dtype=torch.uint8)
    picture[0], picture[1] = torch.arange(width), torch.arange(height)[:, None]
    images = (torch.rand(20, 28, 28, generator=generator(0, "test")) > 0.7).float()
    partner, split = torch.arange(n) % 20, (np.arange(n) % 3).astype(np.int8)
    photo = on_photographs(images, partner, split, [picture], generator(1, "test"))
    digit = torch.nn.functional.pad(images[partner], (2,) * 4).unsqueeze(1) > 0.5
    pixels = (255 * torch.where(digit, 1 - photo, photo)).round().long()
    x, y = pixels[:, 0], pixels[:, 1]
    assert (x.diff(dim=2) == 1).all() and (y.diff(dim=1) == 1).all() and (pixels[:, 2] == 0).all()
    for part, (left, right) in enumerate(zip(BANDS, BANDS[1:])):
        of_part = x[torch.from_numpy(split == part)]
        assert (
            of_part.min() == round(width * left) and of_part.max() == round(width * right) - 1
        )  # 200 crops: the ends, too
    assert y.min() == 0 and y.max() == height - 1


def test_bundled_pictures():
    pictures = photographs(None)
    assert [p.shape for p in pictures] == [(3, 427, 640)] * 2 and all(p.dtype == torch.uint8 for p in pictures)


def test_pictures_of_ones_own(tmp_path):
    grey = np.linspace(0, 1, 40 * 220).reshape(40, 220)
    matplotlib.image.imsave(tmp_path / "a.png", np.stack([grey] * 3, -1))
    (found,) = photographs(tmp_path)
    assert found.shape == (3, 40, 220)
    assert (found.float() / 255 - torch.from_numpy(grey)).abs().max() < 1 / 255


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none", "is no folder"),
        (lambda folder: folder, "no picture"),
        (lambda folder: (folder / "a.png").write_bytes(b"nothing") and folder, "no picture that can be read"),
        (
            lambda folder: matplotlib.image.imsave(folder / "a.png", np.zeros((40, 100, 3))) or folder,
            "100 × 40 pixels; crops of the three parts need 214 × 32",
        ),
    ],
)
def test_bad_pictures(tmp_path, make, words):
    with pytest.raises(DataError, match=words):
        photographs(make(tmp_path))


@pytest.mark.skipif(ROOT is None, reason="needs MNIST: set MMPPL_DATA to a folder with mnist/ in it")
@pytest.mark.slow
def test_the_whole_recipe():
    data = read("mnist-photo-text:seed=3", root=ROOT)
    assert [len(data.rows(part)) for part in ("train", "valid", "test")] == [50_000, 10_000, 10_000]
    assert {m.name: tuple(data.values[m.name].shape[1:]) for m in data.modalities} == {
        "image": (28, 28), "photo": (3, 32, 32), "text": (8,), "label": (),
    }  # fmt: skip
    assert data.values["photo"].min() >= 0 and data.values["photo"].max() <= 1
    words = ["".join(ALPHABET[c] for c in row).strip() for row in data.values["text"][:50].tolist()]
    assert words == [NAMES[label] for label in data.values["label"][:50].tolist()]
