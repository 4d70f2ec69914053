"""The reader of utterances: vectors of words and acoustic vectors, paired within each utterance.

Source: "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD), its IEMOCAP data: every token of an
utterance with every acoustic vector of it, N² pairs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...base.memory import check_room
from ...errors import DataError
from ..splits import PARTS, stratified_split
from .cells import NOTHING
from .mapping import read_mapping
from .npz import MOST, NpzReader, read_npz
from .parts.archive import Damaged, open_archive
from .parts.by_part import joined_parts
from .registry import Arrays, Request, reader

WORD, ACOUSTIC, UTTERANCE = "word", "acoustic", "utterance"
OF = {WORD: "utterance_word", ACOUSTIC: "utterance_acoustic"}
NOISE = tuple(f"noise_{name}" for name in OF)
WORDS_OWN = ("token", "label", "split")  # where there are as many words as acoustic vectors
ANNOTATIONS = (UTTERANCE, "token", "function_word", *NOISE)


@reader("tokens")
class TokensReader:
    """Arrays or an .npz file with `word`, `acoustic`, and the utterances of both."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source has `word`, `acoustic`, and `utterance` or one `utterance_*` for each of them."""
        names = _names(source)
        return {*OF} <= names and (UTTERANCE in names or {*OF.values()} <= names)

    def read(self, source: Any, request: Request) -> Arrays:
        """Return the pairs.

        Raises:
            DataError: see `token_pairs`.
        """
        if isinstance(source, Mapping):
            arrays, place = read_mapping(source, request.ignored), "arrays"
        else:
            arrays, place = joined_parts(read_npz(Path(source), request.ignored)), str(source)
        return token_pairs(arrays, place, split=request.schema is None)


def token_pairs(
    arrays: Mapping[str, np.ndarray], place: str, *, cap: int = 0, seed: int = 0, split: bool = True
) -> Arrays:
    """Pair the words and the acoustic vectors of each utterance.

    Arrays that are paired already have one `utterance` for each row, and stay as they are.

    Args:
        arrays: `word` (T, *), `acoustic` (S, *), and their utterances, `utterance_word` (T,) and `utterance_acoustic`
            (S,), or (if T = S rows are pairs already) `utterance`. Further arrays have T rows, one for each word, such
            as `token` (the text of the words) and `label`, or S rows, one for each acoustic vector. The name of one
            that ends in _word or _acoustic says which.
        place: the file, for messages.
        cap: at most so many pairs of each utterance, drawn at random; 0 keeps all.
        seed: the seed of that draw, and of the split.
        split: whether to draw a split if there is none, 70/10/20 of the utterances: rows of one utterance have their
            vectors in common, so they have to stay in one part. Where a split has no valid rows, a tenth of its train
            utterances becomes valid.

    Returns:
        N pairs, utterance by utterance, `word` before `acoustic`, with the annotations `utterance`, and `token`,
        `function_word`, `noise_word` and `noise_acoustic` (bool: that vector of the pair is noise) if given.

    Raises:
        DataError: the utterances of words and acoustic vectors differ, lengths do not fit, noise is neither true nor
            false, or the pairs do not fit into memory.
    """
    notes: list[str] = []
    if UTTERANCE in arrays:
        found = dict(arrays)
        if clash := sorted({*OF.values()} & {*arrays}):
            raise DataError(f"{place}: {UTTERANCE!r} and also {', '.join(clash)}; leave the one or the others out.")
    else:
        _check(arrays, place)
        rows = _rows(arrays, place, cap, seed, notes)
        found = {}
        for name, array in arrays.items():
            if array is NOTHING:
                found[name] = array
            elif name not in OF.values():
                found[name] = array[rows[ACOUSTIC if _beside(name, array, arrays, place) == ACOUSTIC else WORD]]
        found[UTTERANCE] = arrays[OF[WORD]][rows[WORD]]
    names = list(found)
    if names.index(ACOUSTIC) < names.index(WORD):  # lists with an entry for each modality have that of words first
        other = {WORD: ACOUSTIC, ACOUSTIC: WORD}
        found = {name: found[name] for name in (other.get(name, name) for name in names)}
    for one in NOISE:
        if one in found and found[one] is not NOTHING:
            found[one] = _noise(one, found[one], place)
    utterances = found[UTTERANCE]
    if utterances is not NOTHING and utterances.ndim == 1 and utterances.size:
        if "split" in found:
            found["split"] = _with_valid(found["split"], utterances, seed)
        elif split:
            found["split"] = np.array(PARTS)[utterance_split(utterances, seed=seed)]
    name = Path(place).name
    return Arrays(found, name, annotations=[one for one in ANNOTATIONS if one in found], notes=notes)


def utterance_split(utterances: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Draw a split of whole utterances, 70/10/20 of them.

    Args:
        utterances: (N,) the utterance of each row, N > 0.
        seed: the seed of the draw.

    Returns:
        (N,) int8 codes of `PARTS`; some rows are valid if two utterances or more are not for the test.
    """
    _, code = np.unique(utterances, return_inverse=True)
    split = stratified_split(np.zeros(code.max() + 1, int), seed=seed)[code]
    return _with_valid(split, utterances, seed)


def _with_valid(split: np.ndarray, utterances: np.ndarray, seed: int) -> np.ndarray:
    """Return a split in which a tenth of the train utterances, at least one of two, is for validation, unless it has
    valid rows, or is none."""
    if split.shape != utterances.shape:
        return split
    train, valid = (np.isin(split, (part,)) for part in (PARTS[:2] if split.dtype.kind == "U" else (0, 1)))
    known, code = np.unique(utterances[train], return_inverse=True)
    if valid.any() or len(known) < 2:
        return split
    share = max(0.1, 1 / len(known))
    drawn = stratified_split(np.zeros(len(known), int), seed=seed, shares=(1 - share, share, 0.0)) == 1
    split = split.copy()
    split[np.flatnonzero(train)[drawn[code]]] = PARTS[1] if split.dtype.kind == "U" else 1
    return split


def _noise(name: str, array: np.ndarray, place: str) -> np.ndarray:
    """Return an annotation of noise as (N,) bool."""
    if array.ndim != 1 or array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise DataError(
            f"{place}: {name!r} is {array.dtype} of shape {array.shape} with other values than true and false (1, 0); "
            "correct it, or rename it."
        )
    return array.astype(bool)


def _names(source: Any) -> set[str]:
    """Return the names of the arrays of a source; none if it is another kind of source, or cannot be opened."""
    if isinstance(source, Mapping):
        return {str(name) for name in source}
    if not isinstance(source, (str, os.PathLike)) or not os.path.isfile(source) or not NpzReader().accepts(source):
        return set()
    try:
        with open_archive(Path(source), MOST) as archive:
            return {name.removesuffix(".npy") for name in archive.names}
    except (Damaged, DataError):
        return set()


def _check(arrays: Mapping[str, np.ndarray], place: str) -> None:
    """Check that every vector has an utterance, and every utterance words and acoustic vectors."""
    for name, of in OF.items():
        ids, vectors = arrays[of], arrays[name]
        if vectors.ndim < 1 or not len(vectors):
            raise DataError(f"{place}: {name!r} has no rows; give one vector a row.")
        if ids.ndim != 1 or len(ids) != len(vectors) or ids.dtype.kind not in "iuU":
            raise DataError(
                f"{place}: {of!r} is {ids.dtype} of shape {ids.shape}; give one utterance (a whole number or a string) "
                f"for each of the {len(vectors):,} rows of {name!r}."
            )
        if f"mask_{of}" in arrays:
            raise DataError(f"{place}: {of!r} has empty rows; give the utterance of every vector.")
    spoken, heard = ({*np.unique(arrays[of]).tolist()} for of in OF.values())
    sides = ((spoken - heard, "words", "acoustic vectors"), (heard - spoken, "acoustic vectors", "words"))
    for alone, there, absent in sides:
        if alone:
            more = f" (nor have {len(alone) - 1:,} others)" if len(alone) > 1 else ""
            raise DataError(
                f"{place}: utterance {min(alone, key=str)!r} has {there} but no {absent}{more}; add them, or leave "
                "it out of both."
            )


def _beside(name: str, array: np.ndarray, arrays: Mapping[str, np.ndarray], place: str) -> str:
    """Return "word" if an array has a row for each word, or "acoustic" if it has one for each acoustic vector. Names
    that end so say which."""
    if name in OF:
        return name
    if name == "id":
        raise DataError(f"{place}: 'id' names words or acoustic vectors, and rows are pairs of them; rename it.")
    base = name.removeprefix("mask_")
    lengths = {one: len(arrays[one]) for one in OF}
    for one in OF:
        if base == one or base.endswith(f"_{one}"):
            lengths = {one: lengths[one]}
    fits = [one for one, length in lengths.items() if array.ndim and len(array) == length]
    if len(fits) == 2 and base not in WORDS_OWN:
        raise DataError(
            f"{place}: {name!r} has {len(array):,} rows, and there are as many words as acoustic vectors; call it "
            f"{name}_{WORD} or {name}_{ACOUSTIC}, or leave it out."
        )
    if fits:
        return fits[0]
    listed = " or ".join(f"{length:,} ({one})" for one, length in lengths.items())
    raise DataError(f"{place}: {name!r} has shape {array.shape}; give it {listed} rows, or leave it out.")


def _rows(arrays: Mapping[str, np.ndarray], place: str, cap: int, seed: int, notes: list[str]) -> dict[str, np.ndarray]:
    """Return the row numbers of word and acoustic vector of each pair."""
    order, first, number = {}, {}, {}
    for name, of in OF.items():
        order[name] = np.argsort(arrays[of], kind="stable")
        _, first[name], number[name] = np.unique(arrays[of][order[name]], return_index=True, return_counts=True)
    every = [int(t) * int(s) for t, s in zip(number[WORD], number[ACOUSTIC])]
    kept = [min(one, cap) if cap else one for one in every]
    size = sum(array.nbytes // max(len(array), 1) for array in arrays.values() if array.ndim)
    check_room(
        2 * sum(kept) * (size + 16), f"{place}: {sum(kept):,} pairs of words and acoustic vectors (cap=… bounds them)"
    )
    if sum(kept) < sum(every):
        notes.append(f"{sum(kept):,} of {sum(every):,} pairs are kept, at most {cap:,} of an utterance.")
    places: dict[str, list[np.ndarray]] = {name: [] for name in OF}
    for u, (one, some) in enumerate(zip(every, kept)):
        if some == one:
            pair = np.arange(one)
        else:  # `sample` takes as much memory as it draws, however many there are
            pair = np.array(sorted(random.Random(f"{seed} {u}").sample(range(one), some)))
        spoken, heard = np.divmod(pair, number[ACOUSTIC][u])
        places[WORD].append(order[WORD][first[WORD][u] + spoken])
        places[ACOUSTIC].append(order[ACOUSTIC][first[ACOUSTIC][u] + heard])
    return {name: np.concatenate(found) for name, found in places.items()}
