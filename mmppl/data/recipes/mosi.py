"""Utterances of CMU-MOSI with the sentiment of each as a number, alone or in windows of a video.

Source: CMU-MOSI (Zadeh, Zellers, Pincus & Morency 2016, arXiv:1606.06259), with the features that come with bc-LSTM
(Poria et al. 2017, "Context-dependent sentiment analysis in user-generated videos").
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import numpy as np

from ...base.memory import check_room
from ...errors import UsageError
from ..readers.registry import Arrays
from ..splits import PARTS
from .parts.files import root_or_default
from .parts.glove import FOLDER, WANTED, load_glove
from .parts.mosi import Utterances, load_mosi
from .registry import recipe

RECIPE = "mosi"
VALID = 12  # of the 62 videos of the train part
WORDS = 50  # steps of a sequence of words
LEAK = (
    "folds=leaky: {made} from networks that were trained with the labels of 558 of the 686 test rows, so that scores "
    "on the test part say nothing about new videos."
)
SAW = (
    "{made} from networks that saw the labels of all train videos, those of the validation part too: errors there are "
    "far below those on the test part."
)
MADE = {"features": "the features of text and video come", "glove": "the features of video come"}


@recipe("mosi")
def mosi(
    root: Path | None = None,
    *,
    window: int = 1,
    text: Literal["features", "glove"] = "features",
    folds: Literal["videos", "leaky"] = "videos",
    likelihood: Literal["laplace", "normal"] = "laplace",
    seed: int = 0,
) -> Arrays:
    """2,199 utterances of film reviews: features of text, audio and video; sentiment from −3 to 3 as label.

    Needs: mosi_utterance.npz and mosi_segments.csv in ROOT/cmu_mosi; with text=glove also vectors in ROOT/glove.

    `text`, `audio` and `video` are Normal and standardised; columns that never vary (32 of `video`) are left out. The
    label `score` is a number. Annotations: `video_id`, `segment`, `transcript`.

    The test rows are those of 31 videos, none of which is in another part. 12 of the other 62 videos, drawn by `seed`,
    are for validation. **Trap:** the features of text and video come from networks that were trained with the labels of
    all 62, so errors on validation rows are too good (as in training), and early stopping by them comes late.

    Args:
        root: the folder that holds `cmu_mosi/` and `glove/`; None means $MMPPL_DATA.
        window: with more than 1, a row is a window of so many utterances of its video, of which the last one has the
            row's score: each modality is a sequence (window, F), and the first rows of a video have fewer steps.
        text: "glove" takes the GloVe vectors of the transcript, which saw no label, in place of features: a sequence of
            at most 50 words, or in windows the mean over the words of each utterance.
        folds: "leaky" takes the folds of the CMU SDK (52/10/31 videos), whose test rows are known to the networks that
            made text and video. It is there to show what that does, not to report.
        likelihood: of the score: "laplace" for the absolute error, "normal" for the square.
        seed: the seed of the choice of validation videos.

    Returns:
        The rows.

    Raises:
        DataError: files are missing or damaged, or do not belong together.
        UsageError: `window` is less than 1.
    """
    if window < 1:
        raise UsageError(f"{RECIPE}: window={window}; give 1 or more utterances.")
    root = root_or_default(root)
    wanted = {"audio", "video", *(["text"] if text == "features" else []), *(["split_std_leaky"] * (folds == "leaky"))}
    found = load_mosi(RECIPE, root, wanted, f", and {WANTED} in ROOT/{FOLDER}" if text == "glove" else "")
    leaky = folds == "leaky"
    split = found.arrays["split_std_leaky"].astype(np.int8) if leaky else found.parts(VALID, seed)
    notes = [(LEAK if leaky else SAW).format(made=MADE[text])]
    arrays: dict[str, np.ndarray] = {}
    if text == "glove":
        arrays |= _words(found, cast(Path, root), notes, mean=window > 1)
    for name in ("text", "audio", "video"):
        if name in found.arrays:
            values = found.arrays[name]
            varies = values.min(0) < values.max(0)
            arrays[name] = values[:, varies]
            constant = int((~varies).sum())
            notes += [f"{constant} columns of {name} never vary; they are left out."] if constant else []
    if window > 1:
        arrays = _windows(arrays, found.arrays["video_id"], window)
    named = dict(window=window, text=text, folds=folds, likelihood=likelihood, seed=seed)
    return Arrays(
        arrays
        | {
            "score": found.arrays["score"].astype(np.float64).round(6),
            "id": np.array(found.ids),
            "split": np.array(PARTS)[split],
            "video_id": found.arrays["video_id"],
            "segment": found.arrays["segment"],
            "transcript": np.array(found.transcripts),
        },
        f"{RECIPE}:{','.join(f'{key}={value}' for key, value in named.items())}",
        annotations=("video_id", "segment", "transcript"),
        notes=notes,
        as_={"score": f"{likelihood}:role=label"},
    )


def _words(found: Utterances, root: Path, notes: list[str], *, mean: bool) -> dict[str, np.ndarray]:
    """Return `text`, a vector for each word, with lengths, or their mean; it is missing where no word has a vector."""
    spoken = [text.lower().split() for text in found.transcripts]
    known, vectors, name = load_glove(RECIPE, root, {word for words in spoken for word in words})
    kept = [[known[word] for word in words if word in known] for words in spoken]
    total, without = sum(map(len, spoken)), sum(map(len, spoken)) - sum(map(len, kept))
    notes.append(f"{without:,} of {total:,} words have no vector in {name}; they are left out.")
    has = np.array([len(words) > 0 for words in kept])
    if mean:
        rows = [vectors[words].mean(0) if words else np.zeros(vectors.shape[1], np.float32) for words in kept]
        return {"text": np.stack(rows), "mask_text": has}
    length = np.minimum([len(words) for words in kept], WORDS)
    check_room(4 * len(kept) * int(length.max()) * vectors.shape[1], f"{RECIPE}: its words")
    text = np.zeros((len(kept), max(1, int(length.max())), vectors.shape[1]), np.float32)
    for row, words in enumerate(kept):
        text[row, : length[row]] = vectors[words[:WORDS]]
    if cut := sum(len(words) > WORDS for words in kept):
        notes.append(f"{cut} utterances have more than {WORDS} words with vectors; the others of them are left out.")
    return {"text": text, "length_text": length, "mask_text": has}


def _windows(arrays: dict[str, np.ndarray], videos: np.ndarray, window: int) -> dict[str, np.ndarray]:
    """Return sequences of the last utterances of the same video, oldest first, with their lengths.

    An utterance without words is a step of zeros.
    """
    rows = np.arange(len(videos))
    starts = np.r_[True, videos[1:] != videos[:-1]]
    begin = np.maximum.accumulate(np.where(starts, rows, 0))
    length = np.minimum(rows - begin + 1, window)
    at = (rows - length + 1)[:, None] + np.arange(window)
    inside = np.arange(window) < length[:, None]
    found = {}
    for name, array in arrays.items():
        if not name.startswith("mask_"):
            found[name] = np.where(inside[..., None], array[np.minimum(at, len(rows) - 1)], 0)
            found[f"length_{name}"] = length
    return found
