"""MoPoE: a mixture of products of experts, one product for every subset of the modalities.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", ICLR. Differs from the authors' code: each row
draws its own component (theirs hands out components by position in the batch).
"""

from collections.abc import Sequence
from typing import Literal

import pyro
import torch

from mmppl import (
    Batch,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    decoders,
    elbo,
    encoders,
    likelihood_weights,
    mixture_of_products,
    product_of_experts,
)


class MoPoE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x) = 1/n Σ_S q(z | x_S), q(z | x_S) ∝ Π_{m in S} q(z | x_m).

    Minimises Σ_m w_m nll_m + beta 1/n Σ_S KL(q_S ‖ p), with one draw from the mixture per row.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        beta: weight of the KL.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
        prior_expert: where N(0, I) is one more expert: in the component of all modalities ("full", as in the authors'
            code; so that a query on a subset uses the component that was trained), "always" or "never".
        answers: what queries use: the "mixture" that was trained, or its component of all that is seen, the "product"
            (what the authors evaluate). No weight depends on it: `--set answers=product` of a query.
    """

    default_data = "digits-three"
    training = dict(lr=2e-3)
    presets = {
        # images as in the paper: --as NAME=laplace:scale=0.75
        "paper-mnist-svhn-text": dict(
            latent_dim=20, networks="conv-32", hidden=400, layers=1, activation="relu", norm=False, linear=False,
            beta=2.5,
            weights="size", label_weight=0.0, epochs=200, batch_size=256, lr=1e-3, schedule="constant",
        ),
    }  # fmt: skip
    query_options = ("answers",)

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        options: NetworkOptions = NetworkOptions(),
        beta: float = 1.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
        prior_expert: Literal["full", "always", "never"] = "full",
        answers: Literal["mixture", "product"] = "mixture",
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(beta=beta, label_weight=label_weight)
        self.latent_dim, self.beta = latent_dim, beta
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        self.prior_expert: Literal["full", "always", "never"] = prior_expert
        self.answers_with = answers
        seen = [self.modality(n) for n in self.encoded]
        self.encoders = encoders(seen, 2 * latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, options)

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            self.observe_each(z, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | seen x): one of the products over the subsets of what is seen, all equally likely."""
        loc, log_var = self.experts(batch)
        with batch.plates():
            pyro.sample("z", mixture_of_products(loc, log_var, batch.seen, prior_expert=self.prior_expert))

    def query_guide(self, batch: Batch) -> None:
        """The guide, or its component of all that is seen."""
        if self.answers_with == "mixture":
            return self.guide(batch)
        (loc, log_var), seen = self.experts(batch), batch.seen
        if self.prior_expert == "full":  # N(0, I) is an expert that is seen where all others are
            loc, log_var = (torch.cat([t, torch.zeros_like(t[:1])]) for t in (loc, log_var))
            seen = torch.cat([seen, seen.all(-1, keepdim=True)], -1)
        with batch.plates():
            pyro.sample("z", product_of_experts(loc, log_var, seen, prior=self.prior_expert == "always"))

    def objective(self, batch: Batch) -> Terms:
        """The negative ELBO, in which the mixture's KL is bounded by the mean of its components' KLs."""
        return elbo(self, batch, beta=self.beta, weights=self.weights)
