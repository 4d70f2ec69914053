"""MMJSD: one shared latent whose posterior is a mixture of the modalities' own, drawn together by a Jensen-Shannon
divergence.

Source: Sutter, Daunhawer, Vogt 2020, "Multimodal Generative Learning Utilizing Jensen-Shannon-Divergence",
arXiv:2006.08242; code: thomassutter/mmjsd. Differs: weights of the divergence are equal, over the modalities that a row
has and the prior; a draw of each of a row's components is decoded into everything (the authors draw one component for
each row, which is the same on average); a latent of the prior itself is decoded only with `prior_component`, as in
their code.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pyro
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from mmppl import (
    Batch,
    Gaussian,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    UsageError,
    barycentre,
    decoders,
    dynamic_prior,
    encoders,
    gaussian_head,
    jensen_shannon,
    likelihood_weights,
    mixture_of_experts,
    nll,
    observe,
    trace,
)


class MMJSD(Program):
    """p(z) Π_m p(s_m) p(x_m | z, s_m) with q(z | x) = 1/n Σ_m q(z | x_m) and q(s_m | x_m); the sites are `z` and
    `private.MODALITY`.

    Minimises 1/n Σ_l Σ_m w_m nll_m(z_l, s_m) + beta JS(q(z | x_1), ..., q(z | x_n), p(z)) + beta style_beta
    Σ_m KL(q(s_m | x_m) ‖ p) over the n modalities that a row has, z_l a draw of q(z | x_l). The divergence is measured
    from the geometric mean of its members, the dynamic prior (`mmppl.jensen_shannon`), and is less than their KL to the
    prior, so this is no bound of the evidence. Every draw also answers for what its modality says nothing about, which
    is booked as noise: in a linear world it learned noise 1.4 times the truth and was 3 nats below the exact evidence.
    Where honest intervals or evidence matter, take another program.

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of z.
        private: size of each modality's private latent s_m, its style, 0 for labels; or one number for each modality in
            their order, labels included (they are 0). A modality of size 0 has none.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        beta: weight of the divergence and, times `style_beta`, of the styles' KLs.
        style_beta: weight of the styles' KLs beside that of the divergence.
        prior_component: whether the prior is one more component of the mixture whose draws are decoded, as in the
            authors' code. It teaches the decoders the mean of everything.
        answers: what queries use: the "mixture" over what is seen, or the "dynamic" prior of it. No weight depends on
            it: `--set answers=dynamic` of a query.
        weights: weights of the modalities' log-likelihoods, in their order; "size": features of the largest modality
            over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50.
    """

    default_data = "digits-three"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        # images as in the paper: --as NAME=laplace:scale=0.75
        "paper-mnist-svhn-text": dict(
            latent_dim=20, networks="conv-32", hidden=400, layers=1, activation="relu", norm=False, linear=False,
            beta=2.5, prior_component=True, weights="size", label_weight=0.0, epochs=100, batch_size=256, lr=5e-4,
            schedule="constant",
        ),
    }  # fmt: skip
    query_options = ("answers",)

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        private: int | tuple[int, ...] = 0,
        options: NetworkOptions = NetworkOptions(),
        beta: float = 1.0,
        style_beta: float = 1.0,
        prior_component: bool = False,
        answers: Literal["mixture", "dynamic"] = "mixture",
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(beta=beta, style_beta=style_beta, label_weight=label_weight)
        self.latent_dim, self.beta, self.style_beta = latent_dim, beta, style_beta
        self.prior_component, self.answers_with = prior_component, answers
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        sizes = self._sizes(private)
        self.private = {name: size for name, size in sizes.items() if size}
        self.encoders = encoders([self.modality(n) for n in self.encoded], 2 * latent_dim, options)
        self.private_encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for m in modalities:
            self.decoders[m.name] = decoders([m], latent_dim + sizes[m.name], options)[m.name]
            if size := sizes[m.name]:
                self.private_encoders[m.name] = encoders([m], 2 * size, options)[m.name]

    def _sizes(self, private: int | tuple[int, ...]) -> dict[str, int]:
        """The size of the private latent by name."""
        if isinstance(private, int):
            private = tuple(private if m.name in self.encoded else 0 for m in self.modalities)
        sizes = {m.name: size for m, size in zip(self.modalities, private)}
        if len(private) != len(self.modalities) or any(s < 0 or s and n not in self.encoded for n, s in sizes.items()):
            names = ", ".join(m.name for m in self.modalities)
            raise UsageError(
                f"MMJSD: private={private}; expected one size ≥ 0, or one for each of {names}, 0 for labels."
            )
        return sizes

    def model(self, batch: Batch) -> None:
        """z, s_m ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z, s_m))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            own: dict[str, Tensor] = {}
            for name, size in self.private.items():
                own[name] = pyro.sample(f"private.{name}", self.standard_normal(size))
            for m in self.each_modality():
                observe(m, self.decoders[m.name], z, batch, beside=own.get(m.name))

    def guide(self, batch: Batch) -> None:
        """q(z | seen x): the posterior of one of the seen modalities, all equally likely; and q(s_m | x_m) of these."""
        mixture = mixture_of_experts(Gaussian(*self.experts(batch)), batch.seen, self.standard_normal(self.latent_dim))
        with batch.plates():
            pyro.sample("z", mixture)
            self.styles(batch, {name: batch.sees(name) for name in self.private})

    def query_guide(self, batch: Batch) -> None:
        """The guide, or the dynamic prior of what is seen in place of the mixture."""
        if self.answers_with == "mixture":
            return self.guide(batch)
        loc, log_var = self.experts(batch)
        with batch.plates():
            pyro.sample("z", dynamic_prior(loc, log_var, batch.seen))
            self.styles(batch, {name: batch.sees(name) for name in self.private})

    def each_component(self, batch: Batch) -> None:
        """The posterior of one modality in each subset, in their order, and then the prior if that is a component; with
        the styles of the rows themselves.

        Args:
            batch: the batch under one subset for each component.
        """
        loc, log_var = self.experts(batch)
        if self.prior_component:
            loc, log_var = (torch.cat([t, torch.zeros_like(t[:1])]) for t in (loc, log_var))
        with batch.plates():
            pyro.sample("z", Gaussian(loc, log_var))
            self.styles(batch, {name: batch.observed[name] for name in self.private})

    def styles(self, batch: Batch, known: dict[str, Tensor]) -> None:
        """Draw the private latents.

        Args:
            batch: the batch.
            known: name → (..., B) bool, where the style is that of the row; elsewhere it is of the prior.
        """
        for name, encoder in self.private_encoders.items():
            loc, log_var = gaussian_head(encoder(batch.input(self.modality(name))))
            rows = known[name].expand(batch.seen.shape[:-1]).unsqueeze(-1)
            pyro.sample(f"private.{name}", barycentre(loc.unsqueeze(0), log_var.unsqueeze(0), rows))  # of one or none

    def objective(self, batch: Batch) -> Terms:
        """The mean over a row's components of what everything costs from a draw of them; the divergence; the styles."""
        number, own = len(self.encoded), batch.seen
        under = batch.under(torch.eye(number + self.prior_component, number, dtype=torch.bool))
        if self.prior_component:  # a subset of nothing counts for no row unless it is told to
            active = torch.cat([own.mT, own.any(-1).unsqueeze(0)])
            under = replace(under, active=active, patterns=None)
        traces = trace(self, under, self.each_component)
        share = 1 / (own.sum(-1) + self.prior_component).clamp_min(1)
        terms = nll(traces, self.weights, share=share)
        site = traces.guide.nodes["z"]["fn"]
        terms |= jensen_shannon(site.loc[:number], site.log_var[:number], own, self.beta)
        for name, size in self.private.items():
            (loc,), (log_var,), _ = traces.guide.nodes[f"private.{name}"]["fn"].experts
            rows = kl_divergence(Gaussian(loc, log_var), self.standard_normal(size))
            cost = torch.where(batch.observed[name], rows, 0.0).mean()
            terms[f"kl.private.{name}"] = (cost, self.beta * self.style_beta)
        return terms
