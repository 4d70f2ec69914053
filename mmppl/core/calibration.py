"""Turning the calibration of a program off, while parameters are learned that would undo it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..modalities.likelihoods.state import LikelihoodState
from .program import Program


@contextmanager
def uncalibrated(program: Program) -> Iterator[None]:
    """Inside, a program computes without its calibration, which stays in its buffers.

    Args:
        program: the program.

    Yields:
        Nothing.
    """
    parts = [part for part in program.modules() if isinstance(part, (LikelihoodState, Program))]
    before = [part.calibrated for part in parts]
    for part in parts:
        part.calibrated = False
    try:
        yield
    finally:
        for part, was in zip(parts, before):
            part.calibrated = was
