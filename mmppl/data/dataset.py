"""A data set in model units: values, masks, ids, split and schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.choices import SPLITS, Split, choice
from ..base.disk.maps import empty_like, is_mapped, relieve, row_blocks, rows_where
from ..core.batch import Batch
from ..modalities.modality import Modality
from .annotations import check_annotations, digest_of
from .description import described
from .examine.finding import Finding
from .fingerprint import dataset_fingerprint, row_digests
from .missing import hidden_cells, mask_at_random
from .source import SourceValues
from .splits import PARTS


@dataclass(frozen=True)
class Dataset:
    """N rows of several modalities, any of which may be missing from any row.

    Args:
        name: the recipe as it was written, the name of the file, or "arrays".
        modalities: the schema, in the order of the file.
        values: name → (N, *shape) values in model units, float32, or int64 class codes; finite everywhere, and 0 where
            the modality is missing.
        observed: name → (N,) bool, True where the row has the modality.
        present: name → bool, broadcastable to (N, *shape), the elements that each row has, of modalities of which a row
            may lack some: (N, T, 1) of every sequence, and (N, *shape) of what rows lack single cells of. None where
            the row lacks the modality. Values elsewhere are 0.
        ids: (N,) int64 or str row ids; every answer returns them.
        split: (N,) int8 codes of the parts: 0 train, 1 valid, 2 test.
        has_split: True if the split comes from the file or the recipe, False if it was drawn.
        drawn_valid: True if the valid rows (of few rows there may be none) were drawn when the data were read, from
            rows that a fit may learn from; False if the file or the recipe says which they are.
        refresh: a function (seed, epoch) → fresh values of the train rows, (N_train, *shape) each, in the order of
            `rows("train")`; the same arguments give the same values. None if the values never change.
        whole: the same rows before `read(hide=…, hide_cells=…)` masked some of their modalities or cells; None if it
            masked nothing.
        scaled_on_all: the schema with the scaling learnt from all train rows, masked or not, if the scaling was learnt
            when these data were read; None if their units were given.
        annotations: name → (N,) bool, integers, floats or strings: what is known of the rows that no program ever sees,
            and that metrics, figures and answers may use. Names in use: `noise_<modality>` (bool, True where that
            modality of the row is noise), `recording` (what the row was made from), `utterance`.
        notes: lines about what was left out when the data were read.
        findings: what reading them told, and what is suspicious about them (`mmppl.data.examine`).
        declared: name in the source → "ignore", "annotation" or "group", as `read(as_=…)` said; a run that is fitted on
            these data takes other data the same way.
        source: the numbers as they were read, of data that are small or on disk.

    Raises:
        DataError: an annotation has another shape than (N,), lacks a value, or has the name of a modality.

    Example:
        >>> import mmppl
        >>> data = mmppl.read("digits-two-view")
        >>> len(data), [m.name for m in data.modalities]
        (1797, ['rotated', 'noisy', 'label'])
        >>> tuple(data.values["noisy"].shape), data.observed["label"].all().item()
        ((1797, 8, 8), True)
    """

    name: str
    modalities: tuple[Modality, ...]
    values: dict[str, Tensor]
    observed: dict[str, Tensor]
    ids: np.ndarray
    split: np.ndarray
    has_split: bool = False
    drawn_valid: bool = False
    refresh: Callable[[int, int], dict[str, Tensor]] | None = None
    whole: Dataset | None = None
    scaled_on_all: tuple[Modality, ...] | None = None
    annotations: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    present: dict[str, Tensor] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    declared: dict[str, str] = field(default_factory=dict)
    source: SourceValues = field(default_factory=SourceValues, repr=False)

    def __post_init__(self) -> None:
        check_annotations(self.annotations, len(self.ids), [m.name for m in self.modalities])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def rows(self, split: Split) -> Tensor:
        """Return the row numbers of one part, in the order of the file.

        Args:
            split: the name of the part, or "all".

        Returns:
            (n,) int64 row numbers.

        Raises:
            UsageError: there is no part of that name.
        """
        if split == "all":
            return torch.arange(len(self))
        choice("split", split, SPLITS)
        return torch.from_numpy(np.flatnonzero(self.split == PARTS.index(split)))

    def take(self, rows: Tensor) -> Dataset:
        """Return a data set of some of the rows.

        Args:
            rows: (n,) int64 row numbers; their order is kept.

        Returns:
            A new data set. It has no `refresh`, which yields all train rows at once.
        """
        at = rows.numpy()
        return dataclasses.replace(
            self,
            values={name: _taken(value, rows) for name, value in self.values.items()},
            observed={name: seen.index_select(0, rows) for name, seen in self.observed.items()},
            present={name: _taken(there, rows) for name, there in self.present.items()},
            source=self.source.take(at),
            ids=self.ids[at],
            split=self.split[at],
            annotations={name: array[at] for name, array in self.annotations.items()},
            findings=tuple(found for finding in self.findings if (found := finding.of_rows(at.tolist())) is not None),
            refresh=None,
            whole=None,
            scaled_on_all=None,
        )

    def batch(self, index: Tensor, encoded: tuple[str, ...], size: int | None = None) -> Batch:
        """Return some of the rows as a batch.

        Args:
            index: (B,) row numbers.
            encoded: the names of the modalities that the guide may see.
            size: the N that these rows stand for; None takes all rows of the data set.

        Returns:
            The batch, without copies of what it does not hold.
        """
        relieve()
        return Batch(
            values={name: value.index_select(0, index) for name, value in self.values.items()},
            observed={name: seen.index_select(0, index) for name, seen in self.observed.items()},
            index=index,
            size=len(self) if size is None else size,
            encoded=encoded,
            present={name: there.index_select(0, index) for name, there in self.present.items()},
        )

    def replaced(self, values: Mapping[str, Tensor]) -> Dataset:
        """Return the same rows with some of their values replaced.

        Args:
            values: name → (N, *shape) new values in model units; names that are left out keep their values.

        Returns:
            A new data set with zeros wherever a modality is missing.
        """
        blanked = _blank(self.values | dict(values), self.observed, self.present)
        kept = self.source.only(self.values.keys() - values.keys())
        return dataclasses.replace(self, values=blanked, source=kept, whole=None, scaled_on_all=None)

    def mask_at_random(
        self,
        *,
        rate: float | Mapping[str, float] = 0.0,
        patterns: Sequence[Sequence[str]] | None = None,
        keep_one: bool = True,
        seed: int = 0,
    ) -> Dataset:
        """Mask modalities, but never labels, at random. Masked values are set to zero.

        The other values stay in the units that `read` learnt from all train rows. Use `read(data, hide=…)` if masked
        values must not influence the scaling.

        Args:
            rate: the probability that a row loses a modality: one number for all, or one per name.
            patterns: instead of a rate, sets of names; each row keeps only the modalities of one of these sets.
            keep_one: if True, no row loses its last modality.
            seed: the seed of the draw.

        Returns:
            A new data set; this one is not changed.

        Raises:
            UsageError: a name is unknown, a rate is outside [0, 1], or both a rate and patterns are given.
        """
        names = [m.name for m in self.modalities if m.role == "modality"]
        before = torch.stack([self.observed[name] for name in names], -1)
        after = mask_at_random(before, names, rate=rate, patterns=patterns, keep_one=keep_one, seed=seed)
        observed = self.observed | {name: after[:, i].contiguous() for i, name in enumerate(names)}
        present = {
            name: there & observed[name].reshape(-1, *[1] * (there.ndim - 1)) for name, there in self.present.items()
        }
        return self._masked(observed, present)

    def mask_cells_at_random(self, rate: float, *, seed: int = 0) -> Dataset:
        """Mask single cells at random, in modalities of several cells that are neither labels nor sequences.

        A row keeps one cell of every modality that it has. Use `read(data, hide_cells=…)` if masked values must not
        influence the scaling, and if encoders are to see what is masked.

        Args:
            rate: the share of the cells that is masked.
            seed: the seed of the draw.

        Returns:
            A new data set; this one is not changed.

        Raises:
            UsageError: the rate is outside [0, 1), or no modality has several cells.
        """
        left = hidden_cells(self.modalities, self.observed, self.present, rate, seed)
        return self._masked(self.observed, self.present | left)

    def _masked(self, observed: dict[str, Tensor], present: dict[str, Tensor]) -> Dataset:
        """Return the same rows with zeros where these masks leave nothing."""
        train = self.rows("train")
        fresh = self.refresh

        def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
            assert fresh is not None  # `refresh` is returned only then
            seen, there = ({name: mask[train] for name, mask in of.items()} for of in (observed, present))
            return _blank(fresh(seed, epoch), seen, there)

        return dataclasses.replace(
            self,
            values=_blank(self.values, observed, present),
            observed=observed,
            present=present,
            refresh=None if fresh is None else refresh,
            whole=None,
            scaled_on_all=None,
        )

    def fingerprint(self) -> str:
        """Return a hash that any change of schema, ids, values, masks, split or annotations changes.

        Values that are masked do not count. If the train rows are drawn anew in every epoch, the name of the data set
        counts too.

        Returns:
            64 hexadecimal digits.
        """
        return self._combined(self.modalities, self._row_digests)

    def fingerprints(self) -> dict[str, str]:
        """Compute the hashes that a fit records about its data, in one pass over the values.

        Returns:
            "fingerprint" of these rows; "unhidden" of the same rows before `read(hide=…)` masked some of them; and
            "as_read", which does not depend on the mask because it uses the scaling learnt from all train rows in place
            of the scaled values.
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
        """Name → (N,) uint64 digests. Rows that `read` has masked since keep the digests of their original values."""
        if self.whole is not None:
            return self.whole._row_digests
        return {name: row_digests(value, self._there(name)) for name, value in self.values.items()}

    def _there(self, name: str) -> Tensor | None:
        """The elements that rows have, broadcastable to (N, *shape); None: all."""
        there = self.present.get(name)
        return None if there is None else there.reshape(*there.shape, *[1] * (self.values[name].ndim - there.ndim))

    def _combined(self, modalities: Sequence[Modality], digests: Mapping[str, np.ndarray]) -> str:
        drawn_by = None if self.refresh is None else self.name
        beside = digest_of(self.annotations)
        return dataset_fingerprint(
            modalities, self.ids, self.split, self.observed, digests, drawn_by, beside, self.present
        )

    def describe(self) -> dict[str, Any]:
        """Count the rows and describe what they contain, ready for JSON.

        Returns:
            The name, the number of rows in total and in each part, the schema, and `patterns`: how many rows have which
            modalities, with the names joined by "+". Rows without any modality are counted in `empty_rows`. A sequence
            has `lengths`, the least, the median and the most steps of the rows that have it; of what rows lack single
            cells of, `cells` is the share that the rows that have it have.
            `annotations` are described as by `describe_annotations`; `notes` say what was left out, and `findings` what
            is suspicious.
        """
        return described(self)


def _blank(
    values: dict[str, Tensor], observed: Mapping[str, Tensor], present: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return `values` with zeros where no row or no element is observed. A modality that is never missing is not
    copied."""
    blanked = {}
    for name, value in values.items():
        for there in (observed.get(name), present.get(name)):
            if there is not None and not there.all():
                there = there.reshape(*there.shape, *[1] * (value.ndim - there.ndim))
                value = _where(there, value)
        blanked[name] = value
    return blanked


def _where(there: Tensor, value: Tensor) -> Tensor:
    """A copy with zeros elsewhere, in a file if the values lie in one."""
    if not is_mapped(value):
        return torch.where(there, value, torch.zeros_like(value))
    found = torch.from_numpy(empty_like(value, tuple(value.shape), value.numpy().dtype))
    for rows in row_blocks(value):
        found[rows] = torch.where(there[rows], value[rows], torch.zeros_like(value[rows]))
    return found


def _taken(value: Tensor, rows: Tensor) -> Tensor:
    """Some rows, in a file if the values lie in one; the values themselves if they are all of that."""
    if not is_mapped(value):
        return value.index_select(0, rows)
    if len(rows) == len(value) and torch.equal(rows, torch.arange(len(value))):
        return value
    return torch.from_numpy(rows_where(value.numpy(), rows.numpy()))
