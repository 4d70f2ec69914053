"""Survival times predicted without a latent model. Censored times are negative."""

from __future__ import annotations

import numpy as np

RIDGE = 1.0  # half a nat for a squared weight of 1, as scikit-learn's logistic regression has it
LARGEST = 50.0  # ln of a hazard, above which it grows no further while the regression searches


def kaplan_meier_median(signed: np.ndarray) -> float:
    """Find the time up to which half of the rows have had their event.

    Args:
        signed: (n,) times, negative where censored.

    Returns:
        The first time at which the Kaplan–Meier estimate of survival is at most ½; the last time if it never is.

    Source: Kaplan & Meier 1958, "Nonparametric estimation from incomplete observations", JASA 53.

    Example:
        >>> kaplan_meier_median(np.array([1.0, 2.0, -3.0, 4.0, 5.0]))
        4.0
    """
    time = np.sort(np.abs(signed))
    times, events = np.unique(signed[signed > 0], return_counts=True)
    at_risk = len(time) - np.searchsorted(time, times)
    survival = np.cumprod(1 - events / at_risk)
    reached = np.flatnonzero(survival <= 0.5 + 1e-12)
    return float(times[reached[0]] if len(reached) else time[-1])


def weibull_regression(known: np.ndarray, signed: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predict median times by a Weibull regression, ln λ = W x + b, with the penalty RIDGE ‖W‖²/2 on standard units of
    ln t.

    Args:
        known: (n, p) standardised features of the rows to learn from.
        signed: (n,) their times, negative where censored.
        asked: (m, p) features of the rows to predict.

    Returns:
        (m,) medians.
    """
    from scipy.optimize import minimize

    log_time, event = np.log(np.abs(signed)), (signed > 0).astype(np.float64)
    mean, sd = log_time.mean(), log_time.std() or 1.0
    y, columns = (log_time - mean) / sd, known.astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight, offset, log_shape = parameters[:-2], parameters[-2], parameters[-1]
        power = np.exp(log_shape) * (y - columns @ weight - offset)
        hazard = np.exp(np.minimum(power, LARGEST))
        of_location = np.exp(log_shape) * (event - hazard)
        of_shape = -(event * (1 + power) - hazard * power).sum()
        value = (hazard - event * (log_shape + power)).sum() + RIDGE / 2 * weight @ weight
        return value, np.r_[columns.T @ of_location + RIDGE * weight, of_location.sum(), of_shape]

    found = minimize(loss, np.zeros(columns.shape[1] + 2), jac=True, method="L-BFGS-B").x
    location = asked.astype(np.float64) @ found[:-2] + found[-2]
    return np.exp(mean + sd * (location + np.log(np.log(2)) / np.exp(found[-1])))
