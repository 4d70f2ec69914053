"""A data set in model units: values, masks, ids, split and schema."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.batch import Batch
from ..errors import UsageError, suggest
from ..modalities.modality import Modality
from .fingerprint import combined, row_digests
from .missing import mask_at_random
from .splits import PARTS


@dataclass(frozen=True)
class Dataset:
    """N rows of some modalities, any of which may be missing from any row.

    Args:
        name: the recipe as it was asked for, the file's name, or "arrays".
        modalities: the schema, in the order of the file.
        values: name → (N, *shape), float32 in model units or int64 codes of a categorical; finite everywhere, 0 where
            missing.
        observed: name → (N,) bool.
        ids: (N,) int64 or str; they come back in every answer.
        split: (N,) int8: 0 train, 1 valid, 2 test.
        has_split: the file or recipe itself said which row is what.
        refresh: (seed, epoch) → fresh values, (N_train, *shape) each, of the train rows in the order of
            `rows("train")`; the same arguments give the same values. None: the values are what they are.
        whole: the same rows before `read(hide=…)` masked some of them. None: it masked nothing.
        scaled_on_all: the schema with the scaling learnt from all train rows, masked or not, if the scaling was learnt
            when these data were read. None: their units were given.
    """

    name: str
    modalities: tuple[Modality, ...]
    values: dict[str, Tensor]
    observed: dict[str, Tensor]
    ids: np.ndarray
    split: np.ndarray
    has_split: bool = False
    refresh: Callable[[int, int], dict[str, Tensor]] | None = None
    whole: Dataset | None = None
    scaled_on_all: tuple[Modality, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, split: Literal["train", "valid", "test", "all"]) -> Tensor:
        """Row numbers (int64) of one part, in the order of the file.

        Raises:
            UsageError: there is no such part.
        """
        if split == "all":
            return torch.arange(len(self))
        if split not in PARTS:
            raise UsageError(f"no part {split!r}; choose from train, valid, test, all.{suggest(split, PARTS)}")
        return torch.from_numpy(np.flatnonzero(self.split == PARTS.index(split)))

    def take(self, rows: Tensor) -> Dataset:
        """Some rows, in the order given. `refresh` speaks of all train rows and is dropped."""
        at = rows.numpy()
        return dataclasses.replace(
            self,
            values={name: value.index_select(0, rows) for name, value in self.values.items()},
            observed={name: seen.index_select(0, rows) for name, seen in self.observed.items()},
            ids=self.ids[at],
            split=self.split[at],
            refresh=None,
            whole=None,
            scaled_on_all=None,
        )

    def batch(self, index: Tensor, encoded: tuple[str, ...], size: int | None = None) -> Batch:
        """Some rows as a batch.

        Args:
            index: (B,) row numbers.
            encoded: names of the modalities that the guide may see.
            size: the N that the rows stand for; default: all rows.
        """
        return Batch(
            values={name: value.index_select(0, index) for name, value in self.values.items()},
            observed={name: seen.index_select(0, index) for name, seen in self.observed.items()},
            index=index,
            size=len(self) if size is None else size,
            encoded=encoded,
        )

    def replaced(self, values: Mapping[str, Tensor]) -> Dataset:
        """The same rows with some values, name → (N, *shape) in model units, put in place of theirs."""
        blanked = _blank(self.values | dict(values), self.observed)
        return dataclasses.replace(self, values=blanked, whole=None, scaled_on_all=None)

    def mask_at_random(
        self,
        *,
        rate: float | Mapping[str, float] = 0.0,
        patterns: Sequence[Sequence[str]] | None = None,
        keep_one: bool = True,
        seed: int = 0,
    ) -> Dataset:
        """The same rows with modalities (never labels) masked at random; the masked values are set to zero.

        The other values stay as they are, in units that `read` took from all train rows. Where masked values must not
        have a say in the units, use `read(data, hide=…)`.

        Args:
            rate: probability that a row loses a modality, one number or one per name.
            patterns: instead of a rate: in each row only one of these sets of names remains.
            keep_one: a row never loses its last modality.
            seed: of the draw.
        Returns:
            A new data set; this one is as it was.
        Raises:
            UsageError: unknown names, a rate outside [0, 1], or rate and patterns together.
        """
        names = [m.name for m in self.modalities if m.role == "modality"]
        before = torch.stack([self.observed[name] for name in names], -1)
        after = mask_at_random(before, names, rate=rate, patterns=patterns, keep_one=keep_one, seed=seed)
        observed = self.observed | {name: after[:, i].contiguous() for i, name in enumerate(names)}
        train = self.rows("train")
        fresh = self.refresh

        def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
            assert fresh is not None  # else it is not handed out below
            return _blank(fresh(seed, epoch), {name: seen[train] for name, seen in observed.items()})

        return dataclasses.replace(
            self,
            values=_blank(self.values, observed),
            observed=observed,
            refresh=None if fresh is None else refresh,
            whole=None,
            scaled_on_all=None,
        )

    def fingerprint(self) -> str:
        """A text of 64 hex digits that tells any change of schema, ids, values, masks and split.

        Where train rows are drawn afresh in every epoch it also depends on the name of the data set. What lies under a
        mask does not count.
        """
        return self._combined(self.modalities, self._row_digests)

    def fingerprints(self) -> dict[str, str]:
        """What a fit notes of its data, from one pass over the values.

        Returns:
            "fingerprint" of these rows; "unhidden" of the rows before `read(hide=…)` masked some; "as_read", which is
            the same whatever was masked: in it the scaling learnt from all train rows stands for the scaled values.
        """
        whole = self if self.whole is None else self.whole
        learnt = self.scaled_on_all or ()
        unscaled = whole._row_digests.keys() - {m.name for m in learnt if m.shift is not None}
        digests = {name: whole._row_digests[name] for name in unscaled}
        return {
            "fingerprint": self.fingerprint(),
            "as_read": whole._combined(learnt or self.modalities, digests),
            "unhidden": whole.fingerprint(),
        }

    @cached_property
    def _row_digests(self) -> dict[str, np.ndarray]:
        """name → (N,) uint64; those of rows that `read` has masked since are still there."""
        if self.whole is not None:
            return self.whole._row_digests
        return {name: row_digests(value) for name, value in self.values.items()}

    def _combined(self, modalities: Sequence[Modality], digests: Mapping[str, np.ndarray]) -> str:
        drawn_by = None if self.refresh is None else self.name
        return combined(modalities, self.ids, self.split, self.observed, digests, drawn_by)

    def describe(self) -> dict[str, Any]:
        """Count rows and say what they have, ready for JSON.

        Returns:
            Name, number of rows and of those in each part, the schema, and `patterns`: how many rows have which
            modalities, names joined by "+". Rows without any are counted in `empty_rows`.
        """
        inputs = [m.name for m in self.modalities if m.role == "modality"]
        seen = np.stack([self.observed[name].numpy() for name in inputs], -1)
        patterns = Counter("+".join(n for n, there in zip(inputs, row) if there) for row in seen.tolist())
        empty = patterns.pop("", 0)
        return {
            "name": self.name,
            "n": len(self),
            "split": {part: int((self.split == code).sum()) for code, part in enumerate(PARTS)},
            "has_split": self.has_split,
            "modalities": [
                {
                    "name": m.name,
                    "shape": list(m.shape),
                    "likelihood": m.likelihood,
                    "scale": m.scale,
                    "role": m.role,
                    "transform": m.transform,
                    "classes": None if m.classes is None else list(m.classes),
                    "observed": float(self.observed[m.name].double().mean()),
                }
                for m in self.modalities
            ],
            "patterns": dict(patterns.most_common()),
            "empty_rows": empty,
        }


def _blank(values: dict[str, Tensor], observed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`values` with zeros where nothing is observed; a modality that misses nothing is not copied."""
    return {
        name: value
        if observed[name].all()
        else torch.where(observed[name].reshape(-1, *[1] * (value.ndim - 1)), value, torch.zeros_like(value))
        for name, value in values.items()
    }
