"""The reader of a folder or .zip of recordings. Labels come from a CSV file beside them or from the file names."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ....base.memory import check_room
from ....errors import DataError, suggest
from ....modalities.modality import Modality
from ...recipes.registry import on_disk
from ..mapping import read_mapping
from ..parts.tree import open_files
from ..registry import Arrays, Request, reader

if TYPE_CHECKING:
    from .mfcc import Features, Level

NAME = re.compile(r"(?P<label>[^_]+)_(?P<speaker>.+)_(?P<take>\d+)")  # as in the Free RecordingName Digit Dataset
HELP = "name them {label}_{speaker}_{number}.wav, or put a .csv with the columns file and label beside them"
ARRAY = "speech"
SOUNDS = (".wav", ".flac", ".ogg")
CELL = 32  # bytes that a character of a table takes, as a cell of its own


@reader("recordings")
class RecordingsReader:
    """A folder or a .zip of files named .wav, which may be SPHERE files, too, or .flac or .ogg."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is the path of a .zip, or of a folder that exists."""
        if not isinstance(source, (str, os.PathLike)):
            return False
        path = Path(source)
        return path.suffix.lower() == ".zip" or (os.path.isdir(path) and on_disk(source))

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return features and labels, with features of the shape that the schema of a run has.

        Raises:
            DataError: see `read_utterances`.
        """
        path = Path(source)
        return Arrays(read_utterances(path, features_for(request.schema)), path.resolve().name)


@dataclass(frozen=True)
class RecordingName:
    """What the name of a recording tells: {label}_{speaker}_{number}.wav.

    Args:
        label: the label.
        speaker: the speaker.
        take: the number of the take.
    """

    label: str
    speaker: str
    take: int


def read_utterances(path: Path, features: Features = "segments") -> dict[str, np.ndarray]:
    """Read the recordings of a folder or .zip.

    There may be one .csv file. It has a column `file` and any other columns (`label`, `split`, …), each of which
    becomes an array; recordings that it does not list are left out. Without it, names such as 7_theo_12.wav provide
    `label`; if no name has that form, there are no labels.

    Args:
        path: a folder, which may contain folders, or a .zip.
        features: see `mfcc.speech_features`.

    Returns:
        `speech` (N, *shape), `id` (the file names), and one array for everything else that is known about the
        recordings.

    Raises:
        DataError: there are no recordings, one is damaged, only some of the names have the form, or the CSV file is
            wrong.
    """
    with open_files(path) as (names, content):
        recordings = [name for name in names if name.lower().endswith(SOUNDS)]
        if not recordings:
            raise DataError(f"{path}: no .wav file in it; give an .npz file, or a folder or .zip of recordings.")
        tables = [name for name in names if name.lower().endswith(".csv")]
        if len(tables) > 1:
            raise DataError(
                f"{path}: several .csv files ({', '.join(tables[:4])}); leave the one that names the files."
            )
        if tables:
            recordings, arrays = _from_table(f"{path}/{tables[0]}", content(tables[0]), tables[0], recordings)
        else:
            arrays = _labels_from_names(path, recordings)
        speech = features_of(path, recordings, content, features)
    stems = [PurePosixPath(name).stem for name in recordings]
    if len(set(stems)) < len(stems):
        stems = [name.removesuffix(PurePosixPath(name).suffix) for name in recordings]
    return {ARRAY: speech.numpy(), "id": np.array(stems)} | arrays


def features_for(schema: Sequence[Modality] | None, usual: Features = "segments", *, name: str = ARRAY) -> Features:
    """Choose the features whose shape the schema of a run has for recordings.

    Args:
        schema: the modalities of a run, or None.
        usual: the features if the schema does not decide.
        name: what the recordings are called in it.

    Returns:
        The name of the features.
    """
    from .mfcc import SHAPES  # imported here, because every path is shown to this reader

    shapes = [m.shape for m in schema or () if m.name == name]
    return next((features for features, shape in SHAPES.items() if shape in shapes), usual)


def features_of(
    path: Path,
    names: Sequence[str],
    content: Callable[[str], bytes],
    features: Features,
    level: Level = "one",
    *,
    shortest: float = 0.0,
) -> Tensor:
    """Compute the features of several recordings.

    Args:
        path: the folder or .zip, for messages.
        names: the names of the recordings in it.
        content: returns the bytes of a file by its name.
        features: see `mfcc.speech_features`.
        level: see `mfcc.speech_features`.
        shortest: seconds that a recording has to last.

    Returns:
        (N, *shape) float32.

    Raises:
        DataError: a recording is damaged or shorter.
    """
    from .mfcc import SHAPES, speech_features
    from .wav import read_sound

    check_room(4 * len(names) * math.prod(SHAPES[features]), f"{path}: the features of its recordings")
    found = torch.empty((len(names), *SHAPES[features]))
    for row, name in enumerate(names):
        place = f"{path}/{name}"
        samples, rate = read_sound(content(name), place)
        if len(samples) < shortest * rate:
            raise DataError(
                f"{place}: {1000 * len(samples) / rate:.3g} ms of sound, shorter than one window of "
                f"{1000 * shortest:.3g} ms; leave it out, or record it again."
            )
        found[row] = speech_features(samples, rate, features, level=level, name=place)
    return found


def parse_name(name: str) -> RecordingName | None:
    """Parse the name of a recording.

    Args:
        name: the name of a file, with or without folders.

    Returns:
        Its parts, or None if it does not have the form {label}_{speaker}_{number}.wav.
    """
    form = NAME.fullmatch(PurePosixPath(name).stem)
    return RecordingName(form["label"], form["speaker"], int(form["take"])) if form else None


def _labels_from_names(path: Path, recordings: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the labels that the names of the recordings tell; nothing if no name has the form."""
    parsed = [parse_name(name) for name in recordings]
    labels = [one.label for one in parsed if one]
    if labels and len(labels) < len(parsed):
        raise DataError(f"{path}/{recordings[parsed.index(None)]}: its name contains no label, unlike others; {HELP}.")
    return read_mapping({"label": convert_cells(labels)}) if labels else {}


def _from_table(
    place: str, content: bytes, table: str, recordings: Sequence[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the recordings that a CSV file lists, and its other columns."""
    check_room(CELL * len(content), f"{place}: the table")
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place}: not a CSV in UTF-8 ({error}).") from None
    head, rows = (rows[0] if rows else []), [row for row in rows[1:] if row]
    if "file" not in head:
        _check_header(place, head)
    if any(not name.isprintable() for name in head):
        raise DataError(f"{place}: a column is called {[n for n in head if not n.isprintable()][0][:60]!r}; rename it.")
    if "file" not in head or len(set(head)) < len(head) or ARRAY in head or f"mask_{ARRAY}" in head:
        raise DataError(
            f"{place}: its columns are {', '.join(head) or 'none'}; there must be file, each once, and no {ARRAY}."
        )
    if not rows:
        raise DataError(f"{place}: no rows; list the recordings, or leave it out.")
    folder = PurePosixPath(table).parent
    there = {name: name for name in recordings} | {
        str(PurePosixPath(n).relative_to(folder)): n for n in recordings if PurePosixPath(n).is_relative_to(folder)
    }
    found = []
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise DataError(f"{place}: row {number} has {len(row)} cells where the head has {len(head)}; correct it.")
        name = row[head.index("file")].strip()
        if name not in there:
            raise DataError(f"{place}: row {number} lists {name!r}, which is not there.{suggest(name, list(there))}")
        found.append(there[name])
    columns = {name: convert_cells([row[i].strip() for row in rows]) for i, name in enumerate(head) if name != "file"}
    return found, read_mapping(columns)


def _check_header(place: str, head: Sequence[str]) -> None:
    """Raise a DataError if the header has `file`, but between other separators than commas, or spelt differently."""
    for sign in (";", "\t") if len(head) == 1 else ():
        if "file" in [cell.strip().lower() for cell in head[0].split(sign)]:
            raise DataError(f"{place}: its columns are separated by {sign!r} ({head[0]!r}); write it with commas.")
    for cell in head:
        if cell.strip().lower() == "file":
            raise DataError(f"{place}: it has a column {cell!r}; name that one 'file'.")


def convert_cells(cells: Sequence[str]) -> np.ndarray:
    """Convert cells to whole numbers if all are, else to numbers, else to strings (01 is not 1, nor is 1_0 ten). An
    empty cell is missing."""
    for kind in () if any(re.match(r"[+-]?0\d|.*_", cell) for cell in cells) else (int, float):
        try:
            return np.array([kind(cell) if cell else None for cell in cells], object)
        except ValueError:
            continue
    return np.array([cell or None for cell in cells], object)
