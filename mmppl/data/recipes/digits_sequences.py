"""scikit-learn's digits as three sequences of unequal length that have the digit in common."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...base.random import generator
from ..readers.registry import Arrays
from ..splits import PARTS, stratified_split
from .parts.digits import load_digits
from .parts.pairing import another_of_class
from .registry import recipe

SIDE, SHORTEST = 8, 5  # pixels; rows or columns that are seen at least
STEPS, SLOWEST, WIDTH = 20, 12, 4  # of the trace: steps at most and at least, and numbers of each


@recipe("digits-sequences")
def digits_sequences(*, target: Literal["digit", "score"] = "digit", noise: float = 0.5, seed: int = 0) -> Arrays:
    """1,797 digits as sequences: rows of an image, columns of a second one, a noisy trace of a third; label.

    Needs: nothing.

    The three images are of the same digit, which is all that the sequences have in common. `rows` and `columns` are 5
    to 8 steps of 8 grey values, from the top or the left on; `trace` is 12 to 20 steps of 4 projections of a window of
    pixels that moves over the image in serpentines, with noise. All are Normal. The rows are split 70/10/20 within the
    classes.

    Args:
        target: "digit", the class, or "score", a number from −3 to 3 that rises with it, with a Laplace.
        noise: the standard deviation of the noise, for signals of about 1.
        seed: the seed of the split, the partners, the lengths and the noise.

    Returns:
        The rows.
    """
    images, labels = load_digits()
    split = stratified_split(labels, seed=seed)
    partners = [another_of_class(labels, split, generator(seed, which)) for which in ("columns", "trace")]
    draw = generator(seed, "sequences")
    arrays: dict[str, np.ndarray] = {}
    for name, shown in (("rows", images), ("columns", images[partners[0]].transpose(1, 2))):
        length = torch.randint(SHORTEST, SIDE + 1, (len(images),), generator=draw)
        noisy = shown + noise / 4 * torch.randn(shown.shape, generator=draw)  # grey values have an sd of about 1/4
        arrays |= {name: noisy.numpy(), f"length_{name}": length.numpy()}
    length = torch.randint(SLOWEST, STEPS + 1, (len(images),), generator=draw)
    signal = traces(images[partners[1]], length, seed=seed)
    arrays["trace"] = (signal + noise * torch.randn(signal.shape, generator=draw)).numpy()
    arrays["length_trace"] = length.numpy()
    score = (labels - 4.5) / 1.5
    found = {"label": labels} if target == "digit" else {"score": score}
    return Arrays(
        arrays | found | {"split": np.array(PARTS)[split]},
        f"digits-sequences:target={target},noise={noise},seed={seed}",
        as_={} if target == "digit" else {"score": "laplace:role=label"},
    )


def traces(images: Tensor, length: Tensor, *, seed: int = 0) -> Tensor:
    """Read images in serpentines through a window, at the speed that the length demands.

    Args:
        images: (N, 8, 8).
        length: (N,) steps that the whole image takes.
        seed: the seed of the directions.

    Returns:
        (N, 20, 4): projections of 8 pixels each on 4 directions, which are the same for all images, scaled to a
        standard deviation of 1; steps from the length on are the last window again.
    """
    turned = images.clone()
    turned[:, 1::2] = turned[:, 1::2].flip(-1)
    windows = turned.flatten(1).unfold(1, SIDE, 1)  # (N, 57, 8)
    share = (torch.arange(STEPS) / (length.unsqueeze(1) - 1)).clamp_max(1)
    at = (share * (windows.shape[1] - 1)).round().long()
    seen = windows.gather(1, at.unsqueeze(-1).expand(-1, -1, SIDE))
    directions = torch.randn(SIDE, WIDTH, generator=generator(seed, "directions"))
    found = seen @ directions
    return (found - found.mean((0, 1))) / found.std((0, 1))
