"""A program that was never fitted, with its weights set by hand, as a model that answers queries about one data set."""

from __future__ import annotations

from mmppl import Dataset, Program
from mmppl.inference.fitted import FittedModel


def asked(program: Program, source: Dataset) -> FittedModel:
    """The model; it answers in the training mode or precision that the program has."""
    return FittedModel(program, source.modalities, name="asked", data=source)
