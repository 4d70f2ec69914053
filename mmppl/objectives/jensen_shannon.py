"""The Jensen-Shannon divergence of a row's posteriors and the prior, measured from their geometric mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ..base.precision import full_precision
from ..core.terms import Terms, Weight
from ..distributions.gaussian import Gaussian
from ..kernels.poe import gaussian_product


def dynamic_prior(loc: Tensor, log_var: Tensor, seen: Tensor) -> Gaussian:
    """f(z) ∝ N(z; 0, I)^π Π_{m seen} N(z; loc_m, e^log_var_m)^π, π = 1 / (n + 1), for the n modalities that are seen.

    It is the normalised geometric mean of the experts and the prior. Its mean is that of their product, and its
    variance n + 1 times as large.

    Args:
        loc: (M, B, D) means of the experts. What is not seen may hold anything, NaN included.
        log_var: (M, B, D) log-variances of the experts.
        seen: (B, M) or (S, B, M) bool.

    Returns:
        A Gaussian of batch shape (B,) or (S, B): N(0, I) where nothing is seen.

    Source: Sutter, Daunhawer, Vogt 2020, arXiv:2006.08242, sec. 4.2, with equal weights of the modalities present.

    Example:
        >>> loc = torch.tensor([[[3.0]], [[3.0]]])  # two experts, one row, one dimension
        >>> f = dynamic_prior(loc, torch.zeros(2, 1, 1), torch.tensor([[True, True]]))
        >>> f.mean, f.variance
        (tensor([[2.]]), tensor([[1.]]))
    """
    product_loc, product_log_var = gaussian_product(full_precision(loc), full_precision(log_var), seen)
    members = 1 + seen.sum(-1, keepdim=True)
    return Gaussian(product_loc, product_log_var + members.to(product_log_var.dtype).log())


def jensen_shannon(loc: Tensor, log_var: Tensor, seen: Tensor, beta: Weight = 1.0) -> Terms:
    """The term `jsd`: the mean over rows of 1 / (n + 1) [KL(p ‖ f) + Σ_{m seen} KL(q_m ‖ f)], in nats.

    p is N(0, I), q_m the expert of a modality, n how many a row has seen, and f their `dynamic_prior`.

    Args:
        loc: (M, B, D) means of the experts. What is not seen may hold anything, NaN included.
        log_var: (M, B, D) log-variances of the experts.
        seen: (B, M) bool.
        beta: weight of the term.

    Returns:
        The term `jsd`; rows that have seen nothing add 0.

    Source: Sutter, Daunhawer, Vogt 2020, arXiv:2006.08242, sec. 4.1 and 4.2.

    Example:
        >>> loc = torch.tensor([[[3.0]], [[3.0]]])  # two experts, one row, one dimension
        >>> jensen_shannon(loc, torch.zeros(2, 1, 1), torch.tensor([[True, True]]), beta=0.5)
        {'jsd': (tensor(1.), 0.5)}
    """
    there = seen.mT.unsqueeze(-1)
    loc, log_var = (torch.where(there, full_precision(t), 0.0) for t in (loc, log_var))  # 0 * NaN is NaN
    middle = dynamic_prior(loc, log_var, seen)
    of_experts = torch.where(seen.mT, kl_divergence(Gaussian(loc, log_var), middle), 0.0).sum(0)
    of_prior = kl_divergence(Gaussian(torch.zeros_like(middle.loc), torch.zeros_like(middle.loc)), middle)
    return Terms(jsd=(((of_prior + of_experts) / (1 + seen.sum(-1))).mean(), beta))
