"""The kernels on a GPU: how far they are from float64, compared with PyTorch in the same precision, and how fast they
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributions as dist
from torch import Tensor

from mmppl import all_subsets
from mmppl.kernels import likelihood as densities
from mmppl.kernels.categorical import categorical_log_density
from mmppl.kernels.gaussian import gaussian_kl, gaussian_kl_standard
from mmppl.kernels.mmd import Kernel, imq, laplacian, rbf, squared_distances
from mmppl.kernels.poe import gaussian_product, gaussian_product_kl, gaussian_product_sample

from . import likelihood, pairs, product
from .case import Case, apart
from .gpu_section import Report

PRODUCTS, PAIRS, LIKELIHOODS, CATEGORIES = "product of experts", "pair sums", "likelihoods", "categories"
ULPS = 8  # of the largest number; allowed in addition to twice eager's error, which may happen to be 0
Call = Callable[..., Any]


class Check(NamedTuple):
    """A kernel and the same by hand, which are called alike: with `leaves`, which want gradients, then with `fixed`.

    Tensors are on the CPU; floating-point ones are converted to the precision of the check. Calls return a tensor or
    several.
    """

    name: str
    shape: str
    ours: Call
    eager: Call
    leaves: Sequence[Tensor]
    fixed: Sequence[Tensor | None] = ()
    stored: torch.dtype = torch.float32  # dtype of the first leaf

    def against_float64(self, device: str) -> dict[str, Any]:
        """Compare values and gradients with float64 on a device; what `worst` returns."""

        def rounded(t: Tensor | None, dtype: torch.dtype = torch.float32) -> Any:
            if t is None:
                return None
            return t.to(device, dtype if t.is_floating_point() else t.dtype, copy=True)

        leaves = [rounded(t, self.stored if i == 0 else torch.float32) for i, t in enumerate(self.leaves)]
        fixed = [rounded(t) for t in self.fixed]
        exact = [[t if t is None or not t.is_floating_point() else t.double() for t in ts] for ts in (leaves, fixed)]
        got, theirs = results(self.ours, leaves, fixed), results(self.eager, leaves, fixed)
        return worst(got, theirs, results(self.eager, *exact))


def results(call: Call, leaves: Sequence[Tensor], fixed: Sequence[Tensor | None]) -> list[Tensor]:
    """Compute the outputs of a call, and the gradients for `leaves` of a randomly weighted sum of them."""
    inputs = [t.detach().requires_grad_() for t in leaves]
    outputs = call(*inputs, *fixed)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = [w.to(o) for w, o in zip(random(0, *(o.shape for o in outputs)), outputs)]
    return [o.detach() for o in (*outputs, *torch.autograd.grad(outputs, inputs, weights))]


def worst(got: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> dict[str, Any]:
    """Find the tensor with the least room between its error and what is allowed: twice eager's error and some ulps.

    Returns:
        The largest error of that tensor, eager's, and what is allowed. Errors are NaN where a shape is wrong or a
        number is not finite.
    """
    found = []
    for ours, theirs, truth in zip(got, eager, exact, strict=True):
        unit, largest = torch.finfo(ours.dtype).eps, float(truth.abs().max()) if truth.numel() else 0.0
        of_eager = _furthest(theirs, truth)
        allowed = 2 * of_eager + ULPS * unit * (1 + largest)
        error = _furthest(ours, truth) if ours.shape == truth.shape else math.nan
        found.append({"error": error, "eager_error": of_eager, "allowed": allowed})
    return max(found, key=lambda one: math.inf if math.isnan(one["error"]) else one["error"] / one["allowed"])


def _furthest(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).abs().max()) if truth.numel() else 0.0


def random(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Draw standard normal tensors, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def chance(seed: int, share: float, *shape: int) -> Tensor:
    """Draw bools that are True with a given probability."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


# products of experts


def product_by_hand(loc: Tensor, log_var: Tensor, seen: Tensor, prior: bool = True) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of every subset's product, with every expert of every subset at once."""
    precision = torch.exp(-log_var) * seen.movedim(-1, 1).unsqueeze(-1).to(loc.dtype)
    total = precision.sum(1) + float(prior)
    return (precision * loc).sum(1) / total, -torch.log(total)


def _sampled(loc: Tensor, log_var: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
    *target, seen, noise = rest
    return gaussian_product_sample(loc, log_var, seen, noise, target=(target[0], target[1]) if target else None)


def _sampled_by_hand(loc: Tensor, log_var: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
    *target, seen, noise = rest
    mean, fused = product_by_hand(loc, log_var, seen)
    kl = gaussian_kl(mean, fused, *target) if target else gaussian_kl_standard(mean, fused)
    return mean + noise * torch.exp(0.5 * fused), kl


def product_checks(dry: bool = False) -> list[Check]:
    """Odd numbers of subsets, experts, rows and features, with and without prior expert and target; and sizes for which
    a program of the GPU adds up hundreds of subsets.
    """
    shapes = [(3, 2, 5, 3)] if dry else [(1, 1, 1, 1), (7, 3, 33, 20), (31, 5, 17, 65), (1023, 10, 9, 33)]
    found = []
    for S, M, B, D in shapes:
        loc, log_var, noise, *target = random(S, (M, B, D), (M, B, D), (S, B, D), (B, D), (B, D))
        seen = chance(S, 0.6, S, B, M)
        some = seen.clone()
        some[..., 0] = True  # without the prior, at least one expert has to be seen
        no_prior = [partial(call, prior=False) for call in (gaussian_product, product_by_hand)]

        def alone(loc: Tensor, log_var: Tensor, a: Tensor, b: Tensor, seen: Tensor) -> Tensor:
            return gaussian_product_kl(loc, log_var, seen, target=(a, b))

        def alone_by_hand(loc: Tensor, log_var: Tensor, a: Tensor, b: Tensor, seen: Tensor) -> Tensor:
            return gaussian_kl(*product_by_hand(loc, log_var, seen), a, b)

        shape = f"S={S} M={M} B={B} D={D}"
        both = [loc, log_var]
        found += [
            Check("product", shape, gaussian_product, product_by_hand, both, [seen]),
            Check("product, no prior", shape, no_prior[0], no_prior[1], both, [some]),
            Check("draw and KL", shape, _sampled, _sampled_by_hand, both, [seen, noise]),
            Check("draw and KL to a target", shape, _sampled, _sampled_by_hand, [*both, *target], [seen, noise]),
            Check("KL to a target", shape, alone, alone_by_hand, [*both, *target], [seen]),
        ]
    for S, M, B, D in [] if dry else [(255, 8, 1024, 64), (1023, 10, 1024, 20)]:
        loc, log_var, noise = random(S, (M, B, D), (M, B, D), (S, B, D))
        fixed = [chance(S, 0.6, S, B, M), noise]
        shape = f"S={S} M={M} B={B} D={D}"
        found.append(Check("draw and KL", shape, _sampled, _sampled_by_hand, [loc, log_var], fixed))
    return found


def many_subsets(experts: int, rows: int, size: int, device: str) -> Case:
    """The KL of all 2^M − 1 products to N(0, I) and its gradients, which is what MoPoE adds to a step. By hand, the
    sums over experts are matrix products.
    """
    loc, log_var = (t.float().to(device).requires_grad_() for t in random(0, *[(experts, rows, size)] * 2))
    table = all_subsets(experts).to(device)
    seen = table.unsqueeze(1).expand(-1, rows, -1).contiguous()
    given = torch.linspace(0, 1, len(table) * rows, device=device).view(len(table), rows)

    def by_hand(loc: Tensor, log_var: Tensor) -> Tensor:
        subsets, precision = table.to(loc.dtype), torch.exp(-log_var)
        total = (subsets @ precision.flatten(1)).view(-1, rows, size) + 1
        mean = (subsets @ (loc * precision).flatten(1)).view_as(total) / total
        return gaussian_kl_standard(mean, -torch.log(total))

    def run(call: Call, given: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        value = call(*inputs)
        return value, *torch.autograd.grad(value, inputs, given)

    def ours() -> tuple[Tensor, ...]:
        return run(lambda a, b: gaussian_product_kl(a, b, seen), given, loc, log_var)

    def error() -> tuple[float, float]:
        exact = [t.detach().double().requires_grad_() for t in (loc, log_var)]
        return apart(ours(), run(by_hand, given.double(), *exact)), 2e-6

    rivals = {"eager, by matrix products": lambda: run(by_hand, given, loc, log_var)}
    shape = f"M={experts} S={len(table)} B={rows} D={size}"
    return Case("KL of all subsets (MoPoE), fwd+bwd", shape, ours, rivals, None, error)


def products(report: Report) -> None:
    """Measure products of experts: draws and KL, and the KL of all subsets of ten."""
    with report.kernels():
        for check in product_checks(report.dry):
            report.check(PRODUCTS, check.name, check.shape, partial(check.against_float64, report.device))
        for M, S, B, D in [(2, 3, 4, 5)] if report.dry else product.SHAPES:
            # draws: noise in, draws out, noise and the draws' gradient in; experts: in, in again, their gradients out
            moved = 4 * (4 * S * B * D + 6 * M * B * D + 2 * S * B) + 2 * S * B * M
            report.time(PRODUCTS, product.case((M, S, B, D), report.device), bytes=moved)
        for M, B, D in [(3, 4, 5)] if report.dry else [(10, 128, 20), (10, 2048, 20)]:
            S = 2**M - 1
            # for a subset's expert and feature: a sum of precisions, one of weighted means, as much for the gradients
            moved, work = 4 * (6 * M * B * D + 2 * S * B) + 2 * S * B * M, 8 * S * M * B * D
            report.time(PRODUCTS, many_subsets(M, B, D, report.device), bytes=moved, flops=work)


# sums over pairs


def pair_checks(dry: bool = False) -> list[Check]:
    """Kernels of every form, weights of which some are 0, few features (sums in registers) and many (in chunks)."""
    shapes = [(5, 3, 2)] if dry else [(9, 40, 3), (301, 67, 20), (67, 301, 50)]
    found = []
    for N, L, D in shapes:
        x, y = random(N, (N, D), (L, D))
        a, b = (w.clamp_min(0) for w in random(L, (N,), (L,)))
        for name, kernel in (
            ("rbf", rbf(float(D))),
            ("mean of 5 rbf", rbf(*(D / 4 * 2.0**i for i in range(5)))),
            ("imq", imq(float(D))),
            ("laplacian", laplacian(math.sqrt(D))),
        ):
            across, within = _pair_sums(kernel)
            shape = f"N={N} L={L} D={D}"
            found.append(Check(f"{name}, two samples", shape, *across, [x, y], [a, b]))
            if name != "laplacian":  # written by hand, it has an infinite slope where a row meets itself
                found.append(Check(f"{name}, one sample", f"N={N} D={D}", *within, [x], [a]))
    return found


def _pair_sums(kernel: Kernel) -> tuple[tuple[Call, Call], tuple[Call, Call]]:
    """(ours, by hand) over pairs of two samples, and over the pairs i ≠ j of one."""
    total = partial(kernel.formula.sum, parameters=kernel.parameters)

    def by_hand(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return (a.unsqueeze(-1) * b * kernel(squared_distances(x, y))).sum()

    def within_by_hand(x: Tensor, a: Tensor) -> Tensor:
        weight = (a.unsqueeze(-1) * a).fill_diagonal_(0)
        return (weight * kernel(squared_distances(x, x))).sum()

    return (
        (lambda x, y, a, b: total(x, y, x_weight=a, y_weight=b), by_hand),
        (lambda x, a: total(x, None, x_weight=a), within_by_hand),
    )


def pair_sums(report: Report) -> None:
    """Measure sums over pairs, and MMD² with its gradients."""
    with report.kernels():
        for check in pair_checks(report.dry):
            report.check(PAIRS, check.name, check.shape, partial(check.against_float64, report.device))
        for rows, size, bandwidths in [(6, 3, 2)] if report.dry else [(2048, 20, 5), (8192, 20, 5), (2048, 64, 5)]:
            # N² pairs of x and y, half as many of each with itself; per pair a product for r², one for each gradient
            moved, work = 4 * 4 * rows * size, 2 * rows * rows * 6 * size
            report.time(PAIRS, pairs.case(rows, size, bandwidths, device=report.device), bytes=moved, flops=work)


# likelihoods


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
        ]  # fmt: skip
        shape = f"S={S} B={B} D={D}"
        found += [Check(name, shape, *calls, leaves, [x, mask]) for name, calls, leaves in cases]
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


SECTIONS: dict[str, Callable[[Report], None]] = {"product": products, "pairs": pair_sums, "likelihood": log_densities}
