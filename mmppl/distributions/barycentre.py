"""The Wasserstein barycentre of diagonal Gaussian experts."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base.precision import full_precision
from .gaussian import Gaussian


def barycentre(loc: Tensor, log_var: Tensor, seen: Tensor, *, weights: Tensor | None = None) -> Barycentre:
    """The Gaussian with the least weighted sum of W2² to the seen experts: its mean is the mean of their means, and its
    standard deviation the mean of their standard deviations.

    In float32, log-variances may lie within ±170, where standard deviations neither vanish nor overflow.

    Args:
        loc: (M, B, D) means of the experts.
        log_var: (M, B, D) log-variances of the experts.
        seen: (B, M) or (S, B, M) bool.
        weights: (M,) positive weights, normalised over the seen experts. None: equal weights.

    Returns:
        A Gaussian of batch shape (B,) or (S, B): the expert itself where one is seen, N(0, I) where none is.

    Source: Agueh & Carlier 2011, SIAM J. Math. Anal. 43 (2), for covariances that commute.

    Example:
        >>> loc = torch.tensor([[[0.0]], [[2.0]]])  # two experts, one row, one dimension
        >>> q = barycentre(loc, torch.zeros(2, 1, 1), torch.tensor([[True, True]]))
        >>> q.mean, q.variance
        (tensor([[1.]]), tensor([[1.]]))
    """
    return Barycentre(full_precision(loc), full_precision(log_var), seen, weights)


class Barycentre(Gaussian):
    """A W2 barycentre that keeps its experts in `experts`: loc (M, B, D), log_var (M, B, D) and which of them were
    seen.
    """

    def __init__(self, loc: Tensor, log_var: Tensor, seen: Tensor, weights: Tensor | None = None) -> None:
        self.experts = (loc, log_var, seen)
        own = seen.movedim(-1, 0).unsqueeze(-1)  # (M, ..., B, 1)
        lead = tuple(range(1, own.ndim - 2))
        anywhere = own.any(lead) if lead else own
        loc, log_var = (torch.where(anywhere, t, 0.0) for t in (loc, log_var))  # 0 * NaN is NaN, in gradients, too
        parts = torch.cat([loc, torch.exp(0.5 * log_var), log_var], -1)
        parts = torch.where(own, parts.reshape(len(loc), *[1] * len(lead), *parts.shape[1:]), 0.0)
        count, something = own.sum(0), own.any(0)
        if weights is None:
            parts = parts.sum(0) / count.clamp_min(1)
        else:
            shares = weights.reshape(-1, *[1] * (own.ndim - 1)) * own
            parts = (parts * (shares / torch.where(something, shares.sum(0), 1.0))).sum(0)
        mean, sd, of_one = parts.chunk(3, -1)
        log_var = torch.where(count > 1, 2 * torch.where(something, sd, 1.0).log(), of_one)  # one: to the last bit
        super().__init__(mean, log_var)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Gaussian:
        if tuple(batch_shape) == self.batch_shape:  # as Pyro's plates ask
            return self
        return Gaussian(self.loc, self.log_var).expand(batch_shape)
