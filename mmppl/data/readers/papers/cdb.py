"""HODA's own files of binary scans: `Train 60000.cdb`, `Test 20000.cdb`.

Source: the format of Khosravi & Kabir 2007 (farsiocr.ir): a header of 1,024 bytes, then records of run lengths.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ..parts.files import contents

HEADER = struct.Struct("<HBBBBI128IB256s245s")
SHORTEST = 5  # bytes of a record
SIDE, INSIDE, LARGEST = 28, 26, 0.75  # side of the image; of the box that a scan must fit into; largest scale


def read_cdb(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of scans.

    A scan is scaled by 26 / its longer side, but by no more than 3/4, by averaging over areas, and is put in the
    middle. Relative sizes are thereby kept (a Farsi zero is a dot).

    Args:
        path: the path of the file.

    Returns:
        (N, 28, 28) uint8 images, ink 255, and (N,) labels.

    Raises:
        DataError: this is no such file, or it is grey, truncated or corrupt.
    """
    content = contents(path)
    if len(content) < HEADER.size:
        raise DataError(f"{path}: truncated within its header; fetch it again.")
    _, _, _, height, width, count, *_, kind, _, _ = HEADER.unpack_from(content)
    if kind != 0:
        raise DataError(f"{path}: of type {kind}, not of binary scans; fetch the file of HODA's digits.")
    if count * SHORTEST > len(content):  # checked before memory is allocated
        raise DataError(f"{path}: truncated or corrupt ({count:,} records in {len(content):,} bytes); fetch it again.")
    check_room(count * SIDE**2, f"{path}: its {count:,} images")
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    labels = np.zeros(count, np.int64)
    fixed = bool(height and width)
    at = HEADER.size
    for number in range(count):
        try:
            start, labels[number] = content[at : at + 2]
            at += 2
            if not fixed:
                width, height = content[at : at + 2]
                at += 2
            (length,) = struct.unpack_from("<H", content, at)
            runs = content[at + 2 : at + 2 + length]
            at += 2 + length
            if start != 0xFF or len(runs) != length:
                raise ValueError
            images[number] = centred(_scan(runs, height, width))
        except (ValueError, struct.error):
            raise DataError(f"{path}: truncated or corrupt at record {number}; fetch it again.") from None
    if at != len(content):
        raise DataError(f"{path}: {len(content) - at:,} bytes after its last record; fetch it again.")
    return images, labels


def _scan(runs: bytes, height: int, width: int) -> np.ndarray:
    """Decode (height, width) bool, ink True, from run lengths that begin each row with paper; ValueError if they do not
    fit."""
    scan = np.zeros((height, width), bool)
    at = 0
    for row in scan:
        column, ink = 0, False
        while column < width:
            if at >= len(runs) or column + runs[at] > width:
                raise ValueError
            if ink:
                row[column : column + runs[at]] = True
            column += runs[at]
            at += 1
            ink = not ink
    if at != len(runs) or not scan.size:
        raise ValueError
    return scan


def centred(scan: np.ndarray) -> np.ndarray:
    """Scale a scan of any size and put it in the middle of an image.

    Args:
        scan: (height, width) bool.

    Returns:
        (28, 28) uint8.
    """
    scale = min(LARGEST, INSIDE / max(scan.shape))
    height, width = (max(1, round(scale * side)) for side in scan.shape)
    small = _averages(scan.shape[0], height) @ scan @ _averages(scan.shape[1], width).T
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    image[top : top + height, left : left + width] = np.rint(255 * small)
    return image


@cache
def _averages(before: int, after: int) -> np.ndarray:
    """(after, before) weights: the share of each old cell in each new one."""
    edges = np.linspace(0, before, after + 1)
    cells = np.arange(before)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    weights: np.ndarray = overlap.clip(0) * (after / before)
    return weights
