"""Small files in the formats of real data sets."""

import struct
from functools import cache

import numpy as np

from mmppl.data.recipes.parts.mnist import FILES


def idx(array):
    """An idx file of bytes."""
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@cache
def mnist():
    """The four files with 2×2 images: image i holds i mod 251 everywhere, its label is i mod 10."""
    content = []
    for n in (60_000, 10_000):
        number = np.arange(n)
        content.append(idx(np.broadcast_to((number % 251).astype(np.uint8)[:, None, None], (n, 2, 2))))
        content.append(idx((number % 10).astype(np.uint8)))
    return dict(zip(FILES, content))
