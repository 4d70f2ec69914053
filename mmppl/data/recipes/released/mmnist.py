"""PolyMNIST, once called MMNIST, from the files of its authors. `poly-mnist` makes its like from MNIST.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", ICLR. Differs: a sixth of the train rows, the last
ones, are for validation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....errors import DataError, UsageError
from ...readers.papers.polymnist import read_polymnist
from ...readers.registry import Arrays
from ..parts.files import root_or_default
from ..registry import recipe

RECIPE, FOLDERS = "mmnist", ("MMNIST", "PolyMNIST")
VALID = 6  # one in so many train rows


@recipe("mmnist")
def mmnist(root: Path | None = None, *, rows: int | None = None) -> Arrays:
    """PolyMNIST as released: 70,000 times five handwritings of a digit in crops of photographs, 3×28×28; label.

    Needs: train/m0/ ... test/m4/ with their PNG files in ROOT/MMNIST or ROOT/PolyMNIST.

    All rows take 4.1 GB of memory, and minutes to read.

    Args:
        root: the folder that holds `MMNIST/`; None means $MMPPL_DATA.
        rows: how many rows of each of the two parts, the first ones; None: all.

    Returns:
        The rows.

    Raises:
        DataError: files are missing or damaged.
        UsageError: `rows` is less than 6.
    """
    if rows is not None and rows < VALID:
        raise UsageError(f"{RECIPE}: rows={rows}; give {VALID} or more.")
    root = root_or_default(root)
    if root is None:
        raise DataError(f"{RECIPE}: needs train/ and test/ in ROOT/{FOLDERS[0]}; give --root ROOT or set MMPPL_DATA.")
    place = next((root / name for name in FOLDERS if (root / name).is_dir()), None)
    if place is None:
        raise DataError(
            f"{RECIPE}: put train/ and test/ of PolyMNIST into {root / FOLDERS[0]} (they are not downloaded)."
        )
    found = read_polymnist(place, rows=rows)
    split = found.pop("part").astype("<U5")
    train = np.flatnonzero(split == "train")
    split[train[len(train) - len(train) // VALID :]] = "valid"
    number = found.pop("number")
    ids = np.array([f"{'test' if part == 'test' else 'train'}/{n}" for part, n in zip(split, number)])
    names = [name for name in found if name != "label"]
    return Arrays(
        found | {"split": split, "id": ids},
        RECIPE + (f":rows={rows}" if rows else ""),
        as_=dict.fromkeys(names, "laplace:scale=0.75,transform=image") | {"label": "categorical:role=label"},
    )
