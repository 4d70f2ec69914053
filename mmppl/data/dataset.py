"""A data set in model units, and the one entrance to it: a file, a recipe, arrays or a DataFrame."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.batch import Batch
from ..errors import UsageError, suggest
from ..modalities.modality import Modality
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
    """

    name: str
    modalities: tuple[Modality, ...]
    values: dict[str, Tensor]
    observed: dict[str, Tensor]
    ids: np.ndarray
    split: np.ndarray
    has_split: bool = False
    refresh: Callable[[int, int], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, split: Literal["train", "valid", "test", "all"]) -> Tensor:
        """Row numbers (int64) of one part, in the order of the file."""
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
        )

    def batch(self, index: Tensor, encoded: tuple[str, ...], size: int | None = None) -> Batch:
        """The rows `index` as a batch whose guide may see `encoded`; `size` is the N they stand for (default: all)."""
        return Batch(
            values={name: value.index_select(0, index) for name, value in self.values.items()},
            observed={name: seen.index_select(0, index) for name, seen in self.observed.items()},
            index=index,
            size=len(self) if size is None else size,
            encoded=encoded,
        )

    def replaced(self, values: Mapping[str, Tensor]) -> Dataset:
        """The same rows with some values, name → (N, *shape) in model units, put in place of theirs."""
        return dataclasses.replace(self, values=_blank(self.values | dict(values), self.observed))

    def hide(
        self,
        *,
        rate: float | Mapping[str, float] = 0.0,
        patterns: Sequence[Sequence[str]] | None = None,
        keep_one: bool = True,
        seed: int = 0,
    ) -> Dataset:
        """The same rows with modalities (never labels) hidden at random; the hidden values are gone, not only masked.
        The values of the others stay as they are, in units that `read` took from all train rows: see its `hide`.

        Args:
            rate: probability that a row loses a modality, one number or one per name.
            patterns: instead: per row, one of these sets of names stays.
            keep_one: a row never loses its last modality.
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
        )

    def fingerprint(self) -> str:
        """sha256 (hex) of schema, ids, values, masks and split; of the name, too, where train rows are drawn afresh."""
        digest = hashlib.sha256(json.dumps([m.to_json() for m in self.modalities], sort_keys=True).encode())
        digest.update(
            json.dumps([self.ids.dtype.kind, self.ids.tolist(), self.refresh is not None and self.name]).encode()
        )
        for array in (
            self.split,
            *(part[m.name].numpy() for m in self.modalities for part in (self.values, self.observed)),
        ):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What is here, ready for JSON: counts, schema, and which sets of modalities occur together how often.

        `patterns` counts rows by the modalities they have, names joined by "+"; rows with none are in `empty_rows`.
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
