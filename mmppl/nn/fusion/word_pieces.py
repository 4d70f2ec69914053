"""Words as the word pieces of a pretrained transformer, each with the place of its word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import UsageError
from .pretrained import load_tokenizer

LEAST = 3  # pieces of a row: the two special ones and a word's


def align_words(
    words: Sequence[Sequence[str]], tokenizer: Any, *, max_length: int = 50, name: str = "text"
) -> dict[str, np.ndarray]:
    """Make of words the arrays that `mag-bert` and `mag-xlnet` read, so that neither data files nor fits need strings.

    Features of the other modalities stay as they are, one step per word: a network looks up those of each piece's word.
    Pieces beyond `max_length` are cut off, the special ones are kept. A word that gives no piece has no place among
    them, and its features are not read. Rows are padded on the right, for XLNet, too (see `mmppl.nn.fusion.mag_xlnet`).

    Args:
        words: of each row, in the order of the other modalities' steps. A row may have none: it lacks text.
        tokenizer: that of the model: a tokeniser of transformers, or a folder or name as in `MAGBert`.
        max_length: the largest number of pieces of a row, special ones included.
        name: name of the modality.

    Returns:
        NAME: (N, L, 2) int64, L at most `max_length`: code of each piece in the vocabulary, and place of its word, from
        0 on; −1 for special pieces, 0 and −1 for padding. length_NAME: (N,) int64, pieces of each row; 0 without text.

    Raises:
        UsageError: `max_length` leaves no place for words, or there is no such tokeniser (see `load_tokenizer`).
        DataError: the tokeniser has no vocabulary.

    Example:
        >>> import mmppl
        >>> class Letters:  # each letter is a piece
        ...     cls_token_id, sep_token_id, padding_side = 1, 2, "right"
        ...     def tokenize(self, word): return list(word)
        ...     def convert_tokens_to_ids(self, pieces): return [ord(piece) for piece in pieces]
        >>> mmppl.align_words([["ab", "", "c"]], Letters())["text"][0].T.tolist()
        [[1, 97, 98, 99, 2], [-1, 0, 0, 2, -1]]
    """
    if max_length < LEAST:
        raise UsageError(f"max_length={max_length} leaves no place for words; it has to be at least {LEAST}.")
    if isinstance(tokenizer, str):
        tokenizer = load_tokenizer(tokenizer)
    cls, sep = (tokenizer.cls_token_id, -1), (tokenizer.sep_token_id, -1)
    ends_with_cls = tokenizer.padding_side == "left"  # so does XLNet
    codes: dict[str, list[int]] = {}
    rows = []
    for row in words:
        for word in row:
            if word not in codes:
                codes[word] = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
        pieces = [(code, place) for place, word in enumerate(row) for code in codes[word]][: max_length - 2]
        rows.append([] if not row else [*pieces, sep, cls] if ends_with_cls else [cls, *pieces, sep])
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    table = np.full((len(rows), max(lengths.max(initial=0), LEAST - 1), 2), (0, -1), dtype=np.int64)
    for row, found in zip(table, rows):
        row[: len(found)] = found or np.empty((0, 2))
    return {name: table, f"length_{name}": lengths}
