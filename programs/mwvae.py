"""MW-VAE: a VAE for each modality. W2² pulls their posteriors together, and all decode what one of them has encoded.

Source: S. S. Azam, "Variational Auto-Encoder for Multimodal Representation Learning" (course report, 2022); code:
shams-sam/MultiModal-VAE. Its M-VAE is `variant=joint`, or as in the code and the figures `unaligned`; its MW-VAE is
`aligned` with cross=0. Differs: any number of modalities, any of them missing; the exact W2² between the encoders'
posteriors (the code mixes up variances and standard deviations and leaves out squares; the printed formula lacks one);
cross-reconstruction, without which no gamma makes one modality generate another; given several modalities, the answer
is their barycentre; labels have weight 20, since with weight 1 their posterior collapses; images in [0, 1], not
standardised; no BatchNorm, through which fillers leak.
"""

from collections.abc import Sequence
from typing import Literal

import pyro
import torch

from mmppl import (
    Batch,
    Gaussian,
    JointEncoder,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    alignment,
    annealing,
    barycentre,
    cross_likelihood,
    cross_weights,
    decoders,
    elbo,
    encoders,
    gaussian_head,
    kl,
    likelihood_weights,
    nll,
    trace,
)


class MWVAE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x_m) for each modality alone, and q(z | x_S) their barycentre.

    Minimises Σ_n [w_n nll_n + beta KL(q(z | x_n) ‖ p) + Σ_{m ≠ n} c_m w_m cross_m] + gamma Σ_{m < n} W2²(q_m, q_n) over
    what each row has: nll_n from a draw of q(z | x_n), cross_m (x_m from a draw of another's) summed over the others.

    Args:
        modalities: the schema of the data.
        variant: "aligned"; "unaligned": gamma and cross are 0 (W2² is logged all the same); or "joint": one encoder
            that sees everything, with zeros for what is missing. It learns to answer from a part only as far as
            training rows lack the rest (fit with `hide`); from nothing it answers with the prior.
        align: how W2² is computed: by its "pairwise" definition, at a cost of M², or from the "barycentre", at a cost
            of M. The number is the same.
        gamma: weight of W2², a sum over D dimensions.
        cross: weight of the cross-reconstructions beside w_m: one for all, or one for each modality in their order,
            labels included.
        scored: what the ELBO of a modality scores: all that is "observed", which includes the cross-reconstructions,
            or only what is "seen" in it; what is not seen then teaches decoders and the means of the posteriors, but
            no noise and no variance (`mmppl.cross_likelihood`).
        anneal: the share of the training until which that is drawn as from the posterior; then it closes in on its
            mean. For scored=seen.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        see_labels: whether labels are modalities like any other, with encoders; else they are only decoded.
        beta: weight of the KLs.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
    """

    default_data = "digits-three"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        # an MLP replaces its convolutions for 28×28 images; its ten Bernoullis are --as label=bernoulli
        "paper-mnist": dict(
            latent_dim=64, hidden=400, activation="relu", norm=False, linear=False, cross=0.0, label_weight=1.0,
            epochs=50, batch_size=64, lr=1e-4, schedule="constant",
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        variant: Literal["aligned", "unaligned", "joint"] = "aligned",
        align: Literal["barycentre", "pairwise"] = "barycentre",
        gamma: float = 1.0,
        cross: float | tuple[float, ...] = 1.0,
        scored: Literal["observed", "seen"] = "observed",
        anneal: float = 0.5,
        latent_dim: int = 20,
        options: NetworkOptions = NetworkOptions(),
        see_labels: bool = True,
        beta: float = 1.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        super().__init__(modalities)
        self.check_fraction(anneal=anneal)
        self.check_nonnegative(gamma=gamma, beta=beta, label_weight=label_weight)
        if see_labels:
            self.encoded = tuple(m.name for m in modalities)
        self.scored, self.anneal = scored, anneal
        self.latent_dim, self.beta, self.variant = latent_dim, beta, variant
        self.align: Literal["barycentre", "pairwise"] = align
        self.gamma = gamma if variant == "aligned" else 0.0
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        self.cross = cross_weights(modalities, self.weights, cross if variant == "aligned" else 0.0)
        seen = [self.modality(n) for n in self.encoded]
        if variant == "joint":
            self.joint = JointEncoder(seen, 2 * latent_dim, options)
        else:
            self.encoders = encoders(seen, 2 * latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, options)

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            self.observe_each(z, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | seen x): the barycentre of the seen modalities' posteriors, or the joint encoder's output."""
        q = self.joint_posterior(batch) if self.variant == "joint" else barycentre(*self.experts(batch), batch.seen)
        with batch.plates():
            pyro.sample("z", q)

    def objective(self, batch: Batch) -> Terms:
        """An ELBO for each modality alone, in one trace that also scores the others; and W2²."""
        if self.variant == "joint":
            return elbo(self, batch, beta=self.beta, weights=self.weights)
        alone = torch.eye(len(self.encoded), dtype=torch.bool)
        crossing = any(self.cross.values())
        together = crossing and self.scored == "observed"
        traces = trace(self, batch.under(alone, "observed" if together else "seen"))
        terms = nll(traces, self.weights, cross=self.cross if together else None)
        terms |= kl(traces, self.beta, subsets={"z": self.encoded})
        if crossing and not together:
            unseen, spread = batch.under(alone, "unseen"), annealing(self.progress, self.anneal)
            terms |= cross_likelihood(self, traces, unseen, self.cross, spread=spread, seen=terms)
        loc, log_var, _ = traces.guide.nodes["z"]["fn"].experts
        return terms | alignment(loc, log_var, batch.seen, self.gamma, by=self.align)

    def joint_posterior(self, batch: Batch) -> Gaussian:
        """The joint encoder's posterior given everything seen, with zeros for the rest; N(0, I) where nothing is seen.

        Args:
            batch: the batch.

        Returns:
            A Gaussian of batch shape (..., B).
        """
        something = batch.seen.any(-1, keepdim=True)
        return Gaussian(*(torch.where(something, t, 0.0) for t in gaussian_head(self.joint(self.seen_input(batch)))))
