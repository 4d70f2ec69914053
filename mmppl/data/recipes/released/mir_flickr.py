"""Photographs of Flickr by their features, with the tags of their owners and 38 labels.

Source: Srivastava & Salakhutdinov 2012, "Multimodal learning with deep Boltzmann machines", and its release of
MIR-Flickr (Huiskes & Lew 2008).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ....errors import DataError, UsageError
from ...readers.papers.flickr import SPLITS, read_flickr
from ...readers.registry import Arrays
from ...splits import PARTS
from ..parts.files import root_or_default
from ..registry import recipe

RECIPE, FOLDER = "mir-flickr", "flickr"
TAGS = 2000


@recipe("mir-flickr")
def mir_flickr(
    root: Path | None = None,
    *,
    split: int = 1,
    unlabelled: int = 0,
    tags: int = TAGS,
    untagged: Literal["missing", "zeros"] = "missing",
) -> Arrays:
    """25,000 photographs and up to 975,000 without labels: features, 3,857; 2,000 tags; 38 labels.

    Needs: image/, text/, splits/ and labels.npy of the released features in ROOT/flickr.

    `image` is Normal, `tags` and `label` are yes or no each. Rows without labels are train rows. A row takes 23 kB of
    memory with all tags.

    Args:
        root: the folder that holds `flickr/`; None means $MMPPL_DATA.
        split: which of the five released splits of the labelled rows: 10,000 train, 5,000 valid and 10,000 test rows.
        unlabelled: how many rows without labels, the first ones.
        tags: how many tags, the most frequent ones.
        untagged: what a photograph without any of them is: "missing" lacks the modality, "zeros" has no tag.

    Returns:
        The rows.

    Raises:
        DataError: files are missing or damaged, or do not fit together.
        UsageError: there is no such split, or less than one tag or more than 2,000.
    """
    if not 1 <= split <= SPLITS or not 1 <= tags <= TAGS or unlabelled < 0:
        raise UsageError(
            f"{RECIPE}: split={split}, tags={tags}, unlabelled={unlabelled}; give 1 to {SPLITS}, 1 to {TAGS:,}, and 0 "
            "or more."
        )
    place = root_or_default(root)
    if place is None:
        raise DataError(f"{RECIPE}: needs the released features in ROOT/{FOLDER}; give --root ROOT or set MMPPL_DATA.")
    if not (place / FOLDER / "labels.npy").exists():
        raise DataError(f"{RECIPE}: put image/, text/, splits/ and labels.npy into {place / FOLDER} (no download).")
    found = read_flickr(place / FOLDER, split=split, unlabelled=unlabelled, tags=tags)
    labelled, rows = len(found["label"]), len(found["image"])
    part = np.concatenate([found["part"], np.zeros(rows - labelled, np.int8)])
    has_label = np.arange(rows) < labelled
    label = np.concatenate([found["label"], np.zeros((rows - labelled, found["label"].shape[1]), np.uint8)])
    arrays = {"image": found["image"], "tags": found["tags"], "label": label, "mask_label": has_label}
    if untagged == "missing":
        arrays["mask_tags"] = found["tags"].any(1)
    kept = part >= 0
    if not kept.all():
        arrays = {name: values[kept] for name, values in arrays.items()}
    notes = [f"{int((~kept).sum()):,} rows are in no part of split {split}; they are left out."] * (not kept.all())
    return Arrays(
        arrays | {"split": np.array(PARTS)[part[kept]], "id": np.flatnonzero(kept)},
        f"{RECIPE}:split={split},unlabelled={unlabelled},tags={tags},untagged={untagged}",
        features={"tags": found["words"].tolist()} if "words" in found else {},
        notes=notes,
        as_={"image": "normal", "tags": "bernoulli", "label": "bernoulli:role=label"},
    )
