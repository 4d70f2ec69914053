"""MoPoE: a mixture of products of experts, one product for every subset of the modalities.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", ICLR. Differs from the authors' code: each row
draws its own component (theirs hands out components by position in the batch).
"""

from collections.abc import Sequence
from typing import Any, Literal

import pyro
from torch import nn

from mmppl import Batch, Modality, Program, Terms, elbo, mixture_of_products, observe, standard_normal
from mmppl.nets import mlp


class MoPoE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x) = 1/n Σ_S q(z | x_S), q(z | x_S) ∝ Π_{m in S} q(z | x_m).

    Minimises Σ_m w_m nll_m + beta 1/n Σ_S KL(q_S ‖ p), with one draw from the mixture per row.

    Args:
        latent_dim: D, the size of z.
        hidden: width of each hidden layer.
        layers: hidden layers of every encoder and decoder.
        beta: weight of the KL.
        label_weight: weight of the labels' log-likelihood.
        prior_expert: N(0, I) as one more expert: in the component of all that is seen ("full", as in the authors'
            code), "always" or "never".
        dropout: in the encoders.
    """

    default_data = "digits-three"
    training = dict(epochs=60, batch_size=128, lr=2e-3)

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        hidden: int = 256,
        layers: int = 2,
        beta: float = 1.0,
        label_weight: float = 1.0,
        prior_expert: Literal["full", "always", "never"] = "full",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(modalities)
        self.latent_dim, self.beta, self.label_weight = latent_dim, beta, label_weight
        self.prior_expert: Literal["full", "always", "never"] = prior_expert
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
        """q(z | seen x): one of the products over the subsets of what is seen, each as likely as the others."""
        loc, log_var = self.experts(batch)
        with batch.plates():
            pyro.sample("z", mixture_of_products(loc, log_var, batch.seen, prior_expert=self.prior_expert))

    def objective(self, batch: Batch) -> Terms:
        """Negative ELBO with the mixture's KL bounded by the mean of its components'."""
        weights = {m.name: self.label_weight for m in self.modalities if m.role == "label"}
        return elbo(self, batch, beta=self.beta, weights=weights)
