"""Scores of an answer: pure functions of NumPy arrays, in which no true value is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..base.quiet import without_warnings

SMALLEST = 1e-12  # smaller probabilities count as this, so that one row adds at most 28 nats to a log-loss
BLOCK = 1_000  # rows whose distances to all others are held at once
ROUNDING = 1e-6  # a standard deviation of less than this share of the largest value is rounding (float32)
THRESHOLDS = np.linspace(0, 6, 40)  # nats, of the collapse curve
DELTA = 0.01  # share of the rows that may lie above them


def error_rate(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the share of wrong classes.

    Args:
        truth: (n,) classes, or (n, length) for a share over all positions.
        predicted: the same shape.

    Returns:
        A share in [0, 1].
    """
    return 1.0 - float((truth.ravel() == predicted.ravel()).mean())


def whole_error_rate(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the share of rows in which any position is wrong.

    Args:
        truth: (n, *shape) classes.
        predicted: the same shape.

    Returns:
        A share in [0, 1].
    """
    n = len(truth)
    return float((truth.reshape(n, -1) != predicted.reshape(n, -1)).any(1).mean())


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean recall over the classes that occur in `truth`.

    Args:
        truth: (n,) classes.
        predicted: (n,) classes.

    Returns:
        A share in [0, 1].
    """
    return float(np.mean([(predicted[truth == code] == code).mean() for code in np.unique(truth)]))


def log_loss(truth: np.ndarray, prob: np.ndarray) -> float:
    """Compute the mean of −ln p(true class).

    Args:
        truth: (n,) class codes.
        prob: (n, K) probabilities, clipped at `SMALLEST`.

    Returns:
        Nats per row.
    """
    return float(-np.log(np.maximum(prob[np.arange(len(truth)), truth].astype(np.float64), SMALLEST)).mean())


def calibration_error(truth: np.ndarray, prob: np.ndarray, bins: int = 15) -> float:
    """Compute the expected calibration error: Σ over bins of (share of rows) · |accuracy − mean confidence|.

    The bins have equal width in the confidence (largest probability); the upper edge belongs to a bin.

    Args:
        truth: (n,) class codes.
        prob: (n, K) probabilities.
        bins: the number of bins.

    Returns:
        A number in [0, 1].

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 5.
    """
    curve = reliability(truth, prob, bins)
    return float(np.abs(np.subtract(curve["right"], curve["confidence"])).sum())


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the root mean squared error over all entries.

    Args:
        truth: (n, *shape).
        predicted: the same shape, or one that broadcasts to it.

    Returns:
        A number in the units of the values.
    """
    return float(np.sqrt(np.square(predicted - truth, dtype=np.float64).mean()))


def mean_absolute_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean absolute error over all entries.

    Args:
        truth: (n, *shape).
        predicted: the same shape, or one that broadcasts to it.

    Returns:
        A number in the units of the values.
    """
    return float(np.abs(np.subtract(predicted, truth, dtype=np.float64)).mean())


def correlation(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute Pearson's correlation.

    Args:
        truth: (n, *shape), of one number in all.
        predicted: the same shape.

    Returns:
        A number in [−1, 1]; NaN if one of the two does not vary.
    """
    parts = []
    for values in (truth, predicted):
        centred = np.asarray(values, np.float64).ravel()
        largest = np.abs(centred).max()
        centred = centred - centred.mean()
        length = float(np.sqrt(centred @ centred))
        if length <= ROUNDING * largest * len(centred) ** 0.5:
            return float("nan")
        parts.append(centred / length)
    return float(parts[0] @ parts[1])


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Compute the share of all entries with low ≤ truth ≤ high.

    Args:
        truth: (n, *shape).
        low: the same shape.
        high: the same shape.

    Returns:
        A share in [0, 1].
    """
    return float(((low <= truth) & (truth <= high)).mean())


def r_squared(rmse: float, rmse_global: float) -> float:
    """Compute R² = 1 − (rmse / rmse_global)², the share of the squared error of the training mean that is removed.

    Args:
        rmse: the rmse of the predictive mean.
        rmse_global: the rmse of the training mean on the same rows.

    Returns:
        1 for a perfect answer, 0 for one as good as the training mean, negative for a worse one; NaN if the training
        mean makes no error.
    """
    return 1 - (rmse / rmse_global) ** 2 if rmse_global > 0 else float("nan")


def interval_score(truth: np.ndarray, low: np.ndarray, high: np.ndarray, level: float = 0.9) -> float:
    """Compute the interval score, averaged over all entries. It is a proper score: lower is better.

    It is (high − low) + 2/α · (low − truth)₊ + 2/α · (truth − high)₊ with α = 1 − level: the width of the interval, and
    a penalty for every value outside of it in proportion to its distance.

    Args:
        truth: (n, *shape).
        low: the lower ends, of a shape that broadcasts to that of `truth`.
        high: the upper ends.
        level: the probability that the central interval states.

    Returns:
        A number in the units of the values.

    Source: Gneiting & Raftery 2007, JASA 102, "Strictly proper scoring rules", eq. 43.
    """
    truth, low, high = (np.asarray(x, np.float64) for x in (truth, low, high))
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return float((high - low + 2 / (1 - level) * outside).mean())


def reliability(truth: np.ndarray, prob: np.ndarray, bins: int = 15) -> dict[str, list[float]]:
    """Compute a reliability curve over bins of the confidence (largest probability) of equal width.

    Each number is a sum over the rows of a bin, divided by the number of all rows, so that curves can be averaged. The
    accuracy of a bin is right/rows, its mean confidence is confidence/rows, and Σ |right − confidence| is the expected
    calibration error.

    Args:
        truth: (n,) class codes.
        prob: (n, K) probabilities.
        bins: the number of bins; the upper edge belongs to a bin.

    Returns:
        "rows", "confidence" and "right", one number per bin each.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 2 and 3.
    """
    confidence = prob.max(1).astype(np.float64)
    right = (prob.argmax(1) == truth).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    columns = {"rows": np.ones_like(right), "confidence": confidence, "right": right}
    return {name: (np.bincount(bin_of, column, bins) / len(truth)).tolist() for name, column in columns.items()}


def gaussian_kl(
    mean: np.ndarray, std: np.ndarray, other_mean: np.ndarray | float = 0.0, other_std: np.ndarray | float = 1.0
) -> np.ndarray:
    """Compute KL(N(mean, std²) ‖ N(other_mean, other_std²)) of every entry.

    Args:
        mean: means, of any shape.
        std: standard deviations; 0 counts as 1e-77.
        other_mean: means of the second Gaussian.
        other_std: standard deviations of the second Gaussian.

    Returns:
        Nats, in the common shape.
    """
    variance, other = (np.maximum(np.square(s, dtype=np.float64), 1e-154) for s in (std, other_std))
    distance = np.square(np.subtract(mean, other_mean, dtype=np.float64))
    return 0.5 * ((distance + variance) / other - 1 - np.log(variance / other))


def collapse_curve(kl: np.ndarray, eps: np.ndarray = THRESHOLDS, delta: float = DELTA) -> np.ndarray:
    """Compute the fraction of collapsed latent dimensions at each threshold: those whose KL_d(x) ≤ eps for a share ≥ 1
    − delta of the rows.

    Args:
        kl: (n, D) nats.
        eps: (E,) thresholds in nats.
        delta: the share of rows that may lie above the threshold.

    Returns:
        (E,) in [0, 1].

    Source: Lucas et al. 2019, arXiv:1911.02469; ≤, delta and the thresholds as in CMMD's script.
    """
    return np.array([((kl <= e).mean(0) >= 1 - delta).mean() for e in eps])


def precision_at(z: np.ndarray, truth: np.ndarray, neighbours: Sequence[int]) -> list[float]:
    """Compute precision@K: the share of a row's K nearest other rows (Euclidean) that are of its class, averaged over
    rows.

    Args:
        z: (n, D), with n greater than every K.
        truth: (n,) class codes.
        neighbours: the numbers K.

    Returns:
        One share in [0, 1] for each K.
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=max(neighbours)).fit(z).kneighbors(return_distance=False)  # without itself
    same = truth[near] == truth[:, None]
    return [float(same[:, :k].mean()) for k in neighbours]


def precision_apart(z: np.ndarray, truth: np.ndarray, group: np.ndarray, neighbours: Sequence[int]) -> list[float]:
    """Compute precision@K as `precision_at` does, where rows of a row's own group are no neighbours of it.

    Args:
        z: (n, D).
        truth: (n,) class codes.
        group: (n,) numbers of groups, such as the recordings that rows show; a negative one is a group of its own.
        neighbours: the numbers K; every row has as many rows of other groups.

    Returns:
        One share in [0, 1] for each K.
    """
    points, classes, groups = torch.from_numpy(z).double(), torch.from_numpy(truth), torch.from_numpy(group)
    same = []
    for rows in torch.arange(len(z)).split(BLOCK):
        distance = torch.cdist(points[rows], points)
        distance[(groups[rows, None] == groups) & (groups >= 0)] = torch.inf
        distance[torch.arange(len(rows)), rows] = torch.inf  # itself
        near = distance.topk(max(neighbours), largest=False).indices
        same.append(classes[near] == classes[rows, None])
    right = torch.cat(same).double()
    return [float(right[:, :k].mean()) for k in neighbours]


def detection(positive: np.ndarray, score: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """Say how well a score finds the positive rows.

    Args:
        positive: (n,) bool.
        score: (n,), larger where a row is more likely positive.
        threshold: rows with a larger score count as found.

    Returns:
        "auc", the area under the ROC curve, absent if all rows are alike; "precision", "recall" and "f1" of the
        positive rows, 0 where there is nothing to divide by; "f1_both", the mean of the F1 of both kinds of rows.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    found = score > threshold
    precision, recall, f1, _ = precision_recall_fscore_support(positive, found, labels=[False, True], zero_division=0)
    numbers = {"precision": precision[1], "recall": recall[1], "f1": f1[1], "f1_both": f1.mean()}
    if positive.any() and not positive.all():
        numbers["auc"] = roc_auc_score(positive, score)
    return {name: float(number) for name, number in numbers.items()}


def cluster_agreement(z: np.ndarray, truth: np.ndarray, clusters: int, *, seed: int = 0) -> float:
    """Compute the normalised mutual information (arithmetic mean of the entropies) of classes and k-means clusters.

    Args:
        z: (n, D).
        truth: (n,) class codes.
        clusters: the number of clusters.
        seed: the seed of the ten starts, of which the best counts.

    Returns:
        A number in [0, 1].
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import normalized_mutual_info_score

    with without_warnings(ConvergenceWarning):  # fewer distinct points than clusters: a collapsed latent
        found = KMeans(n_clusters=clusters, n_init=10, random_state=seed).fit_predict(z)
    return float(normalized_mutual_info_score(truth, found))
