"""Importances beside noise that is known, neighbours of other recordings, and a network on the latent."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

import mmppl
from mmppl.evaluation.latent import groups, posterior_means
from mmppl.evaluation.metrics.downstream import classified
from mmppl.evaluation.metrics.importance import noise_of
from mmppl.evaluation.scores import detection, precision_apart, precision_at

NAMES = ["importance_auc.a", "importance_f1.a", "importance_f1_both.a", "importance_precision.a", "importance_recall.a"]


class Weighing(mmppl.load_program("mvae")):
    """Trusts a modality by its first column."""

    quantities = ("importance",)

    def quantity(self, name, batch):
        first = {m: torch.sigmoid(batch.input(self.modality(m))[:, 0]) for m in self.encoded}
        return {m: torch.where(batch.sees(m), y, 0.0) for m, y in first.items()}


def arrays(n=120):
    rng = np.random.default_rng(0)
    label = np.arange(n) % 3
    a = label[:, None] + rng.normal(size=(n, 2))
    a[rng.random(n) < 0.1] = np.nan
    noise = a[:, 0] + rng.normal(size=n) < 0
    return {
        "a": a, "b": label[:, None] + 0.3 * rng.normal(size=(n, 3)), "label": label, "noise_a": noise,
        "recording": np.arange(n) // 4, "split": np.where(np.arange(n) % 2 == 0, "train", "test"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def model():
    data = mmppl.read(arrays(), as_={"noise_a": "annotation", "recording": "annotation"})
    torch.manual_seed(0)
    return mmppl.FittedModel(Weighing(data.modalities, latent_dim=3, hidden=8), data=data)


def test_noise_is_read_from_bools_or_zeros_and_ones(model):
    rows = model.data()
    noise = rows.annotations["noise_a"]
    for kind in (int, float):
        other = dataclasses.replace(rows, annotations=rows.annotations | {"noise_a": noise.astype(kind)})
        assert (noise_of(other, "a") == noise).all()
    for wrong in (noise + 1, np.where(noise, "yes", "no")):
        other = dataclasses.replace(rows, annotations=rows.annotations | {"noise_a": wrong})
        heard = []
        found = mmppl.evaluate(model, other, metrics=["importance"], log=heard.append)["metrics"]
        assert noise_of(other, "a") is None and "importance_auc.a" not in found and "importance.a" in found
        assert any("noise_a is neither" in line for line in heard)


def test_importances_find_noise(model):
    metrics = mmppl.evaluate(model, metrics=["importance"])["metrics"]
    data = model.data()
    test = data.take(data.rows("test"))
    seen = test.observed["a"].numpy()
    value = torch.sigmoid(test.values["a"][:, 0]).numpy()[seen]
    noise = test.annotations["noise_a"][seen]
    assert 0 < noise.sum() < len(noise) < len(test)
    assert metrics["importance.a"] == pytest.approx(value.mean())
    assert metrics["importance_auc.a"] == pytest.approx(roc_auc_score(noise, -value))
    assert metrics["importance_f1.a"] == pytest.approx(f1_score(noise, value < 0.5))
    both = (f1_score(noise, value < 0.5) + f1_score(~noise, value >= 0.5)) / 2
    assert metrics["importance_f1_both.a"] == pytest.approx(both)
    found = value < 0.5
    assert metrics["importance_precision.a"] == pytest.approx(noise[found].mean())
    assert metrics["importance_recall.a"] == pytest.approx(found[noise].mean())
    assert {name for name in metrics if name.endswith(".b")} == {"importance.b"}  # nobody knows which is noise


def test_a_program_without_importances_has_no_such_metric():
    assert not any(
        "importance" in name for name in mmppl.load_program("mvae")(mmppl.read(arrays()).modalities).targets()
    )
    model = mmppl.FittedModel(mmppl.load_program("mvae")(mmppl.read("digits-two-view").modalities, hidden=8))
    with pytest.raises(mmppl.UsageError, match="no metric 'importance'"):
        mmppl.evaluate(model, "digits-two-view", metrics=["importance"])


def test_detection_where_rows_are_alike_or_none_is_found():
    none = detection(np.zeros(4, bool), np.full(4, 0.1))
    assert "auc" not in none and none["f1"] == none["precision"] == none["recall"] == 0 and none["f1_both"] == 0.5
    assert detection(np.array([True, False]), np.array([0.9, 0.1])) == dict.fromkeys(none, 1.0) | {"auc": 1.0}


def test_neighbours_of_other_recordings():
    rng = np.random.default_rng(1)
    z, truth = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    group = np.repeat(np.arange(12), 5)
    group[:7] = -1
    by_hand = []
    for i in range(60):
        others = [j for j in range(60) if j != i and not (group[j] == group[i] >= 0)]
        near = sorted(others, key=lambda j: np.square(z[i] - z[j]).sum())
        by_hand.append([(truth[near[:k]] == truth[i]).mean() for k in (1, 4)])
    assert precision_apart(z, truth, group, [1, 4]) == pytest.approx(np.mean(by_hand, 0))
    assert precision_apart(z, truth, np.full(60, -1), [1, 4]) == pytest.approx(precision_at(z, truth, [1, 4]))
    assert groups(np.array(["a", "", "b", "a", ""])).tolist() == [1, -1, 2, 1, -1]
    assert groups(np.array([3, -1, 7, 3])).tolist() == [1, -1, 2, 1]


def test_neighbours_of_other_recordings_are_counted_where_there_are_enough(model):
    found = mmppl.evaluate(model, metrics=["precision10", "precision50"], conditioning_sets=["b"])["metrics"]
    assert {"precision10.label", "precision50.label", "precision10_apart.label", "precision50_apart.label"} <= {*found}
    test = model.data().take(model.data().rows("test"))
    z, truth = posterior_means(model, test, ["b"]), test.values["label"].numpy()
    (ours,) = precision_apart(z, truth, test.annotations["recording"], [10])
    assert found["precision10_apart.label"]["b"] == ours
    few = model.data().take(model.data().rows("test")[:40])
    assert "precision50_apart.label" not in mmppl.evaluate(model, few, metrics=["precision50"], split="all")["metrics"]


def test_a_network_learns_from_the_latent(model):
    names = ["mlp.label", "mlp_noisy_a.label"]
    found = mmppl.evaluate(model, metrics=["mlp"], conditioning_sets=["b", "a+b"])["metrics"]
    assert [*found] == [*names, "left_out"] and {*found["mlp.label"]} == {"b", "a+b"}
    assert found["mlp.label"]["b"] > 0.8  # three classes, .3 apart in units of their distance
    unasked = mmppl.evaluate(model, conditioning_sets=["b"])["metrics"]
    assert not any(name.startswith("mlp") for name in unasked)
    z, classes = np.random.default_rng(0).normal(size=(90, 2)), np.zeros(90, int)
    assert (classified(z, classes + 4, z, seed=0) == 4).all()
    classes[z.prod(1) > 0] = 1  # no line tells them apart
    assert (classified(z, classes, z, seed=0) == classes).mean() > 0.9
