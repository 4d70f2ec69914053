"""One training step of MoPoE on many small modalities: all 2^M − 1 subsets, through our program and by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmppl import Batch, Modality, Program, all_subsets, load_program
from mmppl.nn.mlp import mlp

from ..case import Case, apart
from ..step import ours, scoped

WIDTH, LATENT, SIZE = 400, 20, 32


def modalities(count: int) -> list[Modality]:
    """Make so many modalities of `SIZE` features each."""
    return [Modality(f"m{i:02d}", (SIZE,), "normal") for i in range(count)]


def sample(count: int, rows: int) -> Batch:
    """Make a batch of random values, with nothing missing."""
    generator = torch.Generator().manual_seed(0)
    values = {m.name: torch.rand(rows, SIZE, generator=generator) for m in modalities(count)}
    observed = {name: torch.ones(rows, dtype=torch.bool) for name in values}
    return Batch(values, observed, torch.arange(rows), rows, tuple(values))


def program(modalities: Sequence[Modality]) -> Program:
    """Make the installed MoPoE, with the published objective and plain ReLU networks."""
    mopoe: Any = load_program("mopoe")
    published = dict(scored="observed", prior_expert="full")
    made: Program = mopoe(
        modalities, latent_dim=LATENT, hidden=WIDTH, layers=1, activation="relu", norm=False, linear=False, **published
    )
    return made


class Plain(nn.Module):
    """The same by hand: every subset by one matrix product, and the components chosen by position, which costs nothing.

    Args:
        count: the number of modalities.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(mlp(SIZE, WIDTH, 2 * LATENT) for _ in range(count))
        self.decoders = nn.ModuleList(mlp(LATENT, WIDTH, SIZE) for _ in range(count))
        self.subsets = all_subsets(count).float()

    def divergences(self, values: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the posteriors of all subsets and their KLs.

        Args:
            values: (B, SIZE) of each modality.

        Returns:
            Means and variances of every subset, (S, B, D), and the mean of their KLs over subsets, (B,).
        """
        heads = torch.stack([encoder(x) for encoder, x in zip(self.encoders, values)])
        loc, log_var = heads.chunk(2, -1)
        precision = torch.exp(-log_var)
        every = (self.subsets.sum(1) == len(values)).float().view(-1, 1, 1)
        total = (self.subsets @ precision.flatten(1)).view(-1, *loc.shape[1:]) + every
        mean = (self.subsets @ (loc * precision).flatten(1)).view_as(total) / total
        variance = 1 / total
        kl = 0.5 * (variance + mean * mean - 1 - variance.log()).sum((0, 2)) / len(self.subsets)
        return mean, variance, kl

    def loss(self, values: list[Tensor]) -> Tensor:
        """The negative objective, mean over the rows, without the constants of the Normal."""
        mean, variance, kl = self.divergences(values)
        rows = torch.arange(len(values[0]))
        chosen = rows * len(self.subsets) // len(rows)
        loc, spread = mean[chosen, rows], variance[chosen, rows].sqrt()
        z = loc + spread * torch.randn_like(loc)
        loss = kl.sum()
        for decoder, x in zip(self.decoders, values):
            loss = loss + 0.5 * (decoder(z) - x).pow(2).sum()
        return loss / len(rows)


def plain(model: Plain, batch: Batch) -> Callable[[], float]:
    """Make a hand-written step with PyTorch's default Adam."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    values = list(batch.values.values())

    def run() -> float:
        optimiser.zero_grad()
        loss = model.loss(values)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def disagreement(count: int, rows: int, other: Plain | None = None) -> float:
    """Compute the relative difference of the KL term and its gradients between our program and the hand-written model
    with the same weights. (The other term depends on which components were drawn.)

    Args:
        count: the number of modalities.
        rows: the number of rows.
        other: the hand-written model; None: a new one.

    Returns:
        The larger of the differences.
    """
    mine, other, batch = program(modalities(count)), other or Plain(count), sample(count, rows)
    pairs = [
        pair
        for m, network in zip(mine.modalities, other.encoders)
        for pair in zip(mine.encoders[m.name].parameters(), network.parameters())
    ]
    with torch.no_grad():
        for a, b in pairs:
            b.copy_(a)
    found, _ = mine.objective(batch)["kl.z"]
    truth = other.divergences(list(batch.values.values()))[2].mean()
    slopes = torch.autograd.grad(found, [a for a, _ in pairs]), torch.autograd.grad(truth, [b for _, b in pairs])
    return max(apart([found], [truth]), apart(*slopes))


def case(count: int = 10, rows: int = 128) -> Case:
    """The step with `count` modalities of 32 features. The hand-written rival takes matrix products as they come and,
    in another row, in the way that `mmppl fit` computes them.

    Args:
        count: the number of modalities.
        rows: the number of rows.

    Returns:
        The case.
    """
    torch.manual_seed(0)
    batch = sample(count, rows)
    by_hand = plain(Plain(count), batch)
    return Case(
        "MoPoE step, fp32",
        f"modalities={count} of {SIZE} subsets={2**count - 1} batch={rows}",
        scoped(ours(program(modalities(count)), batch)),
        {"hand-written PyTorch": by_hand, "hand-written, same products": scoped(plain(Plain(count), batch))},
        None,
        lambda: (disagreement(count, 16), 1e-5),
    )
