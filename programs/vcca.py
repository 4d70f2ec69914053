"""VCCA and VCCA-private: a common latent that is read off the views of the test time alone, and a private one per view.

Source: Wang, Yan, Lee, Livescu 2016, arXiv:1610.03454: VCCA (sec. 3), VCCA-private (sec. 3.2, here with `private` above
0) and bi-VCCA (sec. 3.3; here `bounds=alone`, its terms weighted equally). Differs: any number of views, of test-time
views and of missing ones; several test-time views are experts of a product; LayerNorm and a linear path, unless they
are turned off; the noise of numbers is learned, as the schema says, unless `scale` fixes it as in the paper. The
authors' sizes of layers are not known here: `paper-mnist` has those of CMMD (arXiv:2110.04616) on the same data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import pyro
import torch
from torch import Tensor, nn

from mmppl import (
    Batch,
    Gaussian,
    Modality,
    NetworkOptions,
    Program,
    Terms,
    UsageError,
    decoders,
    encoders,
    gaussian_head,
    kl,
    likelihood_weights,
    nll,
    observe,
    product_of_experts,
    suggest,
    trace,
    warmup,
)

NOISY = ("normal", "laplace")  # likelihoods whose noise `scale` fixes


class VCCA(Program):
    """p(z) Π_m p(h_m) p(x_m | z, h_m), with q(z | x_V) of the test-time views V alone, and q(h_m | x_m) of each view.

    Minimises Σ_m w_m nll_m + beta [KL(q(z | x_V) ‖ p(z)) + Σ_m KL(q(h_m | x_m) ‖ p(h_m))], over the views m that a row
    has. The sites are `z` and `private.VIEW`. With one test-time view q(z | x_V) is what its encoder returns; with
    several it is ∝ p(z) Π_v q(z | x_v) over those that a row has. A row without any of them has nothing to infer z
    from: it teaches nothing, and a fit counts it and leaves it out. A view that a row lacks adds neither its likelihood
    nor its KL.

    A query infers z from the test-time views that are given. Of a view that is given besides them it infers the private
    latent, and z does not move: the guide does not see that view. The private latent of a view that is not given is the
    prior's. Without a test-time view z would be the prior whatever else is given, so such a query is refused; with
    method importance (and for evidence) draws of the prior are weighed by the model, and k̂ tells whether they suffice.
    As q(z) does not see all that it has to explain, what another view shows and V does not is booked as noise, or is
    left to the private latent: the evidence is a lower one than the model could reach with a guide of all views.

    Args:
        modalities: the schema of the data.
        views: V, the views that are given at test time (comma-separated), or "all"; (): the first modality.
        private: size of each view's private latent, or one number for each modality in their order, labels left out.
            With 0 a view has none: VCCA.
        latent_dim: D, the size of z.
        options: options of encoders and decoders, whose fields are hyper-parameters like the others (`hidden=64`).
        bounds: with several test-time views, whose bounds are added up: that of all of them "together", of each
            "alone", or "both", so that each can answer without the others.
        scale: the noise of all views whose likelihood is normal (their standard deviation) or laplace, in model units
            and fixed, instead of what the schema says of it; None: as the schema says.
        supervised: whether labels teach z; else their decoders read what is learned without them.
        beta: weight of the KLs.
        warm_up: share of the training over which beta rises linearly from 0. Losses from that time do not compare with
            later ones, so an early stop (patience) must not see them.
        weights: weights of the views' log-likelihoods, in their order; "size": features of the largest over its own.
        label_weight: weight of the labels' log-likelihood; None: see `likelihood_weights`, between 1 and 50, or 1 if
            labels teach nothing.
    """

    default_data = "digits-two-view"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {
        "paper-mnist": dict(
            latent_dim=50, private=30, hidden=1024, layers=3, dropout=0.2, activation="relu", norm=False, linear=False,
            epochs=1001, batch_size=100, lr=1e-4, schedule="constant",
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        views: Literal["all"] | tuple[str, ...] = (),
        private: int | tuple[int, ...] = 8,
        latent_dim: int = 20,
        options: NetworkOptions = NetworkOptions(),
        bounds: Literal["together", "alone", "both"] = "both",
        scale: float | None = None,
        supervised: bool = False,
        beta: float = 1.0,
        warm_up: float = 0.0,
        weights: tuple[float, ...] | Literal["size"] = (),
        label_weight: float | None = None,
    ) -> None:
        if scale is not None:
            modalities = [replace(m, scale=scale) if fixed_by_scale(m) else m for m in modalities]
        super().__init__(modalities)
        self.check_nonnegative(beta=beta, label_weight=label_weight)
        self.check_fraction(warm_up=warm_up)
        if scale is not None and not any(map(fixed_by_scale, modalities)):
            raise UsageError(f"VCCA: scale={scale} fixes the noise of {' and '.join(NOISY)} views; there are none.")
        self.views = self._views(views)
        self.private = self._sizes(private)
        self.latent_dim, self.beta, self.warm_up, self.supervised = latent_dim, beta, warm_up, supervised
        self.bounds = bounds if len(self.views) > 1 else "together"
        if label_weight is None and not supervised:
            label_weight = 1.0
        self.weights = likelihood_weights(modalities, weigh=weights, label_weight=label_weight)
        self.encoders, self.private_encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for m, own in zip(modalities, options.of_each([m.role for m in modalities])):
            size = self.private.get(m.name, 0)
            self.decoders[m.name] = decoders([m], latent_dim + size, own)[m.name]
            if m.name in self.views:
                self.encoders[m.name] = encoders([m], 2 * latent_dim, own)[m.name]
            if size:
                self.private_encoders[m.name] = encoders([m], 2 * size, own)[m.name]

    def _views(self, views: str | tuple[str, ...]) -> tuple[str, ...]:
        """The test-time views by name, in the order of the modalities."""
        if len(self.encoded) < 2:
            raise UsageError(f"VCCA: needs two views of the same thing; got {', '.join(self.encoded) or 'none'}.")
        if views == "all":
            return self.encoded
        chosen = tuple(views) or self.encoded[:1]
        if unknown := sorted(set(chosen) - set(self.encoded)):
            hints = "".join(suggest(name, self.encoded) for name in unknown)
            raise UsageError(f"VCCA: views={','.join(chosen)} must name some of {', '.join(self.encoded)}.{hints}")
        return tuple(name for name in self.encoded if name in chosen)

    def _sizes(self, private: int | tuple[int, ...]) -> dict[str, int]:
        """The sizes of the private latents by name, of the views that have one."""
        sizes = (private,) * len(self.encoded) if isinstance(private, int) else tuple(private)
        if len(sizes) != len(self.encoded) or any(size < 0 for size in sizes):
            each = ", ".join(self.encoded)
            raise UsageError(f"VCCA: private={private}; expected one size ≥ 0, or one for each of {each}.")
        return {name: size for name, size in zip(self.encoded, sizes) if size}

    def model(self, batch: Batch) -> None:
        """z, h_m ~ N(0, I);  x_m ~ likelihood_m(decoder_m(z, h_m));  y ~ likelihood_y(decoder_y(z))."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            own: dict[str, Tensor] = {}
            code = {m.name: z if self.supervised else z.detach() for m in self.modalities if m.role == "label"}
            for name, size in self.private.items():
                own[name] = pyro.sample(f"private.{name}", self.standard_normal(size))
            for m in self.each_modality():
                observe(m, self.decoders[m.name], code.get(m.name, z), batch, beside=own.get(m.name))

    def guide(self, batch: Batch, *, own: bool = False) -> None:
        """q(z | seen test-time views) and q(h_m | x_m) of the seen views; the prior of what nothing is seen of.

        Args:
            batch: the batch.
            own: whether every view that a row has shows its private latent, also where z does not see it.
        """
        loc, log_var = self.experts(batch, names=self.views)
        heads = {n: gaussian_head(net(batch.input(self.modality(n)))) for n, net in self.private_encoders.items()}
        seen = torch.stack([batch.sees(name) for name in self.views], -1)
        several = len(self.views) > 1
        q = product_of_experts(loc, log_var, seen) if several else where(seen[..., 0], loc[0], log_var[0])
        with batch.plates():
            pyro.sample("z", q)
            for name, head in heads.items():
                looks = batch.observed[name].expand(batch.seen.shape[:-1]) if own else batch.sees(name)
                pyro.sample(f"private.{name}", where(looks, *head))

    def objective(self, batch: Batch) -> Terms:
        """The negative bound, or the sum of those under several sets of test-time views. Rows without any of these add
        nothing.
        """
        if len(self.views) == 1:
            batch = batch.requiring(self.views)
        else:
            batch = batch.under(self.shown(), cut=True)
        traces = trace(self, batch, partial(self.guide, own=True))
        return nll(traces, self.weights) | kl(traces, warmup(self.beta, self.progress, self.warm_up))

    def shown(self) -> Tensor:
        """(S, M) bool: the sets of test-time views under which there is a bound."""
        every = torch.tensor([[name in self.views for name in self.encoded]])
        alone = torch.eye(len(self.encoded), dtype=torch.bool)[every[0]]
        return {"together": every, "alone": alone, "both": torch.cat([every, alone])}[self.bounds]

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """Rows that have a test-time view."""
        return torch.stack([observed[name] for name in self.views]).any(0)

    def can_answer(self, given: Sequence[str], weighs: bool = False) -> str | None:
        """Refuse what is given without any test-time view, unless draws are weighed: z would be the prior."""
        if weighs or not given or any(name in self.views for name in given):
            return super().can_answer(given, weighs)
        many = "one of them" if len(self.views) > 1 else "it"
        return f"VCCA infers z from {', '.join(self.views)} alone; give {many} too, or query with method importance"


def fixed_by_scale(m: Modality) -> bool:
    """Whether `scale` fixes the noise of a modality."""
    return m.role == "modality" and m.likelihood in NOISY


def where(seen: Tensor, loc: Tensor, log_var: Tensor) -> Gaussian:
    """A Gaussian where something is seen, elsewhere N(0, I).

    Args:
        seen: (..., B) bool.
        loc: (B, D) means.
        log_var: (B, D) log-variances.

    Returns:
        A Gaussian of batch shape (..., B).
    """
    rows = seen.unsqueeze(-1)
    return Gaussian(torch.where(rows, loc, 0.0), torch.where(rows, log_var, 0.0))
