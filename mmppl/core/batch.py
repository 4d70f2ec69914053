"""A batch of rows, what is observed in it, and what a program may see and has to score."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ..modalities.modality import Modality
from .row_selection import MissingnessPatterns, SelectedRows, SelectedSubsets, Selection

SIZE = "size_"  # before the name of counts: their total, which a query sets as it does a condition


@dataclass(frozen=True)
class Batch:
    """B samples of a data set of N rows.

    Args:
        values: name → (B, *shape). What stands where `observed` is False never matters, not even NaN.
        observed: name → (B,) bool.
        present: name → bool, broadcastable to (B, *shape), the elements that an observed row has: (B, T, 1) of a
            sequence, (B, *shape) with gaps. What stands elsewhere never matters, either. A name that is absent: all
            elements.
        index: (B,) row numbers.
        size: N, the number of rows that the batch stands for (the size of Pyro's "data" plate).
        encoded: the M names that a guide may see, in the order of the last axis of `seen`.
        seen: (B, M) or (S, B, M) bool ⊆ observed; None: all that is observed.
        active: (S, B) or (B,) bool, applied to every site, KLs included; None: every row counts.
        scored: name → (B,) or (S, B) bool ⊆ observed; None: all that is observed.
        free: names that `observe` samples instead of scoring (what a query wants).
        needed: names whose site a query reads; None: all.
        patterns: which modalities the rows of the data set have. With it, `observe` leaves out rows that are not
            scored. None: it decodes every row.
        instead: condition → (*shape), the value that decoders see in all rows instead of each row's own. Encoders see
            the rows' own. `SIZE` and the name of counts with a size factor → (), their total, at which `observe`
            samples them.
        holding: name → numbers of the only subsets in which the name may be scored. A name that is absent may be scored
            in any subset.

    Example:
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> observed = {"x": torch.tensor([True, False])}
        >>> batch = Batch({"x": x}, observed, index=torch.arange(2), size=2, encoded=("x",))
        >>> batch.seen.tolist(), batch.value("x").tolist()
        ([[True], [False]], [[1.0], [0.0]])
    """

    values: Mapping[str, Tensor]
    observed: Mapping[str, Tensor]
    index: Tensor
    size: int
    encoded: tuple[str, ...]
    seen: Tensor = None  # type: ignore[assignment]  # filled below
    active: Tensor | None = None
    scored: Mapping[str, Tensor] = None  # type: ignore[assignment]  # filled below
    free: frozenset[str] = field(default_factory=frozenset)
    needed: frozenset[str] | None = None
    patterns: MissingnessPatterns | None = None
    holding: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)
    instead: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seen is None:
            object.__setattr__(self, "seen", self._stacked_observed())
        if self.scored is None:
            object.__setattr__(self, "scored", dict(self.observed))

    def _stacked_observed(self) -> Tensor:
        if not self.encoded:
            return torch.zeros(len(self.index), 0, dtype=torch.bool, device=self.index.device)
        return torch.stack([self.observed[name] for name in self.encoded], -1)

    def __len__(self) -> int:
        return len(self.index)

    def value(self, name: str) -> Tensor:
        """Return the values of a modality, with zeros where nothing was observed. Likelihoods read values only through
        here.

        Args:
            name: name of the modality.

        Returns:
            (B, *shape).
        """
        value = self.values[name]
        return torch.where(self._there(name), value, torch.zeros_like(value))

    def _there(self, name: str) -> Tensor:
        """Bool, broadcastable to (B, *shape): the elements that were observed."""
        rows = self.observed[name].reshape(-1, *[1] * (self.values[name].ndim - 1))
        return rows & self.present[name] if name in self.present else rows

    def plausible(self, name: str) -> Tensor:
        """Return the values of a modality, with those of an observed row where nothing was observed.

        Likelihoods that also score what is masked read these: they may be infinite at 0, and no gradient recovers from
        that.

        Args:
            name: name of the modality.

        Returns:
            (B, *shape); ½ in the other rows where no row is observed.
        """
        value, observed = self.values[name], self.observed[name]
        other = value.index_select(0, observed.long().argmax().reshape(1))
        other = torch.where(observed.any(), other, 0.5 if value.is_floating_point() else 0)
        return torch.where(observed.reshape(-1, *[1] * (value.ndim - 1)), value, other)

    def input(self, modality: Modality) -> Tensor:
        """Return an encoder's input, with zeros where nothing was observed. Encoders read values only through here.

        Args:
            modality: the modality that is encoded.

        Returns:
            (B, input_size) floats; of a sequence the flattened (T, F + 1) steps, whose last number says whether the
            step exists, and with gaps the mask behind the values (`Modality.as_input`). The columns of its covariates
            come last, whether it is observed or not.
        """
        columns = modality.as_input(self.values[modality.name], self.present.get(modality.name))
        columns = torch.where(self.observed[modality.name].unsqueeze(-1), columns, 0.0)
        return torch.cat([columns, self.beside(modality.covariates)], -1) if modality.covariates else columns

    def beside(self, covariates: Sequence[Modality], *, decoded: bool = False) -> Tensor:
        """Return the columns of conditions, which encoders and decoders see beside their inputs.

        Args:
            covariates: the conditions; at least one.
            decoded: whether decoders read them, for which a query may have set other values (`instead`).

        Returns:
            (B, C) floats; zeros where a condition was not observed: no class, or the mean of standardised numbers.
        """
        found = []
        for m in covariates:
            if decoded and m.name in self.instead:
                found.append(m.as_input(self.instead[m.name].unsqueeze(0)).expand(len(self), -1))
            else:
                columns = m.as_input(self.values[m.name], self.present.get(m.name))
                found.append(torch.where(self.observed[m.name].unsqueeze(-1), columns, 0.0))
        return torch.cat(found, -1)

    def steps(self, modality: Modality) -> tuple[Tensor, Tensor]:
        """Return the steps of a sequence, with zeros where a step does not exist or the row lacks the modality.

        Args:
            modality: the modality; one that is no sequence has one step.

        Returns:
            (B, T, F) floats, F columns per step as in `Modality.as_input` without the mask, and (B, T) bool, the steps
            that exist.
        """
        columns = self.input(modality.alone)
        if not modality.sequence:
            return columns.unsqueeze(1), self.observed[modality.name].unsqueeze(-1)
        steps = columns.unflatten(-1, (modality.shape[0], -1))
        return steps[..., :-1], steps[..., -1] > 0

    def sees(self, name: str) -> Tensor:
        """Return where the guide may see a modality.

        Args:
            name: name of the modality.

        Returns:
            (B,) or (S, B) bool.
        """
        return self.seen[..., self.encoded.index(name)]

    def under(
        self,
        subsets: Tensor,
        scored: Literal["observed", "seen", "unseen"] = "observed",
        *,
        cut: bool = False,
        drawn: Tensor | None = None,
    ) -> Batch:
        """Return the same rows under S subsets of the encoded modalities at once.

        Args:
            subsets: (S, M) bool, the same in every step.
            scored: what the likelihood scores in each subset: all that is observed, only what the guide sees, or only
                what it does not see. Names that no guide ever sees (labels) are scored wherever they are observed.
            cut: whether subsets are cut down to what a row has, and count where anything is left.
            drawn: (K, M) or (K, B, M) bool, further subsets, which differ from step to step; with B of each row's own.

        Returns:
            A batch with `seen` (S + K, B, M) and `active` (S + K, B). Subset s counts for row b iff s is non-empty and
            s ⊆ observed[b], so each row meets each of its own subsets exactly once; with `cut` iff s ∩ observed[b] is
            non-empty, so a row may meet one more than once.
        """
        observed = self._stacked_observed()
        fixed = subsets
        subsets = _placed(subsets, observed.device).unsqueeze(1)  # (S, 1, M)
        if drawn is not None:
            own = drawn if drawn.ndim == 3 else drawn.unsqueeze(1)
            subsets = torch.cat([subsets.expand(-1, own.shape[1], -1), own])
        seen = subsets & observed
        active = seen.any(-1) if cut else (observed | ~subsets).all(-1) & subsets.any(-1)
        if self.active is not None:
            active = active & self.active
        chosen, holding = dict(self.observed), {}
        more = 0 if drawn is None else len(drawn)
        if scored != "observed":
            wanted = scored == "seen"
            for i, name in enumerate(self.encoded):
                chosen[name] = self.observed[name] & (seen[..., i] == wanted)
                holding[name] = _holding(fixed[:, i] == wanted, more)
        patterns = self.patterns
        if patterns is not None:
            patterns = patterns.under(fixed.cpu().numpy(), self.encoded, scored, cut=cut, drawn=more)
        return dataclasses.replace(self, seen=seen, active=active, scored=chosen, patterns=patterns, holding=holding)

    def selection(self, modality: Modality, weight: int) -> Selection | None:
        """Choose the rows that a modality's decoder has to decode, if leaving out the others pays.

        Args:
            modality: the modality that is decoded.
            weight: how many numbers the decoder holds, which is how often it multiplies per row.

        Returns:
            The rows (and subsets) that are scored, as many as `patterns` make room for; else the subsets that may score
            the modality, where not all may; None where neither is known, nearly everything is scored, or the decoder is
            too small for it to pay.
        """
        name = modality.name
        holding, lead = self.holding.get(name), self.seen.shape[:-1]
        if self.patterns is not None:
            scored = self.scored[name] if self.active is None else self.scored[name] & self.active
            most = lead[-1] * (len(holding) if holding else lead[:-1].numel())
            slots = self.patterns.slots(name, scored.expand(lead), most, weight, modality.size)
            if slots is not None:
                return Selection(SelectedRows, slots, lead)
        return Selection(SelectedSubsets, _numbers(holding, self.index.device), lead) if holding else None

    def seeing(self, names: Sequence[str]) -> Batch:
        """Return the same rows when a guide may see only some modalities, and those only where they are observed.

        Args:
            names: names of the modalities.

        Returns:
            A batch whose `seen` is (B, M).
        """
        allowed = torch.tensor([name in names for name in self.encoded], dtype=torch.bool, device=self.index.device)
        return dataclasses.replace(self, seen=self._stacked_observed() & allowed)

    def wanting(self, free: Sequence[str], scored: Sequence[str] = ()) -> Batch:
        """Return the same rows when some modalities are to be sampled rather than scored.

        Args:
            free: names that are sampled.
            scored: names that are needed besides them. No other site is needed.

        Returns:
            A batch with `free` and `needed`.
        """
        return dataclasses.replace(self, free=frozenset(free), needed=frozenset([*free, *scored]))

    def has(self, names: Sequence[str]) -> Tensor:
        """Return (B,) bool: the rows in which all of these names are observed."""
        return torch.stack([self.observed[name] for name in names]).all(0)

    def requiring(self, names: Sequence[str]) -> Batch:
        """Return the same batch, in which only rows that have all of these names count. The others add nothing to any
        term.

        Args:
            names: names of modalities.

        Returns:
            A batch with `active`.
        """
        rows = self.has(names)
        active = rows if self.active is None else self.active & rows
        patterns = self.patterns and self.patterns.requiring(names)
        return dataclasses.replace(self, active=active, patterns=patterns)

    @contextmanager
    def plates(self) -> Iterator[None]:
        """Open the Pyro plates "data" (dim −1, size N) and, under subsets, "subsets" (dim −2), with the active mask."""
        with ExitStack() as stack:
            stack.enter_context(pyro.plate("data", self.size, subsample=self.index, dim=-1))
            if self.seen.ndim == 3:
                stack.enter_context(pyro.plate("subsets", self.seen.shape[0], dim=-2))
            if self.active is not None:
                stack.enter_context(poutine.mask(mask=self.active))
            yield


def _holding(column: Tensor, drawn: int) -> tuple[int, ...]:
    """Numbers of the subsets that may score a modality, by its (S,) `column` of them, and of the drawn subsets after
    them; none where that leaves nothing out.
    """
    numbers = (*column.nonzero().flatten().tolist(), *range(len(column), len(column) + drawn))
    return numbers if len(numbers) < len(column) + drawn else ()


@lru_cache(256)
def _numbers(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """These numbers as a tensor. It is copied to the device once, as in `_placed`."""
    return torch.tensor(numbers, device=device)


def _placed(subsets: Tensor, device: torch.device) -> Tensor:
    """The same table on a device. It is copied there once: nothing can be copied while a CUDA graph is captured."""
    if subsets.device == device:
        return subsets
    if not len(subsets):
        return subsets.new_zeros(subsets.shape, device=device)
    return _copied(subsets.numpy().tobytes(), subsets.shape, device)


@lru_cache(64)
def _copied(table: bytes, shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.frombuffer(bytearray(table), dtype=torch.bool).reshape(shape).to(device)
