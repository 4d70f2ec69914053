"""CMMD: a conditional prior p(z | x_O) that classifies and generates the modalities missing at test time.

Source: Mancisidor, Kampffmeyer, Aas, Jenssen 2021, arXiv:2110.04616, eq. 5. Differs from the authors' code: the true
KL (theirs drops a ½ of the trace term), independent noise in the two MMD samples, alpha times the mean (not the sum)
of the cross-entropy, ReLU with He initialisation by default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from mmppl import (
    Batch,
    ConvDecoder,
    ConvTrunk,
    Dropout,
    Gaussian,
    Modality,
    Program,
    Stage,
    Terms,
    UsageError,
    gaussian_head,
    kl,
    mlp,
    nll,
    observe,
    suggest,
    trace,
)
from mmppl.kernels.mmd import median_mixture, mmd2_of_some, paper_kernel

LAMBDA = {"paper": 1000.0, "mixture": 10.0}
UNLABELLED, LABELLED = "unlabelled", "labelled"  # stages
PAPER: dict[str, Any] = dict(
    dropout=0.2, activation="softplus", decoder_hidden=None, alpha=1000.0, epochs=1001, batch_size=100, lr=1e-4,
    schedule="constant",
)  # fmt: skip


class CMMD(Program):
    """p(z | x_O) p(x_M | z, x_O) p(y | mean of p(z | x_O)) with the guide q(z | x_O, x_M, y).

    Minimises nll(x_M) + omega KL(q ‖ p) + (1 − omega) lambda s MMD²(q̄, p̄) + alpha nll(y).

    Each but the MMD is a mean over the rows of a batch. z is told something, and the KL and the MMD are about it, only
    in those n of the N rows that have some x_M. So the MMD counts by their share s = n/N, as the KL does, and its
    V-statistic is estimated as that of N rows (`mmd2_of_some`): on average the ratio of the terms does not depend on
    how many rows lack x_M. Where none does it is the V-statistic, as in the paper; of a single row among others it is
    0.

    With two stages (the paper's for Flickr, where few rows have a label) all rows are learned from at first, without
    the classifier and with no y in the guide; then those that have a label, with both. Their weights that see or
    make y keep their first, random values until then.

    Args:
        modalities: the schema of the data.
        observed: x_O, the modalities that are given at test time (comma-separated); default: the first modality.
        latent_dim: D, the size of z.
        hidden: width of the hidden layers of encoder, prior and decoder.
        encoder_hidden: width of the encoder's hidden layers, if it differs (none: hidden).
        decoder_hidden: width of the decoders' hidden layers, if it differs (none: hidden).
        layers: number of hidden layers of encoder, prior and decoder.
        classifier_hidden: width of the classifier's two hidden layers.
        dropout: rate of the dropout on hidden outputs.
        input_dropout: rate of the dropout on the inputs of prior and encoder.
        activation: activation of all networks.
        trunk: "mlp", or "conv" for the image modalities.
        channels: channels of the first convolutions (a multiple of 8), where trunk is "conv".
        omega: 1 = the ELBO, 0 = mutual information only.
        alpha: weight of the label's mean cross-entropy, in nats per row. The authors' code sums it over the batch, so
            its alpha = 10 is alpha = 10 · batch size here, as in the paper presets.
        kernel: kernel of the MMD: "paper" exp(−r²/D²) (little more than the means), or "mixture" (median heuristic).
        mmd_lambda: weight lambda; default 1000 for "paper" (the paper's), 10 for "mixture" (chosen on validation rows).
        classify: what is classified: the prior's "mean" (the authors' code) or a "sample" of it (the paper's text).
        generative: whether there is a decoder and a guide; False leaves only prior and classifier, the fair baseline of
            the generative terms.
        two_stage: whether rows without a label are learned from in a stage of their own, before those with one.
        unlabelled_share: share of the epochs that this stage takes.
    """

    default_data = "digits-two-view"
    takes_covariates = True
    training = dict(lr=2e-3)
    presets = {  # omega is printed for two-view MNIST alone: elsewhere it is that of the authors' code
        "paper-mnist": dict(latent_dim=50, hidden=1024, encoder_hidden=2500, layers=3, omega=0.4, **PAPER),
        "paper-mnist-svhn": dict(latent_dim=20, hidden=400, layers=1, omega=0.5, **PAPER),
        "paper-xrmb": dict(
            latent_dim=70, hidden=1500, encoder_hidden=3000, layers=3, classifier_hidden=100, omega=0.5, **PAPER
        ),
        "paper-flickr": dict(
            latent_dim=1024, hidden=1024, encoder_hidden=2048, layers=4, classifier_hidden=1550, omega=0.5,
            two_stage=True, **PAPER,
        ),
    }  # fmt: skip

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        observed: tuple[str, ...] = (),
        latent_dim: int = 20,
        hidden: int = 256,
        encoder_hidden: int | None = None,
        decoder_hidden: int | None = 64,
        layers: int = 2,
        classifier_hidden: int = 50,
        dropout: float = 0.2,
        input_dropout: float = 0.0,
        activation: str = "relu",
        trunk: Literal["mlp", "conv"] = "mlp",
        channels: int = 16,
        omega: float = 0.4,
        alpha: float = 10.0,
        kernel: Literal["paper", "mixture"] = "paper",
        mmd_lambda: float | None = None,
        classify: Literal["mean", "sample"] = "mean",
        generative: bool = True,
        two_stage: bool = False,
        unlabelled_share: float = 0.5,
    ) -> None:
        super().__init__(modalities)
        views = [m.name for m in modalities if m.role == "modality"]
        self.conditions = tuple(dict.fromkeys(observed)) or tuple(views[:1])
        if len(views) < 2:
            raise UsageError(f"CMMD: needs two modalities, one to condition on and one to generate; got {views}.")
        unknown = set(self.conditions) - set(views)
        if unknown or set(self.conditions) == set(views):
            raise UsageError(
                f"CMMD: observed={','.join(self.conditions)} must name some, not all, of {', '.join(views)}."
                + "".join(suggest(name, views) for name in sorted(unknown))
            )
        if not generative and not any(m.role == "label" for m in modalities):
            raise UsageError("CMMD: generative=false leaves the classifier alone, and the data have no label for it.")
        if two_stage and not (generative and any(m.role == "label" for m in modalities)):
            raise UsageError("CMMD: two_stage=true needs a label, and generative=true for the rows without one.")
        if not 0 < unlabelled_share < 1:
            raise UsageError(f"CMMD: unlabelled_share={unlabelled_share} is not above 0 and below 1.")
        self.check_fraction(omega=omega)
        self.check_nonnegative(alpha=alpha, mmd_lambda=mmd_lambda or 0.0)
        self.encoded = tuple(m.name for m in modalities)  # this guide sees the label, too
        self.missing = [self.modality(n) for n in views if n not in self.conditions]
        self.given = [self.modality(n) for n in self.conditions]
        self.labels = [m for m in self.modalities if m.role == "label"]
        self.latent_dim, self.omega, self.alpha, self.kernel = latent_dim, omega, alpha, kernel
        self.mmd_lambda = LAMBDA[kernel] if mmd_lambda is None else mmd_lambda
        self.classify, self.generative = classify, generative
        self.two_stage, self.unlabelled_share = two_stage, unlabelled_share

        if channels < 8 or channels % 8:
            raise UsageError(f"CMMD: channels={channels} is no positive multiple of 8.")
        shape: dict[str, Any] = dict(layers=layers, activation=activation, dropout=dropout)
        trunks = dict(channels=channels if trunk == "conv" else None, input_dropout=input_dropout, **shape)
        self.prior = Trunk(self.given, hidden, 2 * latent_dim, **trunks)
        self.encoder = Trunk(
            self.modalities, hidden if encoder_hidden is None else encoder_hidden, 2 * latent_dim, **trunks
        )
        beside = sum(m.input_size for m in self.covariates)
        condition = sum(m.alone.input_size for m in self.given) + beside  # what decoders see besides z
        self.decoders = nn.ModuleDict()
        for m in self.missing if generative else ():
            if trunk == "conv" and len(m.shape) >= 2 and m.classes is None:
                parts = m.output_size // m.size
                self.decoders[m.name] = ConvDecoder(latent_dim + condition, m.shape, parts=parts, width=channels)
            else:
                wide = hidden if decoder_hidden is None else decoder_hidden
                self.decoders[m.name] = mlp(latent_dim + condition, wide, m.output_size, narrow=True, **shape)
        self.classifiers = nn.ModuleDict(
            {
                m.name: mlp(
                    latent_dim + beside,
                    classifier_hidden,
                    m.output_size,
                    layers=2,
                    activation=activation,
                    dropout=dropout,
                )
                for m in self.labels
            }
        )

    def model(self, batch: Batch) -> None:
        """z ~ p(z | x_O);  x_m ~ p(x_m | z, x_O) for the missing m;  y ~ p(y | mean of z)."""
        x_o = self.seen_before(batch)
        loc, log_var = gaussian_head(self.prior(x_o))
        with batch.plates():
            with poutine.mask(mask=self.informed(batch)):
                z = pyro.sample("z", Gaussian(loc, log_var))
            x_o = torch.cat([batch.input(m.alone) for m in self.given], -1)  # `observe` puts the covariates behind
            decoded = z.view_as(z)  # where the decoders' gradients meet before those of the KL and the MMD join
            for m in self.missing if self.generative else ():
                observe(m, self.decoders[m.name], decoded, batch, beside=x_o)
            code = loc if self.classify == "mean" else pyro.sample("z_y", Gaussian(loc, log_var))
            for m in self.labels:
                observe(m, self.classifiers[m.name], code, batch)

    def guide(self, batch: Batch) -> None:
        """q(z | x_O, x_M, y). What is not seen enters as zeros."""
        loc, log_var = self.posterior(batch)
        with batch.plates(), poutine.mask(mask=self.informed(batch)):
            pyro.sample("z", Gaussian(loc, log_var))

    def query_guide(self, batch: Batch) -> None:
        """p(z | x_O) where no missing modality is seen, else the guide. (y adds nothing to x_O: it depends on x_O
        alone.)
        """
        loc, log_var = gaussian_head(self.prior(self.seen_before(batch)))
        sees = torch.stack([batch.sees(m.name) for m in self.missing]).any(0).unsqueeze(-1)
        posterior = self.posterior(batch)
        with batch.plates():
            pyro.sample("z", Gaussian(torch.where(sees, posterior[0], loc), torch.where(sees, posterior[1], log_var)))

    def objective(self, batch: Batch) -> Terms:
        """Eq. 5. Rows without x_O add nothing; rows without x_M train the classifier, rows without y all the rest. In
        the stage for labels, rows without y add nothing.
        """
        batch, counted = batch.requiring(self.conditions), batch.has(self.conditions)
        if self.stage == UNLABELLED:
            batch = replace(batch, seen=batch.seeing([m.name for m in (*self.given, *self.missing)]).seen)
        elif self.stage == LABELLED:
            counted = counted & any_of([m.name for m in self.labels], batch.observed)
            batch = replace(batch, active=counted)
        traces = trace(self, batch)
        terms = nll(traces, {m.name: self.alpha for m in self.labels})
        if not self.generative:
            return terms
        terms |= kl(traces, self.omega)
        if self.omega < 1:
            q, prior = traces.value("z"), traces.model.nodes["z"]["fn"].rsample()
            rows = counted & self.informed(batch)
            wide = self.kernel == "paper"
            kernel = paper_kernel(self.latent_dim) if wide else median_mixture(q, prior, x_weight=rows, y_weight=rows)
            apart = mmd2_of_some(q, prior, kernel, rows)
            share = rows.double().mean().to(apart.dtype)
            terms["mmd.z"] = (share * apart, (1 - self.omega) * self.mmd_lambda)
        return terms

    def stages(self) -> Sequence[Stage]:
        """One stage, or two: the one without labels, and the one with them."""
        if not self.two_stage:
            return [Stage()]
        own = (*(f"nll.{m.name}" for m in self.missing), "kl.z", *(["mmd.z"] if self.omega < 1 else []))
        labelled = partial(any_of, [m.name for m in self.labels])
        return [
            Stage(UNLABELLED, self.unlabelled_share, terms=own),
            Stage(LABELLED, 1 - self.unlabelled_share, rows=labelled),
        ]

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """Rows with all of x_O and anything else to learn from."""
        others = [m.name for m in (*self.missing, *self.labels)]
        return torch.stack([observed[n] for n in self.conditions]).all(0) & any_of(others, observed)

    def seen_before(self, batch: Batch) -> Tensor:
        """(B, inputs) what the prior sees: x_O, and behind it the covariates."""
        inputs = [batch.input(m.alone) for m in self.given]
        return torch.cat([*inputs, batch.beside(self.covariates)] if self.covariates else inputs, -1)

    def informed(self, batch: Batch) -> Tensor:
        """Where z has something to explain, since some x_M is observed. In other rows z drops out of the loss.

        Args:
            batch: the batch.

        Returns:
            (B,) bool.
        """
        return any_of([m.name for m in self.missing], batch.observed)

    def posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | what is seen).

        Args:
            batch: the batch.

        Returns:
            (B, D) each.
        """
        return gaussian_head(self.encoder(self.seen_input(batch)))

    def targets(self) -> tuple[str, ...]:
        """Return the labels and, unless they were left out, the missing modalities."""
        return tuple(m.name for m in (*(self.missing if self.generative else ()), *self.labels))


def any_of(names: Sequence[str], observed: Mapping[str, Tensor]) -> Tensor:
    """(N,) bool: the rows that have any of these names."""
    return torch.stack([observed[name] for name in names]).any(0)


class Trunk(nn.Module):
    """An encoder of several modalities: concatenated inputs, and their covariates behind them → (..., outputs).

    With `channels`, each image passes through a convolutional trunk whose first block has that many channels, and the
    features are concatenated before one hidden layer.

    Args:
        modalities: the modalities that are encoded.
        hidden: width of the hidden layers.
        outputs: the size of the output.
        channels: channels of the first convolutions; None: there are no convolutions.
        layers: number of hidden layers.
        activation: activation of the hidden layers.
        dropout: rate of the dropout on hidden outputs.
        input_dropout: rate of the dropout on the inputs.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        hidden: int,
        outputs: int,
        *,
        channels: int | None,
        layers: int,
        activation: str,
        dropout: float,
        input_dropout: float,
    ) -> None:
        super().__init__()
        self.sizes = [m.alone.input_size for m in modalities]
        self.images = nn.ModuleList(
            [
                ConvTrunk(m.shape, hidden, width=channels, dropout=dropout)
                if channels is not None and len(m.shape) >= 2 and m.classes is None
                else nn.Identity()
                for m in modalities
            ]
        )
        images = [isinstance(image, ConvTrunk) for image in self.images]
        width = sum(hidden if image else size for image, size in zip(images, self.sizes))
        self.convolves = any(images)
        depth = 1 if self.convolves else layers
        self.dropout = Dropout(input_dropout)
        width += modalities[0].covariate_size
        self.head = mlp(width, hidden, outputs, layers=depth, activation=activation, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        if not self.convolves:
            return self.head(x)
        inputs = sum(self.sizes)
        parts = [image(part) for image, part in zip(self.images, x[..., :inputs].split(self.sizes, -1))]
        return self.head(torch.cat([*parts, x[..., inputs:]], -1))
