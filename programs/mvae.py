"""MVAE: one shared latent, product-of-experts posterior over any subset of modalities.

Source: Wu & Goodman 2018, arXiv:1802.05335. Differs: the objective is the sum of the ELBOs under all non-empty subsets,
each scoring all that is observed, labels included (the three-modality variant with a label head); no sub-sampling.
"""

from collections.abc import Sequence
from typing import Any

import pyro
from torch import nn

from mmppl import Batch, Modality, Program, Terms, all_subsets, elbo, observe, standard_normal
from mmppl.fusion import product_of_experts
from mmppl.nets import mlp


class MVAE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x_S) ∝ p(z) Π_{m in S} q(z | x_m).

    Args:
        latent_dim: D, the size of z.
        hidden: width of each hidden layer.
        layers: hidden layers of every encoder and decoder.
        beta: weight of the KL.
        label_weight: weight of the labels' log-likelihood.
        dropout: in the encoders.
    """

    default_data = "digits-three"
    training = dict(epochs=60, batch_size=128, lr=2e-3)
    presets = {"paper-three": dict(latent_dim=512, hidden=512, layers=3, epochs=500, batch_size=128, lr=1e-3)}

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        hidden: int = 256,
        layers: int = 2,
        beta: float = 1.0,
        label_weight: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(modalities)
        self.latent_dim, self.beta, self.label_weight = latent_dim, beta, label_weight
        shared: dict[str, Any] = dict(layers=layers, activation="silu", norm=True)
        self.encoders = nn.ModuleDict(
            {
                n: mlp(self.modality(n).input_size, hidden, 2 * latent_dim, dropout=dropout, **shared)
                for n in self.encoded
            }
        )
        self.decoders = nn.ModuleDict(
            {m.name: mlp(latent_dim, hidden, m.output_size, narrow=True, **shared) for m in modalities}
        )

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z)), an unscored x_m left out."""
        with batch.plates():
            z = pyro.sample("z", standard_normal(self.latent_dim, like=self.progress))
            for m in self.each_modality(batch):
                observe(m, self.decoders[m.name](batch.only_scored(m.name, z)), batch)

    def guide(self, batch: Batch) -> None:
        """q(z | seen x) = product of the seen experts and the prior."""
        loc, log_var = self.experts(batch)
        with batch.plates():
            pyro.sample("z", product_of_experts(loc, log_var, batch.seen))

    def objective(self, batch: Batch) -> Terms:
        """Sum of the ELBOs under every non-empty subset, in one trace."""
        weights = {m.name: self.label_weight for m in self.modalities if m.role == "label"}
        return elbo(self, batch.under(all_subsets(len(self.encoded))), beta=self.beta, weights=weights)
