"""Log-densities on a GPU: how far they are from float64, and how fast they are with their gradients."""

from __future__ import annotations

from functools import partial

import torch
import torch.distributions as dist
from torch import Tensor

from mmppl.kernels import counts as of_counts
from mmppl.kernels import likelihood as densities
from mmppl.kernels.categorical import categorical_log_density

from . import likelihood
from .gpu_check import Call, Check, chance, random
from .gpu_section import Report

LIKELIHOODS, CATEGORIES = "likelihoods", "categories"


def _masked(density: Call) -> Call:
    """A log-density by hand, (output, *parameters, x, mask), which is 0 where the mask is False."""

    def call(output: Tensor, *rest: Tensor) -> Tensor:
        *parameters, x, mask = rest
        wide = output.float() if output.dtype == torch.bfloat16 else output
        return torch.where(mask, density(wide, *parameters).log_prob(x).sum(-1), 0.0)

    return call


def _normal_predicted(output: Tensor) -> dist.Normal:
    loc, log_var = output.chunk(2, -1)
    return dist.Normal(loc, torch.exp(0.5 * log_var.clamp(*densities.PREDICTED_LOG_VAR_RANGE)), validate_args=False)


def _nb(log_mean: Tensor, log_r: Tensor) -> dist.NegativeBinomial:
    return dist.NegativeBinomial(torch.exp(log_r), logits=log_mean - log_r, validate_args=False)


def _count_cases(
    output: Tensor, double: Tensor, per_feature: Tensor
) -> list[tuple[str, tuple[Call, Call], list[Tensor]]]:
    """Those whose observations are counts."""

    def zinb(output: Tensor, log_r: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        log_mean, logits = output.chunk(2, -1)
        of_nb = _nb(log_mean, log_r).log_prob(x) - torch.nn.functional.softplus(logits)
        more = torch.where(x == 0, torch.logaddexp(of_nb, torch.nn.functional.logsigmoid(logits)), of_nb)
        return torch.where(mask, more.sum(-1), 0.0)

    return [
        ("Poisson", (
            lambda o, x, mask: of_counts.poisson_log_density(x, o, mask),
            _masked(lambda o: dist.Poisson(torch.exp(o), validate_args=False)),
        ), [output]),
        ("NB", (lambda o, t, x, mask: of_counts.nb_log_density(x, o, t, mask), _masked(_nb)), [output, per_feature]),
        ("ZINB", (lambda o, t, x, mask: of_counts.zinb_log_density(x, o, t, mask), zinb), [double, per_feature]),
    ]  # fmt: skip


def _student(loc: Tensor, log_scale: Tensor, log_df: Tensor) -> dist.StudentT:
    return dist.StudentT(2 + torch.exp(log_df), loc, torch.exp(log_scale), validate_args=False)


def _beta(logits: Tensor, log_concentration: Tensor) -> dist.Beta:
    mean, total = torch.sigmoid(logits), torch.exp(log_concentration)
    return dist.Beta(total * mean, total * (1 - mean), validate_args=False)


def likelihood_checks(dry: bool = False) -> list[Check]:
    """Every built-in log-density with a mask, with a learned parameter where it has one; and an output in bfloat16."""
    found = []
    for S, B, D in [(2, 3, 5)] if dry else [(1, 1, 1), (3, 5, 33), (2, 3, 700), (7, 20, 3072)]:
        output, double, per_feature, number, x = random(S + D, (S, B, D), (S, B, 2 * D), (D,), (), (B, D))
        x, mask = x.sigmoid(), chance(S, 0.7, S, B)
        bernoulli = (
            lambda o, x, mask: densities.bernoulli_log_density(o, x, mask),
            _masked(lambda o: dist.Bernoulli(logits=o, validate_args=False)),
        )
        cases: list[tuple[str, tuple[Call, Call], list[Tensor]]] = [
            ("Bernoulli", bernoulli, [output]),
            ("Normal", (
                lambda o, v, x, mask: densities.normal_log_density(x, o, v, mask),
                _masked(lambda o, v: dist.Normal(o, torch.exp(0.5 * v), validate_args=False)),
            ), [output, per_feature]),
            ("Normal of a predicted variance", (
                lambda o, x, mask: densities.normal_predicted_log_density(x, o, mask), _masked(_normal_predicted),
            ), [double]),
            ("Laplace", (
                lambda o, s, x, mask: densities.laplace_log_density(x, o, s, mask),
                _masked(lambda o, s: dist.Laplace(o, torch.exp(s), validate_args=False)),
            ), [output, number]),
            ("Student", (
                lambda o, s, k, x, mask: densities.student_log_density(x, o, s, k, mask), _masked(_student),
            ), [output, number, per_feature]),
            ("Beta", (
                lambda o, f, x, mask: densities.beta_log_density(x, o, f, mask), _masked(_beta),
            ), [output, per_feature]),
        ]  # fmt: skip
        shape = f"S={S} B={B} D={D}"
        found += [Check(name, shape, *calls, leaves, [x, mask]) for name, calls, leaves in cases]
        counts = _count_cases(output, double, per_feature)
        found += [Check(name, shape, *calls, leaves, [(9 * x).floor(), mask]) for name, calls, leaves in counts]
        if not dry:  # the interpreter's bfloat16 differs from a GPU's
            found.append(Check("Bernoulli, bfloat16", shape, *bernoulli, [output], [x, mask], torch.bfloat16))
    return found


def category_checks(dry: bool = False) -> list[Check]:
    """Labels and sequences with few classes and with more than a block holds, with a mask; and logits in bfloat16."""
    found = []
    for S, B, L, K in [(2, 3, 2, 5)] if dry else [(1, 1, 1, 1), (3, 5, 1, 10), (2, 3, 4, 33), (1, 2, 2, 1500)]:
        (logits,) = random(K, (S, B, L, K))
        codes = torch.randint(K, (B, L), generator=torch.Generator().manual_seed(K))

        def by_hand(logits: Tensor, codes: Tensor, mask: Tensor) -> Tensor:
            wide = logits.float() if logits.dtype == torch.bfloat16 else logits
            value = dist.Categorical(logits=wide, validate_args=False).log_prob(codes).sum(-1)
            return torch.where(mask, value, 0.0)

        for name, stored in (("", torch.float32), (", bfloat16", torch.bfloat16))[: 1 if dry else 2]:
            shape, fixed = f"S={S} B={B} L={L} K={K}", [codes, chance(S, 0.7, S, B)]
            call = categorical_log_density
            found.append(Check(f"Categorical{name}", shape, call, by_hand, [3 * logits], fixed, stored))
    return found


def log_densities(report: Report) -> None:
    """Measure log-densities with their gradients."""
    with report.kernels():
        for family, checks in ((LIKELIHOODS, likelihood_checks), (CATEGORIES, category_checks)):
            for check in checks(report.dry):
                report.check(family, check.name, check.shape, partial(check.against_float64, report.device))
        subsets, rows = (1, 2) if report.dry else (7, 4096)
        for case in likelihood.cases(report.device, (subsets, rows)):
            size = int(case.shape.rpartition("D=")[2])
            family = CATEGORIES if "Categorical" in case.name else LIKELIHOODS
            # outputs: in, in again, their gradient out; observations: in, in again
            report.time(family, case, bytes=4 * (3 * subsets + 2) * rows * size)
