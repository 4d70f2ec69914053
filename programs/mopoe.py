"""MoPoE: a mixture of products of experts, one product for every subset of the modalities.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", ICLR. Differs: each row draws its own component
(the authors' code hands out components by position in the batch), which by default scores what it has seen, and the
likelihood of what it has not teaches no noise; N(0, I) is an expert of every component.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import pyro
import torch

from mmppl import (
    Batch,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    annealing,
    cross_likelihood,
    decoders,
    elbo,
    encoders,
    kl,
    likelihood_weights,
    mixture_of_products,
    nll,
    one_subset_each,
    product_of_experts,
    trace,
)


class MoPoE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x) = 1/n Σ_S q(z | x_S), q(z | x_S) ∝ Π_{m in S} q(z | x_m).

    Each row draws one of its n subsets S. Minimises Σ_{m in S or a label} w_m nll_m + beta KL(q_S ‖ p) + cross
    Σ_{m not in S} w_m nll_m(z̃_S), of which the last, at latents ever closer to the mean of q_S, teaches decoders and
    the experts' means, but no noise and no variance (`mmppl.cross_likelihood`). Published is scored=observed,
    Σ_m w_m nll_m + beta 1/n Σ_S KL(q_S ‖ p), prior_expert=full and answers=mixture (or product), whose optimum books
    the error of predicting one modality from another as noise of the observations.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        scored: what a subset scores: all that is "observed", or what is "seen" in it and the labels.
        cross: weight of the likelihood of what a subset has not seen; for scored=seen.
        anneal: the share of the training until which z̃ is drawn as from q_S; then it closes in on its mean.
        beta: weight of the KL.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
        prior_expert: where N(0, I) is one more expert: "always", "never", or in the component of all modalities
            ("full", as in the authors' code). Where it is not, a latent that is not used gets narrower with every
            expert.
        answers: what queries use: the "mixture" over all subsets of what is seen, or its component of all of it, the
            "product" (what the authors evaluate). No weight depends on it: `--set answers=mixture` of a query.
    """

    default_data = "digits-three"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        # images as in the paper: --as NAME=laplace:scale=0.75
        "paper-mnist-svhn-text": dict(
            latent_dim=20, networks="conv-32", hidden=400, layers=1, activation="relu", norm=False, linear=False,
            beta=2.5, scored="observed", prior_expert="full", answers="mixture",
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
        scored: Literal["observed", "seen"] = "seen",
        cross: float = 1.0,
        anneal: float = 0.5,
        beta: float = 1.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
        prior_expert: Literal["full", "always", "never"] = "always",
        answers: Literal["mixture", "product"] = "product",
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(beta=beta, label_weight=label_weight, cross=cross)
        self.check_fraction(anneal=anneal)
        self.scored, self.anneal = scored, anneal
        self.cross = cross if scored == "seen" else 0.0
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
        return self.product(batch)

    def product(self, batch: Batch) -> None:
        """The component of all that is seen."""
        (loc, log_var), seen = self.experts(batch), batch.seen
        if self.prior_expert == "full":  # N(0, I) is an expert that is seen where all others are
            loc, log_var = (torch.cat([t, torch.zeros_like(t[:1])]) for t in (loc, log_var))
            seen = torch.cat([seen, seen.all(-1, keepdim=True)], -1)
        with batch.plates():
            pyro.sample("z", product_of_experts(loc, log_var, seen, prior=self.prior_expert == "always"))

    def objective(self, batch: Batch) -> Terms:
        """The negative ELBO of one subset for each row; or of the mixture, whose KL is bounded by the mean of its
        components' KLs.
        """
        if self.scored == "observed":
            return elbo(self, batch, beta=self.beta, weights=self.weights)
        none = torch.zeros(0, len(self.encoded), dtype=torch.bool)
        under = partial(batch.under, none, drawn=one_subset_each(batch.seen).unsqueeze(0))
        traces = trace(self, under("seen"), self.product)
        terms = nll(traces, self.weights) | kl(traces, self.beta)
        if not self.cross:
            return terms
        weights = {name: self.cross * weight for name, weight in self.weights.items()}
        spread = annealing(self.progress, self.anneal)
        return terms | cross_likelihood(self, traces, under("unseen"), weights, spread=spread, seen=terms)
