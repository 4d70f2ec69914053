"""Product of diagonal-Gaussian experts with missing modalities, for all subsets at once.

Source: Cao & Fleet 2014, arXiv:1410.7827; prior expert as in arXiv:1802.05335. Computed from log-precisions, without an
epsilon.
"""

from typing import Any

import torch
from torch import Tensor

from .codegen.dispatch import fast, generated, operator, require, rows_of, same_kind
from .gaussian import gaussian_kl, gaussian_kl_standard

Target = tuple[Tensor, Tensor]


def gaussian_product(
    loc: Tensor, log_var: Tensor, seen: Tensor, *, exponents: Tensor | None = None, prior: bool = True
) -> tuple[Tensor, Tensor]:
    """Multiply one Gaussian expert per modality, and a standard-normal prior expert, for every subset at once.

    Args:
        loc: (M, B, D) means of the M experts.
        log_var: (M, B, D) log-variances (natural log).
        seen: (B, M) or (S, B, M) bool; False leaves that expert out for that sample (and subset).
        exponents: (M,) tempering powers ≥ 0 of the experts' densities; None: ones. 0 leaves an expert out.
        prior: whether N(0, I) counts as one more expert.

    Returns:
        loc and log_var, (B, D) or (S, B, D) each; with the prior 0 and 0 where nothing is seen.

    Raises:
        ValueError: shapes, dtypes or devices disagree, or nothing is seen in some row and there is no prior.
    """
    log_var, seen = _checked("gaussian_product", loc, log_var, seen, exponents, prior)
    if not fast(loc):
        return _product(loc, log_var, seen, prior)
    subsets = rows_of(seen)
    mean, fused = _Product.apply(loc.contiguous(), log_var.contiguous(), subsets.contiguous(), prior)
    shape = (*seen.shape[:-1], loc.shape[-1])
    return mean.reshape(shape), fused.reshape(shape)


def gaussian_product_sample(
    loc: Tensor,
    log_var: Tensor,
    seen: Tensor,
    noise: Tensor,
    *,
    exponents: Tensor | None = None,
    prior: bool = True,
    target: Target | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw from the product of experts (reparametrised) and compute its KL divergence.

    The parameters of the product are not written to memory.

    Args:
        loc: (M, B, D) means of the M experts.
        log_var: (M, B, D) log-variances (natural log).
        seen: (B, M) or (S, B, M) bool, as in `gaussian_product`.
        noise: (B, D) or (S, B, D) standard normal draws.
        exponents: (M,) tempering powers ≥ 0, as in `gaussian_product`.
        prior: whether N(0, I) counts as one more expert.
        target: mean and log-variance, (B, D) each, of the Gaussian that the KL is taken to; None: N(0, I).

    Returns:
        Draws, shaped as the noise, and KL(product ‖ target) in nats, (B,) or (S, B).

    Raises:
        ValueError: shapes, dtypes or devices disagree, or nothing is seen in some row and there is no prior.
    """
    where = "gaussian_product_sample"
    log_var, seen = _checked(where, loc, log_var, seen, exponents, prior)
    same_kind(where, loc, noise, *(target or ()))
    shape = (*seen.shape[:-1], loc.shape[-1])
    if noise.shape != shape:
        raise ValueError(f"{where}: expected noise {tuple(shape)}; got {tuple(noise.shape)}.")
    z, kl = _drawn(where, loc, log_var, seen, noise, target, prior)
    return z.reshape(shape), kl


def gaussian_product_kl(
    loc: Tensor,
    log_var: Tensor,
    seen: Tensor,
    *,
    exponents: Tensor | None = None,
    prior: bool = True,
    target: Target | None = None,
) -> Tensor:
    """KL(product of experts ‖ target) in nats. The parameters of the product are not written to memory.

    Args:
        loc: (M, B, D) means of the M experts.
        log_var: (M, B, D) log-variances (natural log).
        seen: (B, M) or (S, B, M) bool, as in `gaussian_product`.
        exponents: (M,) tempering powers ≥ 0, as in `gaussian_product`.
        prior: whether N(0, I) counts as one more expert.
        target: mean and log-variance, (B, D) each, of the Gaussian that the KL is taken to; None: N(0, I).

    Returns:
        (B,) or (S, B).

    Raises:
        ValueError: shapes, dtypes or devices disagree, or nothing is seen in some row and there is no prior.
    """
    where = "gaussian_product_kl"
    log_var, seen = _checked(where, loc, log_var, seen, exponents, prior)
    same_kind(where, loc, *(target or ()))
    return _drawn(where, loc, log_var, seen, None, target, prior)[1]


def _drawn(
    where: str, loc: Tensor, log_var: Tensor, seen: Tensor, noise: Tensor | None, target: Target | None, prior: bool
) -> tuple[Tensor, Tensor]:
    """Draws (S, B, D), an empty tensor without noise, and KL (..., B)."""
    if any(t.shape != loc.shape[1:] for t in target or ()):
        raise ValueError(
            f"{where}: expected a target of {tuple(loc.shape[1:])}; got {[tuple(t.shape) for t in target or ()]}."
        )
    if not fast(loc):
        return _sample(loc, log_var, seen, noise, target, prior)
    subsets = rows_of(seen).contiguous()
    draws = None if noise is None else rows_of(noise).contiguous()
    at = [t.contiguous() for t in target or ()]
    z, kl = _Sample.apply(loc.contiguous(), log_var.contiguous(), subsets, draws, prior, *at)
    return z, kl.reshape(seen.shape[:-1])


def _checked(
    where: str, loc: Tensor, log_var: Tensor, seen: Tensor, exponents: Tensor | None, prior: bool
) -> tuple[Tensor, Tensor]:
    """Log-variances and `seen` after the exponents have been applied."""
    if loc.ndim != 3 or log_var.shape != loc.shape or seen.ndim < 2 or seen.shape[-2:] != (loc.shape[1], loc.shape[0]):
        raise ValueError(
            f"{where}: expected loc (M, B, D), log_var (M, B, D), seen (..., B, M); got "
            f"{tuple(loc.shape)}, {tuple(log_var.shape)}, {tuple(seen.shape)}. "
            "Stack the experts on a new first axis."
        )
    same_kind(where, loc, log_var, exponents)
    if seen.dtype != torch.bool or seen.device != loc.device:
        raise ValueError(f"{where}: seen must be bool on {loc.device}; it is {seen.dtype} on {seen.device}.")
    if exponents is not None:
        if exponents.shape != loc.shape[:1]:
            raise ValueError(f"{where}: exponents must be ({len(loc)},); got {tuple(exponents.shape)}.")
        require(exponents >= 0, f"{where}: exponents must be not negative.")
        counted = exponents > 0
        seen = seen & counted
        log_var = log_var - torch.where(counted, exponents, 1.0).log()[:, None, None]
    if not prior:
        require(
            seen.any(-1), f"{where}: nothing is seen in some row, and without the prior expert there is no product."
        )
    return log_var, seen


def _product(loc: Tensor, log_var: Tensor, seen: Tensor, prior: bool) -> tuple[Tensor, Tensor]:
    """The meaning, in PyTorch's differentiable operations."""
    keep = seen.movedim(-1, 0).unsqueeze(-1)  # (M, ..., B, 1)
    lead = [1] * (seen.ndim - 2)  # subset axes in front of (B, M)
    loc, log_var = (t.reshape(t.shape[0], *lead, *t.shape[1:]) for t in (loc, log_var))
    log_precision = torch.where(keep, -log_var, -torch.inf)
    shape = (1, *seen.shape[:-1], loc.shape[-1])
    own = loc.new_zeros(shape) if prior else loc.new_full(shape, -torch.inf)  # N(0, I): log-precision 0, mean 0
    total = torch.logsumexp(torch.cat([log_precision.expand(-1, *shape[1:]), own]), 0)
    weight = torch.exp(log_precision - total)
    return torch.where(keep, weight * torch.where(keep, loc, 0.0), 0.0).sum(0), -total  # 0 * NaN is NaN: mask both


def _sample(
    loc: Tensor, log_var: Tensor, seen: Tensor, noise: Tensor | None, target: Target | None, prior: bool
) -> tuple[Tensor, Tensor]:
    mean, fused = _product(loc, log_var, seen, prior)
    kl = gaussian_kl_standard(mean, fused) if target is None else gaussian_kl(mean, fused, *target)
    return loc.new_empty(0) if noise is None else mean + noise * torch.exp(0.5 * fused), kl


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loc: Tensor, log_var: Tensor, seen: Tensor, prior: bool) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(loc, log_var, seen)
        ctx.prior = prior
        return _product_op(loc, log_var, seen, prior)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_mean: Tensor, g_log_var: Tensor) -> tuple[Tensor | None, ...]:
        gradients = _product_backward(g_mean.contiguous(), g_log_var.contiguous(), *ctx.saved_tensors, ctx.prior)
        return (*gradients, None, None)


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loc: Tensor, log_var: Tensor, seen: Tensor, noise: Tensor | None, prior: bool, *target: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(loc, log_var, seen, noise, *target)
        ctx.prior = prior
        return _sample_op(loc, log_var, seen, noise, list(target), prior)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_z: Tensor, g_kl: Tensor) -> tuple[Tensor | None, ...]:
        loc, log_var, seen, noise, *target = ctx.saved_tensors
        g_draw = None if noise is None else g_z.contiguous()
        gradients = _sample_backward(g_draw, g_kl.contiguous(), loc, log_var, seen, noise, target, ctx.prior)
        return (*gradients[:2], None, None, None, *gradients[2:])


_product_op = operator("product(Tensor loc, Tensor log_var, Tensor seen, bool prior) -> (Tensor, Tensor)")(
    generated("poe", "product")
)
_product_backward = operator(
    "product_backward(Tensor g_mean, Tensor g_log_var, Tensor loc, Tensor log_var, Tensor seen, bool prior)"
    " -> (Tensor, Tensor)"
)(generated("poe", "product_backward"))
_sample_op = operator(
    "product_sample(Tensor loc, Tensor log_var, Tensor seen, Tensor? noise, Tensor[] target, bool prior)"
    " -> (Tensor, Tensor)"
)(generated("poe", "sample"))
_sample_backward = operator(
    "product_sample_backward(Tensor? g_z, Tensor g_kl, Tensor loc, Tensor log_var, Tensor seen, Tensor? noise,"
    " Tensor[] target, bool prior) -> Tensor[]"
)(generated("poe", "sample_backward"))
