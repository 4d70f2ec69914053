"""Words and acoustic vectors of utterances from a file of one's own, in pairs."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ..readers.npz import read_npz
from ..readers.registry import Arrays
from ..readers.tokens import token_pairs
from .registry import recipe


@recipe("token-pairs")
def token_pairs_of_file(*, file: Path | None = None, cap: int = 0, seed: int = 0) -> Arrays:
    """Every word of an utterance with every acoustic vector of it, or at most CAP such pairs of each; your own file.

    Needs: file=FILE, an .npz file with `word` (T, *), `utterance_word` (T,), `acoustic` (S, *), `utterance_acoustic`
    (S,).

    Without a cap `mmppl.read` gives the same for the path of the file alone. See `readers.tokens`.

    Args:
        file: the path of the file.
        cap: at most so many pairs of each utterance, drawn at random; 0 keeps all.
        seed: the seed of that draw, and of the split, 70/10/20 of the utterances.

    Returns:
        The pairs, with the annotations `utterance`, and `token`, `function_word`, `noise_word` and `noise_acoustic` if
        given.

    Raises:
        DataError: the file is missing, damaged, or its utterances lack words or acoustic vectors.
        UsageError: no file is named, or the cap is negative.
    """
    if file is None:
        raise UsageError("token-pairs: name a file, e.g. token-pairs:file=mine.npz,cap=1000.")
    if cap < 0:
        raise UsageError(f"token-pairs: cap={cap}; give a number of pairs, or 0 for all.")
    return token_pairs(read_npz(file), str(file), cap=cap, seed=seed)
