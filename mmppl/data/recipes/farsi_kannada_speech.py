"""A digit written in Farsi, written in Kannada, and spoken in English.

Source: the three-modality MVAE with a label head (Agarwal & Mishra, course project) on MNIST-MIX (Jiang 2020) and the
Free Spoken Digit Dataset.

Differs: validation and test rows show held-out images and recordings only; if a part has fewer images of a class than
rows, no image is repeated before all have been used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...base.random import generator
from ...errors import DataError, UsageError, suggest
from ...modalities.modality import Modality
from ..dataset import Dataset
from ..readers.speech.mfcc import Features, Level
from ..splits import PARTS
from .parts.files import root_or_default
from .parts.handwritten import FARSI, KANNADA, Digits
from .parts.pairing import floats, in_turn
from .parts.spoken import SPEECH, recordings, recordings_wanted, split_of_takes, spoken_digits
from .parts.transforms import distorted
from .registry import recipe

RECIPE = "farsi-kannada-speech"
MAX_ROWS = (60_000, 10_000, 10_000)  # rows of train, valid and test
BOTH = 20_000  # so many test images are enough for validation and test
VALID = 10  # otherwise one in so many train images of a class is for validation, the last ones
SCALE = 1 / 200**0.5  # makes the squared error count with weight 100


@recipe("farsi-kannada-speech")
def farsi_kannada_speech(
    root: Path | None = None,
    *,
    speech: Features = "mean",
    level: Level = "one",
    partners: Literal["fixed", "fresh"] = "fixed",
    images: Literal["plain", "distorted"] = "plain",
    held_out: str | None = None,
    validation: Literal["apart", "none"] = "apart",
    seed: int = 0,
) -> Dataset:
    """79,908 digits: written in Farsi and in Kannada, 28×28 each; spoken in English, MFCC; label.

    Needs: hoda_farsi_digits.npz in ROOT/hoda, kannada_mnist_20k.npz in ROOT/kannada_mnist (or MNIST-MIX's npz, or the
    sets' own files), fsdd_recordings.zip (or its wav files) in ROOT/fsdd.

    `farsi` and `kannada` are Bernoulli. `speech` lies in [0, 1] over the train recordings, each coefficient by itself.
    There are as many rows of a class as the larger set has images of it, but at most a tenth of 60,000, 10,000 and
    10,000. The images and the recording of a row are of its class and part. Recordings are drawn with replacement.

    Args:
        root: the folder that holds `hoda/`, `kannada_mnist/` and `fsdd/`; None means $MMPPL_DATA.
        speech: see `readers.speech.mfcc.speech_features`; the source takes "mean".
        level: the level of the recordings: "one" for all; or "kept", which reveals a little about the speaker. The
            source does not mention levelling.
        partners: "fixed" draws images and recordings once; "fresh" draws those of the train rows anew in every epoch.
        images: "plain"; or "distorted", with partners "fresh": every epoch turns, stretches and shifts its images a
            little, differently each time (see `distorted`). The rows of the data set itself stay plain.
        held_out: a speaker whose recordings are all test rows and no other rows; None puts takes 0 to 4 of all speakers
            into the test rows. Takes 9, 19, 29, ... of the other speakers are for validation.
        validation: "apart"; or "none", for which train and test rows show all of the train and test parts as published.
        seed: the seed of all draws.

    Returns:
        The data set.

    Raises:
        DataError: files are missing or damaged, or a part lacks a digit.
        UsageError: there is no such speaker, or distorted images are not drawn anew.
    """
    if images == "distorted" and partners != "fresh":
        raise UsageError(f"{RECIPE}: images=distorted applies to images drawn in every epoch; add partners=fresh.")
    root = root_or_default(root)
    if root is None:
        raise DataError(f"{RECIPE}: needs {_wanted()}; give --root ROOT or set MMPPL_DATA.")
    found = [source.find(root) for source in (FARSI, KANNADA)]
    path = recordings(root)
    absent = [_below(root, source.wanted) for source, read in zip((FARSI, KANNADA), found) if read is None]
    absent += [] if path else [_below(root, recordings_wanted())]
    if path is None or absent:
        raise DataError(f"{RECIPE}: put {'; and '.join(absent)} (they are not downloaded).")
    features, parsed = spoken_digits(path, speech, level)
    apart = validation == "apart"
    spoken_split = split_of_speakers([one.speaker for one in parsed], [one.take for one in parsed], held_out, apart)
    farsi, kannada = (read() for read in found if read)
    written = {"farsi": pooled(farsi, apart), "kannada": pooled(kannada, apart)}
    sets = {name: (labels, split) for name, (_, labels, split) in written.items()}
    sets["speech"] = (np.array([int(one.label) for one in parsed]), spoken_split)
    parts = [part for part in range(len(PARTS)) if apart or PARTS[part] != "valid"]
    label, split = rows_of(sets, {"farsi": FARSI.folder, "kannada": KANNADA.folder, "speech": SPEECH}, parts)
    order = torch.randperm(len(label), generator=generator(seed, "order of rows")).numpy()
    order = order[np.argsort(split[order], kind="stable")]
    label, split = label[order], split[order]

    train_features = features[torch.from_numpy(spoken_split == 0)]
    low, high = train_features.amin(0), train_features.amax(0)
    width = torch.where(high > low, high - low, 1.0)
    scaled = (features - low) / width

    def draw_part(part: int, draw: torch.Generator) -> dict[str, Tensor]:
        """Draw what the rows of a part show."""
        mine = label[split == part]
        there = {name: np.flatnonzero(of == part) for name, (_, of) in sets.items()}
        values = {
            name: floats(pixels, in_turn(mine, labels, there[name], draw))
            for name, (pixels, labels, _) in written.items()
        }
        return values | {"speech": scaled[random_of_class(mine, sets["speech"][0], there["speech"], draw)]}

    def fresh(seed: int, epoch: int) -> dict[str, Tensor]:
        """Draw what the train rows show in an epoch."""
        values = draw_part(0, generator(seed, "fresh", epoch))
        if images == "distorted":
            draw = generator(seed, "distorted", epoch)
            values |= {name: distorted(values[name], draw) for name in written}
        return values

    values = [draw_part(part, generator(seed, "shown", part)) for part in parts]
    modalities = (
        Modality("farsi", tuple(written["farsi"][0].shape[1:]), "bernoulli"),
        Modality("kannada", tuple(written["kannada"][0].shape[1:]), "bernoulli"),
        Modality(
            "speech",
            tuple(features.shape[1:]),
            "normal",
            SCALE,
            transform="standardise",
            shift=tuple(low.flatten().tolist()),
            spread=tuple(width.flatten().tolist()),
        ),
        Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
    )
    of_level = "" if level == "one" else f",level={level}"
    of_speaker = f",held_out={held_out}" if held_out else ""
    of_validation = "" if apart else ",validation=none"
    return Dataset(
        name=f"{RECIPE}:speech={speech}{of_level},partners={partners},images={images}{of_speaker}{of_validation},"
        f"seed={seed}",
        modalities=modalities,
        values={name: torch.cat([of[name] for of in values]) for name in ("farsi", "kannada", "speech")}
        | {"label": torch.from_numpy(label)},
        observed={m.name: torch.ones(len(label), dtype=torch.bool) for m in modalities},
        ids=np.arange(len(label)),
        split=split,
        has_split=True,
        refresh=fresh if partners == "fresh" else None,
    )


def split_of_speakers(
    speakers: list[str], takes: list[int], held_out: str | None, validation: bool = True
) -> np.ndarray:
    """Split the recordings; see `farsi_kannada_speech`.

    Args:
        speakers: the speaker of each recording.
        takes: the number of the take of each recording.
        held_out: the speaker of the test rows, or None.
        validation: False leaves no recording for validation.

    Returns:
        (N,) int8: 0 train, 1 valid, 2 test.

    Raises:
        UsageError: there is no such speaker.
    """
    if held_out is not None and held_out not in speakers:
        known = sorted(set(speakers))
        raise UsageError(f"{RECIPE}: held_out={held_out!r} is none of {', '.join(known)}.{suggest(held_out, known)}")
    split = split_of_takes(takes, validation=validation)
    if held_out is not None:
        rest = split_of_takes(takes, test=False, validation=validation)
        split = np.where(np.array(speakers) == held_out, 2, rest).astype(np.int8)
    return split


def pooled(digits: Digits, validation: bool = True) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Join the train and test images of a set, and split them into three parts.

    If the test part has 20,000 images or more, every second one of each class is for validation. Otherwise the last
    tenth of each class of the train part is.

    Args:
        digits: the images and labels.
        validation: False leaves no image for validation.

    Returns:
        (N, height, width) uint8 images, (N,) digits, and (N,) int8 codes of the parts.
    """
    labels = np.concatenate([digits.y_train, digits.y_test])
    split = np.repeat(np.array([0, 2], np.int8), [len(digits.y_train), len(digits.y_test)])
    cut = 2 if len(digits.y_test) >= BOTH else 0
    for digit in np.unique(labels) if validation else ():
        rows = np.flatnonzero((labels == digit) & (split == cut))
        split[rows[::2] if cut else rows[len(rows) - max(1, len(rows) // VALID) :]] = 1
    return torch.from_numpy(np.concatenate([digits.x_train, digits.x_test])), labels, split


def rows_of(
    sets: dict[str, tuple[np.ndarray, np.ndarray]], folders: dict[str, str], parts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Choose how many rows of each digit every part has, by the images that there are.

    Args:
        sets: name → digits and split of its images, or of the recordings under "speech".
        folders: name → the folder it came from, for messages.
        parts: the codes of the parts that shall have rows: 0 train, 1 valid, 2 test.

    Returns:
        (n,) digits and (n,) codes of the parts.

    Raises:
        DataError: a set lacks a digit in a part.
    """
    label, split = [], []
    for part in parts:
        for digit in range(10):
            counts = {name: int(((labels == digit) & (of == part)).sum()) for name, (labels, of) in sets.items()}
            for name, count in counts.items():
                if not count:
                    kind = "recording" if name == "speech" else f"{name} image"
                    raise DataError(
                        f"{RECIPE}: no {PARTS[part]} {kind} of a {digit} in ROOT/{folders[name]}; all ten digits are "
                        f"needed in {', '.join(PARTS[i] for i in parts[:-1])} and {PARTS[parts[-1]]}."
                    )
            n = min(MAX_ROWS[part] // 10, max(count for name, count in counts.items() if name != "speech"))
            label += [np.full(n, digit)]
            split += [np.full(n, part, np.int8)]
    return np.concatenate(label), np.concatenate(split)


def random_of_class(labels: np.ndarray, others: np.ndarray, there: np.ndarray, draw: torch.Generator) -> Tensor:
    """Draw a row of the same class for each label, with replacement.

    Args:
        labels: (n,) digits.
        others: (N,) digits of the rows to draw from.
        there: the row numbers that may be drawn.
        draw: the random generator.

    Returns:
        (n,) row numbers.
    """
    chosen = torch.empty(len(labels), dtype=torch.int64)
    for digit in np.unique(labels):
        mine = torch.from_numpy(np.flatnonzero(labels == digit))
        rows = torch.from_numpy(there[others[there] == digit])
        chosen[mine] = rows[torch.randint(len(rows), (len(mine),), generator=draw)]
    return chosen


def _wanted() -> str:
    return "; ".join([FARSI.wanted, KANNADA.wanted, recordings_wanted()])


def _below(root: Path, text: str) -> str:
    return text.replace("ROOT", str(root))
