"""Total correlation of the modalities through a program's codes, as a term of its loss: `tc.METHOD`."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pyro import poutine
from torch import Tensor

from ...core.added_terms import AddedTerm
from ...core.batch import Batch
from ...core.program import Program
from ...core.stages import Group
from ...core.terms import Terms
from ...errors import UsageError, suggest
from ..dependence.bounds import BOUNDS
from ..dependence.lipschitz import Lipschitz
from ..dependence.shuffle import Shuffle, in_one, shuffled
from ..dependence.total_correlation import LR, TotalCorrelation
from ..traces import is_random
from .registry import TERMS

EXPERTS = "experts"


class CodeDependence(AddedTerm):
    """−λ times a bound on the total correlation of the modalities: how well a critic tells the codes of rows from those
    of rows whose modalities were put together at random.

    Only rows that have two modalities count, and each modality is permuted among the rows that have it.

    Args:
        program: whose codes.
        rows: a few rows, on which the guide runs once.
        method: of `mmppl.objectives.dependence.bounds`.
        seed: of the permutations.
        on: "z" or another latent of the guide: the fused code of all that a row has, for which the guide runs a second
            time on permuted modalities; or "experts": what `program.encoders` give for each modality, which are
            permuted as they are.
        code: whether the fused code is a "draw" of the guide or the "mean" of its distribution.
        weight: λ; 0 trains the critic alone.
        lr: learning rate of the critic.
        steps: how often the critic moves per batch.
        width: of the critic's layers.
        layers: of the critic.
        dropout: of the critic.
        sigmoid: whether the critic's output lies in (0, 1), which caps the bounds.
        lipschitz: of the critic of "wasserstein".
        derange: whether no row keeps a modality of its own; see `Shuffle`.

    Raises:
        UsageError: the program has no such latent, or no encoders of single modalities, or fewer than two modalities.

    Source: Colombo et al. 2021, arXiv:2109.00922, eqs. 5 to 8.
    """

    methods = tuple(BOUNDS)

    def __init__(
        self,
        program: Program,
        rows: Batch,
        method: str,
        seed: int,
        *,
        on: str = "z",
        code: Literal["draw", "mean"] = "draw",
        weight: float = 0.1,
        lr: float = LR,
        steps: int = 1,
        width: int = 128,
        layers: int = 3,
        dropout: float = 0.0,
        sigmoid: bool = False,
        lipschitz: Lipschitz = "spectral",
        derange: bool = False,
    ) -> None:
        super().__init__()
        self.on, self.code, name = on, code, f"tc.{method}.{on}"
        who = type(program).__name__
        if len(program.encoded) < 2:
            raise UsageError(f"--term tc.{method}: {who} sees one modality; dependence needs two.")
        if steps < 1 or width < 1 or layers < 1 or not 0 <= dropout < 1:
            raise UsageError(f"--term tc.{method}: steps, width and layers are at least 1, dropout is in [0, 1).")
        if not (0 <= weight < math.inf and lr > 0):
            raise UsageError(f"--term tc.{method}: weight {weight:g}, lr {lr:g}: expected weight ≥ 0 and lr > 0.")
        was = program.training
        program.eval()
        with torch.no_grad():
            codes = self.codes(program, rows)
        program.train(was)
        sizes = [code.shape[-1] for code in codes]
        self.shuffle = Shuffle(len(program.encoded), seed=seed, derange=derange)
        self.bound = TotalCorrelation(
            sizes, method=method, name=name, weight=weight, lr=lr, steps=steps, flags=len(program.encoded), width=width,
            layers=layers, dropout=dropout, sigmoid=sigmoid, lipschitz=lipschitz,
        )  # fmt: skip
        self.names = (name, *([f"lipschitz.{name}"] if self.bound.penalised else []))

    def forward(self, program: Program, batch: Batch) -> Terms:
        """The bound on a batch, whose rows are all looked at with all that they have."""
        names = batch.encoded
        present = torch.stack([batch.observed[name] for name in names], -1)
        batch = Batch(batch.values, batch.observed, batch.index, batch.size, names, present=batch.present)
        source = self.shuffle(present)
        if self.on == EXPERTS:
            joint = self.codes(program, batch)
            product = [code.index_select(0, row) for code, row in zip(joint, source)]
        else:
            (both,) = self.codes(program, in_one(batch, shuffled(batch, names, source)))
            joint, product = [both[: len(batch)]], [both[len(batch) :]]
        return self.bound.terms(joint, product, present, present.sum(-1) >= 2)

    def codes(self, program: Program, batch: Batch) -> list[Tensor]:
        """(B, D) of each modality on "experts", else the one fused code."""
        who, what = type(program).__name__, f"--term tc: on={self.on}"
        if self.on == EXPERTS:
            own = getattr(program, "encoders", {})
            if any(name not in own for name in program.encoded):
                raise UsageError(f"{what}: {who} has no encoder for each modality; choose on=z.")
            return [own[name](batch.input(program.modality(name))).flatten(1) for name in program.encoded]
        sites = poutine.trace(program.guide).get_trace(batch).nodes
        latents = [name for name, site in sites.items() if is_random(site) and not site["is_observed"]]
        if self.on not in latents:
            known = [*latents, EXPERTS]
            raise UsageError(
                f"{what}: no latent of the guide of {who}; there are {', '.join(known)}.{suggest(self.on, known)}"
            )
        site = sites[self.on]
        value = site["value"] if self.code == "draw" else site["fn"].mean
        if value.ndim < 2 or len(value) != len(batch) or not value.is_floating_point():
            raise UsageError(f"{what}: {tuple(value.shape)} is no vector of real numbers for each row.")
        return [value.flatten(1)]

    def parameter_groups(self) -> list[Group]:
        """None of its own: the critic's is found in its part."""
        return []


TERMS.register("tc", module=__name__)(CodeDependence)
