"""Numbers that say how good an answer is: pure functions of numpy arrays; every row has its truth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

SMALLEST = 1e-12  # probabilities below it count as it: one row adds at most 28 nats to a log-loss
THRESHOLDS = np.linspace(0, 6, 40)  # nats, of the collapse curve


def error_rate(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of wrong classes, in [0, 1]; truth and predicted (n,), or (n, length) for a share over all positions."""
    return 1.0 - float((truth.ravel() == predicted.ravel()).mean())


def whole_error_rate(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of rows in which any position is wrong; truth and predicted (n, *shape)."""
    n = len(truth)
    return float((truth.reshape(n, -1) != predicted.reshape(n, -1)).any(1).mean())


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that occur in `truth`, in [0, 1]."""
    return float(np.mean([(predicted[truth == code] == code).mean() for code in np.unique(truth)]))


def log_loss(truth: np.ndarray, prob: np.ndarray) -> float:
    """Mean of −ln p(true class) in nats; truth (n,) codes, prob (n, K), clipped at `SMALLEST`."""
    return float(-np.log(np.maximum(prob[np.arange(len(truth)), truth].astype(np.float64), SMALLEST)).mean())


def calibration_error(truth: np.ndarray, prob: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: Σ over bins of (share of rows) · |accuracy − mean confidence|, in [0, 1].

    The bins have equal width in the confidence (largest probability); the upper edge belongs to a bin.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 5.
    """
    confidence = prob.max(1).astype(np.float64)
    right = (prob.argmax(1) == truth).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_of, right - confidence, bins)).sum() / len(truth))


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Root of the mean square over all entries of (n, *shape), in their units."""
    return float(np.sqrt(np.square(predicted - truth, dtype=np.float64).mean()))


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Share of all entries with low ≤ truth ≤ high."""
    return float(((low <= truth) & (truth <= high)).mean())


def explained_share(rmse: float, rmse_global: float, rmse_class: float) -> float:
    """(rmse_global − rmse) / (rmse_global − rmse_class): 0 = no better than the training mean, 1 = as good as the mean
    of the true class; NaN where the class mean is no better than the training mean."""
    gap = rmse_global - rmse_class
    return (rmse_global - rmse) / gap if gap > 0 else float("nan")


def gaussian_kl(
    mean: np.ndarray, std: np.ndarray, other_mean: np.ndarray | float = 0.0, other_std: np.ndarray | float = 1.0
) -> np.ndarray:
    """KL(N(mean, std²) ‖ N(other_mean, other_std²)) of every entry, in nats; a std of 0 counts as 1e-77."""
    variance, other = (np.maximum(np.square(s, dtype=np.float64), 1e-154) for s in (std, other_std))
    distance = np.square(np.subtract(mean, other_mean, dtype=np.float64))
    return 0.5 * ((distance + variance) / other - 1 - np.log(variance / other))


def collapse_curve(kl: np.ndarray, eps: np.ndarray = THRESHOLDS, delta: float = 0.01) -> np.ndarray:
    """Fraction of collapsed latent dimensions at each threshold: those whose KL_d(x) ≤ eps for a share ≥ 1 − delta of
    the rows.

    Args:
        kl: (n, D) nats.
        eps: (E,) nats.
    Returns:
        (E,) in [0, 1].
    Source: Lucas et al. 2019, arXiv:1911.02469; ≤, delta and the thresholds as in CMMD's script.
    """
    return np.array([((kl <= e).mean(0) >= 1 - delta).mean() for e in eps])


def precision_at(z: np.ndarray, truth: np.ndarray, neighbours: Sequence[int]) -> list[float]:
    """Precision@K for each K: the share of a row's K nearest other rows (Euclidean) that are of its class, averaged
    over rows.

    Args:
        z: (n, D), n > every K.
        truth: (n,) codes.
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=max(neighbours)).fit(z).kneighbors(return_distance=False)  # without itself
    same = truth[near] == truth[:, None]
    return [float(same[:, :k].mean()) for k in neighbours]


def cluster_agreement(z: np.ndarray, truth: np.ndarray, clusters: int, *, seed: int = 0) -> float:
    """Normalised mutual information (arithmetic mean of the entropies), in [0, 1], of classes and k-means clusters, the
    best of ten seeded starts."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import normalized_mutual_info_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: a collapsed latent
        found = KMeans(n_clusters=clusters, n_init=10, random_state=seed).fit_predict(z)
    return float(normalized_mutual_info_score(truth, found))
