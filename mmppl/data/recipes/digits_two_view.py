"""scikit-learn's digits in two views."""

from __future__ import annotations

from typing import Literal

from ..dataset import Dataset
from ..splits import stratified_split
from .parts.digits import load_digits
from .parts.two_view import two_view
from .registry import recipe


@recipe("digits-two-view")
def digits_two_view(*, rotate: Literal["fixed", "fresh"] = "fixed", seed: int = 0) -> Dataset:
    """1,797 8×8 digits: rotated; another one of the class with noise; label.

    Needs: nothing.

    The rows are split 70/10/20 within the classes.

    Args:
        rotate: "fixed" gives every row one angle for good; "fresh" draws a new one in every epoch.
        seed: the seed of the split, angles, partners and noise.

    Returns:
        The data set.
    """
    images, labels = load_digits()
    name = f"digits-two-view:rotate={rotate},seed={seed}"
    return two_view(images, labels, stratified_split(labels, seed=seed), rotate=rotate, seed=seed, name=name)
