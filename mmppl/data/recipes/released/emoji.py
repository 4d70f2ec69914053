"""Emoji: two drawings of each, its tags and its category; it stands in for photographs with tags, such as MIR-Flickr.

Source: Twemoji (jdecked fork, CC BY 4.0) and Noto Emoji (Apache 2.0) by way of emoji-datasource, names and tags by
emojibase (MIT).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ....base.memory import check_room
from ....errors import DataError, UsageError
from ...readers.npz import read_npz
from ...readers.parts.files import contents
from ...readers.registry import Arrays
from ...splits import PARTS
from ..parts.files import present, root_or_default
from ..parts.glove import FOLDER, WANTED, load_glove
from ..registry import recipe

RECIPE = "emoji"
FILES, PLACE = ("emoji_32.npz", "emoji_text.csv"), "emoji"
DRAWINGS = {"twemoji": "image_a", "noto": "image_b"}
COLUMNS = ("codepoints", "name", "tags", "category", "split")
CELL = 32  # bytes that a character of a table takes, as a cell of its own


@dataclass(frozen=True)
class Emoji:
    """What both files hold, in their order.

    Args:
        drawings: maker → (N, H, W, 3) uint8.
        split: (N,) codes of the parts.
        text: column of the table → N cells.
    """

    drawings: dict[str, np.ndarray]
    split: np.ndarray
    text: dict[str, list[str]]

    def repeats(self) -> np.ndarray:
        """Find the rows of which a drawing, of either maker, is that of a row in an earlier part, too.

        Returns:
            (N,) bool.
        """
        found = np.zeros(len(self.split), dtype=bool)
        for drawings in self.drawings.values():
            pictures = drawings.reshape(len(drawings), -1)
            of_each = np.unique(pictures, axis=0, return_inverse=True)[1].ravel()
            first = np.full(int(of_each.max()) + 1, len(PARTS))
            np.minimum.at(first, of_each, self.split)
            found |= self.split > first[of_each]
        return found


@recipe("emoji")
def emoji(
    root: Path | None = None,
    *,
    maker: Literal["twemoji", "noto"] = "twemoji",
    other: bool = True,
    text: Literal["none", "glove"] = "none",
    tags: Literal["label", "modality"] = "label",
    least: int = 10,
    side: int | None = None,
    repeats: Literal["drop", "keep"] = "drop",
) -> Arrays:
    """1,911 emoji: a drawing, 3×32×32, and that of another maker; its tags as labels that are yes or no; its category.

    Needs: emoji_32.npz and emoji_text.csv in ROOT/emoji; with text=glove also vectors in ROOT/glove.

    `image` and `other` are colours in [0, 1] (Bernoulli), over white. `tags` has a column for each frequent tag; a row
    with none of them has zeros. `category` is one of 10. The annotation `title` is the name of the emoji, and ids are
    its code points. Parts are those of the files, 1,540 train, 198 valid and 173 test rows, which were drawn by a hash
    of the code points.

    Networks learn much faster from centred pixels, `--as image=normal:transform=standardise`.

    **Trap:** some drawings occur under two code points, in two parts. Such valid and test rows are left out, and told.

    Args:
        root: the folder that holds `emoji/` and `glove/`; None means $MMPPL_DATA.
        maker: whose drawing is `image`.
        other: whether the drawing of the other maker is a modality.
        text: "glove": the mean GloVe vector of the words of the name is a modality, `words`; it is missing where none
            of them has one. Words of names are often tags, too.
        tags: whether `tags` is a label, or a bag of words that is a modality.
        least: train rows that must have a tag for it to have a column.
        side: pixels of a side, of which there are 32: a divisor, such as 16, for the means of squares.
        repeats: "keep" keeps the rows of valid and test parts of which a drawing is in an earlier part.

    Returns:
        The rows.

    Raises:
        DataError: files are missing or damaged, or do not belong together.
        UsageError: no tag has so many rows, or the side is no divisor.
    """
    root = root_or_default(root)
    found = _load(root, f", and {WANTED} in ROOT/{FOLDER}" if text == "glove" else "")
    second = next(name for name in DRAWINGS if name != maker)
    arrays = {"image": _channels_first(found.drawings[maker], side)}
    if other:
        arrays["other"] = _channels_first(found.drawings[second], side)
    features, notes = {}, []
    if text == "glove":
        assert root is not None
        vectors, has, note = _glove(root, found.text["name"])
        arrays |= {"words": vectors, "mask_words": has}
        notes.append(note)
    arrays["tags"], features["tags"] = _tags(found, least)
    arrays |= {
        "category": np.array(found.text["category"]),
        "title": np.array(found.text["name"]),
        "id": np.array(found.text["codepoints"]),
        "split": np.array(PARTS)[found.split],
    }
    again = found.repeats()
    if repeats == "drop":
        arrays = {name: array[~again] for name, array in arrays.items()}
    plain = int((arrays["tags"].sum(1) == 0).sum())
    notes.append(f"{len(features['tags'])} tags have at least {least} train rows; {plain:,} rows have none of them.")
    if again.any():
        done = "left out" if repeats == "drop" else "kept (repeats=keep)"
        notes.append(
            f"{again.sum()} valid and test rows have a drawing that an earlier part has, too; they are {done}."
        )
    named = dict(maker=maker, other=other, text=text, tags=tags, least=least, side=side, repeats=repeats)
    role = ":role=label" if tags == "label" else ""
    return Arrays(
        arrays,
        f"{RECIPE}:{','.join(f'{key}={value}' for key, value in named.items())}",
        features,
        annotations=("title",),
        notes=notes,
        as_={
            "image": "bernoulli",
            **({"other": "bernoulli"} if other else {}),
            "tags": f"bernoulli{role}",
            "category": "categorical:role=label",
        },
    )


def _channels_first(drawings: np.ndarray, side: int | None) -> np.ndarray:
    """(N, H, W, 3) → (N, 3, side, side), of the means of squares of pixels."""
    n, high, wide, _ = drawings.shape
    side = high if side is None else side
    if side < 1 or high % side or high != wide:
        raise UsageError(f"{RECIPE}: side={side}: drawings are {high}×{wide}; give a side that divides it.")
    step = high // side
    squares = np.moveaxis(drawings, -1, 1).reshape(n, 3, side, step, side, step)
    return squares[:, :, :, 0, :, 0] if step == 1 else np.rint(squares.mean((3, 5))).astype(np.uint8)


def _tags(found: Emoji, least: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """(N, T) zeros and ones, and the names of the T tags, the most frequent first."""
    of_each = [dict.fromkeys(words.split()) for words in found.text["tags"]]
    counts = Counter(tag for words, part in zip(of_each, found.split) if part == 0 for tag in words)
    frequent = sorted((tag for tag, count in counts.items() if count >= least), key=lambda tag: (-counts[tag], tag))
    if not frequent:
        raise UsageError(f"{RECIPE}: no tag has {least:,} train rows; the most frequent has {max(counts.values())}.")
    has = np.array([[tag in words for tag in frequent] for words in of_each], np.uint8)
    return has, tuple(frequent)


def _glove(root: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray, str]:
    """(N, d) mean vectors of the words of names, (N,) whether any word has one, and a note."""
    spoken = [name.lower().replace("-", " ").replace(":", " ").split() for name in names]
    known, vectors, file = load_glove(RECIPE, root, {word for words in spoken for word in words})
    kept = [[known[word] for word in words if word in known] for words in spoken]
    means = [vectors[words].mean(0) if words else np.zeros(vectors.shape[1], np.float32) for words in kept]
    total, with_one = sum(map(len, spoken)), sum(map(len, kept))
    note = f"{total - with_one:,} of {total:,} words of names have no vector in {file}; they are left out."
    return np.stack(means), np.array([len(words) > 0 for words in kept]), note


def _load(root: Path | None, also: str) -> Emoji:
    """Read both files, and check that they belong together."""
    if root is None:
        raise DataError(
            f"{RECIPE}: needs {', '.join(FILES)} in ROOT/{PLACE}{also}; give --root ROOT or set MMPPL_DATA."
        )
    places = present(root / PLACE, FILES)
    if places is None:
        raise DataError(f"{RECIPE}: put {', '.join(FILES)} into {root / PLACE} (they are not downloaded).")
    arrays, text = read_npz(places[0]), _table(places[1])
    n = len(text["split"])
    drawings = {name: arrays.get(key) for name, key in DRAWINGS.items()}
    for key, array in zip(DRAWINGS.values(), drawings.values()):
        if array is None or array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or not array.size:
            said = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise DataError(f"{places[0]}: {key!r} is {said}; fetch the file again.")
    split = arrays.get("split")
    listed = [PARTS.index(part) if part in PARTS else -1 for part in text["split"]]
    alone = {len(array) for array in drawings.values() if array is not None} != {n}
    if alone or split is None or split.shape != (n,) or split.tolist() != listed or -1 in listed:
        raise DataError(f"{places[1]}: its rows are not those of {FILES[0]}; fetch both again.")
    return Emoji({name: array for name, array in drawings.items() if array is not None}, split.astype(np.int64), text)


def _table(path: Path) -> dict[str, list[str]]:
    """Read the columns that are needed."""
    content = contents(path)
    check_room(CELL * len(content), f"{path}: the table")
    try:
        table = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 ({error}); fetch the file again.") from None
    lacking = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if lacking or any(row[name] is None for row in rows for name in COLUMNS):
        what = f"has no column {', '.join(lacking)}" if lacking else "has a row with too few cells"
        raise DataError(f"{path}: {what}; fetch the file again.")
    return {name: [row[name] for row in rows] for name in COLUMNS}
