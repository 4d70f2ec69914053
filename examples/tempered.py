"""An MVAE whose experts have a temperature each: an expert that is too sure, or repeats another, counts less."""

from collections.abc import Sequence

import pyro
import torch
from torch import nn

from mmppl import Batch, Modality, Program, Terms, all_subsets, elbo, mlp, observe, product_of_experts


class Tempered(Program):
    """p(z) Π_m p(x_m | z) with q(z | x_S) ∝ p(z) Π_{m in S} q(z | x_m)^(1/T_m), ln T_m ~ N(0, 1).

    Args:
        modalities: the schema of the data.
        latent_dim: size of z.
        hidden: width of the hidden layers.
        beta: weight of the KL.
    """

    default_data = "digits-three"
    training = dict(epochs=60, batch_size=128, lr=2e-3)

    def __init__(
        self, modalities: Sequence[Modality], *, latent_dim: int = 20, hidden: int = 256, beta: float = 1.0
    ) -> None:
        super().__init__(modalities)
        self.latent_dim, self.beta = latent_dim, beta
        sizes = {name: self.modality(name).input_size for name in self.encoded}
        self.encoders = nn.ModuleDict({name: mlp(size, hidden, 2 * latent_dim) for name, size in sizes.items()})
        self.decoders = nn.ModuleDict({m.name: mlp(latent_dim, hidden, m.output_size) for m in modalities})
        self.log_temperature = nn.Parameter(torch.zeros(len(sizes)))

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            for m in self.each_modality():
                observe(m, self.decoders[m.name], z, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | what is seen): the prior and the seen experts, each to the power of 1/T."""
        loc, log_var = self.experts(batch)
        with batch.plates():
            exponents = (-self.log_temperature).exp()
            pyro.sample("z", product_of_experts(loc, log_var, batch.seen, exponents=exponents))

    def objective(self, batch: Batch) -> Terms:
        """The ELBOs of all subsets in one trace, and −ln p(T) in nats, of which each row has its share."""
        terms = elbo(self, batch.under(all_subsets(len(self.encoded))), beta=self.beta)
        terms["prior.temperature"] = (self.log_temperature.square().sum() / 2, 1 / batch.size)
        return terms
