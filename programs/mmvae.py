"""MMVAE: one shared latent whose posterior is a mixture of the modalities' own posteriors.

Source: Shi et al. 2019, arXiv:1911.03393. Differs: a row's mixture is over the modalities that it has; the ELBO uses
the mixture's density and decodes each draw into everything (the authors' code re-weighs instead); K draws come from
every component of a row at once; Adam without amsgrad.
"""

from collections.abc import Sequence
from typing import Any, Literal

import pyro
import torch
from torch import nn

from mmppl import (
    Batch,
    Gaussian,
    Laplace,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    UsageError,
    decoders,
    encoders,
    gaussian_head,
    laplace_head,
    likelihood_weights,
    mixture_of_experts,
    shared_scales,
    stratified,
)


class MMVAE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x) = 1/n Σ_m q(z | x_m) over the n modalities that a row has.

    Args:
        modalities: the schema of the data.
        objective: bound that is maximised: the stratified "elbo", "iwae" (ln of the mean of all n·K importance weights)
            or "looser" (mean over the modalities of ln of the mean over K, the paper's).
        draws: K, the number of draws from each component.
        dreg: whether the gradient is doubly reparametrised.
        latent: "normal", or "laplace" as in the paper (posterior scales softmax(head)·D + 1e-6).
        learn_prior: whether the prior's scales, softmax(·)·D, are learned; else they are 1.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        beta: weight of ln q(z | x) − ln p(z).
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
    """

    default_data = "digits-three"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        # images as in the paper: --as NAME=laplace:scale=0.75; its SVHN networks are somewhat wider than these
        "paper-mnist-svhn": dict(
            objective="looser", draws=30, dreg=True, latent="laplace", learn_prior=True, latent_dim=20,
            networks="conv-32", hidden=400, layers=1, activation="relu", norm=False, linear=False, weights="size",
            label_weight=1.0, epochs=30, batch_size=128, lr=1e-3, schedule="constant",
        )
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        objective: Literal["elbo", "iwae", "looser"] = "looser",
        draws: int = 5,
        dreg: bool = True,
        latent: Literal["normal", "laplace"] = "normal",
        learn_prior: bool = False,
        latent_dim: int = 20,
        options: NetworkOptions = NetworkOptions(),
        beta: float = 1.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(beta=beta, label_weight=label_weight)
        if draws < 1:
            raise UsageError(f"MMVAE: draws={draws}; at least one from each component is needed.")
        self.latent, self.latent_dim = latent, latent_dim
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        self.bound: dict[str, Any] = dict(kind=objective, draws=draws, beta=beta, dreg=dreg)
        seen = [self.modality(n) for n in self.encoded]
        self.encoders = encoders(seen, 2 * latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, options)
        self.prior_logits = nn.Parameter(torch.zeros(latent_dim)) if learn_prior else None

    def prior(self) -> Gaussian | Laplace:
        """N(0, s²) or Laplace(0, s), s = 1 or learned."""
        standard = self.standard_normal(self.latent_dim)
        scale = torch.ones_like(standard.loc) if self.prior_logits is None else shared_scales(self.prior_logits)
        if self.latent == "laplace":
            return Laplace(standard.loc, scale)
        return standard if self.prior_logits is None else Gaussian(standard.loc, 2 * scale.log())

    def model(self, batch: Batch) -> None:
        """z ~ prior;  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.prior())
            self.observe_each(z, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | seen x): the expert of one of the seen modalities, all equally likely."""
        laplace = self.latent == "laplace"
        experts = self.experts(batch, laplace_head if laplace else gaussian_head)
        with batch.plates():
            family = Laplace if laplace else Gaussian
            pyro.sample("z", mixture_of_experts(family(*experts), batch.seen, self.prior()))

    def objective(self, batch: Batch) -> Terms:
        """Minus the bound, from draws of every component of a row."""
        return stratified(self, batch, weights=self.weights, **self.bound)
