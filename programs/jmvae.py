"""JMVAE: a joint posterior that sees all modalities, and one posterior per modality that is trained towards it.

Source: Suzuki, Nakayama, Matsuo 2016, arXiv:1611.01891, the objective JMVAE-KL. Differs: by default the KL between the
joint posterior and one of a modality moves the latter alone; given two or more but not all modalities, the answer is
the product of their posteriors, without the prior (the paper needs a network per subset; the substitute is that of
Senellart et al.'s MultiVae); the joint network takes the inputs concatenated (the authors' has a first layer for each);
heads return log-variances, not variances by softplus; LayerNorm, unless it is turned off.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import pyro
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from mmppl import (
    Batch,
    Gaussian,
    JointEncoder,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    decoders,
    encoders,
    gaussian_head,
    kl,
    likelihood_weights,
    nll,
    product_of_experts,
    trace,
    warmup,
)


class JMVAE(Program):
    """p(z) Π_m p(x_m | z) with the guide q(z | x_1, ..., x_M), and q(z | x_m) for each modality alone.

    Minimises Σ_m w_m nll_m + beta KL(q(z | x) ‖ p(z)) + alpha Σ_m KL(q(z | x) ‖ q(z | x_m)) over the rows that have all
    modalities. The last terms are named `kl.MODALITY`.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        see_labels: whether labels are modalities like any other: all encoders see them.
        alpha: weight of the KL to each modality's posterior; the paper tries 0.01, 0.1 and 1.
        towards: what that KL moves: the modality's posterior towards the "joint" one alone, or "both" towards each
            other, as in the paper, which makes the joint posterior wider than it should be and the noise larger.
        beta: weight of the KL to the prior.
        warm_up: share of the training over which beta rises linearly from 0. Losses from that time do not compare with
            later ones, so an early stop (patience) must not see them.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
    """

    default_data = "digits-three"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        "paper-mnist": dict(
            latent_dim=64, hidden=512, activation="relu", norm=False, linear=False, see_labels=True, alpha=1.0,
            label_weight=1.0, towards="both", epochs=100, batch_size=100, lr=1e-3, schedule="constant",
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        options: NetworkOptions = NetworkOptions(),
        see_labels: bool = False,
        alpha: float = 0.1,
        towards: Literal["joint", "both"] = "joint",
        beta: float = 1.0,
        warm_up: float = 0.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(alpha=alpha, beta=beta, label_weight=label_weight)
        self.check_fraction(warm_up=warm_up)
        if see_labels:
            self.encoded = tuple(m.name for m in modalities)
        self.towards = towards
        self.latent_dim, self.alpha, self.beta, self.warm_up = latent_dim, alpha, beta, warm_up
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        seen = [self.modality(n) for n in self.encoded]
        self.joint = JointEncoder(seen, 2 * latent_dim, options)
        self.encoders = encoders(seen, 2 * latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, options)

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            self.observe_each(z, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | x_1, ..., x_M), for rows of which all modalities are seen. What is not seen enters as zeros."""
        loc, log_var = self.posterior(batch)
        with batch.plates():
            pyro.sample("z", Gaussian(loc, log_var))

    def query_guide(self, batch: Batch) -> None:
        """The guide where all modalities are seen, the product of the seen ones' posteriors where some are, else the
        prior.
        """
        alone = product_of_experts(*self.experts(batch), batch.seen, prior=False)
        loc, log_var = self.posterior(batch)
        every = batch.seen.all(-1, keepdim=True)
        with batch.plates():
            pyro.sample("z", Gaussian(torch.where(every, loc, alone.loc), torch.where(every, log_var, alone.log_var)))

    def objective(self, batch: Batch) -> Terms:
        """The paper's J_KL with its sign changed, by default with another gradient (`towards`). Rows that lack a
        modality add nothing.
        """
        batch = batch.requiring(self.encoded)
        traces = trace(self, batch)
        terms = nll(traces, self.weights) | kl(traces, warmup(self.beta, self.progress, self.warm_up))
        joint = traces.guide.nodes["z"]["fn"]
        if self.towards == "joint":
            joint = Gaussian(joint.loc.detach(), joint.log_var.detach())
        apart = kl_divergence(joint, Gaussian(*self.experts(batch)))  # (M, B)
        means = torch.where(batch.has(self.encoded), apart, 0.0).mean(-1)
        return terms | Terms({f"kl.{n}": (mean, self.alpha) for n, mean in zip(self.encoded, means)})

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """Rows that have all modalities."""
        return super().usable(observed) & torch.stack([observed[name] for name in self.encoded]).all(0)

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the joint posterior, (..., B, D) each."""
        return gaussian_head(self.joint(self.seen_input(batch)))
