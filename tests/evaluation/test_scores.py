"""Every number against one computed by hand."""

import math

import numpy as np
import pytest

from mmppl.evaluation import scores

TRUTH = np.array([0, 0, 0, 1, 2])
PROB = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
PREDICTED = PROB.argmax(1)  # 0 0 1 1 1


def test_error_rate_counts_rows_or_positions():
    assert scores.error_rate(TRUTH, PREDICTED) == pytest.approx(2 / 5)
    words, read = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[1, 2], [3, 0], [0, 0]])
    assert scores.error_rate(words, read) == pytest.approx(3 / 6)
    assert scores.whole_error_rate(words, read) == pytest.approx(2 / 3)


def test_balanced_accuracy_weighs_classes_equally():
    assert scores.balanced_accuracy(TRUTH, PREDICTED) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores.balanced_accuracy(np.array([0, 0]), np.array([0, 2])) == pytest.approx(1 / 2)  # 2 never occurs


def test_log_loss_is_clipped_and_agrees_with_sklearn():
    by_hand = -(math.log(0.8) + math.log(0.5) + math.log(0.2) + math.log(0.8) + math.log(0.1)) / 5
    assert scores.log_loss(TRUTH, PROB) == pytest.approx(by_hand)
    from sklearn.metrics import log_loss

    assert scores.log_loss(TRUTH, PROB) == pytest.approx(log_loss(TRUTH, PROB, labels=[0, 1, 2]))
    assert scores.log_loss(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(12 * math.log(10))
    assert scores.log_loss(np.array([0, 0]), np.array([[1.0], [1.0]])) == 0  # one class only


def test_calibration_error_by_bins():
    # Confidences .8 .5 .7 .8 .6, right 1 1 0 1 0: four bins of width 1/15 (.8 twice).
    by_hand = (abs(2 - 1.6) + abs(1 - 0.5) + abs(0 - 0.7) + abs(0 - 0.6)) / 5
    assert scores.calibration_error(TRUTH, PROB) == pytest.approx(by_hand)
    assert scores.calibration_error(TRUTH, PROB, bins=1) == pytest.approx(abs(3 - 3.4) / 5)
    sure = np.eye(3)[[0, 1, 2]]
    assert scores.calibration_error(np.array([0, 1, 2]), sure) == 0
    assert scores.calibration_error(np.array([1, 2, 0]), sure) == 1


def test_rmse_and_coverage_are_over_all_entries():
    truth = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert scores.rmse(truth, np.array([[1.0, 1.0], [2.0, 0.0]])) == pytest.approx(math.sqrt(10 / 4))
    assert scores.coverage(truth, truth - 1, np.array([[-0.5, 1.0], [5.0, 2.9]])) == pytest.approx(2 / 4)


def test_r_squared_against_the_training_mean():
    assert scores.r_squared(3.0, 3.0) == 0 and scores.r_squared(0.0, 3.0) == 1
    assert scores.r_squared(6.0, 3.0) == -3 and math.isnan(scores.r_squared(1.0, 0.0))
    from sklearn.metrics import r2_score

    truth, mean = np.random.default_rng(0).normal(size=(2, 50))
    assert scores.r_squared(scores.rmse(truth, mean), scores.rmse(truth, truth.mean())) == pytest.approx(
        r2_score(truth, mean)
    )


def test_interval_score_by_hand():
    """Width 2, twice; one value lies .5 below and one 1 above: 2/α times that, with α = .1."""
    truth = np.array([[-0.5, 1.0], [2.0, 3.0]])
    assert scores.interval_score(truth, np.zeros((2, 2)), np.full((2, 2), 2.0)) == pytest.approx(
        (4 * 2 + 20 * 0.5 + 20 * 1) / 4
    )
    assert scores.interval_score(truth, 0.0, 2.0, level=0.5) == pytest.approx((4 * 2 + 4 * 0.5 + 4 * 1) / 4)


def test_interval_score_is_least_for_the_true_quantiles():
    """Expected score of N(0, 1) by quadrature: any other symmetric interval is worse (it is proper)."""
    x = np.linspace(-9, 9, 20_001)
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)

    def expected(half):
        each = np.array([scores.interval_score(np.array([value]), -half, half) for value in x[::20]])
        return np.trapezoid(each * density[::20], x[::20])

    halves = np.array([1.2, 1.5, 1.6449, 1.8, 2.2])
    assert np.argmin([expected(half) for half in halves]) == 2
    assert expected(1.6449) == pytest.approx(4 / 0.1 * 0.10314, rel=1e-3)  # 4φ(q)/α


def test_reliability_adds_up_to_the_calibration_error():
    curve = scores.reliability(TRUTH, PROB, bins=5)  # confidences .8 .5 .7 .8 .6: bins (.4, .6], (.6, .8]
    assert curve["rows"] == pytest.approx([0, 0, 2 / 5, 3 / 5, 0])
    assert curve["confidence"] == pytest.approx([0, 0, 1.1 / 5, 2.3 / 5, 0])
    assert curve["right"] == pytest.approx([0, 0, 1 / 5, 2 / 5, 0])
    off = np.abs(np.subtract(curve["right"], curve["confidence"])).sum()
    assert scores.calibration_error(TRUTH, PROB, bins=5) == pytest.approx(off)


def test_gaussian_kl():
    kl = scores.gaussian_kl(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.8, 0.5]))
    assert kl == pytest.approx([0, (0.25 + 0.64 - 1 - math.log(0.64)) / 2, (1 + 0.25 - 1 + 2 * math.log(2)) / 2])
    rng = np.random.default_rng(0)
    mean, other_mean = rng.normal(size=(2, 5, 3))
    std, other_std = rng.uniform(0.2, 3, size=(2, 5, 3))
    found = scores.gaussian_kl(mean, std, other_mean, other_std)
    x = mean + std * np.linspace(-9, 9, 4001)[:, None, None]  # the integral of p ln(p/q), by trapezoids
    ln_p, ln_q = (
        -0.5 * ((x - m) / s) ** 2 - np.log(s * math.sqrt(2 * math.pi))
        for m, s in ((mean, std), (other_mean, other_std))
    )
    np.testing.assert_allclose(found, np.trapezoid(np.exp(ln_p) * (ln_p - ln_q), x, axis=0), rtol=1e-9, atol=1e-12)
    assert scores.gaussian_kl(mean, std, mean, std) == pytest.approx(np.zeros((5, 3)), abs=1e-12)
    assert np.isfinite(scores.gaussian_kl(np.zeros(1), np.zeros(1))).all()
    assert np.isfinite(scores.gaussian_kl(np.ones(1), np.ones(1), np.zeros(1), np.zeros(1))).all()


def test_collapse_reference_value():
    """Shares counted by hand."""
    kl = np.array([[0.01, 0.9, 2], [0.02, 0.05, 1.5], [0, 0.04, 0.3], [0.03, 0.06, 3]])
    wanted = {(0.05, 0.01): 1 / 3, (0.1, 0.25): 2 / 3, (1.0, 0.01): 2 / 3, (3.0, 0.01): 1.0}
    for (eps, delta), fraction in wanted.items():
        assert scores.collapse_curve(kl, np.array([eps]), delta) == pytest.approx([fraction], abs=1e-12)


def test_collapse_curve_tolerates_one_row_in_a_hundred():
    kl = np.zeros((100, 2))
    kl[0, 0], kl[:2, 1] = 9, 9
    assert len(scores.THRESHOLDS) == 40 and scores.THRESHOLDS[0] == 0 and scores.THRESHOLDS[-1] == 6
    assert scores.collapse_curve(kl) == pytest.approx(np.full(40, 0.5))
    assert scores.collapse_curve(kl[:99], np.array([9.0])) == 1
