"""Factors: Bayesian group factor analysis, with the exact posterior given any subset of the modalities.

Source: Virtanen, Klami, Khan & Kaski 2012, "Bayesian group factor analysis" (AISTATS); the variational updates are in
`mmppl.objectives.factor_analysis`. Differs: modalities that are no Normals take part through a Gaussian surrogate of
their inputs, and have decoders of their own likelihood, fitted afterwards; labels may also depend on what is specific
to a feature.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import pyro
import torch
from torch import Tensor, nn

from mmppl import (
    Batch,
    CorrelatedGaussian,
    DataError,
    FactorFit,
    FactorView,
    Likelihood,
    LinearView,
    Modality,
    Program,
    Stage,
    Terms,
    UsageError,
    elbo,
    fit_classifier,
    fit_factors,
    fit_head,
    linear_posterior,
    observe,
    set_features,
    shown_sets,
    whole_batch,
)

FACTORS = 100  # at most, where latent_dim is 0
LATENTS = 256  # at most, with those that are specific to a feature
SPECIFIC = 0.9  # of a feature's noise, which such a latent carries


class Factors(Program):
    """z ~ N(0, I); x_m = W_m z + b_m + noise for Normals, x_m ~ likelihood_m(W_m z + b_m) for all others.

    A fit has two stages, each of one epoch. The first finds W, b and the noise of Normals by variational Bayes, in
    closed form, until the bound rises no more; factors that no modality needs are switched off, and there are at most a
    third as many as training rows. The second fits the decoders of other likelihoods to draws from the posterior given
    all modalities, those of labels to draws given all, each one alone, and all but one; and classifiers to the means.

    Exact, given the parameters: the posterior, the evidence, and what is predicted of Normals, given any cells of any
    Normals. Not exact: the posterior given another modality (a Bernoulli's pixels, or a label), which takes its inputs
    for Gaussian; `--method importance` corrects it. A label's probabilities are those of the classifier, an amortised
    ∫ p(y | z) p(z | x) that is linear in E z for each set of modalities: discrete classes make p(z | x) less Gaussian
    than the model says. `--method importance`, the evidence, and draws take p(y | z) itself. The noise of a Normal
    holds what is not known of W and b, at an average z.

    Where there are labels, z holds behind the factors one latent for each feature of the smaller modalities, which
    carries 9/10 of that feature's noise. p(x) is the same with it and without; but a label can be told from a feature
    that no other feature varies with.

    Args:
        modalities: the schema of the data.
        latent_dim: the number of factors, at most; 0: as many as there are features, and at most 100.
        noise: one number per "feature", or per "modality". A scale that the schema gives as a number is kept.
        tolerance: nats per observed number by which a pass has to raise the bound for another to follow.
        passes: at most.
        ridge: λ of the penalty λ/2 ‖W‖² on the decoders of labels and other likelihoods, in nats of all rows.
        draws: of z per row and conditioning set to which the decoders of labels are fitted.
        shrink: λ of the penalty on the classifiers, in nats of all rows and conditioning sets.
    """

    default_data = "digits-three"
    default_rows = (0, 1_000)
    takes_elements = False  # a series would have a weight for every step
    holds_out = False  # the bound says when to stop, and the noise has its posterior
    training = dict(epochs=2)

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int = 0,
        noise: Literal["feature", "modality"] = "feature",
        tolerance: float = 1e-6,
        passes: int = 1000,
        ridge: float = 0.1,
        draws: int = 4,
        shrink: float = 2.0,
    ) -> None:
        super().__init__(modalities)
        self.check_nonnegative(latent_dim=latent_dim, tolerance=tolerance, ridge=ridge, shrink=shrink)
        if passes < 1 or draws < 1:
            raise UsageError(f"Factors: passes={passes} and draws={draws} have to be at least 1.")
        self.noise, self.tolerance, self.passes = noise, tolerance, passes
        self.ridge, self.draws, self.shrink = ridge, draws, shrink
        self.encoded = tuple(m.name for m in modalities)
        inputs = {m.name: m.size if m.family.is_gaussian(m) else m.family.input_size(m) for m in self.modalities}
        self.factors = latent_dim or min(sum(inputs.values()), FACTORS)
        self.specific = self._specific()
        self.latent_dim = size = self.factors + sum(end - begin for begin, end in self.specific.values())
        self.decoders = nn.ModuleDict({m.name: nn.Linear(size, m.output_size) for m in self.modalities})
        others = [m for m in self.modalities if not m.family.is_gaussian(m)]
        self.surrogates = nn.ModuleDict({m.name: nn.Linear(size, inputs[m.name]) for m in others})
        learned = {n: torch.zeros(d) for n, d in inputs.items() if n in self.surrogates or self._scale(n) is None}
        self.shown = tuple(m.name for m in self.modalities if m.role == "modality")
        width = (len(self.shown) + 1) * size + len(self.shown)
        classes = {m.name: m.output_size for m in self.modalities if m.role == "label" and _is_classified(m)}
        self.classifiers = nn.ModuleDict({name: nn.Linear(width, number) for name, number in classes.items()})
        self.log_noise = nn.ParameterDict({n: nn.Parameter(zero) for n, zero in learned.items()})
        for part in (self.decoders, self.surrogates, self.classifiers):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)
        self._notes: list[str] = []

    def _specific(self) -> dict[str, tuple[int, int]]:
        """Name → the latents that belong to the features of a modality, one each."""
        found: dict[str, tuple[int, int]] = {}
        end = self.factors if any(m.role == "label" for m in self.modalities) else LATENTS
        for m in sorted(self.modalities, key=lambda m: (m.size, m.name)):
            free = m.role == "modality" and m.family.is_gaussian(m) and self._scale(m.name) is None
            if free and end + m.size <= LATENTS:
                found[m.name] = (end, end + m.size)
                end += m.size
        return found

    def _scale(self, name: str) -> float | None:
        """The standard deviation of a Normal, where the schema gives it."""
        scale = self.modality(name).scale
        return float(scale) if isinstance(scale, int | float) else None

    def model(self, batch: Batch) -> None:
        """z ~ N(0, I);  x_m ~ likelihood_m(W_m z + b_m)."""
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(self.latent_dim))
            for m in self.each_modality():
                gaussian = m.name in self.log_noise and m.name not in self.surrogates
                observe(m, self.decoders[m.name], z, batch, self.log_noise[m.name].exp() if gaussian else None)

    def guide(self, batch: Batch) -> None:
        """p(z | what is seen)."""
        with batch.plates():
            pyro.sample("z", self.posterior(batch))

    def posterior(self, batch: Batch, elements: Mapping[str, Tensor] = {}) -> CorrelatedGaussian:
        """p(z | what `batch.seen` shows), computed in float64.

        Args:
            batch: B rows.
            elements: name → (B, d_m) bool, the features that are known where the modality is seen; all others are
                taken to be missing, and their values do not matter. Names that are absent: those that rows have
                (`Batch.present`).

        Returns:
            A Gaussian with a full covariance, of the batch shape of `batch.seen` without its last axis.
        """
        known = {name: self.elements(name, batch) for name in self.encoded} | dict(elements)
        views = [self._view(name, batch, known[name]) for name in self.encoded]
        return linear_posterior(views, batch.seen, self.latent_dim, self.progress.dtype)

    def _view(self, name: str, batch: Batch, elements: Tensor | None = None) -> LinearView:
        """What a modality says of z."""
        layer = self.linear(name)
        return LinearView(self.numbers(name, batch), layer.weight, layer.bias, self._variance(name), elements)

    def linear(self, name: str) -> nn.Linear:
        """W and b of a Normal, or of the surrogate of another modality."""
        return cast(nn.Linear, (self.surrogates if name in self.surrogates else self.decoders)[name])

    def numbers(self, name: str, batch: Batch) -> Tensor:
        """(B, d) what is linear in z: a Normal's values, or another modality's inputs."""
        m, value = self.modality(name), batch.value(name)
        return m.family.as_input(m, value) if name in self.surrogates else value.reshape(len(batch), -1)

    def elements(self, name: str, batch: Batch) -> Tensor | None:
        """(B, d) bool, which of these numbers rows have; None: all."""
        if name not in batch.present:
            return None
        m = self.modality(name)
        there = batch.present[name].expand(len(batch), *m.shape).reshape(len(batch), -1)
        each = m.family.input_size(m) // m.size if name in self.surrogates else 1
        return there.repeat_interleave(each, -1)

    def _variance(self, name: str) -> Tensor:
        """(d,) variance of the noise, float64."""
        if name in self.log_noise:
            return (2 * self.log_noise[name].double()).exp()
        return torch.full_like(self.linear(name).bias, (self._scale(name) or 1.0) ** 2, dtype=torch.float64)

    def predictive(self, batch: Batch, names: Sequence[str]) -> dict[str, Likelihood]:
        """p(x_m | what is seen): of Normals N(W_m E z + b_m, W_m cov(z) W_mᵀ + noise), feature by feature; of a label
        what its classifier says of E z, unless a label is seen, too.
        """
        q, found = self.posterior(batch), dict[str, Likelihood]()
        seen = torch.stack([batch.sees(name) for name in self.shown], -1)
        labelled = any(bool(batch.sees(name).any()) for name in self.encoded if name not in self.shown)
        for name in names:
            m, layer = self.modality(name), self.linear(name)
            if name in self.classifiers and not labelled:
                found[name] = m.family(m, self.classifiers[name](set_features(q.mean, seen)))
            elif name not in self.surrogates:
                variance = q.variance_along(layer.weight) + self._variance(name)
                mean = q.centre @ layer.weight.double().T + layer.bias.double()
                found[name] = m.family(m, mean.to(q.dtype), variance.sqrt().to(q.dtype))
        return found

    def objective(self, batch: Batch) -> Terms:
        """The negative ELBO given all modalities, labels aside: with Normals alone, −ln p(x), but for the draw."""
        return elbo(self, batch.seeing(self.shown))

    def usable(self, observed: Mapping[str, Tensor]) -> Tensor:
        """Rows that have a modality: a label alone says nothing about the others."""
        if not self.shown:
            raise UsageError("Factors: the data have labels only; a modality is needed.")
        return torch.stack([observed[name] for name in self.shown]).any(0)

    def stages(self) -> Sequence[Stage]:
        """The factors, then what depends on them; the second is there for likelihoods that are no Normals."""
        return [Stage("factors", epochs=1, update=find_factors), Stage("decoders", epochs=1, update=find_decoders)]

    def notes(self) -> list[str]:
        """What the fit found, in lines for the user."""
        return self._notes


def _is_classified(m: Modality) -> bool:
    """Whether a label has probabilities, of classes or of yes, and no parameters of its own, which draws would fit."""
    return not m.family.density and m.family.values != "counts" and not m.family.parameters(m)


def find_factors(program: Any, batches: Iterable[Batch]) -> None:
    """The first stage: W, b and the noise, of Normals and of the surrogates."""
    batch = whole_batch(batches)
    if len(batch) < 2:
        raise DataError("Factors: one training row says nothing about noise; give at least two, better ten.")
    views = {}
    for m in program.modalities:
        own = m.name in program.surrogates
        shared = m.scale == "shared" or (program.noise == "modality" and not own)
        scale = None if own else program._scale(m.name)
        elements = program.elements(m.name, batch)
        views[m.name] = FactorView(program.numbers(m.name, batch), batch.observed[m.name], scale, shared, elements)
    size = max(1, min(program.factors, len(batch) // 3))
    found = fit_factors(views, size, tolerance=program.tolerance, most=program.passes)
    gains = [(one.weight.square() / one.variance[:, None]).sum(0) for one in found.loadings.values()]
    strength = torch.stack(gains).sum(0)
    order = strength.argsort(descending=True, stable=True)
    for name, one in found.loadings.items():
        layer = program.linear(name)
        layer.weight.zero_()
        layer.weight[:, :size] = one.weight[:, order].to(layer.weight.dtype)
        layer.bias.copy_(one.offset)
        variance = one.variance
        if name in program.specific:
            begin, end = program.specific[name]
            layer.weight[:, begin:end] = torch.diag((SPECIFIC * variance).sqrt()).to(layer.weight.dtype)
            variance = (1 - SPECIFIC) * variance
        if name in program.log_noise:
            program.log_noise[name].copy_(variance.log() / 2)
    program._notes = _notes(found, strength, program)


def find_decoders(program: Any, batches: Iterable[Batch]) -> None:
    """The second stage: the decoders of labels and of all other likelihoods that are no Normals."""
    batch = whole_batch(batches)
    draws: dict[tuple[str, ...], Tensor] = {}
    centres: dict[tuple[str, ...], Tensor] = {}
    for given in shown_sets(program.shown):  # with gaps every row has a covariance of its own: none is kept
        q = program.posterior(batch.seeing(given))
        draws[given], centres[given] = q.antithetic(program.draws), q.mean
    for name in program.surrogates:
        m = program.modality(name)
        learned = program.likelihood_parameters[name].parameters() if name in program.likelihood_parameters else []
        shown = draws if m.role == "label" else {program.shown: draws[program.shown][:2]}
        fit_head(m, program.decoders[name], list(learned), batch, shown, program.ridge)
    seen = torch.stack([batch.observed[name] for name in program.shown], -1)
    names = {given: torch.tensor([name in given for name in program.shown]) for given in centres}
    means = {given: (mean, seen & names[given].to(seen.device)) for given, mean in centres.items()}
    for name, classifier in program.classifiers.items():
        fit_classifier(program.modality(name), classifier, batch, means, _gram(program), program.shrink)


def _gram(program: Any) -> Tensor:
    """Σ_j w_j w_jᵀ over the features of all modalities, each divided by its variance."""
    gram = torch.zeros(program.latent_dim, program.latent_dim, dtype=torch.float64, device=program.progress.device)
    for name in program.shown:
        weight = program.linear(name).weight.double()
        gram = gram + weight.T @ (weight / (weight.square().sum(-1) + program._variance(name)).unsqueeze(-1))
    return gram


def _notes(found: FactorFit, strength: Tensor, program: Any) -> list[str]:
    """How the first stage ended, and features whose noise is at its bound."""
    used = int((strength > 1).sum())
    passes = len(found.bounds)
    end = f"after {passes} passes" if found.converged else f"not converged in {passes} passes; choose more (passes=N)"
    lines = [f"factors: {used} of at most {len(strength)} are used, {end}"]
    for name, one in found.loadings.items():
        if name in program.log_noise and name not in program.surrogates and (count := int(one.bounded.sum())):
            lines.append(
                f"{name}: {count} features are explained without noise, as copies or sums of others are; theirs is "
                "bounded at a thousandth of their spread. Leave them out."
            )
    return lines
