"""Product of diagonal-Gaussian experts with missing modalities."""

import torch
from torch import Tensor


def gaussian_product(loc: Tensor, log_var: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Fuse one Gaussian expert per modality with a standard-normal prior expert, for every subset at once.

    Args:
        loc: (M, B, D) means of the M experts.
        log_var: (M, B, D) log-variances (natural log).
        seen: (B, M) or (S, B, M) bool; False leaves that expert out for that sample (and subset).
    Returns:
        loc and log_var, (B, D) or (S, B, D) each; 0 and 0 (the prior) where nothing is seen.
    Raises:
        ValueError: if the shapes disagree.
    Source: Cao & Fleet 2014, arXiv:1410.7827; prior expert as in arXiv:1802.05335. Log-precision domain, no epsilon.
    """
    if loc.ndim != 3 or log_var.shape != loc.shape or seen.shape[-2:] != (loc.shape[1], loc.shape[0]):
        raise ValueError(
            "gaussian_product: expected loc (M, B, D), log_var (M, B, D), seen (..., B, M); got "
            f"{tuple(loc.shape)}, {tuple(log_var.shape)}, {tuple(seen.shape)}. "
            "Stack the experts on a new first axis."
        )
    keep = seen.movedim(-1, 0).unsqueeze(-1)  # (M, ..., B, 1)
    lead = [1] * (seen.ndim - 2)  # subset axes in front of (B, M)
    loc, log_var = (t.reshape(t.shape[0], *lead, *t.shape[1:]) for t in (loc, log_var))
    log_precision = torch.where(keep, -log_var, -torch.inf)
    prior = torch.zeros_like(log_precision[:1])  # N(0, I): log-precision 0, mean 0
    total = torch.logsumexp(torch.cat([log_precision, prior]), 0)
    weight = torch.exp(log_precision - total)
    return torch.where(keep, weight * torch.where(keep, loc, 0.0), 0.0).sum(0), -total  # 0 * NaN is NaN: mask both
