"""Labels of several columns, each yes or no: read, fitted, answered, scored and anchored."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

import mmppl
from mmppl.evaluation.anchors import predict, seconds
from mmppl.evaluation.evaluate import metric_names
from mmppl.evaluation.metrics.tags import SCORES, columns_of
from mmppl.evaluation.study import Target
from mmppl.modalities.kinds import is_score, kind
from mmppl.objectives.weights import likelihood_weights

N = 240


def arrays(seed=0):
    r = np.random.default_rng(seed)
    u = r.normal(size=(N, 2))
    tags = (u @ r.normal(size=(2, 4)) + r.logistic(size=(N, 4)) > [0, 1, -1, 2]).astype(int)
    return {"gene": u + 0.3 * r.normal(size=(N, 2)), "image": u @ r.normal(size=(2, 5)), "tags": tags}


@pytest.fixture(scope="module")
def data():
    return mmppl.read(arrays(), target="tags")


def test_zeros_and_ones_are_tags_where_they_are_the_target(data):
    m = data.modalities[-1]
    assert (m.likelihood, m.shape, m.role, kind(m), is_score(m)) == ("bernoulli", (4,), "label", "tags", False)
    assert kind(mmppl.read(arrays()).modalities[-1]) == "number"
    one = mmppl.read(arrays() | {"tags": arrays()["tags"][:, 0]}, as_={"tags": "bernoulli:role=label"}).modalities[-1]
    assert (one.shape, kind(one), is_score(one)) == ((), "tags", False)
    pandas = pytest.importorskip("pandas")
    columns = dict(zip(("tags:red", "tags:round"), arrays()["tags"].T))
    named = mmppl.read(pandas.DataFrame({"x": arrays()["gene"][:, 0]} | columns), target="tags").modalities[-1]
    assert (kind(named), named.features) == ("tags", ("red", "round"))
    four = [dataclasses.replace(m, shape=(4,)), mmppl.Modality("x", (400,))]
    assert likelihood_weights(four)["tags"] == pytest.approx((400 / (4 * np.log(2))) ** 0.5)


def target_of(truth, share, modality=None):
    m = modality or mmppl.Modality("tags", truth.shape[1:], "bernoulli", role="label")
    return Target(study=None, modality=m, given=(), truth=truth, answer={"mean": share})


def test_scores_are_those_of_scikit_learn():
    r = np.random.default_rng(1)
    truth = (r.random((80, 5)) < [0.5, 0.1, 0.9, 0.3, 0.6]).astype(float)
    share = np.clip(0.6 * r.random((80, 5)) + 0.3 * truth, 0, 1).astype(np.float32)
    found = {name: score(columns_of(target_of(truth, share), share)) for name, score in SCORES.items()}
    assert found["auc"] == pytest.approx(roc_auc_score(truth, share))
    assert found["auc_micro"] == pytest.approx(roc_auc_score(truth, share, average="micro"))
    assert found["average_precision"] == pytest.approx(average_precision_score(truth, share))
    micro = average_precision_score(truth, share, average="micro")
    assert found["average_precision_micro"] == pytest.approx(micro)
    assert found["f1_macro"] == pytest.approx(f1_score(truth, share >= 0.5, average="macro"))
    assert found["f1_micro"] == pytest.approx(f1_score(truth, share >= 0.5, average="micro"))
    whole = target_of(np.c_[truth, np.zeros(80)], np.c_[share, share[:, 0]])  # a column of which nothing can be ranked
    assert SCORES["auc"](columns_of(whole, whole.answer["mean"])) == pytest.approx(found["auc"])
    holes = target_of(np.where(r.random(truth.shape) < 0.3, np.nan, truth), share)
    known = ~np.isnan(holes.truth)
    want = np.mean([roc_auc_score(holes.truth[k, i], share[k, i]) for i, k in enumerate(known.T)])
    assert SCORES["auc"](columns_of(holes, share)) == pytest.approx(want)
    none = target_of(np.zeros((3, 2)), np.full((3, 2), 0.5))
    assert all(np.isnan(score(columns_of(none, none.answer["mean"]))) for score in SCORES.values())


def test_anchors_are_logistic_regressions_of_each_column(data):
    train, test = (data.take(data.rows(part)) for part in ("train", "test"))
    given, m = data.modalities[:2], data.modalities[-1]
    found = predict("linear", train, test, given, m)["mean"]
    scale = StandardScaler().fit(np.c_[train.values["gene"], train.values["image"]])
    for i in range(4):
        x, y = (scale.transform(np.c_[part.values["gene"], part.values["image"]]) for part in (train, test))
        fitted = LogisticRegression(max_iter=200).fit(x, train.values["tags"][:, i].numpy())
        np.testing.assert_allclose(found[:, i], fitted.predict_proba(y)[:, 1], atol=2e-3)
    share = predict("global", train, test, given, m)["mean"]
    np.testing.assert_allclose(share, np.tile(train.values["tags"].numpy().mean(0), (len(test), 1)), rtol=1e-6)
    wide = dataclasses.replace(m, shape=(21,))
    assert seconds("linear", 100, given, wide) == 0 < seconds("linear", 100, given, m)


def test_tags_are_answered_and_scored(data):
    run = mmppl.fit("factors", data)
    said = run.query(given=["gene"], want=["tags"], split="test")["tags"]
    assert said["mean"].shape == said["predicted"].shape == (48, 4)
    assert np.array_equal(said["predicted"], said["mean"] >= 0.5)
    names = {name.removesuffix(".tags") for name in metric_names(run.program) if name.endswith(".tags")}
    assert {"f1_macro", "error_linear", "rmse", "average_precision_boosting"} <= names
    assert not {"mae", "corr", "coverage90", "interval_score90", "balanced_accuracy"} & names
    wanted = [f"{name}.tags" for name in ("auc", "auc_linear", "error", "log_loss", "log_loss_global", "calibration")]
    found = run.evaluate(conditioning_sets=["gene"], metrics=wanted)["metrics"]
    own = {name.removesuffix(".tags"): found[name]["gene"] for name in wanted}
    truth = data.take(data.rows("test")).values["tags"].numpy()
    mean = run.query(given=["gene"], want=["tags"], split="test", draws=32)["tags"]["mean"]
    assert own["auc"] == pytest.approx(roc_auc_score(truth, mean)) and own["auc"] > own["auc_linear"] - 0.03
    assert own["error"] == pytest.approx((truth != (mean >= 0.5)).mean())
    entries = log_loss(truth.ravel(), mean.ravel().astype(float))
    assert own["log_loss"] == pytest.approx(entries, rel=1e-6) and entries < own["log_loss_global"]
    assert sum(own["calibration"]["rows"]) == pytest.approx(1)


def test_missing_cells_leave_every_column_to_itself():
    """Scores and anchors of tags of very different shares, of which single cells are missing."""
    r = np.random.default_rng(2)
    arrays = {"image": r.normal(size=(N, 3))}
    truth = (arrays["image"][:, :1] + r.logistic(size=(N, 3)) > [2.0, 0.0, -2.0]).astype(float)
    truth[r.random(truth.shape) < 0.1] = np.nan
    holes = mmppl.read(arrays | {"tags": truth}, as_={"tags": "bernoulli:role=label"})
    train, test = (holes.take(holes.rows(part)) for part in ("train", "test"))
    m, share = holes.modalities[-1], r.random((len(test), 3))
    known = test.present["tags"].numpy()
    target = dataclasses.replace(target_of(truth[holes.rows("test")][known], share[known], m), rows=test)
    columns = list(zip(truth[holes.rows("test")].T, share.T, known.T))
    want = [roc_auc_score(t[k], s[k]) for t, s, k in columns]
    assert SCORES["auc"](columns_of(target, share[known])) == pytest.approx(np.mean(want))
    entries = np.concatenate([t[k] for t, _, k in columns]), np.concatenate([s[k] for _, s, k in columns])
    assert SCORES["auc_micro"](columns_of(target, share[known])) == pytest.approx(roc_auc_score(*entries))
    scale, found = StandardScaler(), predict("linear", train, test, holes.modalities[:1], m)["mean"]
    x, y = scale.fit_transform(train.values["image"]), scale.transform(test.values["image"])
    for i, there in enumerate(train.present["tags"].numpy().T):
        fitted = LogisticRegression(max_iter=200).fit(x[there], train.values["tags"][there, i].numpy())
        np.testing.assert_allclose(found[:, i], fitted.predict_proba(y)[:, 1], atol=2e-3)
