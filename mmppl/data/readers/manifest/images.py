"""One image of a file or of Pillow as an array."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np

from ....base.memory import check_room
from ....errors import DataError

LARGEST = 50_000_000  # pixels
BYTES = 16  # that a pixel takes at most while it is converted
GREY, DEEP = ("1", "L"), ("I", "I;16", "I;16L", "I;16B", "I;16N")
# What Pillow raises for a file that is damaged.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, MemoryError, struct.error, zlib.error)


def read_image(content: bytes, place: str) -> np.ndarray:
    """Read an image file.

    Args:
        content: the bytes of the file, in any format that Pillow knows.
        place: where it is, for messages.

    Returns:
        As `pixels_of`, turned as a camera has noted.

    Raises:
        DataError: it is damaged, truncated, too large, of several frames, or partly transparent.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height > LARGEST:
                raise DataError(
                    f"{place}: {width:,} × {height:,} pixels, where {LARGEST:,} are the most; make it smaller."
                )
            check_room(width * height * BYTES, f"{place}: the image")
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(f"{place}: {frames} images in one file; give each a file and a row of its own.")
            return pixels_of(ImageOps.exif_transpose(image), place)
    except UnidentifiedImageError:
        raise DataError(
            f"{place}: not an image, it begins {content[:8]!r}; write it as PNG, or leave it out."
        ) from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{place}: too large ({error}); make it smaller.") from None
    except UNREADABLE as error:
        said = " ".join(str(error).split())[:100].rstrip(".") or type(error).__name__
        raise DataError(f"{place}: a damaged image ({said}); fetch it again, or leave it out.") from None


def pixels_of(image: Any, place: str) -> np.ndarray:
    """Return the pixels of an image of Pillow.

    Args:
        image: the image.
        place: where it is, for messages.

    Returns:
        (H, W) uint8 for grey, uint16 for grey of 16 bits, float32 or int32 where Pillow has such numbers; (H, W, 3)
        uint8 for colours.

    Raises:
        DataError: it is partly transparent.
    """
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        if np.asarray(opaque)[..., 3].min() < 255:
            raise DataError(f"{place}: partly transparent; put it on a background of one colour.")
        image = image.convert("L" if image.mode in ("LA", "La", "L", "1") else "RGB")
    if image.mode in GREY:
        return np.asarray(image.convert("L"))
    if image.mode in DEEP:
        deep = np.asarray(image)
        return deep.astype(np.uint16) if deep.size and deep.min() >= 0 and deep.max() < 2**16 else deep
    return np.asarray(image if image.mode in ("F", "RGB") else image.convert("RGB"))
