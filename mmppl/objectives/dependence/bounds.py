"""Bounds on how far a joint law p is from the product q of its marginals, from a critic's outputs on rows of both.

Each is a plain function of T on B joint rows and on B' rows of the product, and is to be maximised over the critic.
Those on KL(p ‖ q), which is the total correlation, are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

Bound = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(B,) outputs on joint rows, (B',) on rows of the product, (B,) which of them count or None → a scalar."""

CLIP = 5.0  # of T on rows of the product, in SMILE


def donsker_varadhan(joint: Tensor, product: Tensor, rows: Tensor | None = None) -> Tensor:
    """mean T − ln mean e^T' ≤ KL(p ‖ q), with equality for T = ln(p/q) + any constant.

    Its gradient on a batch is that of a ratio of means, and biased: critics that are trained on it by small batches end
    far off where the dependence is strong. `donsker_varadhan_averaged` mends that. On few rows of the product its own
    value is too high, as the logarithm of a mean is too low.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar, in nats.

    Source: Donsker & Varadhan 1983; Belghazi et al. 2018, arXiv:1801.04062, eq. 10.

    Example:
        >>> donsker_varadhan(torch.zeros(4), torch.zeros(4))
        tensor(0.)
    """
    return _mean(joint, rows) - log_mean_exp(product, rows)


def donsker_varadhan_averaged(
    joint: Tensor, product: Tensor, log_average: Tensor, rows: Tensor | None = None
) -> Tensor:
    """The value of `donsker_varadhan`, with the gradient of mean T − mean e^T' / A, A a moving average of mean e^T'.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        log_average: ln A, a scalar without a gradient; see `moved_average`.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar, in nats.

    Source: arXiv:1801.04062, sec. 3.2.

    Example:
        >>> t = torch.tensor([0.0, 1.0], requires_grad=True)
        >>> donsker_varadhan_averaged(torch.zeros(2), t, torch.tensor(0.0)).backward()
        >>> t.grad  # −e^T / 2
        tensor([-0.5000, -1.3591])
    """
    value = donsker_varadhan(joint.detach(), product.detach(), rows)
    slope = _mean(joint, rows) - torch.exp(log_mean_exp(product, rows) - log_average)
    return value + (slope - slope.detach())


def moved_average(log_average: Tensor, product: Tensor, rate: float, rows: Tensor | None = None) -> Tensor:
    """ln[(1 − rate) A + rate · mean e^T'], without a gradient.

    Args:
        log_average: ln A, a scalar; −inf: there was no batch yet, and this one makes the whole average.
        product: (B',) T on rows of the product.
        rate: the share of the batch, in (0, 1].
        rows: (B',) bool, those that count; None: all.

    Returns:
        A scalar.
    """
    with torch.no_grad():
        batch = log_mean_exp(product, rows)
        begun = log_average.isfinite()
        kept = torch.where(begun, log_average, batch) + (math.log1p(-rate) if rate < 1 else -math.inf)
        return torch.where(begun, torch.logaddexp(kept, batch + math.log(rate)), batch)


def nguyen_wainwright_jordan(joint: Tensor, product: Tensor, rows: Tensor | None = None) -> Tensor:
    """mean T − mean e^(T' − 1) ≤ KL(p ‖ q), with equality for T = 1 + ln(p/q).

    It is never above `donsker_varadhan` of the same critic, and both its value and its gradient are unbiased. Its
    variance grows with e^KL.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar, in nats.

    Source: Nguyen, Wainwright & Jordan 2010, arXiv:0809.0853; "MINE-f" of arXiv:1801.04062.

    Example:
        >>> nguyen_wainwright_jordan(torch.ones(4), torch.ones(4))
        tensor(0.)
    """
    return _mean(joint, rows) - torch.exp(log_mean_exp(product, rows) - 1)


def jensen_shannon(joint: Tensor, product: Tensor, rows: Tensor | None = None) -> Tensor:
    """2 ln 2 − mean softplus(−T) − mean softplus(T') ≤ 2 JSD(p, q) ≤ 2 ln 2, with equality for T = ln(p/q).

    It is the negative loss of a logistic regression that tells p from q. Its gradients are bounded, and it trains
    critics well whose value is then read by another bound.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar, in nats, but not of the KL.

    Source: Nowozin, Cseke & Tomioka 2016, arXiv:1606.00709, table 2.

    Example:
        >>> jensen_shannon(torch.zeros(4), torch.zeros(4))
        tensor(0.)
    """
    joint, product = _finite(rows, joint, product)
    return 2 * math.log(2) - _mean(softplus(-joint), rows) - _mean(softplus(product), rows)


def pearson_chi2(joint: Tensor, product: Tensor, rows: Tensor | None = None) -> Tensor:
    """mean T − mean (T'²/4 + T') ≤ χ²(p ‖ q) = E_q (p/q − 1)², with equality for T = 2 (p/q − 1).

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar. It is no bound on the KL, which is at most ln(1 + χ²).

    Source: arXiv:1606.00709, table 2.

    Example:
        >>> pearson_chi2(torch.tensor([2.0]), torch.tensor([0.0]))
        tensor(2.)
    """
    joint, product = _finite(rows, joint, product)
    return _mean(joint, rows) - _mean(product.square() / 4 + product, rows)


def wasserstein(joint: Tensor, product: Tensor, rows: Tensor | None = None) -> Tensor:
    """mean T − mean T' ≤ W₁(p, q) for a critic of Lipschitz constant 1.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar, in the units of what the critic sees.

    Source: Kantorovich & Rubinstein 1958; Ozair et al. 2019, arXiv:1903.11780.

    Example:
        >>> wasserstein(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """
    return _mean(joint, rows) - _mean(product, rows)


def info_nce(joint: Tensor, product: Tensor, rows: Tensor | None = None) -> Tensor:
    """mean_i [T_i − ln((e^T_i + Σ_j e^T'_j) / (B' + 1))] ≤ KL(p ‖ q): a joint row is found among B' of the product.

    It is never above ln(B' + 1), has little variance, and is far too low where the KL is near that or larger.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.

    Returns:
        A scalar, in nats.

    Source: van den Oord, Li & Vinyals 2018, arXiv:1807.03748, with one row of p and B' of q for any number of
        variables: E_q e^f = 1 for what is averaged, f, by symmetry, so that the bound of Donsker and Varadhan is E_p f.

    Example:
        >>> info_nce(torch.full((2,), 100.0), torch.zeros(3))  # ln(3 + 1)
        tensor(1.3863)
    """
    joint, product = _finite(rows, joint, product)
    count = joint.new_tensor(len(product)) if rows is None else rows.sum().to(joint.dtype).clamp_min(1)
    others = log_mean_exp(product, rows) + count.log()
    return _mean(joint - torch.logaddexp(joint, others), rows) + torch.log(count + 1)


def smile(joint: Tensor, product: Tensor, rows: Tensor | None = None, *, clip: float = CLIP) -> Tensor:
    """The value mean T − ln mean e^clip(T', −τ, τ), with the gradient of `jensen_shannon`.

    It estimates KL(p ‖ q), and bounds it neither from below nor from above: the clip takes variance, and adds at most
    what lies beyond it.

    Args:
        joint: (B,) T on joint rows.
        product: (B',) T on rows of the product.
        rows: (B,) bool, those that count, with B' = B; None: all.
        clip: τ.

    Returns:
        A scalar, in nats.

    Source: Song & Ermon 2020, arXiv:1910.06222, eq. 16.

    Example:
        >>> smile(torch.zeros(4), torch.full((4,), -9.0))
        tensor(5.)
    """
    joint, product = _finite(rows, joint, product)
    value = donsker_varadhan(joint.detach(), product.detach().clamp(-clip, clip), rows)
    slope = jensen_shannon(joint, product, rows)
    return value + (slope - slope.detach())


BOUNDS: dict[str, Bound] = {
    "dv": donsker_varadhan,
    "nwj": nguyen_wainwright_jordan,
    "js": jensen_shannon,
    "chi2": pearson_chi2,
    "wasserstein": wasserstein,
    "infonce": info_nce,
    "smile": smile,
}


def log_mean_exp(t: Tensor, rows: Tensor | None = None) -> Tensor:
    """ln mean e^t over the rows that count; 0 where there is none.

    Args:
        t: (B,).
        rows: (B,) bool; None: all.

    Returns:
        A scalar.
    """
    if rows is None:
        return torch.logsumexp(t, 0) - math.log(len(t))
    t, rows = _only(t, rows)
    return torch.logsumexp(torch.where(rows, t, -torch.inf), 0) - rows.sum().log()


def _mean(t: Tensor, rows: Tensor | None) -> Tensor:
    """The mean over the rows that count; 0 where there is none."""
    if rows is None:
        return t.mean()
    return torch.where(rows, t, 0.0).sum() / rows.sum().clamp_min(1)


def _only(t: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The same with 0 in the rows that do not count; where none does, all do, so that no gradient is lost to −inf."""
    return torch.where(rows, t, 0.0), rows | ~rows.any()


def _finite(rows: Tensor | None, *outputs: Tensor) -> tuple[Tensor, ...]:
    """Outputs with 0 in the rows that do not count: a NaN there would reach gradients through any function of it."""
    return outputs if rows is None else tuple(torch.where(rows, t, 0.0) for t in outputs)
