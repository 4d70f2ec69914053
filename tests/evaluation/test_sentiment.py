"""Scores of labels that are one number: by hand, against scikit-learn and SciPy, and through `evaluate`."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

import mmppl
from mmppl.evaluation.evaluate import evaluate, metric_names
from mmppl.evaluation.metrics.sentiment import is_sentiment, seven_way_accuracy, two_way_accuracy, two_way_f1
from mmppl.evaluation.scores import correlation, mean_absolute_error
from mmppl.evaluation.study import point
from mmppl.evaluation.summary import paired_runs
from mmppl.inference.fitted import FittedModel
from mmppl.modalities.kinds import is_score

TRUTH = np.array([-3.0, -2.5, -1.5, 0.0, 0.5, 1.5, 2.5, 3.0])
GUESS = np.array([-4.0, -1.6, -1.4, -0.2, 0.4, 2.4, 2.6, 0.0])


def test_seven_way_by_hand_with_halves_to_even_and_clipping():
    # truth −3 −2 −2 0 0 2 2 3; guess −3 −2 −1 0 0 2 3 0
    assert seven_way_accuracy(TRUTH, GUESS) == 5 / 8
    assert seven_way_accuracy(np.array([3.0, -3.0]), np.array([90.0, -90.0])) == 1


def test_two_way_by_hand_in_both_conventions():
    # signs of truth −−−+++++ and of the guess −−−−++++
    assert two_way_accuracy(TRUTH, GUESS) == 7 / 8
    assert two_way_accuracy(TRUTH, GUESS, neutral=False) == 1
    assert math.isnan(two_way_accuracy(np.zeros(3), np.ones(3), neutral=False))
    assert math.isnan(two_way_f1(np.zeros(3), np.ones(3), neutral=False))


@pytest.mark.parametrize("seed", range(4))
def test_f1_and_correlation_agree_with_the_peers(seed):
    r = np.random.default_rng(seed)
    truth = np.round(r.normal(size=60) * 5) / 5
    guess = truth + r.normal(size=60)
    assert two_way_f1(truth, guess) == pytest.approx(f1_score(truth >= 0, guess >= 0, average="weighted"))
    kept = truth != 0
    assert not kept.all()
    expected = f1_score(truth[kept] >= 0, guess[kept] >= 0, average="weighted")
    assert two_way_f1(truth, guess, neutral=False) == pytest.approx(expected)
    assert correlation(truth, guess) == pytest.approx(stats.pearsonr(truth, guess)[0], abs=1e-12)
    assert mean_absolute_error(truth, guess) == pytest.approx(np.abs(truth - guess).mean())


def test_correlation_of_a_constant_is_none():
    almost = np.float32(0.3) + np.array([0, 1, 0, 1], np.float32) * 3e-8
    assert math.isnan(correlation(np.arange(4.0), almost)) and math.isnan(correlation(np.ones(4), np.arange(4.0)))
    assert correlation(np.arange(4.0), 1e6 + np.arange(4.0) * 10) == pytest.approx(1)


def test_a_truth_that_went_through_the_units_of_a_model_keeps_its_class():
    """Standardised in single precision, many zeros and halves come back a little off."""
    score = np.tile(np.arange(-30, 22) / 10, 20)
    data = mmppl.read({"x": score[:, None] + 1, "score": score}, as_={"score": "normal:role=label"})
    m = next(m for m in data.modalities if m.name == "score")
    back = m.value_in_input_units(data.values["score"].numpy())
    assert (back[score == 0] != 0).any()  # the reason for rounding
    assert seven_way_accuracy(back, score) == 1
    assert two_way_f1(back, score, neutral=False) == two_way_accuracy(back, score, neutral=False) == 1
    assert two_way_accuracy(back, -np.abs(score) - 1e-9, neutral=False) == 30 / 51


def test_which_numbers_look_like_sentiment():
    assert is_sentiment(TRUTH) and not is_sentiment(TRUTH * 1.1) and not is_sentiment(np.abs(TRUTH))
    assert not is_sentiment(TRUTH / 2) and not is_sentiment(np.zeros(0))


class Echo(mmppl.Program):
    """Says of `score` what is given: x in model units where it is given, and else its y."""

    def can_answer(self, given, weighs=False):
        return None


class EchoRun(FittedModel):
    def dataset(self, data=None, *, root=None):
        return self.fitted_on

    def warnings(self, dataset):
        return []

    def query(self, data, *, given, want, draws, seed, split, quantiles=()):
        found = {}
        for name in want:
            if name == "z":
                found[name] = {"mean": np.zeros((len(data), 1)), "std": np.ones((len(data), 1))}
                continue
            m = self.program.modality(name)
            source = self.program.modality("x" if "x" in given else "y")
            said = source.value_in_input_units(data.values[source.name].numpy()).reshape(len(data), -1)[:, 0]
            if m.classes:
                found[name] = {"prob": np.eye(2)[(said >= 0).astype(int)]}
            else:  # a mean that is off by 10, which only a Normal is scored by
                full = np.broadcast_to(said.reshape(-1, *[1] * len(m.shape)), (len(data), *m.shape))
                found[name] = {"mean": full + 10} | {f"q{round(100 * q):02d}": full for q in quantiles}
        return SimpleNamespace(want=found)


@pytest.fixture(params=["laplace", "normal"])
def run(request):
    r = np.random.default_rng(0)
    score = np.concatenate([r.uniform(-3, 3, 58).round(1), [0.0, 3.0]])
    near, far = score + r.normal(size=60) * 0.3, score + r.normal(size=60) * 3
    mask = np.arange(60) != 59  # the last row lacks y, and a ratio leaves it out
    arrays = {
        "x": np.stack([near, near], 1), "y": np.stack([far, far], 1), "mask_y": mask, "score": score,
        "label": np.where(score >= 0, "positive", "negative"), "split": np.array(["train"] * 20 + ["test"] * 40),
    }  # fmt: skip
    data = mmppl.read(arrays, as_={"score": f"{request.param}:role=label"})
    truth, shown = arrays["score"], {"x": near, "y": far}
    return EchoRun(Echo(data.modalities), data.modalities, name="echo", data=data), truth, shown


def test_the_point_prediction_is_the_median_of_a_laplace_and_else_the_mean(run):
    model, score, shown = run
    found = evaluate(model, metrics=["mae", "corr", "a2", "a7", "f1"])["metrics"]
    shift = 0 if model.program.modality("score").likelihood == "laplace" else 10
    truth, guess = score[20:], shown["x"][20:] + shift
    assert found["mae.score"]["x"] == pytest.approx(np.abs(truth - guess).mean(), rel=1e-5)
    assert found["corr.score"]["x"] == pytest.approx(stats.pearsonr(truth, guess)[0], rel=1e-5)
    assert found["a7.score"]["x"] == pytest.approx(
        (np.rint(np.clip(truth, -3, 3)) == np.rint(np.clip(guess, -3, 3))).mean()
    )
    assert found["a2.score"]["x"] == pytest.approx(((truth >= 0) == (guess >= 0)).mean())
    assert found["f1_nonzero.score"]["x"] == pytest.approx(
        f1_score(truth[truth != 0] >= 0, guess[truth != 0] >= 0, average="weighted")
    )
    m = model.program.modality("score")
    assert is_score(m) and point(m, {"mean": 1, "q50": 2}) == (2 if m.likelihood == "laplace" else 1)


def test_ratios_of_dropped_modalities_are_over_rows_that_have_everything(run):
    model, score, shown = run
    found = evaluate(model, metrics=["drop"])["metrics"]
    rows = slice(20, 59)
    truth, near, far = score[rows], shown["x"][rows], shown["y"][rows]
    if model.program.modality("score").likelihood == "laplace":
        expected = np.abs(truth - far).mean() / np.abs(truth - near).mean()
        assert found["drop_mae.score"] == {"x": pytest.approx(1), "y": pytest.approx(expected, rel=1e-4)}
    right = [((truth >= 0) == (guess >= 0)).mean() for guess in (far, near)]
    assert found["drop_accuracy.label"]["y"] == pytest.approx(right[0] / right[1])
    assert {"mae.score", "corr.score", "a2.score", "error.label"} <= set(found), "a ratio alone says little"
    alone = evaluate(model, metrics=["drop"], conditioning_sets=["x"])["metrics"]
    assert not any(name.startswith("drop") for name in alone), "nothing is dropped"


@pytest.mark.parametrize("run", ["normal"], indirect=True)
def test_sentiment_is_scored_unasked_only_in_its_range(run):
    model, *_ = run
    names = {name for name in metric_names(model.program) if name.endswith(".score")}
    assert {"mae.score", "a7.score", "f1.score", "a2_linear.score"} <= names
    unasked = set(evaluate(model, conditioning_sets=["x"])["metrics"])
    assert {"mae.score", "corr_linear.score", "a2.score", "a7_linear.score"} <= unasked
    assert not any(name.startswith("drop") for name in unasked)
    wide = mmppl.read(
        {"x": np.arange(40.0)[:, None], "score": np.linspace(-30, 30, 40)}, as_={"score": "normal:role=label"}
    )
    other = EchoRun(Echo(wide.modalities), wide.modalities, name="echo", data=wide)
    other_found = set(evaluate(other, conditioning_sets=["x"])["metrics"])
    assert "mae.score" in other_found and not {"a2.score", "a7.score", "f1.score", "a2_linear.score"} & other_found
    assert "a7.score" in evaluate(other, conditioning_sets=["x"], metrics=["a7"])["metrics"]


def test_paired_runs_agree_with_enumeration():
    """Of the 2⁶ signs that chance could have given six differences, so many have as extreme a rank sum."""
    first, second = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.array([0.9, 2.2, 2.7, 3.6, 4.5, 5.4])
    found = paired_runs(first, second)
    ranks = np.array([1, 2, 3, 4, 5, 6])
    signs = np.array(np.meshgrid(*[[0, 1]] * 6)).reshape(6, -1)
    sums = ranks @ signs
    assert found["p"] == pytest.approx(2 * (sums <= 2).mean())  # rank 2 alone is negative
    assert found["n"] == 6 and found["mean"] == pytest.approx((first - second).mean())
    assert found["sd"] == pytest.approx((first - second).std(ddof=1))
    assert paired_runs(second, first)["p"] == found["p"]
    assert paired_runs([1.0, 2.0], [1.0, 2.0])["p"] == 1
    for wrong in ([1.0], [1.0, 2.0, 3.0], [1.0, math.nan]):
        with pytest.raises(mmppl.UsageError, match="the same seeds in both"):
            paired_runs([1.0, 2.0], wrong)
