"""CMMD's world with a closed-form answer: z ~ N(A o + a, diag V), x_m = W_m z + U_m o + b_m + N(0, s_m²).

The modality o is never missing; given it all is a `World` in ζ = (z − A o − a)/√V and the residuals of x. W_m has
orthogonal columns, so that the guide of everything is exact; of what is missing it sees a zero, and is near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmppl import Dataset, Modality, load_program

from .linear_gaussian import World


@dataclass
class Conditional:
    """Of the modality "o" and those of `world`, whose weights, offsets and sds are W, b and s."""

    world: World
    to_latent: Tensor  # A, (D, d_o)
    offset: Tensor  # a
    log_var: Tensor  # ln V
    direct: dict[str, Tensor]  # U_m

    @classmethod
    def make(cls, sizes: dict[str, int], latent: int, given: int = 3, seed: int = 5) -> Conditional:
        rng = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng, dtype=torch.float64)

        world = World.make(sizes, latent, orthogonal=True, seed=seed)
        world.offsets = {n: 0.2 * b for n, b in world.offsets.items()}
        world.sds = {n: s + 0.7 for n, s in world.sds.items()}  # the guide takes a zero for what is missing
        direct = {n: 0.1 * draw(size, given) for n, size in sizes.items()}
        return cls(world, 0.3 * draw(latent, given), 0.2 * draw(latent), 0.3 * draw(latent) - 0.5, direct)

    def modalities(self) -> list[Modality]:
        return [Modality("o", (self.to_latent.shape[1],), "normal"), *self.world.modalities()]

    def prior(self, data: dict[str, Tensor]) -> Tensor:
        return data["o"] @ self.to_latent.T + self.offset

    def simulate(self, rows: int, seed: int = 1) -> tuple[Tensor, Dataset]:
        rng = torch.Generator().manual_seed(seed + 1000)
        z, data = self.reduced().simulate(rows, seed)
        o = torch.randn(rows, self.to_latent.shape[1], generator=rng, dtype=torch.float64)
        values = {"o": o}
        values |= {n: x + self.shift(n, values) for n, x in data.values.items()}
        observed = {n: torch.ones(rows, dtype=torch.bool) for n in values}
        whole = replace(data, modalities=tuple(self.modalities()), values=values, observed=observed)
        return self.prior(values) + z * torch.exp(self.log_var / 2), whole

    def reduced(self) -> World:
        weights = {n: w * torch.exp(self.log_var / 2) for n, w in self.world.weights.items()}
        return World(weights, {n: torch.zeros_like(b) for n, b in self.world.offsets.items()}, self.world.sds)

    def shift(self, name: str, data: dict[str, Tensor]) -> Tensor:
        """Mean of x_name given o."""
        w, b = self.world.weights[name], self.world.offsets[name]
        return self.prior(data) @ w.T + data["o"] @ self.direct[name].T + b

    def residuals(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return {n: data[n] - self.shift(n, data) for n in self.world.weights}

    def posterior(self, data: dict[str, Tensor], names: list[str]) -> tuple[Tensor, Tensor]:
        """Mean (B, D) and covariance (D, D) of p(z | o, x_names)."""
        mean, covariance = self.reduced().posterior(self.residuals(data), [n for n in names if n != "o"])
        spread = torch.exp(self.log_var / 2)
        return self.prior(data) + mean * spread, covariance * spread * spread.unsqueeze(-1)

    def log_evidence(self, data: dict[str, Tensor], names: list[str]) -> Tensor:
        """ln p(x_names | o), (B,)."""
        return self.reduced().log_evidence(self.residuals(data), [n for n in names if n != "o"])

    def program(self) -> torch.nn.Module:
        """CMMD with affine networks: the world's own, and the posterior given everything."""
        made = load_program("cmmd")(self.modalities(), layers=0, latent_dim=self.world.latent, dropout=0.0).double()
        gains = {n: w.T / self.world.sds[n] ** 2 for n, w in self.world.weights.items()}
        own = torch.exp(-self.log_var)
        precision = own + sum((gains[n] @ w).diagonal() for n, w in self.world.weights.items())
        from_o = own[:, None] * self.to_latent - sum(gains[n] @ u for n, u in self.direct.items())
        start = own * self.offset - sum(gains[n] @ b for n, b in self.world.offsets.items())
        weight = torch.cat([from_o, *gains.values()], 1) / precision[:, None]
        with torch.no_grad():
            made.prior.head[0].weight.copy_(torch.cat([self.to_latent, torch.zeros_like(self.to_latent)]))
            made.prior.head[0].bias.copy_(torch.cat([self.offset, self.log_var]))
            for n, w in self.world.weights.items():
                made.decoders[n][0].weight.copy_(torch.cat([w, self.direct[n]], 1))
                made.decoders[n][0].bias.copy_(self.world.offsets[n])
            made.encoder.head[0].weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
            made.encoder.head[0].bias.copy_(torch.cat([start / precision, -precision.log()]))
        return made.eval()
