"""What the readers of corpora of spoken digits share: their files are known by the names, which say what was spoken."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import DataError
from ...recipes.registry import on_disk
from ..parts.tree import files_below, open_files
from ..registry import Arrays
from .recordings import ARRAY, features_for, features_of

if TYPE_CHECKING:
    from ....modalities.modality import Modality

SOUNDS = (".wav", ".sph", ".nist")
LOOKED_AT = 2_000  # names of files, before a folder is taken for something else


@dataclass(frozen=True)
class Spoken:
    """What the name of a file says.

    Args:
        digit: the digit that is spoken; None for anything else than a single digit.
        speaker: the speaker.
        part: "train" or "test", or "" if the name does not say.
    """

    digit: int | None
    speaker: str
    part: str = ""


Parse = Callable[[str], Spoken | None]


def holds_corpus(source: Any, parse: Parse) -> bool:
    """Say whether a source is a folder or .zip with files that are named as in a corpus.

    Args:
        source: what was given to `mmppl.read`.
        parse: reads the name of a file relative to the folder; None if it has no such name.

    Returns:
        True if one of its first recordings is.
    """
    if not isinstance(source, (str, os.PathLike)) or not on_disk(source):
        return False
    path = Path(source)
    try:
        if path.is_dir():
            return any(_is_sound(name) and parse(name) for name in islice(files_below(path), LOOKED_AT))
        if path.suffix.lower() != ".zip":
            return False
        with open_files(path) as (names, _):
            return any(_is_sound(name) and parse(name) for name in names[:LOOKED_AT])
    except DataError:
        return False  # whoever reads it says what is wrong


def read_corpus(path: Path, parse: Parse, schema: Sequence[Modality] | None, *, corpus: str) -> Arrays:
    """Read the recordings of single digits; others are left out.

    Args:
        path: the folder or .zip.
        parse: reads the name of a file, as for `holds_corpus`.
        schema: the modalities of a run, or None; it decides which MFCC are computed.
        corpus: the name of the corpus, for messages.

    Returns:
        `speech` (N, 58, 12) MFCC as in `mfcc.speech_features`, `label` (the digit), `id` (the names of the files), and
        `split` if all names say their part; the annotations `speaker` and `recording`; a note on what was left out.

    Raises:
        DataError: no recording is that of a single digit, one is damaged or shorter than a window, or a file's name
            says nothing, unlike others.
    """
    from .mfcc import OF_IMA  # imported here, because every path is shown to the readers

    with open_files(path) as (names, content):
        names = [name for name in names if _is_sound(name)]
        parsed = {name: parse(name) for name in names}
        kept = [(name, one) for name, one in parsed.items() if one is not None and one.digit is not None]
        if not kept:
            raise DataError(
                f"{path}: none of its {len(names):,} recordings is that of a single digit; segment the strings of "
                f"digits, and name the pieces as in {corpus}."
            )
        unknown = next((name for name, one in parsed.items() if one is None), None)
        if unknown is not None:
            raise DataError(f"{path}/{unknown}: not named like a file of {corpus}; rename it, or move it away.")
        shortest = OF_IMA.window / OF_IMA.rate
        chosen = [name for name, _ in kept]
        speech = features_of(path, chosen, content, features_for(schema, "frames"), shortest=shortest)
    stems = [name.removesuffix(PurePosixPath(name).suffix) for name in chosen]
    short = [PurePosixPath(stem).name for stem in stems]
    ids = np.array(stems if max(Counter(short).values()) > 1 else short)
    parts = np.array([one.part for _, one in kept])
    arrays = {
        ARRAY: speech.numpy(),
        "label": np.array([one.digit for _, one in kept]),
        "id": ids,
        "speaker": np.array([one.speaker for _, one in kept]),
        "recording": ids,
    }
    if (parts != "").all():
        arrays["split"] = parts
    others = len(names) - len(kept)
    notes = [f"{others:,} recordings of anything else than a single digit are left out."] if others else []
    return Arrays(arrays, path.resolve().name, annotations=("speaker", "recording"), notes=notes)


def _is_sound(name: str) -> bool:
    return name.lower().endswith(SOUNDS)
