"""What factor analysis is given of a view and what it finds: its rows, the priors of its parameters, its loadings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prior:
    """Hyper-priors, for features of variance 1.

    The noise has τ_j ~ Gamma(noise, r_j) and r_j ~ Gamma(shape, rate) in terms of (shape, rate). Near variance ½ it
    weighs as much as 2 · noise rows, which keeps few rows from being explained without noise; its tails are heavy
    (p(τ) falls as a power), so it gives way where a feature really is precise.

    Args:
        noise: shape of τ_j.
        noise_rate: shape and rate of r_j.
        relevance: shape and rate of α_mk.
        floor: variance that is added to the noise of every feature, which bounds it where a column is a copy.
    """

    noise: float = 4.0
    noise_rate: tuple[float, float] = (8.0, 4.0)
    relevance: tuple[float, float] = (1e-3, 1e-3)
    floor: float = 1e-6


@dataclass(frozen=True)
class FactorView:
    """What is known of one view in n rows.

    Args:
        x: (n, d); what stands in rows and elements that are not observed does not matter.
        observed: (n,) bool.
        scale: the standard deviation of the noise, where it is known.
        shared: whether the noise is one number for all features.
        elements: (n, d) bool, the elements that observed rows have; None: all.

    Example:
        >>> import torch
        >>> view = FactorView(torch.zeros(3, 2), torch.tensor([True, True, False]))
        >>> view.scale is None, view.shared
        (True, False)
    """

    x: Tensor
    observed: Tensor
    scale: float | None = None
    shared: bool = False
    elements: Tensor | None = None


@dataclass(frozen=True)
class Loadings:
    """A view as it comes from factors: x = weight z + offset + N(0, diag variance), in the units of x.

    Args:
        weight: (d, D) posterior mean; 0 for features that are constant.
        offset: (d,) posterior mean.
        variance: (d,): of the noise, and of what is not known of weight and offset, at an average z.
        bounded: (d,) bool, where little more than the floor is left of the noise of a feature that varies.
    """

    weight: Tensor
    offset: Tensor
    variance: Tensor
    bounded: Tensor
