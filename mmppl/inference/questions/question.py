"""A checked question about a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ...base.choices import METHODS, PRECISIONS, choice
from ...base.parsing import whole
from ...core.batch import SIZE
from ...core.program import Program
from ...data.dataset import Dataset
from ...distributions.delta import is_deterministic
from ...errors import UsageError, suggest
from ...objectives.traces import is_random
from ..predictive import quantile_name
from .set_conditions import set_conditions

QUANTITIES = ("importance",)  # that programs may have (`Program.quantities`): a program without it says so
SMOOTHING = 64  # bytes per weight, with the copies that smoothing makes


def latents_of(program: Program, dataset: Dataset, given: Sequence[str]) -> dict[str, Any]:
    """Find the latents of a program.

    Args:
        program: the program.
        dataset: data in its schema.
        given: the names that are given.

    Returns:
        name → the distribution that the query guide has of it for the first row.
    """
    batch = dataset.batch(torch.tensor([0]), program.encoded).seeing(given)
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random state as it is
        nodes = poutine.trace(program.query_guide).get_trace(batch).nodes.items()
    return {name: site["fn"] for name, site in nodes if is_random(site) and not site["is_observed"]}


def latent_sizes(program: Program, dataset: Dataset, given: Sequence[str]) -> dict[str, int]:
    """List the latents of a program, as `latents_of` finds them.

    Args:
        program: the program.
        dataset: data in its schema.
        given: the names that are given.

    Returns:
        name → the number of elements of a draw.
    """
    return {name: fn.event_shape.numel() for name, fn in latents_of(program, dataset, given).items()}


@dataclass
class Question:
    """A checked question about a data set.

    Args:
        program: a program with fitted weights.
        dataset: the rows that are asked about.
        given: all names that may be conditioned on.
        want: the names that are wanted.
        draws: the number of latent draws per row.
        method: "guide" or "importance".
        seed: the seed of the draws.
        keep_draws: whether the answer contains the draws.
        quantiles: the quantiles to report.
        precision: "fp32" or "bf16".
        latents: name → the number of elements of a draw; empty if no latent is wanted.
        instead: condition → (*shape), the values under which predictions are made instead of the rows' own.
    """

    program: Program
    dataset: Dataset
    given: list[str]  # every name that may be conditioned on
    want: list[str]
    draws: int
    method: str
    seed: int
    keep_draws: bool
    quantiles: Sequence[float]
    precision: str
    latents: dict[str, int]  # name → numbers per draw; empty where none is wanted
    instead: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        program: Program,
        dataset: Dataset,
        given: Sequence[str] | None,
        want: Sequence[str],
        draws: int,
        method: str,
        seed: int,
        keep_draws: bool,
        quantiles: Sequence[float],
        precision: str,
        set_condition: Mapping[str, Any] = {},
    ) -> Question:
        """Check a question.

        Args:
            program: a program with fitted weights.
            dataset: the rows that are asked about.
            given: the names to condition on; None takes what each row has.
            want: the names that are wanted.
            draws: the number of latent draws per row.
            method: "guide" or "importance".
            seed: the seed of the draws.
            keep_draws: whether the answer contains the draws.
            quantiles: the quantiles to report.
            precision: "fp32" or "bf16".
            set_condition: condition → the value under which predictions are made.

        Returns:
            The checked question.

        Raises:
            UsageError: a name, method or number is wrong, or the program cannot answer the question.
        """
        names = [m.name for m in program.modalities]
        choice("query: method", method, METHODS)
        choice("query: precision", precision, PRECISIONS)
        draws, seed = whole("draws", draws), whole("seed", seed)
        if draws < 1:
            raise UsageError(f"query: {draws} draws; at least one is needed.")
        if not len(dataset):
            raise UsageError(f"query: {dataset.name} has no rows in this split.")
        for p in quantiles:
            quantile_name(p)  # raises if it is wrong
        if not want:
            raise UsageError(f"query: nothing is wanted; name some of {', '.join(['z', *names])}.")
        for name in (m.name for m in program.covariates if m.name in (*(given or ()), *want)):
            raise UsageError(
                f"query: {name} is a condition: each row is seen under its own, and nothing predicts it. Leave it out; "
                f"--set-condition {name}=VALUE predicts under another."
            )
        for name in given or ():
            if name not in names:
                raise UsageError(
                    f"query: no modality {name!r} to give; this run has {', '.join(names)}.{suggest(name, names)}"
                )
        if given is None:
            roles = {m.name: m.role for m in program.modalities}
            seen = [n for n in program.encoded if roles[n] == "modality" and n not in want]
        else:
            seen = list(given)
        weighs = method == "importance" or set(want) == {"evidence"}  # the model scores what the guide does not see
        for name in QUANTITIES:
            if name in want and name not in (*program.quantities, *names):
                raise UsageError(f"query: {type(program).__name__} has no {name} of its modalities; leave it out.")
        if reason := program.can_answer(seen, *[True] * weighs):
            raise UsageError(f"query: {reason}.")
        lacking = torch.zeros(len(dataset), dtype=torch.bool)
        for name in program.conditions:
            lacking |= ~dataset.observed[name]
        if lacking.any():
            first = dataset.ids[int(lacking.nonzero()[0])]
            raise UsageError(
                f"query: {int(lacking.sum())} rows (first id {first}) lack {', '.join(program.conditions)}, which "
                f"{type(program).__name__} conditions on. Leave them out, with --rows or in the file."
            )
        question = cls(program, dataset, seen, list(want), draws, method, seed, keep_draws, quantiles, precision, {})
        weighing = method == "importance" or "evidence" in want
        if weighing and any(map(is_deterministic, latents_of(program, dataset, seen).values())):
            what = "evidence" if "evidence" in want else "answer by importance sampling"
            raise UsageError(
                f"query: {type(program).__name__} has no {what}: its guide encodes a row as one point, and there is no "
                "density over codes; leave it out, or ask with method guide."
            )
        if any(name not in ("evidence", *program.targets(), *program.quantities) for name in want):
            question.latents = latent_sizes(program, dataset, seen)
        for name in want:
            if name in names and name not in program.targets():
                raise UsageError(
                    f"query: {type(program).__name__} has no distribution for {name}; it answers about "
                    f"{', '.join([*question.latents, *program.targets()])}."
                )
        question.instead = set_conditions(program, set_condition)
        for name in question.instead.keys() - {m.name for m in program.covariates}:
            if (counts := name.removeprefix(SIZE)) not in want:
                raise UsageError(f"query: --set-condition {name} is of {counts}, which is not wanted; want it, too.")
        if set_condition and "evidence" in want:
            raise UsageError("query: evidence is that of rows under their own conditions; leave out --set-condition.")
        if set_condition and not any(name in program.targets() for name in want):
            raise UsageError(
                "query: --set-condition changes what is predicted, and only latents are wanted; leave it out."
            )
        known = [*question.latents, *names, *program.quantities, "evidence"]
        for name in want:
            if name not in known:
                raise UsageError(
                    f"query: {name!r} is not in this run; want some of {', '.join(known)}.{suggest(name, known)}"
                )
        return question

    def held(self) -> int:
        """Return the bytes per row and draw that have to be kept until the last draw of the row."""
        weighs = self.method == "importance" or "evidence" in self.want
        copies = 2 * self.keep_draws + (2 if self.method == "importance" else 1)
        number = torch.get_default_dtype().itemsize
        sizes = {
            m.name: m.size * (8 if m.family.values == "classes" else number)
            for m in self.program.modalities
            if self.holds(m.name)
        }
        sizes |= {name: size * number for name, size in self.latents.items() if self.holds(name)}
        return SMOOTHING * weighs + copies * sum(size for name, size in sizes.items() if name in self.want)

    def holds(self, name: str) -> bool:
        """Say whether all draws of a name are needed at once.

        Args:
            name: a name that is wanted.

        Returns:
            True if they are.
        """
        ordered = name in self.latents or self.program.modality(name).family.values != "classes"
        return self.keep_draws or (ordered and bool(self.quantiles))

    def targets(self) -> list[str]:
        """Return the names whose evidence is wanted: those wanted beside it, or else those given."""
        aside = ("evidence", *self.latents, *self.program.quantities, *self.program.conditions)
        return [n for n in self.want if n not in aside] or [n for n in self.given if n not in aside]
