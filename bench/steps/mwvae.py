"""One training step of MW-VAE and of FMW-VAE on images and their labels: through our programs and by hand."""

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

WIDTH, LATENT, PRIVATE, PIXELS, CLASSES = 400, 64, 16, 784, 10
LABEL_WEIGHT = 20.0
IMAGE = Modality("image", (PIXELS,), "bernoulli")
LABEL = Modality("label", (), "categorical", classes=tuple(range(CLASSES)), role="label")


def sample(rows: int) -> Batch:
    """Make a batch of random pixels and labels, with nothing missing."""
    generator = torch.Generator().manual_seed(0)
    values = {
        "image": torch.rand(rows, PIXELS, generator=generator).round(),
        "label": torch.randint(CLASSES, (rows,), generator=generator),
    }
    observed = {name: torch.ones(rows, dtype=torch.bool) for name in values}
    return Batch(values, observed, torch.arange(rows), rows, tuple(values))


def program(name: str) -> Program:
    """Make the installed program with plain ReLU networks of two hidden layers, gamma 1 and cross weights 1."""
    cls: Any = load_program(name)
    more = dict(private=(PRIVATE, 0), styles=1) if name == "fmwvae" else {}
    plain: dict[str, Any] = dict(latent_dim=LATENT, hidden=WIDTH, layers=2, activation="relu", norm=False, linear=False)
    made: Program = cls([IMAGE, LABEL], label_weight=LABEL_WEIGHT, **plain, **more)
    return made


class Plain(nn.Module):
    """The same by hand, in plain PyTorch.

    Args:
        private: size of the image's private latent; 0: MW-VAE.
    """

    def __init__(self, private: int) -> None:
        super().__init__()
        shape: dict[str, Any] = dict(layers=2, activation="relu")
        self.private = mlp(PIXELS, WIDTH, 2 * private, **shape) if private else None
        self.encoders = nn.ModuleList(mlp(size, WIDTH, 2 * LATENT, **shape) for size in (PIXELS, CLASSES))
        widths = ((LATENT + private, PIXELS), (LATENT, CLASSES))
        self.decoders = nn.ModuleList(mlp(inputs, WIDTH, outputs, **shape) for inputs, outputs in widths)

    def loss(self, image: Tensor, label: Tensor) -> Tensor:
        """The loss, mean over the rows. Each latent decodes both; the label's takes a style of the prior.

        Args:
            image: (B, PIXELS).
            label: (B,) codes.

        Returns:
            A scalar.
        """
        inputs = [image, F.one_hot(label, CLASSES).to(image.dtype)]
        heads = torch.stack([encoder(x) for encoder, x in zip(self.encoders, inputs)])  # (2, B, 2 D)
        loc, log_var = heads.chunk(2, -1)
        sd = torch.exp(0.5 * log_var)
        z = loc + sd * torch.randn_like(loc)
        loss = divergence(loc, log_var) + (loc[0] - loc[1]).square().sum() + (sd[0] - sd[1]).square().sum()
        beside = z
        if self.private is not None:
            mean, log_variance = self.private(image).chunk(2, -1)
            noise = torch.randn(2, *mean.shape)
            style = torch.stack([mean + torch.exp(0.5 * log_variance) * noise[0], noise[1]])
            loss = loss + divergence(mean, log_variance)
            beside = torch.cat([z, style], -1)
        logits, scores = self.decoders[0](beside), self.decoders[1](z)
        nll = F.binary_cross_entropy_with_logits(logits, image.expand_as(logits), reduction="sum")
        of_labels = F.cross_entropy(scores.flatten(0, 1), label.repeat(2), reduction="sum")
        return (loss + nll + LABEL_WEIGHT * of_labels) / len(image)


def divergence(loc: Tensor, log_var: Tensor) -> Tensor:
    """The sum of KL(N(loc, var) ‖ N(0, I)).

    Args:
        loc: (..., D).
        log_var: (..., D).

    Returns:
        A scalar in nats.
    """
    return 0.5 * (loc * loc + log_var.exp() - log_var - 1).sum()


def plain(model: Plain, batch: Batch) -> Callable[[], float]:
    """Make a hand-written step: loss, backward, fused Adam."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    image, label = batch.values.values()

    def run() -> float:
        loss = model.loss(image, label)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return run


def disagreement(name: str, rows: int) -> float:
    """Compute the largest relative difference of loss and gradients between our program and the hand-written model,
    with the same weights and noise; the step is first eager, then recorded.

    Args:
        name: "mwvae" or "fmwvae".
        rows: the number of rows.

    Returns:
        The difference.
    """
    mine, other, batch = program(name), Plain(PRIVATE if name == "fmwvae" else 0), sample(rows)
    pairs = [(mine.encoders, other.encoders), (mine.decoders, other.decoders)]
    networks: list[tuple[Any, Any]] = [pair for ours_, others in pairs for pair in zip(ours_.values(), others)]
    if other.private is not None:
        networks.append((mine.private_encoders["image"], other.private))  # type: ignore[index]
    weights = [pair for a, b in networks for pair in zip(a.parameters(), b.parameters())]
    return steps_apart(Step(mine.train()), batch, lambda: other.loss(*batch.values.values()), weights)


def products(private: int, rows: int) -> Callable[[], None]:
    """Make a call of the step's matrix products alone, into existing memory: forward, and both gradients of every layer
    except those of the data.

    Args:
        private: size of the image's private latent.
        rows: the number of rows.

    Returns:
        The call.
    """
    encoders = [(PIXELS, 2 * LATENT), (CLASSES, 2 * LATENT), *([(PIXELS, 2 * private)] if private else [])]
    layers = [(rows, i, o, n > 0) for first, last in encoders for n, (i, o) in enumerate(stack(first, last))]
    decoders = [(LATENT + private, PIXELS), (LATENT, CLASSES)]
    layers += [(2 * rows, i, o, True) for first, last in decoders for i, o in stack(first, last)]
    return products_of(layers)


def stack(first: int, last: int) -> list[tuple[int, int]]:
    """List (inputs, outputs) of the layers of one network."""
    return [(first, WIDTH), (WIDTH, WIDTH), (WIDTH, last)]


def case(name: str, rows: int = 256) -> Case:
    """The step, with matrix products in the way that `mmppl fit` computes them.

    Args:
        name: "mwvae" or "fmwvae".
        rows: the number of rows.

    Returns:
        The case.
    """
    torch.manual_seed(0)
    batch, private = sample(rows), PRIVATE if name == "fmwvae" else 0
    return Case(
        f"{type(program(name)).__name__} step, image and label, fp32",
        f"batch={rows} latent={LATENT}" + (f" private={private}" if private else ""),
        scoped(ours(program(name), batch)),
        {"hand-written PyTorch": scoped(plain(Plain(private), batch))},
        scoped(products(private, rows)),
        lambda: (disagreement(name, 16), 1e-5),
    )
