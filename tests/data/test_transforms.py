"""Small distortions: they have the stated size, treat each image by itself, and repeat with the same draw."""

import math

import pytest
import torch

from mmppl.data.recipes.parts import transforms
from mmppl.data.recipes.parts.transforms import SHIFT, SLANT, STRETCH, TURN, distorted


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(0)


def only(monkeypatch, **amounts):
    for name in ("TURN", "STRETCH", "SLANT", "SHIFT"):
        monkeypatch.setattr(transforms, name, amounts.get(name, 0.0))


def blobs(n, height, width, at, wide=2.0):
    """(n, H, W) spots at (row, column), counted from the centre of the image."""
    y, x = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    spot = torch.exp(-((y[:, None] - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * wide**2))
    return spot.expand(n, -1, -1)


def centres(images):
    """(n, 2) mean row and column, from the centre."""
    mass = images.sum((1, 2))
    y, x = (torch.arange(side) - (side - 1) / 2 for side in images.shape[1:])
    return torch.stack([(images.sum(2) * y).sum(1) / mass, (images.sum(1) * x).sum(1) / mass], 1)


def test_nothing_moves_without_amounts(monkeypatch, draw):
    only(monkeypatch)
    images = torch.rand(5, 12, 20, generator=draw)
    torch.testing.assert_close(distorted(images, draw), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (40, 24)])
def test_each_amount_is_reached_and_not_passed(monkeypatch, draw, height, width):
    """By the places of spots of 2,000 images: shifts in sides, turns in radians about the centre, stretches, slants."""
    n = 2000

    def place(at, **amounts):
        only(monkeypatch, **amounts)
        return centres(distorted(blobs(n, height, width, at), draw))

    found = place((0.0, 0.0), SHIFT=SHIFT) / torch.tensor([height, width]) / SHIFT
    turned = place((-6.0, 0.0), TURN=TURN)
    angles = torch.atan2(turned[:, 1], -turned[:, 0]) / TURN
    torch.testing.assert_close(turned.norm(dim=1), torch.full((n,), 6.0), rtol=0.02, atol=0)
    stretched = 4.0 / place((4.0, 4.0), STRETCH=STRETCH)
    slanted = place((6.0, 0.0), SLANT=SLANT)
    torch.testing.assert_close(slanted[:, 0], torch.full((n,), 6.0), rtol=0.02, atol=0)
    for each in (*found.T, angles, *((stretched - 1) / STRETCH).T, slanted[:, 1] / (6 * SLANT)):
        assert each.abs().max() < 1.03 and each.max() > 0.95 and each.min() < -0.95
        assert abs(each.mean()) < 0.06 and abs(each.square().mean() - 1 / 3) < 0.03  # uniform


def test_every_image_by_itself_and_the_same_again():
    one = torch.rand(28, 28, generator=torch.Generator().manual_seed(1))
    first, again = (distorted(one.expand(6, -1, -1), torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again) and len(first.flatten(1).unique(dim=0)) == 6
    assert first.min() >= 0 and first.max() <= 1 and math.isclose(float(one.mean()), float(first.mean()), abs_tol=0.1)
