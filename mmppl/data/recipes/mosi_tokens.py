"""Words of CMU-MOSI with the acoustic vectors of their utterances.

Source: the token level of "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD), on CMU-MOSI (Zadeh,
Zellers, Pincus & Morency 2016, arXiv:1606.06259) in place of IEMOCAP.

Differs: an utterance has one acoustic vector (means of openSMILE's features), so that its tokens are its pairs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np

from ...base.memory import check_room
from ...errors import DataError, UsageError
from ..readers.registry import Arrays
from ..splits import PARTS
from .parts.files import root_or_default
from .parts.function_words import FUNCTION_WORDS
from .parts.glove import FOLDER, WANTED, load_glove
from .parts.mosi import load_mosi
from .registry import recipe

RECIPE = "mosi-tokens"
VALID = 6  # one in so many train videos is for validation


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
    found = load_mosi(RECIPE, root, ("audio",), f", and {WANTED} in ROOT/{FOLDER}")
    arrays = found.arrays
    spoken = [(row, word) for row, text in enumerate(found.transcripts) for word in text.lower().split()]
    counts = Counter(word for _, word in spoken)
    known, vectors, name = load_glove(RECIPE, cast(Path, root), counts.keys())
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
            "split": np.array(PARTS)[found.parts(len(found.train_videos()) // VALID, seed)[row]],
            "utterance": np.array(found.ids)[row],
            "token": token,
            "function_word": np.array([word in FUNCTION_WORDS for word in token.tolist()]),
            "score": arrays["score"][row],
        },
        f"{RECIPE}:min_count={min_count},seed={seed}",
        annotations=("utterance", "token", "function_word", "score"),
        notes=[note],
    )
