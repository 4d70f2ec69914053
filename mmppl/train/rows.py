"""The rows that a fit trains and validates on, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..base.random import generator
from ..core.batch import Batch
from ..core.elements import check_cells
from ..core.program import Program
from ..core.row_selection import MissingnessPatterns
from ..core.stages import Stage
from ..data.dataset import Dataset
from ..errors import DataError
from .budget.held_out import Fold

VALID_BATCH = 128  # rows at least of a batch that is only looked at, where epochs are counted in steps


class Rows:
    """The training and validation rows of one phase of a fit, or of one fold of it.

    An epoch is a pass over the training rows; or else `per_epoch` steps of equally many rows, which come from one pass
    after another, each without the rows that are left when its batches are full.

    Args:
        program: says what a guide may see.
        dataset: all rows.
        fold: the numbers of those that are trained and validated on.
        batch_size: at most.
        device: where the training rows are kept.
        per_epoch: steps of an epoch; None: as many as a pass has.
        steps: after which the last epoch ends, which may be a shorter one; None: no epoch is.
        like: numbers of the rows that a batch stands for, and whose missing modalities make room in it; None: the
            training rows. Phases that name the same can share a recorded step.
        key: parts the order of the rows from that of other phases and folds.

    Attributes:
        train: the training rows, on the device.
        valid: the validation rows, on the CPU.
        patterns: what of the rows may be missing; None on a GPU, which is not waited for.
        batch_size: of a full batch.
        per_epoch: steps of an epoch.
    """

    def __init__(
        self,
        program: Program,
        dataset: Dataset,
        fold: Fold,
        batch_size: int,
        device: torch.device,
        *,
        per_epoch: int | None = None,
        steps: int | None = None,
        like: Tensor | None = None,
        key: str = "",
    ) -> None:
        check_cells(program, dataset.observed, dataset.present)
        self.program, self.dataset, self.device, self.key, self.steps = program, dataset, device, key, steps
        self.numbers = fold.train
        self.valid = dataset.take(fold.valid)
        self.train = self.placed(dataset.take(fold.train))
        like = fold.train if like is None else like
        self.size = len(like)
        seen = {name: observed[like] for name, observed in dataset.observed.items()}
        self.patterns = None if device.type == "cuda" else MissingnessPatterns.of(seen)
        self.batch_size = min(batch_size, len(self.train))
        self.whole = per_epoch is None
        self.per_epoch = -(-len(self.train) // self.batch_size) if per_epoch is None else per_epoch

    def steps_before(self, epoch: int) -> int:
        """The steps before an epoch, counted from 1."""
        done = (epoch - 1) * self.per_epoch
        return done if self.steps is None else min(done, self.steps)

    def placed(self, dataset: Dataset) -> Dataset:
        """The same rows on the device of the fit."""
        if self.device.type == "cpu":
            return dataset
        values, observed, present = (
            {name: tensor.to(self.device) for name, tensor in of.items()}
            for of in (dataset.values, dataset.observed, dataset.present)
        )
        return replace(dataset, values=values, observed=observed, present=present)

    def of_epoch(self, seed: int, epoch: int) -> Dataset:
        """The training rows, with the values that the data set makes anew for this epoch, where it does.

        It makes them for its train rows alone: rows of another part keep theirs.
        """
        if self.dataset.refresh is None:
            return self.train
        fresh, train = self.dataset.refresh(seed, epoch), self.dataset.rows("train")
        position = torch.full((len(self.dataset),), -1)
        position[train] = torch.arange(len(train))
        places = position[self.numbers]
        replaced, ours = {}, (places >= 0).nonzero().squeeze(-1)
        for name, value in fresh.items():
            replaced[name] = self.dataset.values[name][self.numbers]
            replaced[name][ours] = value[places[ours]]
        return self.train.replaced({name: value.to(self.device) for name, value in replaced.items()})

    def shuffled(self, seed: int, epoch: int, stage: Stage = Stage()) -> Iterator[Batch]:
        """The batches of an epoch of a stage, in their order.

        Raises:
            DataError: there is no row that the stage learns from.
        """
        if self.whole and stage.rows is None:
            of = self.of_epoch(seed, epoch)
            for rows in self._order(seed, epoch).split(self.batch_size):
                yield self._batch(of, rows, self.patterns)
            return
        among = None if stage.rows is None else self._chosen(stage)
        count = len(self.train) if among is None else len(among)
        size = min(self.batch_size, count)
        patterns = self.patterns if among is None else None  # they tell how much all rows lack
        number, current = count // size, 0  # of the batches of a pass; the pass, from 1
        for step in range(self.steps_before(epoch), self.steps_before(epoch + 1)):
            if step // number + 1 != current:
                current = step // number + 1
                order = self._order(seed, current)
                batches = (order if among is None else order[torch.isin(order, among)]).split(size)
                of = self.of_epoch(seed, current)
            yield self._batch(of, batches[step % number], patterns)

    def _chosen(self, stage: Stage) -> Tensor:
        """Numbers of the training rows that a stage learns from."""
        assert stage.rows is not None
        rows = stage.rows(self.train.observed).nonzero().squeeze(-1)
        if not len(rows):
            raise DataError(
                f"{type(self.program).__name__}: none of the {len(self.train):,} training rows has what the stage "
                f"{stage.name!r} learns from; give it such rows, or leave out the stage."
            )
        return rows

    def _order(self, seed: int, number: int) -> Tensor:
        """The training rows in the order of a pass."""
        purpose = ("order", number, self.key) if self.key else ("order", number)
        return torch.randperm(len(self.train), generator=generator(seed, *purpose)).to(self.device)

    def _batch(self, of: Dataset, rows: Tensor, patterns: MissingnessPatterns | None) -> Batch:
        return replace(of.batch(rows, self.program.encoded, self.size), patterns=patterns)

    def in_order(self, dataset: Dataset) -> Iterator[Batch]:
        """Batches of some rows, in the order of the file."""
        size = self.batch_size if self.whole else max(self.batch_size, VALID_BATCH)
        for rows in torch.arange(len(dataset), device=self.device).split(size):
            yield dataset.batch(rows, self.program.encoded)
