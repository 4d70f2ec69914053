"""DAE: a denoising autoencoder of all modalities together, the simplest model to compare others with.

Source: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders", on the concatenated
modalities, as the baseline of "Importance-based Multimodal Autoencoder" (submission to ICLR 2021). Differs: decoders
have likelihoods, a modality each; a modality that is missing enters as zeros and is not decoded; labels may be decoded,
and by default teach the codes nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pyro
import torch
from pyro.distributions import Delta
from torch import Tensor

from mmppl import (
    Batch,
    DeltaOrPrior,
    JointEncoder,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    decoders,
    likelihood_weights,
    nll,
    observe,
    trace,
)


class DAE(Program):
    """p(z) Π_m p(x_m | z) with z = encoder(x_1, ..., x_M), a point. Codes learn nothing from p(z) = N(0, I).

    Minimises Σ_m w_m nll_m, while in training a share of the inputs is set to 0. The code has no density: there is
    neither evidence nor importance sampling. A row of which nothing is seen has the prior.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z.
        options: options of encoder and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        corruption: share of the inputs that are set to 0 in training; each counts alone, and anew in each step.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
        supervised: whether labels teach the codes; else their decoders read what is learned without them.
    """

    default_data = "digits-noise"
    takes_covariates = True
    training = dict(lr=1e-3)
    presets = {
        "paper-digits": dict(
            latent_dim=50, hidden=(500, 100), epochs=20, batch_size=128, lr=1e-3, schedule="constant",
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 50,
        options: NetworkOptions = NetworkOptions(activation="relu", norm=False, linear=False),
        corruption: float = 0.3,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
        supervised: bool = False,
    ) -> None:
        super().__init__(modalities)
        self.check_fraction(corruption=corruption)
        self.check_nonnegative(label_weight=label_weight)
        self.latent_dim, self.corruption, self.supervised = latent_dim, corruption, supervised
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        self.joint = JointEncoder([self.modality(n) for n in self.encoded], latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, options)

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            for m in self.each_modality():
                taught = self.supervised or m.role != "label"
                observe(m, self.decoders[m.name], z if taught else z.detach(), batch)

    def guide(self, batch: Batch) -> None:
        """δ(z − code)."""
        code = self.code(batch)
        with batch.plates():
            pyro.sample("z", Delta(code, event_dim=1))

    def query_guide(self, batch: Batch) -> None:
        """The same, but the prior where nothing is seen."""
        code = self.code(batch)
        with batch.plates():
            pyro.sample("z", DeltaOrPrior(code, batch.seen.any(-1), self.standard_normal(self.latent_dim)))

    def objective(self, batch: Batch) -> Terms:
        """The reconstructions, of rows of which anything is seen."""
        known = batch.seen.any(-1)
        batch = replace(batch, active=known if batch.active is None else known & batch.active)
        return nll(trace(self, batch), self.weights)

    def code(self, batch: Batch) -> Tensor:
        """(..., B, D). In training some of the inputs are 0."""
        x = self.seen_input(batch)
        if self.training and self.corruption:
            zero = torch.rand(x.shape, dtype=x.dtype, device=x.device) < self.corruption
            if beside := sum(m.input_size for m in self.covariates):
                zero[..., -beside:] = False  # conditions are known
            x = torch.where(zero, 0.0, x)
        code: Tensor = self.joint(x)
        return code
