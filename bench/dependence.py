"""What a total-correlation term costs: the step of the three-modality MVAE with it, and without."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mmppl import Program
from mmppl.core.added_terms import added_terms
from mmppl.objectives.added.registry import add, specs_of
from mmppl.train.optimiser import move, optimiser_of
from mmppl.train.settings import FitSettings
from mmppl.train.stages.plan import plan_stages
from mmppl.train.step import Step

from .case import Case, apart
from .step import program, sample, scoped

MOST = {"z": 2.2, "experts": 1.3}  # times the step without, at most


def with_term(on: str, weight: float = 0.1) -> Program:
    """Make the MVAE with a critic of the usual size.

    Args:
        on: "z" or "experts"; "": without.
        weight: of the term.

    Returns:
        The program.
    """
    torch.manual_seed(0)
    made = program()
    if on:
        add(made, specs_of([f"tc.nwj:on={on},weight={weight}"]), sample(2), seed=0)
    return made.train()


def stepping(on: str, rows: int) -> Callable[[], float]:
    """Make a step of `mmppl fit`: terms, gradients of all groups, their optimisers.

    Args:
        on: as in `with_term`.
        rows: of the batch.

    Returns:
        The step, which returns its loss.
    """
    made, batch, lr = with_term(on), sample(rows), FitSettings().lr
    (planned,) = plan_stages(made, 1)
    step = Step(made, groups=planned.groups)
    moving = [(group, optimiser_of(group, lr, batch.index.device)) for group in planned.groups]

    def run() -> float:
        outcome = step(batch)
        move(moving, None)
        return float(outcome.loss)

    return run


def disagreement(on: str, rows: int = 16) -> float:
    """Compute the largest relative difference of the program's gradients with a term of weight 0 to those without."""
    batch, found = sample(rows), []
    for made in (with_term(on, 0.0), with_term("")):
        own = {p for term in added_terms(made) for p in term.parameters()}
        torch.manual_seed(1)
        Step(made, groups=plan_stages(made, 1)[0].groups, replay=False)(batch)
        found.append([p.grad for p in made.parameters() if p not in own])
    return apart(*found)


def case(on: str, rows: int = 256) -> Case:
    """The step with a term on the fused code or on the experts, against the step without.

    Args:
        on: "z" or "experts".
        rows: of the batch.

    Returns:
        The case; a ratio of .5 over its rival is a step twice as long.
    """
    return Case(
        f"MVAE step, 3 modalities, fp32, with tc.nwj on {on}",
        f"batch={rows} subsets=7",
        scoped(stepping(on, rows)),
        {"without the term": scoped(stepping("", rows))},
        None,
        lambda: (disagreement(on), 1e-6),
    )
