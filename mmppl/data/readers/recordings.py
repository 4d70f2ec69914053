"""A folder or a zip of wav files as named arrays: features, labels from a CSV beside them or from the files' names."""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, suggest
from ...modalities.modality import Modality
from ..recipes.registry import on_disk
from .mapping import read_mapping
from .npz import CORRUPT
from .registry import Arrays, Request, reader

if TYPE_CHECKING:
    from .mfcc import Features, Level

NAME = re.compile(r"(?P<label>[^_]+)_(?P<speaker>.+)_(?P<take>\d+)")  # of the Free Spoken Digit Dataset
HELP = "name them {label}_{speaker}_{number}.wav, or put a .csv with the columns file and label beside them"
ARRAY = "speech"


@reader("recordings")
class RecordingsReader:
    """A folder or a .zip of wav files."""

    def accepts(self, source: Any) -> bool:
        """Whether it is the path of a .zip or of a folder that is there."""
        if not isinstance(source, (str, os.PathLike)):
            return False
        path = Path(source)
        return path.suffix.lower() == ".zip" or (path.is_dir() and on_disk(source))

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Their features and labels, in the shape that the schema of a run has.

        Raises:
            DataError: see `read_utterances`.
        """
        path = Path(source)
        return Arrays(read_utterances(path, features_for(request.schema)), path.resolve().name)


@dataclass(frozen=True)
class Spoken:
    """What the name of a recording says."""

    label: str
    speaker: str
    take: int


def read_utterances(path: Path, features: Features = "segments") -> dict[str, np.ndarray]:
    """Read the recordings of a folder or .zip.

    A .csv, of which there may be one, has a column `file` and any others (`label`, `split`, …), each of which becomes
    an array; recordings that it does not list are left out. Without one, names such as 7_theo_12.wav give `label`; if
    no name has that form there are no labels.

    Args:
        path: a folder (with whatever folders in it) or a .zip.
        features: see `mfcc.speech_features`.
    Returns:
        `speech` (N, *shape), `id` (the files' names), and an array of everything else that is known of each.
    Raises:
        DataError: no recordings, one that is damaged, names of which only some have the form, a CSV that is wrong.
    """
    with opened(path) as (names, content):
        recordings = [name for name in names if name.lower().endswith(".wav")]
        if not recordings:
            raise DataError(f"{path}: no .wav file in it; give an .npz file, or a folder or .zip of recordings.")
        tables = [name for name in names if name.lower().endswith(".csv")]
        if len(tables) > 1:
            raise DataError(
                f"{path}: several .csv files ({', '.join(tables[:4])}); leave the one that names the files."
            )
        if tables:
            recordings, arrays = _listed(f"{path}/{tables[0]}", content(tables[0]), tables[0], recordings)
        else:
            arrays = _told_by_names(path, recordings)
        speech = features_of(path, recordings, content, features)
    stems = [PurePosixPath(name).stem for name in recordings]
    if len(set(stems)) < len(stems):
        stems = [name.removesuffix(PurePosixPath(name).suffix) for name in recordings]
    return {ARRAY: speech.numpy(), "id": np.array(stems)} | arrays


def features_for(schema: Sequence[Modality] | None) -> Features:
    """Those that have the shape of `speech` in the schema of a run."""
    from .mfcc import SHAPES  # here, since every path is shown to this reader first

    shapes = [m.shape for m in schema or () if m.name == ARRAY]
    return next((name for name, shape in SHAPES.items() if shape in shapes), "segments")


def features_of(
    path: Path, names: Sequence[str], content: Callable[[str], bytes], features: Features, level: Level = "one"
) -> Tensor:
    """(N, *shape) features of the named recordings."""
    from .mfcc import SHAPES, speech_features
    from .wav import read_wav

    found = torch.empty((len(names), *SHAPES[features]))
    for row, name in enumerate(names):
        place = f"{path}/{name}"
        samples, rate = read_wav(content(name), place)
        found[row] = speech_features(samples, rate, features, level=level, name=place)
    return found


def spoken(name: str) -> Spoken | None:
    """What the name of a file says, if it has the form {label}_{speaker}_{number}.wav."""
    form = NAME.fullmatch(PurePosixPath(name).stem)
    return Spoken(form["label"], form["speaker"], int(form["take"])) if form else None


@contextmanager
def opened(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The files in a folder or a .zip, by their names relative to it, in order; and what gives the bytes of one.

    Hidden ones, and those that macOS puts into zip files, are left out.
    """
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}

        def of_folder(name: str) -> bytes:
            try:
                return files[name].read_bytes()
            except OSError as error:
                raise DataError(f"{path}/{name}: cannot be read ({error.strerror}).") from None

        yield _shown(files), of_folder
        return
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a folder or .zip of recordings.") from None
    except (*CORRUPT, OSError) as error:
        raise DataError(f"{path}: not a whole .zip file ({_reason(error)}); fetch it again.") from None

    def of_archive(name: str) -> bytes:
        try:
            return archive.read(name)
        except (*CORRUPT, OSError) as error:
            raise DataError(f"{path}/{name}: cannot be unpacked ({_reason(error)}); fetch the .zip again.") from None

    with archive:
        yield _shown(name for name in archive.namelist() if not name.endswith("/")), of_archive


def _shown(names: Any) -> list[str]:
    return sorted(name for name in names if not any(part.startswith((".", "__")) for part in name.split("/")))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _told_by_names(path: Path, recordings: Sequence[str]) -> dict[str, np.ndarray]:
    told = [spoken(name) for name in recordings]
    labels = [one.label for one in told if one]
    if labels and len(labels) < len(told):
        raise DataError(f"{path}/{recordings[told.index(None)]}: its name tells no label, as others do; {HELP}.")
    return read_mapping({"label": _typed(labels)}) if labels else {}


def _listed(
    place: str, content: bytes, table: str, recordings: Sequence[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The recordings that a CSV lists, and its other columns."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place}: not a CSV in UTF-8 ({_reason(error)}).") from None
    head, rows = (rows[0] if rows else []), [row for row in rows[1:] if row]
    if "file" not in head:
        _blame_head(place, head)
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
            raise DataError(f"{place}: row {number} has {len(row)} cells where the head has {len(head)}; mend it.")
        name = row[head.index("file")].strip()
        if name not in there:
            raise DataError(f"{place}: row {number} lists {name!r}, which is not there.{suggest(name, list(there))}")
        found.append(there[name])
    columns = {name: _typed([row[i].strip() for row in rows]) for i, name in enumerate(head) if name != "file"}
    return found, read_mapping(columns)


def _blame_head(place: str, head: Sequence[str]) -> None:
    """DataError where the head has `file`, but between other signs than commas, or written otherwise."""
    for sign in (";", "\t") if len(head) == 1 else ():
        if "file" in [cell.strip().lower() for cell in head[0].split(sign)]:
            raise DataError(f"{place}: its columns are parted by {sign!r} ({head[0]!r}); write it with commas.")
    for cell in head:
        if cell.strip().lower() == "file":
            raise DataError(f"{place}: it has a column {cell!r}; name that one 'file'.")


def _typed(cells: Sequence[str]) -> np.ndarray:
    """Whole numbers if all are, else numbers, else strings (01 is not 1, nor 1_0 ten); an empty cell is missing."""
    for kind in () if any(re.match(r"[+-]?0\d|.*_", cell) for cell in cells) else (int, float):
        try:
            return np.array([kind(cell) if cell else None for cell in cells], object)
        except ValueError:
            continue
    return np.array([cell or None for cell in cells], object)
