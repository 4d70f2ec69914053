"""The kernels on a GPU: how far they are from float64, compared with PyTorch in the same precision, and how fast they
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mmppl import all_subsets
from mmppl.kernels.gaussian import gaussian_kl, gaussian_kl_standard
from mmppl.kernels.mmd import Kernel, imq, laplacian, rbf, squared_distances
from mmppl.kernels.poe import gaussian_product, gaussian_product_kl, gaussian_product_sample

from . import pairs, product
from .case import Case, apart
from .gpu_check import Call, Check, chance, random
from .gpu_likelihoods import log_densities
from .gpu_section import Report

PRODUCTS, PAIRS = "product of experts", "pair sums"

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


SECTIONS: dict[str, Callable[[Report], None]] = {"product": products, "pairs": pair_sums, "likelihood": log_densities}
