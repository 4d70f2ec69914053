"""The rows that a fit trains and validates on, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..base.random import generator
from ..core.batch import Batch
from ..core.program import Program
from ..core.row_selection import MissingnessPatterns
from ..data.dataset import Dataset
from ..errors import DataError


class Rows:
    """The usable training and validation rows of a data set.

    Args:
        program: says which rows are of use, and what a guide may see.
        dataset: all rows.
        batch_size: at most.
        device: where the training rows are kept.
        log: receives a line with the number of rows that are left out.

    Attributes:
        train: the training rows, on the device.
        valid: the validation rows, on the CPU.
        patterns: what of the training rows may be missing; None on a GPU, which is not waited for.
        unseen: label → its classes that no training row has.
        per_epoch: batches of an epoch.

    Raises:
        DataError: there is no training row, or none that has a modality, which would be answered with noise.
    """

    def __init__(
        self, program: Program, dataset: Dataset, batch_size: int, device: torch.device, log: Callable[[str], None]
    ) -> None:
        self.program, self.dataset, self.device, self.log = program, dataset, device, log
        self.numbers = self._usable("train")
        if not len(self.numbers):
            raise DataError(f"{dataset.name}: no training row has what {type(program).__name__} learns from.")
        self.unseen = self._unseen()
        self.valid = dataset.take(self._usable("valid"))
        self.train = self.placed(dataset.take(self.numbers))
        self.patterns = None if device.type == "cuda" else MissingnessPatterns.of(self.train.observed)
        self.batch_size = min(batch_size, len(self.train))
        self.per_epoch = -(-len(self.train) // self.batch_size)

    def _usable(self, split: Literal["train", "valid"]) -> Tensor:
        rows = self.dataset.rows(split)
        good = self.program.usable({k: v[rows] for k, v in self.dataset.observed.items()})
        left_out = int((~good).sum())
        if left_out:
            self.log(
                f"{left_out} of {len(rows)} {split} rows lack what {type(self.program).__name__} learns from: left out."
            )
        return rows[good]

    def _unseen(self) -> dict[str, tuple[str | int, ...]]:
        """Classes that no training row has."""
        unseen = {}
        for m in self.program.modalities:
            rows = self.numbers[self.dataset.observed[m.name][self.numbers]]
            if not len(rows):
                raise DataError(
                    f"{self.dataset.name}: {m.name!r} is observed in no row that {type(self.program).__name__} learns "
                    f"from; leave it out (--as {m.name}=ignore), or hide less."
                )
            if m.classes and m.size == 1:
                counts = self.dataset.values[m.name][rows].flatten().bincount(minlength=len(m.classes))
                if classes := [c for c, count in zip(m.classes, counts.tolist()) if not count]:
                    unseen[m.name] = tuple(classes)
        return unseen

    def placed(self, dataset: Dataset) -> Dataset:
        """The same rows on the device of the fit."""
        if self.device.type == "cpu":
            return dataset
        values = {name: value.to(self.device) for name, value in dataset.values.items()}
        return replace(dataset, values=values, observed={n: o.to(self.device) for n, o in dataset.observed.items()})

    def of_epoch(self, seed: int, epoch: int) -> Dataset:
        """The training rows, with the values that the data set makes anew for this epoch, where it does."""
        if self.dataset.refresh is None:
            return self.train
        fresh = self.dataset.refresh(seed, epoch)
        position = torch.full((len(self.dataset),), -1)
        position[self.dataset.rows("train")] = torch.arange(len(self.dataset.rows("train")))
        rows = position[self.numbers]
        return self.train.replaced({name: value[rows].to(self.device) for name, value in fresh.items()})

    def shuffled(self, seed: int, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, in its order."""
        of, size, encoded, patterns = self.of_epoch(seed, epoch), len(self.train), self.program.encoded, self.patterns
        order = torch.randperm(size, generator=generator(seed, "order", epoch)).to(self.device)
        for rows in order.split(self.batch_size):
            values = {name: value.index_select(0, rows) for name, value in of.values.items()}
            observed = {name: seen.index_select(0, rows) for name, seen in of.observed.items()}
            yield Batch(values, observed, rows, size, encoded, patterns=patterns)

    def in_order(self, dataset: Dataset) -> Iterator[Batch]:
        """Batches of some rows, in the order of the file."""
        for rows in torch.arange(len(dataset), device=self.device).split(self.batch_size):
            yield dataset.batch(rows, self.program.encoded)
