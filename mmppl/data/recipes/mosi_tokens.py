"""Words of CMU-MOSI with the acoustic vectors of their utterances.

Source: the token level of "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD), on CMU-MOSI (Zadeh,
Zellers, Pincus & Morency 2016, arXiv:1606.06259) in place of IEMOCAP.

Differs: an utterance has one acoustic vector (means of openSMILE's features), so that its tokens are its pairs.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from ...base.memory import check_room
from ...base.random import generator
from ...errors import DataError, UsageError
from ..readers.npz import read_npz
from ..readers.parts.files import contents
from ..readers.registry import Arrays
from ..splits import PARTS
from .parts.files import present, root_or_default
from .parts.function_words import FUNCTION_WORDS
from .parts.glove import FOLDER, WANTED, load_glove
from .registry import recipe

RECIPE = "mosi-tokens"
FILES, PLACE = ("mosi_utterance.npz", "mosi_segments.csv"), "cmu_mosi"
COLUMNS = ("video_id", "segment", "transcript")
VALID = 6  # one in so many train videos is for validation
CELL = 32  # bytes that a character of a table takes, as a cell of its own


@recipe("mosi-tokens")
def mosi_tokens(root: Path | None = None, *, min_count: int = 5, seed: int = 0) -> Arrays:
    """21,893 words of film reviews: a GloVe vector; the acoustic vector of the utterance; its sentiment as label.

    Needs: mosi_utterance.npz and mosi_segments.csv in ROOT/cmu_mosi, glove.6B.200d.txt (or of another size), or
    glove100_subset.npz and glove100_subset_words.txt, in ROOT/glove.

    `word` and `acoustic` are Normal and standardised. A label is that of the whole utterance: "positive" if its score
    is 0 or more. Words without a vector, and rare ones, are left out, and counted. Test rows are those of `split` of
    the file; one in six of the other videos is for validation, so that no video is in two parts. Annotations:
    `utterance` (video/segment), `token` (the word), `function_word` (bool), `score` (in [−3, 3]).

    Args:
        root: the folder that holds `cmu_mosi/` and `glove/`; None means $MMPPL_DATA.
        min_count: words that occur fewer times are left out, as in the source.
        seed: the seed of the choice of validation videos.

    Returns:
        The rows, one for each word of each utterance.

    Raises:
        DataError: files are missing or damaged, or do not belong together.
        UsageError: `min_count` is less than 1.
    """
    if min_count < 1:
        raise UsageError(f"{RECIPE}: min_count={min_count}; give 1 or more.")
    root = root_or_default(root)
    if root is None:
        raise DataError(
            f"{RECIPE}: needs {', '.join(FILES)} in ROOT/{PLACE}, and {WANTED} in ROOT/{FOLDER}; give --root ROOT or "
            "set MMPPL_DATA."
        )
    found = present(root / PLACE, FILES)
    if found is None:
        raise DataError(f"{RECIPE}: put {', '.join(FILES)} into {root / PLACE} (they are not downloaded).")
    arrays, segments = _utterances(found[0]), _transcripts(found[1])
    keys = [f"{video}/{segment}" for video, segment in zip(arrays["video_id"].tolist(), arrays["segment"].tolist())]
    if keys != [key for key, _ in segments]:
        raise DataError(f"{found[1]}: its rows are not the utterances of {found[0].name}; fetch both again.")
    spoken = [(row, word) for row, (_, text) in enumerate(segments) for word in text.lower().split()]
    counts = Counter(word for _, word in spoken)
    known, vectors, name = load_glove(RECIPE, root, counts.keys())
    kept = [(row, word) for row, word in spoken if word in known and counts[word] >= min_count]
    if not kept:
        raise DataError(f"{RECIPE}: no word occurs {min_count:,} times; give a smaller min_count.")
    row, token = np.array([row for row, _ in kept]), np.array([word for _, word in kept])
    without = sum(word not in known for _, word in spoken)
    rare = len(spoken) - without - len(kept)
    note = (
        f"{without:,} of {len(spoken):,} words have no vector in {name}, and {rare:,} more occur fewer than "
        f"{min_count:,} times; they are left out."
    )
    check_room(4 * len(kept) * (vectors.shape[1] + arrays["audio"].shape[1]), f"{RECIPE}: its rows")
    return Arrays(
        {
            "word": vectors[[known[word] for word in token.tolist()]],
            "acoustic": arrays["audio"][row],
            "label": np.where(arrays["score"] >= 0, "positive", "negative")[row],
            "split": np.array(PARTS)[_parts(arrays, seed)[row]],
            "utterance": np.array(keys)[row],
            "token": token,
            "function_word": np.array([word in FUNCTION_WORDS for word in token.tolist()]),
            "score": arrays["score"][row],
        },
        f"{RECIPE}:min_count={min_count},seed={seed}",
        annotations=("utterance", "token", "function_word", "score"),
        notes=[note],
    )


def _utterances(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of the utterances that are needed, and check their shapes."""
    wanted = {"audio": ("f", 2), "score": ("f", 1), "split": ("iu", 1), "video_id": ("U", 1), "segment": ("iu", 1)}
    arrays = read_npz(path, {"text", "video"})
    for name, (kinds, dimensions) in wanted.items():
        array = arrays.get(name)
        if array is None or array.ndim != dimensions or array.dtype.kind not in kinds:
            said = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise DataError(f"{path}: {name!r} is {said}; fetch the file again.")
    if len({len(arrays[name]) for name in wanted}) > 1 or not np.isin(arrays["split"], (0, 2)).all():
        raise DataError(f"{path}: its arrays differ in length, or split is neither 0 nor 2; fetch the file again.")
    return {name: arrays[name] for name in wanted}


def _transcripts(path: Path) -> list[tuple[str, str]]:
    """Read (video/segment, transcript) of every utterance."""
    content = contents(path)
    check_room(CELL * len(content), f"{path}: the table")
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV in UTF-8 ({error}).") from None
    if not rows or any(row.get(name) is None for row in rows for name in COLUMNS):
        raise DataError(f"{path}: no rows, or one lacks {', '.join(COLUMNS)}; fetch the file again.")
    return [(f"{row['video_id']}/{row['segment']}", row["transcript"]) for row in rows]


def _parts(arrays: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Return (U,) codes of the parts of the utterances, with whole videos for validation."""
    split = arrays["split"].astype(np.int8)
    videos = np.unique(arrays["video_id"][split == 0])
    order = torch.randperm(len(videos), generator=generator(seed, "validation videos")).numpy()
    split[(split == 0) & np.isin(arrays["video_id"], videos[order[: len(videos) // VALID]])] = 1
    return split
