"""Nats against closed forms: a linear-Gaussian model, and what is counted by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from reference.asked import asked as as_model
from reference.linear_gaussian import World, exact_mvae
from scipy.stats import poisson

import mmppl
from mmppl import evaluate
from mmppl.evaluation import baselines, likelihood


def test_grey_values_and_classes_by_hand():
    """Two pixels and a word of two letters; rows 0 to 3 train, 4 and 5 test."""
    x = np.array([[0, 0.5], [1, 0.5], [0, 0], [1, 1], [0.25, 1], [1, 0]], np.float32)
    words = np.array([list("ab"), list("ab"), list("bb"), list("cb"), list("aa"), list("ca")])
    label = np.array([0, 0, 1, 1, 0, 1])
    split = np.array(["train"] * 4 + ["test"] * 2)
    data = mmppl.read({"x": x, "word": words, "label": label, "split": split})
    of = {m.name: m for m in data.modalities}
    train, test = data.take(data.rows("train")), data.take(data.rows("test"))

    def cross(x, p):
        return -(x * math.log(p) + (1 - x) * math.log(1 - p))

    found = baselines.nll_of_means(train, test, of["x"], of["label"])
    # Means of all: 2.5/5 and 2.5/5; of class 0: 1.5/3 and 1.5/3; of class 1: 1.5/3 and 1.5/3.
    assert found["nll_global"] == pytest.approx(2 * math.log(2))
    assert found["nll_class"] == pytest.approx(2 * math.log(2))
    assert found["nll_floor"] == pytest.approx(cross(0.25, 0.25) / 2)
    found = baselines.nll_of_means(train, test, of["word"], of["label"])
    # First letter a b c: 2 1 1 of 4, second 0 4 0; ½ more of each. Test words: aa, ca.
    first, second = np.log(np.array([2.5, 1.5, 1.5]) / 5.5), np.log(np.array([0.5, 4.5, 0.5]) / 5.5)
    assert found["nll_global"] == pytest.approx(-(first[0] + second[0] + first[2] + second[0]) / 2)
    zero = math.log(2.5 / 3.5) + math.log(0.5 / 3.5)
    one = math.log(1.5 / 3.5) + math.log(0.5 / 3.5)
    assert found["nll_class"] == pytest.approx(-(zero + one) / 2)
    assert "nll_floor" not in found
    unknown = dataclasses.replace(test, observed=test.observed | {"label": torch.tensor([True, False])})
    found = baselines.nll_of_means(train, unknown, of["word"], of["label"])
    assert found["nll_class"] == pytest.approx(-(zero + first[2] + second[0]) / 2)


def test_only_counts_have_anchors(tmp_path):
    rng = np.random.default_rng(0)
    data = mmppl.read({"a": rng.normal(size=(60, 3)), "b": rng.uniform(size=(60, 2))}, as_={"b": "bernoulli"})
    run = mmppl.fit("mvae", data, hyper={"hidden": 8, "layers": 1}, epochs=1, out=tmp_path / "run")
    metrics = run.evaluate(data, metrics=["nll"])["metrics"]
    assert set(metrics) == {"nll.a", "nll.b", "nll_global.b", "nll_floor.b", "left_out"}
    assert set(metrics["nll.a"]) == {"a", "b", "a+b"}
    assert set(metrics["nll_floor.b"]) == {"a", "b", "a+b"}
    assert metrics["nll_floor.b"]["a"] < metrics["nll_global.b"]["a"] == metrics["nll_global.b"]["a+b"]
    default = run.evaluate(data)["metrics"]
    assert not any(name.startswith(("nll", "evidence")) for name in default)


@pytest.fixture
def world(float64):
    return World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True)


def test_evidence_of_an_exact_guide(world, monkeypatch):
    """No Monte-Carlo error, whatever the draws: means over rows, and their standard errors."""
    data = world.sample(60)
    run = as_model(exact_mvae(world), data)
    asked = []
    query = run.query
    run.query = lambda rows, *, given, **words: asked.append(tuple(given)) or query(rows, given=given, **words)
    found = evaluate(run, metrics=["evidence"], evidence_draws=3)["metrics"]
    assert sorted(asked) == sorted(set(asked)) and len(asked) == 7  # every set once
    whole = world.log_evidence(data.values, ["a", "b", "c"])
    assert list(found["evidence"]) == ["nothing", "a", "b", "c", "a+b", "a+c", "b+c"]
    for key, number in found["evidence"].items():
        rows = whole - (0 if key == "nothing" else world.log_evidence(data.values, key.split("+")))
        assert number == pytest.approx(float(rows.mean()), abs=1e-9)
        assert found["evidence_se"][key] == pytest.approx(float(rows.std()) / math.sqrt(60), rel=1e-6)
    monkeypatch.setattr(likelihood, "MAX_FOR_EVIDENCE", 7)
    few = evaluate(run, metrics=["evidence"], conditioning_sets=["a"])["metrics"]
    kept = torch.linspace(0, 59, 7).long()
    assert few["evidence"]["nothing"] == pytest.approx(float(whole[kept].mean()), abs=1e-9)


def test_evidence_is_of_what_a_row_has(world):
    data = world.sample(40)
    there = torch.arange(40) % 4 != 0  # c is missing from a quarter
    data = dataclasses.replace(data, observed=data.observed | {"c": there}).replaced({})
    asked = as_model(exact_mvae(world), data)
    found = evaluate(asked, metrics=["evidence"], conditioning_sets=["a+b", "c"])["metrics"]["evidence"]
    of = {key: world.log_evidence(data.values, list(key)) for key in ("abc", "ab", "c")}
    assert found["nothing"] == pytest.approx(float(torch.where(there, of["abc"], of["ab"]).mean()), abs=1e-9)
    assert found["a+b"] == pytest.approx(float((of["abc"] - of["ab"])[there].mean()), abs=1e-9)
    assert found["c"] == pytest.approx(float((of["abc"] - of["c"])[there].mean()), abs=1e-9)  # of rows that have c


def test_no_standard_error_where_many_rows_are_distrusted(world):
    data, program = world.sample(60), exact_mvae(world)
    with torch.no_grad():
        for decoder in program.decoders.values():
            next(p for p in decoder.parameters() if p.ndim == 2).mul_(0.2)
    found = evaluate(as_model(program, data), metrics=["evidence"], conditioning_sets=["a"])["metrics"]
    assert found["evidence_distrusted"]["a"] > 0.05 and "a" not in found.get("evidence_se", {})
    exact = evaluate(as_model(exact_mvae(world), data), metrics=["evidence"], conditioning_sets=["a"])["metrics"]
    assert exact["evidence_distrusted"]["a"] == 0 < exact["evidence_se"]["a"]


def test_reconstruction_is_the_expected_density(world):
    data = world.sample(4000)
    found = evaluate(as_model(exact_mvae(world), data), metrics=["nll"])["metrics"]
    for given in (["a"], ["a", "b"], ["a", "b", "c"]):
        mean, covariance = world.posterior(data.values, given)
        for name in "abc":
            w, sd = world.weights[name], world.sds[name]
            off = data.values[name] - mean @ w.T - world.offsets[name]
            spread = (w @ covariance @ w.T).diagonal()
            expected = 0.5 * ((off.square() + spread) / sd**2 + math.log(2 * math.pi * sd**2)).sum(-1).mean()
            # One draw a row: the spread over rows of what it adds, by its two moments, at four standard errors.
            part = w @ covariance @ w.T / sd**2
            variance = 0.5 * part.square().sum() + (off / sd @ (w @ covariance @ w.T) * off / sd).sum(-1).mean() / sd**2
            error = 4 * math.sqrt(variance / len(data))
            assert found[f"nll.{name}"]["+".join(given)] == pytest.approx(float(expected), abs=error)


def test_predictive_nats_approach_the_exact_density_from_above(world):
    data, sets = world.sample(200), (["a"], ["a", "b"])
    run = as_model(exact_mvae(world), data)
    asked = dict(metrics=["predictive_nats"], conditioning_sets=sets)
    found = evaluate(run, draws=128, **asked)["metrics"]
    for given in sets:
        mean, covariance = world.posterior(data.values, given)
        for name in set("abc") - set(given):
            w, sd = world.weights[name], world.sds[name]
            spread = w @ covariance @ w.T + sd**2 * torch.eye(len(w), dtype=torch.float64)
            centre = mean @ w.T + world.offsets[name]
            exact = -torch.distributions.MultivariateNormal(centre, spread).log_prob(data.values[name])
            # p(x | z) has a relative variance v of a few units over the draws: a bias of v/256, and an error of the
            # mean over rows that is smaller still.
            assert found[f"predictive_nats.{name}"]["+".join(given)] == pytest.approx(float(exact.mean()), abs=0.05)
    assert list(found["predictive_nats.b"]) == ["a"] and "predictive_nats.a" not in found
    one, nll = (evaluate(run, draws=1, **asked | {"metrics": [name]})["metrics"] for name in ("predictive_nats", "nll"))
    assert one["predictive_nats.b"]["a"] == nll["nll.b"]["a"] > found["predictive_nats.b"]["a"]


def test_what_lies_under_the_mask_does_not_matter(world):
    data = world.sample(50).mask_at_random(rate=0.4, seed=2)
    filled = dataclasses.replace(
        data,
        values={name: torch.where(data.observed[name].unsqueeze(-1), x, 9.0) for name, x in data.values.items()},
    )
    before, after = (
        evaluate(as_model(exact_mvae(world), d), metrics=["nll", "predictive", "evidence"])["metrics"]
        for d in (data, filled)
    )
    assert before == after and before["nll.c"]["a"] > 0


@pytest.mark.parametrize("kind", ["poisson", "nb", "beta"])
def test_counts_and_shares_of_one_column_and_with_gaps(kind):
    """The baselines of scalars, and of columns of which rows lack cells: sums over columns of −ln p."""
    rng = np.random.default_rng(0)
    y = rng.poisson(4, (60, 2)).astype(float) if kind != "beta" else rng.beta(2, 3, (60, 2))
    y[::7, 0] = np.nan
    split = np.array(["train"] * 30 + ["valid"] * 10 + ["test"] * 20)

    def anchor(array):
        data = mmppl.read({"y": array, "split": split, "x": rng.normal(size=(60, 2))}, as_={"y": kind})
        train, test = data.take(data.rows("train")), data.take(data.rows("test"))
        of, rows = {m.name: m for m in data.modalities}, int(test.observed["y"].sum())
        return baselines.nll_of_means(train, test, of["y"], None)["nll_global"] * rows, rows

    (first, _), (second, _), (both, rows) = anchor(y[:, 0]), anchor(y[:, 1]), anchor(y)
    assert rows == 20 and both == pytest.approx(first + second, rel=1e-6)
    if kind == "poisson":
        train, test = (part[~np.isnan(part)] for part in (y[:30, 0], y[40:, 0]))
        assert first == pytest.approx(-poisson.logpmf(test, (train.sum() + 0.5) / len(train)).sum(), rel=1e-6)
