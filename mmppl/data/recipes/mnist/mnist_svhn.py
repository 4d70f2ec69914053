"""MNIST beside SVHN."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...dataset import Dataset
from ..parts.svhn import digits_and_house_numbers
from ..registry import recipe


@recipe("mnist-svhn")
def mnist_svhn(
    root: Path | None = None,
    download: bool = False,
    *,
    pairs: int = 1,
    partners: Literal["fixed", "fresh"] = "fixed",
    seed: int = 0,
) -> Dataset:
    """66,068 28×28 digits: image; a house number of the class, 3×32×32; label.

    Needs: train_32x32.mat and test_32x32.mat of SVHN in ROOT/svhn and MNIST's four in ROOT/mnist, or --download.

    Args:
        root: the folder that holds `mnist/` and `svhn/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads missing files.
        pairs: how often the train rows are paired (MMVAE: 30; MoPoE: 20); each time takes 0.7 GB of memory.
        partners: "fixed" pairs once; "fresh" pairs the train rows anew in every epoch.
        seed: the seed of partners and order.

    Returns:
        The data set.

    Raises:
        UsageError: `pairs` is less than 1.
        DataError: files are missing, truncated or corrupt, or lack a digit.
    """
    return digits_and_house_numbers("mnist-svhn", root, download, text=False, pairs=pairs, partners=partners, seed=seed)
