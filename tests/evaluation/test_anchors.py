"""Anchors without a latent model, against direct computations and where their answer is known."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from reference.asked import asked as as_model

import mmppl
from mmppl.evaluation import anchors, evaluate
from mmppl.evaluation.anchors import interval, predict, seconds
from mmppl.evaluation.scores import error_rate


@pytest.fixture
def parts():
    """300 rows: `a` tells the label, `b` nothing, `c` is the label in letters; the last rows have no label."""
    rng = np.random.default_rng(0)
    label = np.arange(300) % 3
    arrays = {
        "a": rng.normal(size=(300, 2)) + 10 * label[:, None],
        "b": rng.normal(size=(300, 4)),
        "c": np.array(["x", "y", "z"])[label],
        "y": 7 + 3 * rng.normal(size=(300, 2)),
        "label": label,
        "mask_label": np.arange(300) < 290,
    }
    data = mmppl.read(arrays, as_={"c": "categorical:role=modality", "y": "normal:role=modality"})
    return data.take(data.rows("train")), data.take(data.rows("test")), {m.name: m for m in data.modalities}


def has_label(data):
    return data.take(data.observed["label"].nonzero().squeeze(-1))


@pytest.mark.parametrize("way", ["linear", "boosting"])
def test_classes_are_learnt_from_what_is_given_and_labelled(parts, way, monkeypatch):
    train, test, of = parts
    test = has_label(test)

    def error(*given, rows=test, train=train, seed=0):
        prob = predict(way, train, rows, [of[name] for name in given], of["label"], seed=seed)["prob"]
        assert prob.shape == (len(rows), 3) and prob.sum(1) == pytest.approx(1)
        return error_rate(rows.values["label"].numpy(), prob.argmax(-1))

    assert error("a") == error("c") == error("a", "b", "c") == 0
    assert error("b") > 0.3
    assert error() == pytest.approx(2 / 3, abs=0.1)  # nothing given: the most frequent class
    one = train.take((train.values["label"] == 0).nonzero().squeeze(-1))
    assert error("a", train=one) == pytest.approx(2 / 3, abs=0.1)
    monkeypatch.setattr(anchors, "MAX_ROWS", 60)
    assert error("b", seed=0) == error("b", seed=0)
    assert len({error("b", seed=seed) for seed in range(5)}) > 1
    nothing = test.take(torch.arange(0))
    assert predict(way, train, nothing, [of["a"]], of["label"]) == {}
    blank = dataclasses.replace(train, observed=train.observed | {"label": torch.zeros(len(train)).bool()})
    assert predict(way, blank, test, [of["a"]], of["label"]) == {}


def test_ridge_is_the_closed_form(parts):
    """Least squares with a penalty on standardised features, by the normal equations; its sd from leaving rows out."""
    train, test, of = parts
    found = predict("linear", train, test, [of["a"], of["b"]], of["y"])
    x, asked = (np.concatenate([part.values[n].numpy() for n in "ab"], 1).astype(float) for part in (train, test))
    y = of["y"].value_in_input_units(train.values["y"].numpy()).astype(float)
    centre, spread = x.mean(0), x.std(0)
    x, asked = (x - centre) / spread, (asked - centre) / spread
    best, wanted = np.full(2, np.inf), np.empty((len(asked), 2))
    for alpha in anchors.ALPHAS:
        inverse = np.linalg.inv(x.T @ x + alpha * np.eye(6))
        hat = x @ inverse @ x.T + 1 / len(x)
        left_out = (y - y.mean(0) - x @ inverse @ x.T @ (y - y.mean(0))) / (1 - np.diag(hat))[:, None]
        sd = np.sqrt(np.square(left_out).mean(0))
        for column in np.flatnonzero(sd < best):
            best[column] = sd[column]
            want = y[:, column].mean() + asked @ inverse @ x.T @ (y[:, column] - y[:, column].mean())
            wanted[:, column] = want
    np.testing.assert_allclose(found["mean"], wanted, rtol=1e-5)
    np.testing.assert_allclose(found["std"], best, rtol=1e-5)
    low, high = interval(found)
    np.testing.assert_allclose(high - low, np.broadcast_to(2 * 1.6448536 * found["std"], high.shape), rtol=1e-6)


@pytest.mark.parametrize("way", ["linear", "boosting"])
def test_mask_features_tell_that_something_is_missing(way):
    """Here y is 5 where b is missing, and −5 where it is there, whatever its value."""
    rng = np.random.default_rng(0)
    there = rng.random(400) < 0.5
    data = mmppl.read(
        {"a": rng.normal(size=(400, 1)), "b": rng.normal(size=(400, 1)), "y": np.where(there, -5.0, 5.0),
         "mask_b": there},
        as_={"y": "normal"},
    )  # fmt: skip
    of = {m.name: m for m in data.modalities}
    train, test = data.take(data.rows("train")), data.take(data.rows("test"))
    truth = np.where(test.observed["b"].numpy(), -5.0, 5.0)
    mean = predict(way, train, test, [of["a"], of["b"]], of["y"])["mean"]
    assert np.abs(mean - truth).max() < 0.3
    assert np.abs(predict(way, train, test, [of["a"]], of["y"])["mean"] - truth).mean() > 4


def test_what_lies_under_the_mask_does_not_matter(parts):
    train, test, of = parts
    some = [part.mask_at_random(rate=0.4, seed=2) for part in parts[:2]]
    filled = [
        dataclasses.replace(
            part, values={n: torch.where(part.observed[n].reshape(-1, *[1] * (x.ndim - 1)), x, torch.full_like(x, 2))
                          for n, x in part.values.items()}
        )
        for part in some
    ]  # fmt: skip
    for way in ("global", "class", "linear", "boosting"):
        for target in ("y", "label"):
            given = [of["a"], of["c"]]
            before, after = (predict(way, *each, given, of[target], label=of["label"]) for each in (some, filled))
            for key in before:
                there = some[1].observed[target].numpy()
                np.testing.assert_array_equal(before[key][there] if key != "std" else before[key],
                                              after[key][there] if key != "std" else after[key])  # fmt: skip


def test_wide_targets_have_no_boosting():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 21))
    data = mmppl.read({"x": x, "few": x[:, :20], "given": x @ rng.normal(size=(21, 21))})
    of = {m.name: m for m in data.modalities}
    train, test = data.take(data.rows("train")), data.take(data.rows("test"))
    assert predict("boosting", train, test, [of["given"]], of["x"]) == {}
    assert predict("class", train, test, [], of["x"], label=None) == {}
    assert predict("boosting", train, test, [of["given"]], of["few"])["mean"].shape == (len(test), 20)
    wide = predict("linear", train, test, [of["given"]], of["x"])["mean"]
    truth = x[data.rows("test").numpy()]
    assert np.square(wide - truth).mean() < 0.1 * np.square(truth).mean()
    assert seconds("boosting", 63, [of["given"]], of["x"]) == 0 < seconds("boosting", 63, [of["given"]], of["few"])


def test_estimates_grow_with_rows_and_features():
    few, many = (mmppl.Modality(name, (size,)) for name, size in (("few", 10), ("many", 1000)))
    label = mmppl.Modality("label", (), "categorical", role="label", classes=tuple("abcd"))
    for way in ("linear", "boosting"):
        for target in (label, mmppl.Modality("x", (3,))):
            times = [seconds(way, n, [m], target) for n, m in ((100, few), (5000, few), (5000, many))]
            assert 0 < times[0] < times[1] < times[2] < math.inf
    assert seconds("linear", 10**9, [few], label) == seconds("linear", anchors.MAX_ROWS, [few], label)
    assert seconds("global", 100, [few], label) == 0
    word = mmppl.Modality("word", (3,), "categorical", classes=tuple("abcd"))
    assert seconds("boosting", 100, [few], word) == 0 < seconds("linear", 100, [few], word)


def test_boosting_by_default_only_where_it_is_cheap(parts, monkeypatch):
    train, test, _ = parts
    data = mmppl.read("digits-three").take(torch.arange(300))
    program = mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8)
    logged = []
    some = dict(conditioning_sets=["profile"], draws=2)
    monkeypatch.setattr(anchors, "TREES", 3)
    metrics = evaluate.evaluate(as_model(program, data), **some)["metrics"]
    assert metrics["error_boosting.label"]["profile"] < 0.9
    monkeypatch.setattr(evaluate, "BOOSTING", 0.0)
    metrics = evaluate.evaluate(as_model(program, data), log=logged.append, **some)["metrics"]
    assert "error_boosting.label" not in metrics and any("no boosting" in line for line in logged)
    metrics = evaluate.evaluate(as_model(program, data), metrics=["error_boosting"], **some)["metrics"]
    assert metrics["error_boosting.label"]
