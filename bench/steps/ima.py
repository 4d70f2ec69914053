"""One training step of both stages of IMA on pictures and sounds of digits: through our program and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmppl import Batch, Modality, Program, load_program
from mmppl.nn.mlp import mlp
from mmppl.train.settings import FitSettings
from mmppl.train.stages.gradient import Evaluation, GradientStage
from mmppl.train.stages.plan import plan_stages

from ..case import Case
from ..step import products_of, scoped, steps_apart

SIZES, WIDTHS, LATENT, RHO, LR = (784, 696), (500, 100), 50, 0.9, 1e-3
MODALITIES = tuple(Modality(name, (size,), "bernoulli") for name, size in zip(("image", "speech"), SIZES))
STAGES = ("autoencoder", "importance")
MEMORY = 0.05  # of the mean importances that are told after a fit


def sample(rows: int) -> Batch:
    """Make a batch of random numbers in [0, 1], with nothing missing."""
    generator = torch.Generator().manual_seed(0)
    values = {m.name: torch.rand(rows, m.size, generator=generator) for m in MODALITIES}
    observed = {name: torch.ones(rows, dtype=torch.bool) for name in values}
    return Batch(values, observed, torch.arange(rows), rows, tuple(values))


def program() -> Program:
    """Make the installed program with the networks of the paper, which begins at the prior and weighs C by 1."""
    ima: Any = load_program("ima")
    made: Program = ima(MODALITIES, hidden=WIDTHS, latent_dim=LATENT, rho=RHO, corr=1.0, begin="prior")
    return made


def ours(program: Program, stage: str) -> Evaluation:
    """Make the evaluation of a stage as `mmppl fit` makes it: terms, gradients, fused Adam of the stage's groups.

    Args:
        program: the program that is trained; it is set to the stage.
        stage: one of `STAGES`.

    Returns:
        The evaluation, called with a batch.
    """
    planned = next(p for p in plan_stages(program, 1_000) if p.stage.name == stage)
    program.train().stage = stage
    (found,) = GradientStage(program, planned, FitSettings(lr=LR), 1_000, 0).evaluations
    return found


class Plain(nn.Module):
    """The same by hand, in plain PyTorch: each stage computes what it needs and no more."""

    mean_importance: Tensor

    def __init__(self) -> None:
        super().__init__()

        def networks(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.ModuleList:
            each = zip(inputs, WIDTHS, outputs)
            return nn.ModuleList(mlp(i, width, o, layers=2, activation="relu") for i, width, o in each)

        self.encoders = networks(SIZES, (LATENT, LATENT))
        self.decoders = networks((LATENT, LATENT), SIZES)
        self.importances = networks(SIZES, (1, 1))
        self.register_buffer("mean_importance", torch.full((2,), RHO))

    def autoencoder(self, values: list[Tensor]) -> Tensor:
        """The loss of the first stage, mean over the rows.

        Args:
            values: (B, size) of each modality.

        Returns:
            A scalar.
        """
        u = torch.stack([encoder(x) for encoder, x in zip(self.encoders, values)])
        z = u.mean(0)
        loss = z.square().sum() + (z - u).square().sum()
        for decoder, x in zip(self.decoders, values):
            loss = loss + F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        return loss / len(z)

    def importance(self, values: list[Tensor]) -> Tensor:
        """The loss of the second stage, of which only the importance networks get a gradient.

        Args:
            values: (B, size) of each modality.

        Returns:
            A scalar.
        """
        log_odds = torch.stack([network(x).squeeze(-1) for network, x in zip(self.importances, values)])
        y = torch.sigmoid(log_odds + math.log(RHO / (1 - RHO)))  # (2, B)
        mean = y.mean(1)
        with torch.no_grad():
            u = torch.stack([encoder(x) for encoder, x in zip(self.encoders, values)])
            z = (y.unsqueeze(-1) * u).sum(0) / y.sum(0).unsqueeze(-1)
            self.mean_importance.lerp_(mean, MEMORY)
        share = ((1 - y) / (1 - y).sum(1, keepdim=True)).unsqueeze(-1)
        of_z, of_u = z - (share * z).sum(1, keepdim=True), u - (share * u).sum(1, keepdim=True)
        loss = ((share * of_z).mT @ of_u).square().sum()
        return loss + (mean * (mean / RHO).log() + (1 - mean) * ((1 - mean) / (1 - RHO)).log()).sum()

    def loss(self, stage: str, values: list[Tensor]) -> Tensor:
        """The loss of a stage."""
        return self.autoencoder(values) if stage == "autoencoder" else self.importance(values)

    def moving(self, stage: str) -> list[nn.Parameter]:
        """The parameters that a stage moves."""
        parts = [self.encoders, self.decoders] if stage == "autoencoder" else [self.importances]
        return [parameter for part in parts for parameter in part.parameters()]


def plain(model: Plain, batch: Batch, stage: str) -> Callable[[], float]:
    """Make a hand-written step: loss, backward, fused Adam."""
    moving, values = model.moving(stage), list(batch.values.values())
    optimiser = torch.optim.Adam(moving, lr=LR, fused=True)

    def run() -> float:
        loss = model.loss(stage, values)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def disagreement(stage: str, rows: int, mine: Program | None = None) -> float:
    """Compute the largest relative difference of loss and gradients between our program and the hand-written model
    with the same weights; the step is first eager, then recorded.

    Args:
        stage: one of `STAGES`.
        rows: the number of rows.
        mine: our program; None: a new one.

    Returns:
        The difference.
    """
    made, other, batch = mine or program(), Plain(), sample(rows)
    weights = [
        pair
        for part in ("encoders", "decoders", "importances")
        for a, b in zip(getattr(made, part).values(), getattr(other, part))
        for pair in zip(a.parameters(), b.parameters())
    ]
    with torch.no_grad():
        for network in made.importances.values():  # type: ignore[operator]
            list(network.parameters())[-1].sub_(1.0)  # at rho itself the gradient of the KL is rounding alone
    values = list(batch.values.values())
    return steps_apart(ours(made, stage).step, batch, lambda: other.loss(stage, values), weights)


def products(stage: str, rows: int) -> Callable[[], None]:
    """Make a call of the step's matrix products alone, into existing memory: forward, and both gradients of every layer
    that moves except those of the data.

    Args:
        stage: one of `STAGES`.
        rows: the number of rows.

    Returns:
        The call.
    """
    encoders = [layer for size, width in zip(SIZES, WIDTHS) for layer in stack(rows, size, width, LATENT)]
    if stage == "autoencoder":
        decoders = [layer for size, width in zip(SIZES, WIDTHS) for layer in stack(rows, LATENT, width, size, True)]
        return products_of([*encoders, *decoders])
    moving = [layer for size, width in zip(SIZES, WIDTHS) for layer in stack(rows, size, width, 1)]
    learned = products_of(moving)
    jobs = [(torch.randn(n, i), torch.randn(o, i).T, torch.empty(n, o)) for n, i, o, _ in encoders]

    def run() -> None:
        learned()
        for a, b, out in jobs:
            torch.mm(a, b, out=out)

    return run


def stack(rows: int, first: int, width: int, last: int, inner: bool = False) -> list[tuple[int, int, int, bool]]:
    """List (rows, inputs, outputs, whether the inputs need a gradient) of the layers of one network."""
    sizes = [(first, width), (width, width), (width, last)]
    return [(rows, i, o, inner or n > 0) for n, (i, o) in enumerate(sizes)]


def case(stage: str, rows: int = 512) -> Case:
    """The step of a stage, with matrix products in the way that `mmppl fit` computes them.

    Args:
        stage: one of `STAGES`.
        rows: the number of rows.

    Returns:
        The case.
    """
    torch.manual_seed(0)
    batch = sample(rows)
    step = ours(program(), stage)
    return Case(
        f"IMA step, {stage}, fp32",
        f"batch={rows} latent={LATENT}",
        scoped(lambda: step(batch)),
        {"hand-written PyTorch": scoped(plain(Plain(), batch, stage))},
        scoped(products(stage, rows)),
        lambda: (disagreement(stage, 16), 1e-5),
    )
