"""Paired differences and ranks, against closed forms and simulations."""

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel

from mmppl.evaluation.comparison.measures import measures_of
from mmppl.evaluation.comparison.paired import Design, paired_difference
from mmppl.evaluation.comparison.questions import Question
from mmppl.evaluation.comparison.ranking import Part, mean_ranks, rank, times_best
from mmppl.evaluation.study import Losses

RNG = np.random.default_rng(0)
Q = Question(("x",), "y")


def single_rows(n):
    return Design(np.ones(n), np.arange(n))


def test_of_single_rows_it_is_the_paired_t_test():
    a, b = RNG.normal(1, 1, (1, 40)), RNG.normal(1.3, 1, (1, 40))
    found, known = paired_difference(a, b, single_rows(40)), ttest_rel(a[0], b[0])
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert found.se == pytest.approx((a - b).std(ddof=1) / np.sqrt(40)) and found.df == 39
    assert found.value / found.se == pytest.approx(known.statistic)
    assert found.differs == (known.pvalue < 0.05)


def test_rows_of_a_unit_count_as_one():
    """Every row twice: the same standard error as of the rows once, but for G/(G − 1)."""
    a, b = RNG.normal(size=(1, 15)), RNG.normal(size=(1, 15))
    once = paired_difference(a, b, single_rows(15))
    units = np.repeat(np.arange(15), 2)
    twice = paired_difference(a.repeat(2, 1), b.repeat(2, 1), Design(np.ones(30), units))
    assert (twice.se, twice.df) == (pytest.approx(once.se), 14)
    blind = paired_difference(a.repeat(2, 1), b.repeat(2, 1), single_rows(30))
    assert blind.se < 0.75 * twice.se


def test_the_standard_error_of_an_rmse_is_that_of_its_gradient():
    """The delta method, by numerical derivatives of h(L₁) − h(L₂) in the weight of each row."""
    a, b, w = RNG.gamma(2, 1, (1, 12)), RNG.gamma(2, 1.2, (1, 12)), RNG.integers(1, 4, 12).astype(float)

    def statistic(weights):
        return np.sqrt(a[0] @ weights / weights.sum()) - np.sqrt(b[0] @ weights / weights.sum())

    slopes = [(statistic(w + 1e-6 * w * e) - statistic(w - 1e-6 * w * e)) / 2e-6 for e in np.eye(12)]
    found = paired_difference(a, b, Design(w, np.arange(12)), root=True)
    assert found.value == pytest.approx(statistic(w))
    assert found.se == pytest.approx(np.sqrt(12 / 11 * np.square(slopes).sum()), rel=1e-6)


def test_fits_of_several_seeds_add_their_spread():
    a, b = RNG.normal(size=(3, 20)), RNG.normal(size=(2, 20))
    found = paired_difference(a, b, single_rows(20))
    rows = (a.mean(0) - b.mean(0)).var(ddof=1) / 20
    of_a, of_b = a.mean(1).var(ddof=1) / 3, b.mean(1).var(ddof=1) / 2
    total = rows + of_a + of_b
    assert found.se == pytest.approx(np.sqrt(total)) and found.se_rows == pytest.approx(np.sqrt(rows))
    assert found.df == pytest.approx(total**2 / (rows**2 / 19 + of_a**2 / 2 + of_b**2 / 1))


def test_folds_are_corrected_for_the_rows_that_they_share():
    folds = np.repeat(np.arange(4), 10)
    a = RNG.normal(size=(1, 40)) + np.repeat([0.0, 1.0, 2.0, 5.0], 10)
    b = np.zeros((1, 40))
    found = paired_difference(a, b, Design(np.ones(40), np.arange(40), folds, share=1 / 3))
    each = a.reshape(4, 10).mean(1)
    assert (found.se, found.df) == (pytest.approx(np.sqrt((1 / 4 + 1 / 3) * each.var(ddof=1))), 3)
    alike = a - np.repeat(each, 10)  # the folds agree to the digit, so the rows alone are left
    found = paired_difference(alike, b, Design(np.ones(40), np.arange(40), folds, share=1 / 3))
    assert (found.se, found.df) == (pytest.approx(alike.std(ddof=1) / np.sqrt(40)), 39)


def test_intervals_over_folds_cover_and_those_over_rows_alone_do_not():
    """Fits that differ between folds, with the correlation 1/k of fits that share training rows: of 150 intervals of
    95 %, fewer than 132 would hold 0 in one of 5,000 samplings if they covered exactly."""
    rng, k, n, inside, of_rows = np.random.default_rng(1), 5, 200, 0, 0
    folds, zero = np.repeat(np.arange(k), n // k), np.zeros((1, n))
    design = Design(np.ones(n), np.arange(n), folds, share=1 / (k - 1))
    for _ in range(150):
        fits = np.sqrt(1 / k) * rng.normal() + np.sqrt(1 - 1 / k) * rng.normal(size=k)
        found = paired_difference(0.2 * fits[folds][None] + rng.normal(size=(1, n)), zero, design)
        inside += not found.differs
        of_rows += abs(found.value) <= student.ppf(0.975, n - 1) * found.se_rows
    assert inside >= 132 > of_rows


def test_equal_answers_do_not_differ_and_one_unit_judges_nothing():
    a = RNG.normal(size=(1, 9))
    same = paired_difference(a, a, single_rows(9))
    assert (same.value, same.se, same.differs) == (0, 0, False)
    alone = paired_difference(a, a + 1, Design(np.ones(9), np.zeros(9, int)))
    assert np.isnan(alone.se) and not alone.differs
    perfect = paired_difference(np.zeros((1, 9)), a**2, single_rows(9), root=True)
    assert np.isfinite(perfect.se) and perfect.value < 0


def losses(values, rows=None, **others):
    rows = np.arange(len(values)) if rows is None else rows
    return Losses(rows, {"square": np.asarray(values, float), **others}, {}, np.ones(len(values), int))


def test_ranks_are_told_on_the_rows_that_all_have_answered():
    noise = RNG.normal(0, 0.01, 30)
    entries = {
        "good": [[losses(1 + noise)]],
        "bad": [[losses(4 + RNG.normal(0, 0.1, 30))]],
        "same": [[losses(np.r_[1 + noise[5:], 9], np.r_[5:30, 40])]],  # of rows 5 to 29, and one that is its own
    }
    (found,) = rank(Q, entries, [Part(np.arange(50), 40, 50)])
    assert found.n == 25 and [entry.rank for entry in found.entries] == [1.5, 1.5, 3]
    assert [entry.name for entry in found.entries][-1] == "bad"
    assert [entry.ties for entry in found.entries] == [True, True, False]
    assert found.entries[-1].value == pytest.approx(2, abs=0.02) and found.measure.title == "rmse"
    assert times_best([found]) == {"good": (1, 1), "same": (1, 1), "bad": (0, 1)}
    (judged,) = rank(Q, entries, [Part(np.arange(50), 40, 50)], distrusted=["bad"])
    assert judged.entries[-1].se is None and not judged.entries[-1].ties


def test_mean_ranks_are_of_models_among_each_other_on_what_all_answer():
    part = [Part(np.arange(3), 6, 3)]
    one = rank(Q, {"a": [[losses([1, 1, 2])]], "b": [[losses([2, 2, 3])]], "mean": [[losses([0, 0, 1])]]}, part)
    other = rank(Q, {"a": [[losses([1, 1, 1])]], "mean": [[losses([2, 2, 3])]]}, part)
    assert mean_ranks([*one, *other], ["a", "b"]) == {"a": 1, "b": 2}
    assert mean_ranks(other, ["a", "b"]) == {"a": None, "b": None}


def test_folds_are_ranked_over_all_their_rows():
    parts = [Part(np.arange(6), 3, 3), Part(np.arange(6), 3, 3)]
    a, b = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 2, 5, 4, 9, 6])
    fits = {"a": [[losses(a[:3])], [losses(a[3:])]], "b": [[losses(b[:3])], [losses(b[3:])]]}
    (found,) = rank(Q, fits, parts)
    assert found.n == 6 and found.entries[0].value == pytest.approx(np.sqrt(a.mean()))
    assert found.entries[1].difference == pytest.approx(np.sqrt(b.mean()) - np.sqrt(a.mean()))


def test_log_loss_decides_the_ranks_of_a_class_or_the_error_where_it_is_told_so():
    assert [m.loss for m in measures_of(["error", "log_loss"])] == ["log_loss", "error"]
    assert [m.loss for m in measures_of(["error", "log_loss"], "error")] == ["error", "log_loss"]
    assert [m.loss for m in measures_of(["error"])] == ["error"]
