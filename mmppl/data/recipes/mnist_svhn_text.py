"""MNIST beside SVHN and their names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..dataset import Dataset
from .parts.svhn import digits_and_house_numbers
from .registry import recipe


@recipe("mnist-svhn-text")
def mnist_svhn_text(
    root: Path | None = None,
    download: bool = False,
    *,
    pairs: int = 1,
    partners: Literal["fixed", "fresh"] = "fixed",
    seed: int = 0,
) -> Dataset:
    """66,068 28×28 digits: image; a house number of the class, 3×32×32; its name; label.

    Needs: train_32x32.mat and test_32x32.mat of SVHN in ROOT/svhn and MNIST's four in ROOT/mnist, or --download.

    Args:
        root: the folder that holds `mnist/` and `svhn/`; default $MMPPL_DATA.
        download: let torchvision fetch what is not there.
        pairs: rounds for the train rows (MMVAE: 30; MoPoE: 20), 0.7 GB of memory each.
        partners: "fixed": for good; "fresh": every epoch pairs the train rows anew.
        seed: of partners, order and places of the word.
    Raises:
        UsageError: no round of pairs.
        DataError: files missing, truncated, corrupt, or without some digit.
    """
    return digits_and_house_numbers(
        "mnist-svhn-text", root, download, text=True, pairs=pairs, partners=partners, seed=seed
    )
