"""Names of digits, written among blanks in an alphabet of 71 characters.

Source: MNIST-SVHN-Text (Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO").
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .digits import NAMES

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{}"
ALPHABET = (*LETTERS, "--", "\n", " ")  # 71 as in the source, which lists the hyphen twice; the second never occurs
LENGTH = 8


def written(labels: np.ndarray, draw: torch.Generator) -> Tensor:
    """Write the names of digits at random positions among blanks.

    Args:
        labels: (N,) digits.
        draw: the random generator.

    Returns:
        (N, 8) codes into ALPHABET.
    """
    names = [torch.tensor([ALPHABET.index(letter) for letter in name]) for name in NAMES]
    text = torch.full((len(labels), LENGTH), ALPHABET.index(" "))
    for digit, name in enumerate(names):
        rows = torch.from_numpy(np.flatnonzero(labels == digit))
        start = torch.randint(LENGTH - len(name) + 1, (len(rows), 1), generator=draw)
        text[rows.unsqueeze(-1), start + torch.arange(len(name))] = name
    return text
