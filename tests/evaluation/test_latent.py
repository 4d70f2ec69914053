"""Linear probes, neighbours and clusters of posterior means, against direct calls of scikit-learn."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import mmppl
from mmppl.evaluation import conditioning, latent
from mmppl.evaluation.scores import cluster_agreement, precision_at

PROBES = ["probe", "precision", "nmi"]


@pytest.fixture(scope="module")
def data():
    return mmppl.read("digits-three").mask_at_random(rate=0.3, seed=1)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("probes") / "run"
    return mmppl.fit("mvae", data, hyper={"hidden": 32, "layers": 1}, epochs=4, lr=5e-3, out=out)


def means(run, rows, names):
    return run.query(rows, given=names, want=["z"], draws=1, split="all").want["z"]["mean"]


def test_both_protocols_are_scikit_learns(run, data):
    metrics = run.evaluate(data, metrics=PROBES)["metrics"]
    assert {name.partition(".")[0] for name in metrics} - {"left_out"} == set(latent.PROBES) - set(latent.APART)
    assert len(metrics["probe.label"]) == 7
    train, test = data.take(data.rows("train")), data.take(data.rows("test"))
    labels = train.values["label"].numpy()
    for key in ("image", "profile+word"):
        names = key.split("+")
        there = conditioning.has_all(test, names).numpy()
        asked, truth = means(run, test, names)[there], test.values["label"].numpy()[there]
        seen = np.flatnonzero(conditioning.has_all(train, names).numpy())
        learnt, classes = train.take(torch.from_numpy(seen)), labels[seen]
        z = means(run, learnt, names)  # of the rows that are learnt from, to the last bit
        few = np.searchsorted(seen, np.random.default_rng(0).choice(seen, 500))
        probe = LogisticRegression(max_iter=1000, random_state=0).fit(z[few], classes[few])
        assert metrics["probe500.label"][key] == pytest.approx(probe.score(asked, truth), abs=2e-3)
        scaler = StandardScaler().fit(z)
        probe = LogisticRegression(max_iter=1000).fit(scaler.transform(z), classes)
        assert metrics["probe.label"][key] == pytest.approx(probe.score(scaler.transform(asked), truth), abs=2e-3)
        z, codes = asked, truth
        apart = np.square(z[:, None] - z[None]).sum(-1) + np.diag(np.full(len(z), np.inf))
        nearest = codes[apart.argsort(1)[:, :5]] == codes[:, None]
        assert metrics["precision5.label"][key] == pytest.approx(nearest.mean(), abs=2e-3)
        assert metrics["nmi.label"][key] == pytest.approx(cluster_agreement(z, codes, 10), abs=1e-6)
    assert metrics["probe.label"]["image+profile+word"] > metrics["probe.label"]["image"] > 0.5


def test_each_row_is_queried_once_for_all_probes(run, data, monkeypatch):
    asked = []
    monkeypatch.setattr(
        run, "query", lambda rows, **words: asked.append(len(rows)) or mmppl.Run.query(run, rows, **words)
    )
    run.evaluate(data, metrics=PROBES, conditioning_sets=["image"])
    test, train = (int(data.observed["image"][data.rows(part)].sum()) for part in ("test", "train"))
    assert asked == [test, train]
    asked.clear()
    run.evaluate(data, metrics=["precision10", "nmi"], conditioning_sets=["image"])
    assert asked == [test]
    asked.clear()
    run.evaluate(data, metrics=["probe500"], conditioning_sets=["image"])
    assert asked[1] < 500  # some are drawn twice


def test_large_data_are_sampled_and_queried_in_blocks(run, data, monkeypatch):
    whole = run.evaluate(data, metrics=PROBES, conditioning_sets=["image"])["metrics"]
    monkeypatch.setattr(conditioning, "BLOCK", 100)
    blocks = run.evaluate(data, metrics=PROBES, conditioning_sets=["image"])["metrics"]
    assert blocks["precision1.label"]["image"] == pytest.approx(whole["precision1.label"]["image"], abs=5e-3)
    assert blocks["probe.label"]["image"] == pytest.approx(whole["probe.label"]["image"], abs=5e-3)
    monkeypatch.setattr(latent, "MAX_ROWS", 60)
    few = [run.evaluate(data, metrics=PROBES, conditioning_sets=["image"], seed=seed)["metrics"] for seed in (0, 0, 1)]
    assert few[0] == few[1] and few[0]["probe.label"] != few[2]["probe.label"]


def test_what_lies_under_the_mask_does_not_matter(run, data):
    filled = dataclasses.replace(
        data,
        values={
            name: torch.where(
                data.observed[name].reshape(-1, *[1] * (value.ndim - 1)), value, torch.full_like(value, 3)
            )
            for name, value in data.values.items()
        },
    )
    assert not torch.equal(filled.values["image"], data.values["image"])
    sets = ["image", "image+word"]
    before, after = (run.evaluate(d, metrics=PROBES, conditioning_sets=sets)["metrics"] for d in (data, filled))
    assert before == after


def test_missing_labels_are_neither_learnt_from_nor_scored(run, data):
    def asked(dataset):
        found = run.evaluate(dataset, metrics=PROBES, conditioning_sets=["image"])["metrics"]
        return {name: value for name, value in found.items() if name.startswith(tuple(PROBES))}

    some = torch.arange(len(data)) % 2 == 0
    half = dataclasses.replace(data, observed=data.observed | {"label": some})
    kept = data.take(some.nonzero().squeeze(-1))
    found = asked(half)
    assert found["probe.label"] == {"image": pytest.approx(asked(kept)["probe.label"]["image"], abs=5e-3)}
    assert found["precision1.label"] == {"image": pytest.approx(asked(kept)["precision1.label"]["image"], abs=5e-3)}
    assert asked(dataclasses.replace(data, observed=data.observed | {"label": torch.zeros(len(data)).bool()})) == {}


def test_a_program_without_a_latent_of_that_name(run, data, monkeypatch):
    def refuse(*rows, **words):
        raise mmppl.UsageError("query: 'z' is not in this run.")

    monkeypatch.setattr(run, "query", refuse)
    logged = []
    found = run.evaluate(data, metrics=PROBES, log=logged.append)["metrics"]
    assert set(found) == {"left_out"} and "no probes: query: 'z' is not in this run." in logged


def test_precision_and_clusters_by_hand():
    z = np.array([[0.0], [1.0], [2.1], [10.0], [11.0]])
    truth = np.array([0, 0, 1, 1, 1])
    # Nearest: 1, 0, 1, 4, 3; second: 2, 2, 0, 2, 2.
    assert precision_at(z, truth, [1, 2]) == [pytest.approx(4 / 5), pytest.approx((4 + 0 + 0 + 0 + 1 + 1) / 10)]
    assert cluster_agreement(z, np.array([7, 7, 7, 2, 2]), 2) == pytest.approx(1)
    # Clusters {0, 1, 2}, {3, 4}: H(clusters) = H(truth) = ln 5 − (3 ln 3 + 2 ln 2)/5; joint cells 2, 1, 2 of 5.
    entropy = np.log(5) - (3 * np.log(3) + 2 * np.log(2)) / 5
    joint = np.log(5) - (2 * np.log(2) + 2 * np.log(2)) / 5
    assert cluster_agreement(z, truth, 2) == pytest.approx((2 * entropy - joint) / entropy)
    assert cluster_agreement(np.zeros((6, 2)), np.arange(6) % 2, 2) == pytest.approx(0, abs=1e-12)
