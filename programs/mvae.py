"""MVAE: one shared latent, product-of-experts posterior over any subset of modalities.

Source: Wu & Goodman 2018, arXiv:1802.05335, sec. 2.1 (product) and 2.2 (sub-sampled objective); exponents as in Cao &
Fleet 2014, arXiv:1410.7827. Differs: by default the objective is the sum of the ELBOs under all non-empty subsets, each
of which scores what it has seen and the labels, and the likelihood of what it has not seen, which never teaches noise;
likelihood weights are the same in every ELBO (the authors' CelebA code drops them from some); no epsilon in the
variances; LayerNorm, unless it is turned off.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import pyro
import torch
from torch import nn

from mmppl import (
    Batch,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    UsageError,
    all_subsets,
    annealing,
    cross_likelihood,
    decoders,
    encoders,
    full_and_singletons,
    kl,
    likelihood_weights,
    nll,
    product_of_experts,
    random_subsets,
    trace,
    warmup,
)

FEW = 4  # modalities, of which all 15 subsets are decoded in every step if nothing is said
MAX_MODALITIES = 10  # all subsets of so many are still decoded if asked for: 1,023 of them


class MVAE(Program):
    """p(z) Π_m p(x_m | z) with q(z | x_S) ∝ p(z) Π_{m in S} q(z | x_m)^t_m.

    Minimises Σ_S [Σ_{m in S or a label} w_m nll_m(z_S) + beta KL(q(z | x_S) ‖ p(z))] + cross Σ_S Σ_{m not in S} w_m
    nll_m(z̃_S), z̃_S = μ_S + s σ_S ε, from which the experts' means and the decoders learn, but no noise and no variance
    (`mmppl.cross_likelihood`). s is 1 for the share `anneal` of the training, and falls to 0 until its end.

    With scored=observed every ELBO would score all that a row has, as in many published programs. Its optimum books
    the error of predicting one modality from another as noise of the observations: the noise is up to 3 times the
    truth, the evidence a nat or more below it. scored=seen and cross=0, which Wu & Goodman have, is nearly right, but
    its modalities hardly answer for each other on images. The default is closer to the truth than either, and gives up
    a little of the coherence of scored=observed between images: s = 1 makes the modalities find a common code, s = 0
    keeps the model from paying for it.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        decoder_layers: number of hidden layers of the decoders, if it differs from `layers`.
        subsets: "all" non-empty subsets of what a row has, for at most 10 modalities; "sampled" (sec. 2.2): all that
            a row has, each modality alone, and `extra` random subsets per batch, each cut down to what a row has and
            left out where nothing is left; or "auto": all of at most 4 modalities, else sampled.
        extra: k, the number of random subsets, each of a size uniform in 2..M − 1 (none below three modalities); for
            "sampled". None: as many as there are modalities.
        scored: what each ELBO scores: all that is "observed", or only what is "seen" in it (Wu & Goodman) and the
            labels.
        cross: weight of the likelihood of what an ELBO has not seen; for scored=seen.
        anneal: the share of the training until which z̃ is drawn as from the posterior; then it closes in on its mean.
        see_labels: whether labels are modalities like any other: they have experts, and subsets hold them.
        temper: "learned" learns one exponent t_m > 0 per expert (starts at 1); "none": 1.
        beta: weight of the KL.
        warm_up: share of the training over which beta rises linearly from 0. Losses from that time do not compare with
            later ones, so an early stop (patience) must not see them.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
    """

    default_data = "digits-three"
    default_rows = (1_000, None)
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        "observed": dict(scored="observed"),  # coherent images, at the price of honest noise and evidence
        # 100 times the squared error of speech as in the paper: --as SPEECH=normal:scale=1, the third modality
        "paper-three": dict(
            weights=(1.0, 1.0, 200.0), latent_dim=512, hidden=512, layers=3, linear=False, scored="observed",
            label_weight=1.0, epochs=500, batch_size=128, lr=1e-3, schedule="constant",
        ),
        "paper-mnist": dict(
            latent_dim=64, hidden=512, decoder_layers=3, norm=False, linear=False, subsets="sampled", extra=1,
            cross=0.0, see_labels=True, label_weight=50.0, warm_up=0.4, epochs=500, batch_size=100, lr=1e-3,
            schedule="constant",
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        options: NetworkOptions = NetworkOptions(),
        decoder_layers: int | None = None,
        subsets: Literal["auto", "all", "sampled"] = "auto",
        extra: int | None = None,
        scored: Literal["observed", "seen"] = "seen",
        cross: float = 1.0,
        anneal: float = 0.5,
        see_labels: bool = False,
        temper: Literal["none", "learned"] = "none",
        beta: float = 1.0,
        warm_up: float = 0.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(extra=extra, beta=beta, label_weight=label_weight, cross=cross)
        self.check_fraction(warm_up=warm_up, anneal=anneal)
        if see_labels:
            self.encoded = tuple(m.name for m in modalities)
        number = len(self.encoded)
        if subsets == "auto":
            subsets = "all" if number <= FEW else "sampled"
        if subsets == "all" and len(self.encoded) > MAX_MODALITIES:
            raise UsageError(
                f"MVAE: all {2 ** len(self.encoded) - 1:,} subsets of {len(self.encoded)} modalities decode every one, "
                f"more than memory holds (at most {MAX_MODALITIES} modalities); choose subsets=sampled, or put columns "
                "that belong together into one modality (modality:column in a DataFrame)."
            )
        self.latent_dim, self.beta, self.warm_up = latent_dim, beta, warm_up
        self.subsets, self.extra, self.anneal = subsets, number if extra is None else extra, anneal
        self.cross = cross if scored == "seen" else 0.0
        self.scored: Literal["observed", "seen"] = scored
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        depth = options.layers if decoder_layers is None else decoder_layers
        seen = [self.modality(n) for n in self.encoded]
        self.encoders = encoders(seen, 2 * latent_dim, options)
        self.decoders = decoders(modalities, latent_dim, replace(options, layers=depth))
        self.log_exponents = nn.Parameter(torch.zeros(len(self.encoded))) if temper == "learned" else None

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            self.observe_each(z, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | seen x): the product of the prior and the seen experts, each to its power."""
        loc, log_var = self.experts(batch)
        exponents = None if self.log_exponents is None else self.log_exponents.exp()
        with batch.plates():
            pyro.sample("z", product_of_experts(loc, log_var, batch.seen, exponents=exponents))

    def objective(self, batch: Batch) -> Terms:
        """The sum of the ELBOs under the subsets, in one trace."""
        number = len(self.encoded)
        if self.subsets == "all":
            under = partial(batch.under, all_subsets(number))
        else:
            drawn = random_subsets(number, self.extra, batch.index.device)
            under = partial(batch.under, full_and_singletons(number), cut=True, drawn=drawn)
        traces = trace(self, under(self.scored))
        terms = nll(traces, self.weights) | kl(traces, warmup(self.beta, self.progress, self.warm_up))
        if not self.cross:
            return terms
        weights = {name: self.cross * weight for name, weight in self.weights.items()}
        spread = annealing(self.progress, self.anneal)
        return terms | cross_likelihood(self, traces, under("unseen"), weights, spread=spread, seen=terms)
