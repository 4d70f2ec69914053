"""The difference between two models on the same rows, with a standard error that pairs rows, fits and folds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95  # of the interval around a difference, outside of which 0 has to lie


@dataclass(frozen=True)
class Design:
    """How the rows that two models are compared on belong together.

    Args:
        weights: (n,) how many scored entries each row has.
        units: (n,) integers from 0 on, the same for rows that are not independent, such as those of a person.
        folds: (n,) integers from 0 on, the fold that tested each row; None: all rows were tested by the same fits.
        share: of folds, the rows tested over the rows learnt from, n_test / n_train.
    """

    weights: np.ndarray
    units: np.ndarray
    folds: np.ndarray | None = None
    share: float = 0.0


@dataclass(frozen=True)
class Difference:
    """How much larger the first model's loss is.

    Args:
        value: the difference, in the units of the measure.
        se: its standard error; NaN where there is nothing to estimate it from.
        df: the degrees of freedom of that standard error.
        se_rows: the standard error over rows alone, which takes the fits as they are.
    """

    value: float
    se: float
    df: float
    se_rows: float

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval, t(df) · se; infinite without a standard error."""
        if not self.df > 0 or math.isnan(self.se):
            return math.inf
        from scipy.stats import t

        return float(t.ppf(0.5 + LEVEL / 2, self.df)) * self.se

    @property
    def differs(self) -> bool:
        """Whether 0 lies outside of the 95 % interval."""
        return abs(self.value) > self.margin


def level(losses: np.ndarray, weights: np.ndarray, *, root: bool = False) -> np.ndarray:
    """Average the losses of rows.

    Args:
        losses: (S, n), of S fits.
        weights: (n,).
        root: whether the square root is taken of the mean, as for an rmse.

    Returns:
        (S,) means.
    """
    mean = losses @ weights / weights.sum()
    return np.sqrt(mean) if root else mean


def paired_difference(first: np.ndarray, second: np.ndarray, design: Design, *, root: bool = False) -> Difference:
    """Compare the mean losses of two models on the same rows.

    With L the mean of the losses lᵢ over rows with weights wᵢ, W = Σ wᵢ, and h the identity (or the square root of an
    rmse), the difference is d = h(L₁) − h(L₂), averaged over fits. Its variance adds up

    - over rows, by the delta method: each row contributes uᵢ = wᵢ [h'(L₁)(l₁ᵢ − L₁) − h'(L₂)(l₂ᵢ − L₂)], rows of a
      unit are summed, and V = G/(G − 1) Σ_g (Σ_{i∈g} uᵢ)² / W² with G units. For a plain mean over single rows this is
      the familiar s²/n of the paired differences;
    - over fits with S seeds, s²/S of each model's h(L) (fits of two programs with one seed have nothing in common). The
      sum counts the interaction of rows and fits twice, and is too large rather than too small. The degrees of freedom
      are those of Welch and Satterthwaite. One fit has no such part: it speaks for that fit only;
    - of k folds, in place of the sum (1/k + n_test/n_train) s²_k with k − 1 degrees of freedom, where s²_k is the
      variance of the folds' differences: folds share training rows, which s²_k/k would take for independent. Where the
      folds happen to agree so well that V alone gives a wider interval, it is V.

    Args:
        first: (S, n) losses of S fits of one model.
        second: (T, n) losses of T fits of the other.
        design: weights, units and folds of the n rows.
        root: whether h is the square root.

    Returns:
        The difference first − second.

    Source: clusters: Liang & Zeger 1986, Biometrika 73; folds: Nadeau & Bengio 2003, "Inference for the generalization
    error", Machine Learning 52, section 3.

    Example:
        >>> a, b = np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 1.0, 2.0]])
        >>> found = paired_difference(a, b, Design(np.ones(3), np.arange(3)))
        >>> found.value, round(found.se, 4), found.df, found.differs  # the sd of (0, 1, 2) is 1
        (1.0, 0.5774, 2.0, False)
    """
    weights = design.weights.astype(np.float64)
    sides = [np.atleast_2d(side).astype(np.float64) for side in (first, second)]
    levels = [level(side, weights, root=root) for side in sides]
    value = float(levels[0].mean() - levels[1].mean())
    one, other = (_influence(side, weights, root) for side in sides)
    of_units = np.bincount(design.units, weights * (one - other))
    units = int((np.bincount(design.units) > 0).sum())
    if units < 2:
        return Difference(value, math.nan, 0, math.nan)
    over_rows = units / (units - 1) * float(np.square(of_units).sum()) / weights.sum() ** 2
    se_rows = math.sqrt(over_rows)
    parts = [(over_rows, units - 1)]
    if design.folds is not None:
        parts.append(_over_folds(sides, weights, design, root))
        return max((Difference(value, math.sqrt(part), df, se_rows) for part, df in parts), key=lambda one: one.margin)
    parts += [(float(found.var(ddof=1)) / len(found), len(found) - 1) for found in levels if len(found) > 1]
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / df for part, df in parts)
    return Difference(value, math.sqrt(variance), variance**2 / below if below > 0 else float(units - 1), se_rows)


def _influence(losses: np.ndarray, weights: np.ndarray, root: bool) -> np.ndarray:
    """(n,) h'(L)(lᵢ − L), averaged over fits. Where the rmse is 0, so is every loss."""
    mean = (losses @ weights / weights.sum())[:, None]
    slope = np.divide(0.5, np.sqrt(mean), out=np.zeros_like(mean), where=mean > 0) if root else 1.0
    return (slope * (losses - mean)).mean(0)


def _over_folds(sides: list[np.ndarray], weights: np.ndarray, design: Design, root: bool) -> tuple[float, int]:
    """The variance of the difference from that between folds, and its degrees of freedom; 0 and 1 of a single fold,
    in which the question could be asked."""
    assert design.folds is not None
    each = []
    for fold in np.unique(design.folds):
        rows = design.folds == fold
        one, other = (level(side[:, rows], weights[rows], root=root).mean() for side in sides)
        each.append(one - other)
    if len(each) < 2:
        return 0.0, 1
    return (1 / len(each) + design.share) * float(np.var(each, ddof=1)), len(each) - 1
