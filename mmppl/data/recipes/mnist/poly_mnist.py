"""A digit on many backgrounds: in each modality another handwriting of it, in a crop of that modality's photograph.

Source: PolyMNIST of Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO": each background is a picture of its
own; the images of a modality are those of MNIST, in an order of their own within each class; colours are inverted where
the digit is. Differs: any number of modalities; backgrounds are strips of the photographs that are at hand; the three
parts are cut from different thirds of a strip; there are validation rows. Read the released files with `mmnist`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....base.memory import check_room
from ....base.random import generator
from ....errors import UsageError
from ....modalities.modality import Modality
from ...dataset import Dataset
from ..parts.mnist import load_mnist
from ..parts.pairing import in_turn
from ..parts.photographs import on_photographs, photographs, strips
from ..registry import recipe

RECIPE = "poly-mnist"
FEWEST, MOST = 2, 10  # modalities
SIDE, LEAST = 28, 100  # pixels; rows


@recipe("poly-mnist")
def poly_mnist(
    root: Path | None = None,
    download: bool = False,
    *,
    modalities: int = 5,
    rows: int = 70_000,
    photos: Path | None = None,
    seed: int = 0,
) -> Dataset:
    """70,000 times 2 to 10 handwritings of a digit in crops of photographs, 3×28×28 each; label.

    Needs: the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download; photos=FOLDER for pictures of your own.

    The modalities are `m0`, `m1`, ...; each has a background of its own and shows every image of MNIST once. There are
    50,000 train, 10,000 valid and 10,000 test rows in the order of MNIST's files; what images and crops a part shows,
    no other part does. All rows take 0.66 GB of memory for each modality.

    Args:
        root: the folder that holds `mnist/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads MNIST.
        modalities: how many, from 2 to 10.
        rows: how many rows, five sevenths of them train rows, the first of each part.
        photos: a folder of pictures, each at least 214 wide; the first `modalities` of them are the backgrounds, or are
            cut into strips where they are fewer. None takes the two that scikit-learn bundles.
        seed: the seed of the orders within classes and of the crops.

    Returns:
        The data set.

    Raises:
        UsageError: there are too many or too few modalities or rows.
        DataError: files or pictures are missing, damaged or too small, or the rows do not fit into memory.
    """
    if not FEWEST <= modalities <= MOST:
        raise UsageError(f"{RECIPE}: modalities={modalities}; give {FEWEST} to {MOST}.")
    images, labels, split = load_mnist(RECIPE, root, download)
    if not LEAST <= rows <= len(labels):
        raise UsageError(f"{RECIPE}: rows={rows}; give {LEAST} to {len(labels):,}.")
    backgrounds = strips(photographs(photos, RECIPE), modalities, SIDE, RECIPE)
    of_part = [np.flatnonzero(split == part) for part in range(3)]
    few = rows // 7
    kept = [there[:number] for there, number in zip(of_part, (rows - 2 * few, few, few))]
    row = np.concatenate(kept)
    label, part = labels[row], split[row]
    n, names = len(row), [f"m{i}" for i in range(modalities)]
    check_room(modalities * n * 3 * SIDE**2 * 4, f"{RECIPE}: its {n:,} rows of {modalities} modalities")
    values = {}
    for i, name in enumerate(names):
        draw = generator(seed, "order within classes", i)
        shown = torch.cat([in_turn(labels[mine], labels, there, draw) for mine, there in zip(kept, of_part)])
        crops = generator(seed, "crops", i)
        values[name] = on_photographs(images, shown, part, [backgrounds[i]], crops, SIDE)
    chosen = dict(modalities=modalities, rows=rows, seed=seed) | ({"photos": photos} if photos else {})
    return Dataset(
        name=f"{RECIPE}:{','.join(f'{key}={value}' for key, value in chosen.items())}",
        modalities=(
            *(Modality(name, (3, SIDE, SIDE), "laplace", scale=0.75) for name in names),
            Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
        ),
        values={**values, "label": torch.from_numpy(label)},
        observed={key: torch.ones(n, dtype=torch.bool) for key in (*names, "label")},
        ids=np.arange(n),
        split=part,
        has_split=True,
    )
