"""What a critic costs: the step of the three-modality MVAE with a total-correlation term and without, and of MDM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mmppl import Batch, Modality, Program, TotalCorrelation, load_program
from mmppl.core.added_terms import AddedTerm
from mmppl.objectives.added.registry import add, specs_of
from mmppl.train.optimiser import move, optimiser_of
from mmppl.train.settings import FitSettings
from mmppl.train.stages.plan import plan_stages
from mmppl.train.step import Step

from ..case import Case, apart
from ..step import program, sample, scoped

MOST = {"z": 2.2, "experts": 1.3, "fused": 2.2, "unimodal": 1.3}  # times the step without, at most
SIZES = {"text": 100, "audio": 73, "video": 68}
FUSED = [(fusion, "fused") for fusion in ("ef-lstm", "lf-lstm", "mfn", "tfn", "lmf")]
UNIMODAL = [(fusion, "unimodal") for fusion in ("lf-lstm", "mfn", "tfn", "lmf")]


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


def stepping(made: Program, batch: Batch) -> Callable[[], float]:
    """Make a step of `mmppl fit`: terms, gradients of all groups, their optimisers.

    Args:
        made: the program, in training mode.
        batch: the batch.

    Returns:
        The step, which returns its loss.
    """
    lr = FitSettings().lr
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
    return _apart((with_term(on, 0.0), with_term("")), sample(rows))


def _apart(programs: tuple[Program, Program], batch: Batch) -> float:
    found = []
    for made in programs:
        own = {
            p for part in made.modules() if isinstance(part, AddedTerm | TotalCorrelation) for p in part.parameters()
        }
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
        scoped(stepping(with_term(on), sample(rows))),
        {"without the term": scoped(stepping(with_term(""), sample(rows)))},
        None,
        lambda: (disagreement(on), 1e-6),
    )


def utterances(rows: int, steps: int) -> tuple[tuple[Modality, ...], Batch]:
    """Make three sequences of the sizes of CMU-MOSI, with random values and nothing missing, and a score.

    Args:
        rows: of the batch.
        steps: of each sequence; with 1 they are vectors.

    Returns:
        The schema and the batch.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = {name: (steps, size) if steps > 1 else (size,) for name, size in SIZES.items()}
    modalities = [Modality(name, shape, scale=1.0, sequence=steps > 1) for name, shape in shapes.items()]
    score = Modality("score", (), "laplace", scale=1.0, role="label")
    values = {name: torch.randn(rows, *shape, generator=generator) for name, shape in (shapes | {"score": ()}).items()}
    observed = {name: torch.ones(rows, dtype=torch.bool) for name in values}
    present = {name: torch.ones(rows, steps, 1, dtype=torch.bool) for name in shapes} if steps > 1 else {}
    return (*modalities, score), Batch(values, observed, torch.arange(rows), rows, tuple(shapes), present=present)


def mdm(fusion: str, critic_on: str, schema: tuple[Modality, ...], weight: float = 0.1) -> Program:
    """Make MDM.

    Args:
        fusion: name of the network.
        critic_on: "fused" or "unimodal"; "": without a penalty.
        schema: of the data.
        weight: of the penalty.

    Returns:
        The program.
    """
    torch.manual_seed(0)
    hyper = dict(penalty="nwj", penalty_weight=weight, critic_on=critic_on) if critic_on else {}
    cls: Any = load_program("mdm")
    made: Program = cls(schema, fusion=fusion, **hyper)
    return made.train()


def fusion_case(fusion: str, critic_on: str, rows: int = 64, steps: int = 6) -> Case:
    """The step of MDM with a critic, against the step without, on windows of utterances.

    Args:
        fusion: name of the network.
        critic_on: "fused" or "unimodal".
        rows: of the batch.
        steps: of each sequence. With one, "tfn" and "lmf" are so small that the critic is most of the work.

    Returns:
        The case; a ratio of .5 over its rival is a step twice as long.
    """
    schema, batch = utterances(rows, steps)

    def disagreement() -> float:
        both = mdm(fusion, critic_on, schema, 0.0), mdm(fusion, "", schema)
        # in training the draws of dropout differ between one and two times as many rows
        return _apart((both[0].eval(), both[1].eval()), batch)

    return Case(
        f"MDM step, {fusion}, fp32, with nwj on {critic_on}",
        f"batch={rows} steps={steps}",
        scoped(stepping(mdm(fusion, critic_on, schema), batch)),
        {"without the penalty": scoped(stepping(mdm(fusion, "", schema), batch))},
        None,
        lambda: (disagreement(), 1e-5),
    )
