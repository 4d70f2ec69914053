"""What an evaluation says against a model or its data, where that is known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mmppl
from mmppl.evaluation import findings
from mmppl.evaluation.after_fit import _affordable, after_fit
from mmppl.inference.fitted import FittedModel


class Told(FittedModel):
    """Answers x and the label by a rule of what is given."""

    def __init__(self, data, rule):
        super().__init__(mmppl.Program(data.modalities), data.modalities, name="told", data=data)
        self.rule = rule

    def query(self, data, *, given, want, draws, seed, split, quantiles=()):
        found = {}
        for name in want:
            if name == "z":
                found["z"] = {"mean": np.zeros((len(data), 2)), "std": np.ones((len(data), 2))}
                if self.rule(name, given) == "moved":
                    found["z"]["mean"] += 3
                continue
            m = self.program.modality(name)
            if m.classes:
                truth = data.values[name].numpy()
                right = self.rule(name, given)
                prob = np.full((len(data), m.n_classes), (1 - right) / (m.n_classes - 1))
                prob[np.arange(len(data)), truth] = right
                found[name] = {"prob": prob}
            else:
                truth = m.value_in_input_units(data.values[name].numpy())
                off = np.where(np.arange(len(data)) % 2, 1, -1).reshape(-1, *[1] * (truth.ndim - 1))
                mean = truth + self.rule(name, given) * off
                found[name] = {"mean": mean} | {f"q{round(100 * q):02d}": mean for q in quantiles}
        return SimpleNamespace(want=found)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return mmppl.read(
        {"a": rng.normal(size=(200, 2)), "b": rng.normal(size=(200, 2)), "x": 100 + 5 * rng.normal(size=(200, 2)),
         "label": np.arange(200) % 2, "split": np.array((["train"] * 3 + ["test"] * 2) * 40)}
    )  # fmt: skip


def rule_of(numbers, label):
    def rule(name, given):
        if name == "z":
            return "moved" if "a" in given else ""
        known = label if name == "label" else numbers
        return known.get("+".join(given), 0.9 if name == "label" else 0.1)

    return rule


def warnings_of(told, numbers={}, label={}, **options):
    return mmppl.evaluate(Told(told, rule_of(numbers, label)), draws=1, **options)["warnings"]


def test_nothing_is_said_of_a_good_model(data):
    assert warnings_of(data, metrics=["rmse", "error", "log_loss"]) == []


def test_no_better_than_the_mean(data):
    (line,) = warnings_of(data, {"a": 20.0}, metrics=["rmse.x"])
    sd = data.modalities[2].value_in_input_units(data.values["x"].numpy())[data.rows("test")].std()
    assert line.startswith("no better than the training mean: x given a (rmse 20, the training mean ")
    assert float(line.rpartition("mean ")[2].split(";")[0]) == pytest.approx(sd, rel=0.05)
    assert line.endswith("; 80 rows)")
    (line,) = warnings_of(data, label={"b": 0.4}, metrics=["error.label"], conditioning_sets=["a", "b"])
    assert line.startswith("no better than the most frequent class: label given b (error 100.0%, ")


def test_a_modality_that_hurts(data):
    lines = warnings_of(data, {"a": 1.0, "b": 3.0, "a+b": 2.0}, metrics=["rmse.x"])
    assert lines == ["b hurts: x given a+b has rmse 2, without b 1 (80 rows)"]
    lines = warnings_of(data, label={"a+b": 0.6, "a": 0.9, "b": 0.55}, metrics=["error.label"],
                        conditioning_sets=["a", "b", "a+b"])  # fmt: skip
    assert lines == ["b hurts: label given a+b has log loss 0.5108, without b 0.1054 (80 rows)"]


def test_losses_are_compared_on_the_same_rows(data):
    """b is missing from the rows that are easy given a: there a alone would look better than both."""
    test = data.rows("test")
    there = torch.ones(200, dtype=torch.bool)
    there[test[::2]] = False
    data = dataclasses.replace(data, observed=data.observed | {"b": there}).replaced({})
    rule = rule_of({}, {})

    class Rows(Told):
        def query(self, rows, *, given, want, **how):
            found = super().query(rows, given=given, want=want, **how)
            if list(given) == ["a"] and "x" in want:
                m = self.program.modality("x")
                truth = m.value_in_input_units(rows.values["x"].numpy())
                off = np.where(rows.observed["b"].numpy(), 3.0, 0.01)[:, None]
                found.want["x"]["mean"] = truth + off
            if list(given) == ["a", "b"] and "x" in want:
                m = self.program.modality("x")
                found.want["x"]["mean"] = m.value_in_input_units(rows.values["x"].numpy()) + 2.5
            return found

    found = mmppl.evaluate(Rows(data, rule), metrics=["rmse.x"], draws=1)
    assert found["metrics"]["rmse.x"]["a+b"] > found["metrics"]["rmse.x"]["a"] and found["n"] == {
        "a": 80, "b": 40, "x": 80, "a+b": 40, "a+x": 80, "b+x": 40, "a+b+x": 40,
    }  # fmt: skip
    assert not any("b hurts: x given a+b" in line for line in found["warnings"])


def test_pairs_that_were_never_together(data):
    first = torch.arange(200) % 10 < 5
    apart = dataclasses.replace(data, observed=data.observed | {"a": first, "b": ~first}).replaced({})
    (line,) = warnings_of(apart, metrics=["error.label"])
    seen = {name: int(apart.observed[name][apart.rows("train")].sum()) for name in "ab"}
    assert line.startswith(f"never seen together: a ({seen['a']} training rows) and b ({seen['b']}); ")
    assert warnings_of(apart, data=apart, metrics=["error.label"]) == []  # not the rows of the fit


def test_a_modality_that_says_nothing_about_the_latent(data):
    lines = warnings_of(data, metrics=["collapse"])
    assert [line.partition(" says")[0] for line in lines] == ["b", "x"]


def test_many_findings_of_a_kind_are_counted(data, monkeypatch):
    monkeypatch.setattr(findings, "MAX_LINES", 1)
    lines = warnings_of(data, {"a": 20.0, "b": 20.0, "a+b": 20.0}, metrics=["rmse.x"])
    assert len(lines) == 2 and lines[1] == "and 2 more: no better than the training mean"


def test_after_a_fit(data):
    """Which anchors it has, depends on sizes alone: a short fit has the cheap ones."""
    model = Told(data, rule_of({"a": 20.0}, {}))
    short, long = (after_fit(model, epochs=epochs, batch_size=64) for epochs in (1, 10_000))
    assert {"error.label", "error_global.label", "rmse.x", "rmse_global.x", "r2.x"} <= {*short["metrics"]}
    assert not any("boosting" in name or "collapse" in name for name in short["metrics"])
    assert {"error_linear.label", "rmse_boosting.x"} <= {*long["metrics"]}
    assert any("x given a" in line for line in short["warnings"]) and short["n"]["a"] == 80
    assert list(short["metrics"])[:2] == ["error.label", "error_global.label"]
    wide = mmppl.read({"x": np.ones((100, 3000)) + np.arange(100)[:, None], "t": np.sin(np.arange(100.0))})
    program = mmppl.Program(wide.modalities)
    assert [_affordable(program, list(wide.modalities), wide, epochs, 64) for epochs in (1, 1000, 10**7)] == [
        [], ["linear"], ["linear", "boosting"],
    ]  # fmt: skip
    no_test = dataclasses.replace(data, split=np.zeros(200, np.int8))
    blank = after_fit(Told(no_test, rule_of({}, {})), epochs=1, batch_size=64)
    assert blank == {"n": {}, "metrics": {}, "warnings": []}
