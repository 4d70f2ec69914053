"""A world with a closed-form answer: z ~ N(0, I), x_m = W_m z + b_m + B_m c + N(0, s_m²), any x_m missing, with a
condition c if it has one.

With orthogonal columns in every W_m the posterior is a product of diagonal experts, so that a product-of-experts guide
can be exact; with any other W_m it is only the best diagonal one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.batch import Batch
from ..core.program import Program
from ..data.dataset import Dataset
from ..modalities.modality import Modality

CONDITION = "condition"  # the name of a world's condition


@dataclass
class World:
    """A linear-Gaussian world.

    Args:
        weights: name → (d_m, D), float64.
        offsets: name → (d_m,), float64.
        sds: name → standard deviation of the noise.
        effects: name → B_m, (d_m, C), float64, of the condition `CONDITION`; empty: there is none.
    """

    weights: dict[str, Tensor]
    offsets: dict[str, Tensor]
    sds: dict[str, float]
    effects: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def make(cls, sizes: dict[str, int], latent: int, *, orthogonal: bool, seed: int = 0, condition: int = 0) -> World:
        """Draw a world.

        Args:
            sizes: name → d_m.
            latent: D.
            orthogonal: whether the columns of every W_m are orthogonal.
            seed: seed of the draws.
            condition: C, the size of the condition; 0: there is none.

        Returns:
            The world.
        """
        rng = torch.Generator().manual_seed(seed)
        weights, offsets, sds, effects = {}, {}, {}, {}
        for name, size in sizes.items():
            w = torch.randn(size, latent, generator=rng, dtype=torch.float64)
            if orthogonal:
                w = torch.linalg.qr(w).Q * (0.5 + torch.rand(latent, generator=rng, dtype=torch.float64))
            weights[name] = w
            offsets[name] = torch.randn(size, generator=rng, dtype=torch.float64)
            sds[name] = 0.5 + torch.rand((), generator=rng, dtype=torch.float64).item()
        for name, size in sizes.items() if condition else ():
            effects[name] = torch.randn(size, condition, generator=rng, dtype=torch.float64)
        return cls(weights, offsets, sds, effects)

    @property
    def latent(self) -> int:
        """D, the size of z."""
        return next(iter(self.weights.values())).shape[1]

    def modalities(self) -> list[Modality]:
        """Return the schema of its modalities."""
        own = [Modality(n, (len(w),), "normal", scale=self.sds[n]) for n, w in self.weights.items()]
        size = next((b.shape[1] for b in self.effects.values()), 0)
        return [*own, *([Modality(CONDITION, (size,), "normal", role="condition")] if size else [])]

    def sample(self, rows: int, seed: int = 1) -> Dataset:
        """Draw rows, with nothing missing."""
        return self.simulate(rows, seed)[1]

    def simulate(self, rows: int, seed: int = 1) -> tuple[Tensor, Dataset]:
        """Draw latents, and rows that come from them.

        Args:
            rows: the number of rows.
            seed: seed of the draws.

        Returns:
            Latents (rows, D), and the rows.
        """
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(rows, self.latent, generator=rng, dtype=torch.float64)
        c = {}
        if self.effects:
            size = next(iter(self.effects.values())).shape[1]
            c = {CONDITION: torch.randn(rows, size, generator=rng, dtype=torch.float64)}
        values = {
            n: z @ w.T + self.mean(n, c) + self.sds[n] * torch.randn(rows, len(w), generator=rng, dtype=torch.float64)
            for n, w in self.weights.items()
        } | c
        observed = {n: torch.ones(rows, dtype=torch.bool) for n in values}
        split = np.full(rows, 2, dtype=np.int8)
        return z, Dataset("world", tuple(self.modalities()), values, observed, np.arange(rows), split, True)

    def mean(self, name: str, data: dict[str, Tensor]) -> Tensor:
        """b + B c, the mean of a modality at z = 0.

        Args:
            name: name of the modality.
            data: name → (B, d), among them the condition if the world has one.

        Returns:
            (B, d_m), or (d_m,) without a condition.
        """
        offset = self.offsets[name]
        return offset + data[CONDITION] @ self.effects[name].T if self.effects else offset

    def expert(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The likelihood of x as a (diagonal) Gaussian in z, in a world without a condition.

        Args:
            name: name of the modality.
            x: (B, d_m).

        Returns:
            Mean (B, D) and log-variance (D,).
        """
        w = self.weights[name]
        precision = (w.T @ w).diagonal() / self.sds[name] ** 2
        return (x - self.offsets[name]) @ w / self.sds[name] ** 2 / precision, -precision.log()

    def posterior(self, data: dict[str, Tensor], names: list[str]) -> tuple[Tensor, Tensor]:
        """p(z | x_names), computed in information form.

        Args:
            data: name → (B, d_m).
            names: the modalities that are given.

        Returns:
            Mean (B, D) and covariance (D, D).
        """
        precision = torch.eye(self.latent, dtype=torch.float64)
        shift = torch.zeros(len(next(iter(data.values()))), self.latent, dtype=torch.float64)
        for n in names:
            precision = precision + self.weights[n].T @ self.weights[n] / self.sds[n] ** 2
            shift = shift + (data[n] - self.mean(n, data)) @ self.weights[n] / self.sds[n] ** 2
        covariance = torch.linalg.inv(precision)
        return shift @ covariance, covariance

    def log_evidence(self, data: dict[str, Tensor], names: list[str]) -> Tensor:
        """ln p(x_names) in nats, from the joint normal of the observations.

        Args:
            data: name → (B, d_m).
            names: the modalities whose evidence is computed.

        Returns:
            (B,).
        """
        w = torch.cat([self.weights[n] for n in names])
        b = torch.cat([self.mean(n, data) for n in names], -1)
        noise = torch.cat([torch.full((len(self.weights[n]),), self.sds[n] ** 2, dtype=torch.float64) for n in names])
        joint = torch.distributions.MultivariateNormal(b, w @ w.T + torch.diag(noise))
        return joint.log_prob(torch.cat([data[n] for n in names], -1))

    def log_evidence_by_conditioning(self, data: dict[str, Tensor], names: list[str]) -> Tensor:
        """The same by Bayes' rule at z = 0: ln p(x | 0) + ln p(0) − ln p(0 | x).

        Args:
            data: name → (B, d_m).
            names: the modalities whose evidence is computed.

        Returns:
            (B,).
        """
        mean, covariance = self.posterior(data, names)
        zero = torch.zeros(self.latent, dtype=torch.float64)
        total = torch.distributions.MultivariateNormal(zero, torch.eye(self.latent, dtype=torch.float64)).log_prob(zero)
        total = total - torch.distributions.MultivariateNormal(mean, covariance).log_prob(zero)
        for n in names:
            total = total + torch.distributions.Normal(self.mean(n, data), self.sds[n]).log_prob(data[n]).sum(-1)
        return total

    def predictive(self, data: dict[str, Tensor], given: list[str], target: str) -> tuple[Tensor, Tensor]:
        """p(x_target | x_given).

        Args:
            data: name → (B, d_m).
            given: the modalities that are given.
            target: the modality that is predicted.

        Returns:
            Mean (B, d) and variance (d,).
        """
        mean, covariance = self.posterior(data, given)
        w = self.weights[target]
        return mean @ w.T + self.mean(target, data), (w @ covariance @ w.T).diagonal() + self.sds[target] ** 2


def exact(cls: type[Program], world: World, *, posteriors: bool = False, **hyper: Any) -> Program:
    """Make a program of affine networks, with `layers=0`, whose experts and decoders are the world's own.

    A joint network gets the posterior given all, and single encoders beside it those given one modality. Learned
    exponents are used, and the experts are made so much wider that their product stays exact.

    Args:
        cls: of a program with `encoders` and `decoders`, one of each for every modality.
        posteriors: all encoders are the posteriors, and not the likelihoods as Gaussians in z.
        hyper: further hyper-parameters.

    Returns:
        the program, in float64 and evaluation mode.

    Raises:
        ValueError: its networks have another form.
    """
    program: Any = cls(world.modalities(), latent_dim=world.latent, layers=0, **hyper).double()  # type: ignore[call-arg]
    if not _is_affine(program, world):
        raise ValueError(f"{cls.__name__} has not one layer from each modality to a latent, and one back.")
    own = 1.0 if posteriors or hasattr(program, "joint") else 0.0  # the prior's share in an encoder's precision
    exponents = torch.linspace(0.4, 1.7, len(world.weights), dtype=torch.float64)
    if getattr(program, "log_exponents", None) is None:
        exponents = torch.ones_like(exponents)
    gains = {n: w.T / world.sds[n] ** 2 for n, w in world.weights.items()}
    precisions = {n: (gains[n] @ w).diagonal() for n, w in world.weights.items()}
    shifts = {n: -gains[n] @ world.offsets[n] for n in world.weights}

    def affine(network: Any, names: list[str], own: float, exponent: Tensor) -> None:
        precision = own + torch.stack([precisions[n] for n in names]).sum(0)
        columns = [gains[n] for n in names]
        if world.effects:  # an encoder takes B c off what it sees
            columns.append(-torch.stack([gains[n] @ world.effects[n] for n in names]).sum(0))
        weight = torch.cat(columns, 1) / precision[:, None]
        layer = _layers(network)[0]
        layer.weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
        loc = sum(shifts[n] for n in names) / precision
        layer.bias.copy_(torch.cat([loc, exponent.log() - precision.log()]))

    with torch.no_grad():
        for n, w, exponent in zip(world.weights, world.weights.values(), exponents):
            affine(program.encoders[n], [n], own, exponent)
            decoder = _layers(program.decoders[n])[0]
            decoder.weight.copy_(torch.cat([w, world.effects[n]], 1) if world.effects else w)
            decoder.bias.copy_(world.offsets[n])
        if getattr(program, "log_exponents", None) is not None:
            program.log_exponents.copy_(exponents.log())
        if hasattr(program, "joint"):
            affine(program.joint.head, list(world.weights), own, torch.ones((), dtype=torch.float64))
    return program.eval()


def _layers(network: Any) -> list[Any]:
    """The layers of a network that have weights."""
    return [m for m in network.modules() if not list(m.children()) and list(m.parameters())]


def _is_affine(program: Any, world: World) -> bool:
    """Whether the networks have the form that `exact` can set: one layer, from a modality to means and log-variances,
    or from the latent to a modality.
    """
    inputs = {name: len(w) for name, w in world.weights.items()}
    beside = next((b.shape[1] for b in world.effects.values()), 0)
    shapes = {"encoders": {n: (2 * world.latent, size + beside) for n, size in inputs.items()}}
    shapes |= {"decoders": {n: (size, world.latent + beside) for n, size in inputs.items()}}
    for role, wanted in shapes.items():
        networks = getattr(program, role, {})
        if set(networks) != set(wanted):
            return False
        for name, network in networks.items():
            layers = _layers(network)
            if len(layers) != 1 or tuple(layers[0].weight.shape) != wanted[name]:
                return False
    return True


def batch_of(data: Dataset, encoded: tuple[str, ...]) -> Batch:
    """Return all rows of a data set as one batch."""
    return data.batch(torch.arange(len(data)), encoded)
