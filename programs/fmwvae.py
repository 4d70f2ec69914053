"""FMW-VAE: MW-VAE with a common latent, which is aligned, and a private one for each modality: its style.

Source: S. S. Azam, "Variational Auto-Encoder for Multimodal Representation Learning" (course report, 2022); code:
shams-sam/MultiModal-VAE. Differs, besides what `mwvae` lists: private latents for any modality, of any size; what
another modality has encoded is decoded, too, by default with a style from the prior, so that the common latent has to
hold what they share (in the authors' second version with the row's own style); a term that makes private and common
latents independent. The authors generate with the average style of the true class, which passes the class to the
decoder: the result is coherent even where it is not with any other style. It can be reproduced here (`style=class`),
but it does not measure cross-generation.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from mmppl import (
    Batch,
    Modality,
    NetworkOptions,
    Program,
    StyleBank,
    Terms,
    Traces,
    UsageError,
    alignment,
    annealing,
    barycentre,
    class_label,
    cross_likelihood,
    cross_weights,
    decoders,
    encoders,
    gaussian_head,
    kl,
    likelihood_weights,
    nll,
    observe,
    trace,
)
from mmppl.kernels.hsic import hsic
from mmppl.kernels.mmd import mmd2, rbf


class FMWVAE(Program):
    """p(z) Π_m p(s_m) p(x_m | z, s_m) with q(z | x_m) and q(s_m | x_m); the sites are `z` and `private.MODALITY`.

    Minimises Σ_n [w_n nll_n + beta KL(q(z, s_n | x_n) ‖ p) + Σ_{m ≠ n} c_m w_m cross_m] + gamma Σ_{m < n} W2²(q_m, q_n)
    over what each row has, with q_m = q(z | x_m).

    Args:
        modalities: the schema of the data.
        latent_dim: D, the size of the common z.
        private: size of each modality's private latent, 0 for labels; or one number for each modality in their order,
            labels included. A modality of size 0 has none.
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
        cross_style: the style with which a modality is reconstructed from another's z: of the "prior", or of the "row"
            itself.
        style: the style with which a query generates what it has not seen: of the "prior"; of "another" row, any of the
            last `styles` training rows; or of the "class": their average over the class that is seen (if none is, of
            the prior). No weight depends on it: `--set style=another` of a query, or
            `run.with_options(style="another")`.
        styles: the number of training rows whose private posteriors are kept.
        separate: a term that makes z and the private latents of a row independent: "hsic", or "mmd" between rows and
            rows with shuffled private latents.
        separate_weight: weight of that term. HSIC and MMD² of latents are far below 1: on MNIST a weight of 100 had no
            effect.
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
            latent_dim=64, private=64, hidden=400, activation="relu", norm=False, linear=False, cross=0.0,
            style="class", label_weight=1.0, epochs=50, batch_size=64, lr=1e-4, schedule="constant",
        ),
    }  # fmt: skip
    query_options = ("style",)

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 20,
        private: int | tuple[int, ...] = 8,
        align: Literal["barycentre", "pairwise"] = "barycentre",
        gamma: float = 1.0,
        cross: float | tuple[float, ...] = 1.0,
        scored: Literal["observed", "seen"] = "observed",
        anneal: float = 0.5,
        cross_style: Literal["prior", "row"] = "prior",
        style: Literal["prior", "another", "class"] = "prior",
        styles: int = 256,
        separate: Literal["none", "hsic", "mmd"] = "none",
        separate_weight: float = 1000.0,
        options: NetworkOptions = NetworkOptions(),
        see_labels: bool = True,
        beta: float = 1.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        super().__init__(modalities)
        self.check_fraction(anneal=anneal)
        self.check_nonnegative(gamma=gamma, beta=beta, label_weight=label_weight, separate_weight=separate_weight)
        if styles < 1:
            raise UsageError(f"FMWVAE: styles={styles}; at least one row's is kept.")
        if see_labels:
            self.encoded = tuple(m.name for m in modalities)
        self.scored, self.anneal = scored, anneal
        self.latent_dim, self.gamma, self.beta = latent_dim, gamma, beta
        self.align: Literal["barycentre", "pairwise"] = align
        self.cross_style, self.style = cross_style, style
        self.separate, self.separate_weight = separate, separate_weight
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        self.cross = cross_weights(modalities, self.weights, cross)
        self.label = class_label(self)
        if style == "class" and (self.label is None or not see_labels):
            raise UsageError("FMWVAE: style=class needs a label of one class per row that is seen.")
        sizes = self._sizes(private)
        self.private = {name: size for name, size in sizes.items() if size}
        if separate != "none" and not self.private:
            raise UsageError(f"FMWVAE: separate={separate}, but private=0 leaves nothing to separate.")
        seen = [self.modality(n) for n in self.encoded]
        self.encoders = encoders(seen, 2 * latent_dim, options)
        self.private_encoders, self.decoders, self.styles = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for m in modalities:
            self.decoders[m.name] = decoders([m], latent_dim + sizes[m.name], options)[m.name]
            if size := sizes[m.name]:
                self.private_encoders[m.name] = encoders([m], 2 * size, options)[m.name]
                self.styles[m.name] = StyleBank(styles, size, self.label.n_classes if self.label else 0)

    def _sizes(self, private: int | tuple[int, ...]) -> dict[str, int]:
        """The size of the private latent by name."""
        if isinstance(private, int):
            private = tuple(private if m.role == "modality" else 0 for m in self.modalities)
        sizes = {m.name: size for m, size in zip(self.modalities, private)}
        if len(private) != len(self.modalities) or any(size < 0 for size in private):
            names = ", ".join(m.name for m in self.modalities)
            raise UsageError(f"FMWVAE: private={private}; expected one size ≥ 0, or one for each of {names}.")
        for name, size in sizes.items():
            if size and name not in self.encoded:
                raise UsageError(f"FMWVAE: private={private}, but {name} has no encoder; choose 0, or see_labels=true.")
        return sizes

    def model(self, batch: Batch) -> None:
        """z, s_m ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z, s_m))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            styles = {}
            for name, size in self.private.items():
                with poutine.mask(mask=batch.sees(name)):  # a style costs nothing where only z is examined
                    styles[name] = pyro.sample(f"private.{name}", self.standard_normal(size))
            for m in self.each_modality():
                observe(m, self.decoders[m.name], z, batch, beside=styles.get(m.name))

    def guide(self, batch: Batch, style: str = "prior") -> None:
        """q(z | seen x), the barycentre of the seen modalities' posteriors, and q(s_m | x_m) of the seen modalities.

        Args:
            batch: the batch.
            style: the style of the other modalities: of the "prior", of the "row" itself, of "another", or the average
                of its "class".
        """
        loc, log_var = self.experts(batch)
        own = {n: gaussian_head(net(batch.input(self.modality(n)))) for n, net in self.private_encoders.items()}
        with batch.plates():
            pyro.sample("z", barycentre(loc, log_var, batch.seen))
            for name, expert in own.items():
                pyro.sample(f"private.{name}", self.style_of(name, *expert, batch, style))

    def query_guide(self, batch: Batch) -> None:
        """The guide with the style that the hyper-parameter names."""
        self.guide(batch, self.style)

    def objective(self, batch: Batch) -> Terms:
        """An ELBO for each modality alone, in one trace that also scores the others; and W2² of z."""
        alone = torch.eye(len(self.encoded), dtype=torch.bool)
        crossing = any(self.cross.values())
        guide = partial(self.guide, style=self.cross_style)
        together = crossing and self.scored == "observed"
        traces = trace(self, batch.under(alone, "observed" if together else "seen"), guide)
        terms = nll(traces, self.weights, cross=self.cross if together else None)
        terms |= kl(traces, self.beta, subsets={"z": self.encoded})
        if crossing and not together:
            unseen, spread = batch.under(alone, "unseen"), annealing(self.progress, self.anneal)
            terms |= cross_likelihood(self, traces, unseen, self.cross, spread=spread, seen=terms)
        loc, log_var, _ = traces.guide.nodes["z"]["fn"].experts
        if self.training:
            self.keep_styles(traces, batch)
        return terms | alignment(loc, log_var, batch.seen, self.gamma, by=self.align) | self.separated(traces, batch)

    def style_of(self, name: str, loc: Tensor, log_var: Tensor, batch: Batch, style: str) -> TorchDistribution:
        """The distribution of a modality's private latent: its own where the modality is seen, else that of a style.

        Args:
            name: name of the modality.
            loc: (B, P) means of the rows' own posteriors.
            log_var: (B, P) log-variances of the rows' own posteriors.
            batch: the batch.
            style: see `guide`.

        Returns:
            A distribution of event shape (P,).
        """
        seen, kept = batch.sees(name), self._styles(name)
        if style == "another":
            return kept.another(loc, log_var, seen)
        if style == "class" and self.label is not None:
            return kept.average(loc, log_var, seen, self.codes(batch, batch.sees(self.label.name)))
        looks = seen if style == "prior" else batch.observed[name].expand(seen.shape)
        return barycentre(loc.unsqueeze(0), log_var.unsqueeze(0), looks.unsqueeze(-1))  # of one or none

    def separated(self, traces: Traces, batch: Batch) -> Terms:
        """The terms that measure how far z and the private latent of each modality are from independent.

        Args:
            traces: the traces of the objective.
            batch: the batch.

        Returns:
            The terms `hsic.MODALITY` or `mmd.MODALITY`, none with `separate="none"`.
        """
        terms = Terms()
        if self.separate == "none":
            return terms
        order = torch.rand((len(batch),), dtype=torch.float64, device=batch.index.device).argsort()
        for name in self.private:
            alone = self.encoded.index(name)
            z, style = (traces.value(site)[alone] for site in ("z", f"private.{name}"))
            rows, (d, p) = batch.observed[name], (z.shape[-1], style.shape[-1])
            if self.separate == "hsic":
                value = hsic(z, style, rbf(float(d)), rbf(float(p)), weight=rows)
            else:
                pairs, shuffled = torch.cat([z, style], -1), torch.cat([z, style[order]], -1)
                value = mmd2(pairs, shuffled, rbf(float(d + p)), x_weight=rows, y_weight=rows & rows[order])
            terms[f"{self.separate}.{name}"] = (value, self.separate_weight)
        return terms

    def keep_styles(self, traces: Traces, batch: Batch) -> None:
        """Put the batch's private posteriors in the place of older ones.

        Args:
            traces: the traces of the objective.
            batch: the batch.
        """
        codes = self.codes(batch, None if self.label is None else batch.observed[self.label.name])
        for name in self.private:
            (loc,), (log_var,), _ = traces.guide.nodes[f"private.{name}"]["fn"].experts
            self._styles(name).keep(loc, log_var, batch.observed[name], codes)

    def codes(self, batch: Batch, known: Tensor | None) -> Tensor:
        """Codes of the classes of the rows.

        Args:
            batch: the batch.
            known: (..., B) bool, where the class is known; None: nowhere.

        Returns:
            (..., B) codes, `StyleBank.UNKNOWN` where the class is not known.
        """
        if self.label is None or known is None:
            return torch.full_like(batch.index, StyleBank.UNKNOWN)
        return torch.where(known, batch.value(self.label.name), StyleBank.UNKNOWN)

    def _styles(self, name: str) -> StyleBank:
        kept: Any = self.styles[name]
        return kept
