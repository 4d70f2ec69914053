"""One training step of VCCA and of VCCA-private on two views of an image: through our program and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmppl import Batch, Modality, Program, load_program
from mmppl.nn.mlp import mlp
from mmppl.train.step import Step

from ..case import Case
from ..step import ours, products_of, scoped, steps_apart
from .mwvae import divergence

WIDTH, LATENT, PRIVATE, PIXELS, SCALE = 512, 50, 30, 784, 0.5
ROTATED = Modality("rotated", (PIXELS,), "bernoulli")
NOISY = Modality("noisy", (PIXELS,), "normal", scale=SCALE)


def sample(rows: int) -> Batch:
    """Make a batch of random pixels, with nothing missing."""
    generator = torch.Generator().manual_seed(0)
    values = {
        "rotated": torch.rand(rows, PIXELS, generator=generator).round(),
        "noisy": torch.rand(rows, PIXELS, generator=generator),
    }
    observed = {name: torch.ones(rows, dtype=torch.bool) for name in values}
    return Batch(values, observed, torch.arange(rows), rows, tuple(values))


def program(private: int) -> Program:
    """Make the installed program with plain ReLU networks of two hidden layers, whose z sees the rotated view."""
    cls: Any = load_program("vcca")
    plain: dict[str, Any] = dict(hidden=WIDTH, layers=2, activation="relu", norm=False, linear=False)
    made: Program = cls([ROTATED, NOISY], latent_dim=LATENT, private=private, **plain)
    return made


class Plain(nn.Module):
    """The same by hand, in plain PyTorch.

    Args:
        private: size of the private latents; 0: VCCA.
    """

    def __init__(self, private: int) -> None:
        super().__init__()
        shape: dict[str, Any] = dict(layers=2, activation="relu")
        self.encoder = mlp(PIXELS, WIDTH, 2 * LATENT, **shape)
        self.privates = nn.ModuleList(mlp(PIXELS, WIDTH, 2 * private, **shape) for _ in range(2 if private else 0))
        self.decoders = nn.ModuleList(mlp(LATENT + private, WIDTH, PIXELS, **shape) for _ in range(2))

    def loss(self, rotated: Tensor, noisy: Tensor) -> Tensor:
        """The negative bound, mean over the rows.

        Args:
            rotated: (B, PIXELS).
            noisy: (B, PIXELS).

        Returns:
            A scalar.
        """
        loc, log_var = self.encoder(rotated).chunk(2, -1)
        z = loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)
        loss, codes = divergence(loc, log_var), [z, z]
        for i, (network, x) in enumerate(zip(self.privates, (rotated, noisy))):
            loc, log_var = network(x).chunk(2, -1)
            loss = loss + divergence(loc, log_var)
            codes[i] = torch.cat([z, loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)], -1)
        logits, means = (decoder(code) for decoder, code in zip(self.decoders, codes))
        loss = loss + F.binary_cross_entropy_with_logits(logits, rotated, reduction="sum")
        loss = loss + 0.5 / SCALE**2 * (means - noisy).square().sum()
        constant = means.numel() * 0.5 * torch.tensor(2 * torch.pi * SCALE**2).log()
        return (loss + constant) / len(rotated)


def plain(model: Plain, batch: Batch) -> Callable[[], float]:
    """Make a hand-written step: loss, backward, fused Adam."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    rotated, noisy = batch.values.values()

    def run() -> float:
        loss = model.loss(rotated, noisy)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def disagreement(private: int, rows: int) -> float:
    """Compute the largest relative difference of loss and gradients between our program and the hand-written model,
    with the same weights and noise; the step is first eager, then recorded.

    Args:
        private: size of the private latents.
        rows: the number of rows.

    Returns:
        The difference.
    """
    mine, other, batch = program(private), Plain(private), sample(rows)
    own: Any = mine.private_encoders
    networks: list[tuple[Any, Any]] = [(mine.encoders["rotated"], other.encoder), *zip(own.values(), other.privates)]
    networks += zip(mine.decoders.values(), other.decoders)
    weights = [pair for a, b in networks for pair in zip(a.parameters(), b.parameters())]
    return steps_apart(Step(mine.train()), batch, lambda: other.loss(*batch.values.values()), weights)


def products(private: int, rows: int) -> Callable[[], None]:
    """Make a call of the step's matrix products alone, into existing memory: forward, and both gradients of every layer
    except those of the data.

    Args:
        private: size of the private latents.
        rows: the number of rows.

    Returns:
        The call.
    """
    encoders = [2 * LATENT, *([2 * private] * 2 if private else [])]
    layers = [(rows, i, o, n > 0) for last in encoders for n, (i, o) in enumerate(stack(PIXELS, last))]
    layers += [(rows, i, o, True) for _ in range(2) for i, o in stack(LATENT + private, PIXELS)]
    return products_of(layers)


def stack(first: int, last: int) -> list[tuple[int, int]]:
    """List (inputs, outputs) of the layers of one network."""
    return [(first, WIDTH), (WIDTH, WIDTH), (WIDTH, last)]


def case(private: int, rows: int = 256) -> Case:
    """The step, with matrix products in the way that `mmppl fit` computes them.

    Args:
        private: size of the private latents; 0: VCCA.
        rows: the number of rows.

    Returns:
        The case.
    """
    torch.manual_seed(0)
    batch = sample(rows)
    return Case(
        f"VCCA{'-private' if private else ''} step, two views, fp32",
        f"batch={rows} latent={LATENT}" + (f" private={private}" if private else ""),
        scoped(ours(program(private), batch)),
        {"hand-written PyTorch": scoped(plain(Plain(private), batch))},
        scoped(products(private, rows)),
        lambda: (disagreement(private, 16), 1e-5),
    )
