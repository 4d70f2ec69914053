"""Evaluation on a run whose answers are known, and on two that were fitted."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

import mmppl
from mmppl.evaluation import anchors
from mmppl.evaluation.evaluate import default_conditioning_sets, evaluate
from mmppl.evaluation.scores import interval_score
from mmppl.evaluation.summary import summarise
from mmppl.inference.fitted import FittedModel


class Known(mmppl.Program):
    """A program that only knows what it can answer."""

    def __init__(self, modalities, conditions=(), silent=()):
        super().__init__(modalities)
        self.conditions, self.silent = conditions, silent

    def targets(self):
        return tuple(name for name in super().targets() if name not in self.silent)


class KnownRun(FittedModel):
    """Answers by rule: class 0 with probability 0.7, mean 1 in [0, 2] for numbers; z ~ N((3, 0), 1) given everything,
    N((1, 0), 1) given less, N((0, 0), 1) given nothing."""

    def __init__(self, data, conditions=(), silent=()):
        super().__init__(Known(data.modalities, conditions, silent), data.modalities, name="known", data=data)
        self.asked = []

    def dataset(self, data=None, *, root=None):
        return self.fitted_on if data is None else data

    def warnings(self, dataset):
        return []

    def query(self, data, *, given, want, draws, seed, split, quantiles=()):
        quantiles = [f"q{round(100 * p):02d}" for p in quantiles]
        self.asked.append((tuple(given), tuple(want)))
        n, found = len(data), {}
        for name in want:
            if name == "z":
                first = 3.0 if set(given) == set(self.program.encoded) else 1.0 if given else 0.0
                found[name] = {"mean": np.full((n, 2), [first, 0.0]), "std": np.ones((n, 2))}
                continue
            m = self.program.modality(name)
            if m.classes is not None:
                prob = np.full((n, *m.shape, m.n_classes), 0.3 / (m.n_classes - 1))
                prob[..., 0] = 0.7
                found[name] = {"prob": prob}
            else:
                one = np.ones((n, *m.shape))
                ends = {"q05": 0.0, "q25": 0.5, "q50": 1.0, "q75": 1.5, "q95": 2.0}
                found[name] = {"mean": one} | {q: one * ends[q] for q in quantiles}
        return SimpleNamespace(want=found)


@pytest.fixture
def data():
    """12 rows, of which the last 4 are test rows: two numbers `x`, three letters `word`, a label, some missing."""
    x = np.array([[0, 0], [2, 4], [0, 1], [2, 3]] * 3, float) * 10 + 1e-3
    words = np.array([list("abc"), list("aba")] * 6)
    mask_x, mask_label = np.ones(12, bool), np.ones(12, bool)
    mask_x[8], mask_label[9] = False, False
    arrays = {
        "x": x, "word": words, "label": np.array([0, 1, 0, 1] * 3), "mask_x": mask_x, "mask_label": mask_label,
        "mask_word": np.arange(12) != 8, "split": np.array(["train"] * 6 + ["valid"] * 2 + ["test"] * 4),
    }  # fmt: skip
    return mmppl.read(arrays)


def test_numbers_by_hand(data):
    """The first test row has neither x nor word, and counts for no conditioning set."""
    result = evaluate(KnownRun(data))
    metrics = result["metrics"]
    assert (result["run"], result["split"], result["rows"]) == ("known", "test", 4)
    assert result["n"] == {"x": 3, "word": 3, "x+word": 3}
    # Labels of the other test rows: missing, 0, 1; the answer is always 0 at 0.7.
    assert metrics["error.label"] == {key: pytest.approx(1 / 2) for key in ("x", "word", "x+word")}
    assert metrics["balanced_accuracy.label"]["x"] == pytest.approx(1 / 2)
    assert metrics["log_loss.label"]["x"] == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)
    assert metrics["calibration_error.label"]["x"] == pytest.approx(0.7 - 1 / 2)
    curve = metrics["calibration.label"]["x"]  # 0.7 lies in the eleventh of fifteen bins
    assert curve["rows"] == [0] * 10 + [1] + [0] * 4 and curve["right"][10] == 0.5
    # Words of the three test rows that have one: aba abc aba; the answer is aaa.
    assert metrics["error.word"] == {"x": pytest.approx((1 + 2 + 1) / 9)}
    assert metrics["error_whole.word"] == {"x": 1}
    # x of the test rows: missing, (20, 40), (0, 10), (20, 30), each + 1e-3, against 1 within [0, 2].
    truth = np.array([[20, 40], [0, 10], [20, 30]]) + 1e-3
    assert metrics["rmse.x"] == {"word": pytest.approx(math.sqrt(np.square(truth - 1).mean()), rel=1e-5)}
    assert metrics["coverage50.x"] == {"word": 0}
    assert metrics["coverage90.x"] == {"word": pytest.approx(1 / 6)}
    assert metrics["width90.x"] == {"word": 2}
    assert metrics["interval_score90.x"] == {"word": pytest.approx(2 + 20 * (18 + 38 + 8 + 18 + 28 + 5e-3) / 6)}
    assert metrics["calibration.x"]["word"]["level"] == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert metrics["calibration.x"]["word"]["share"] == pytest.approx([0, 1 / 6, 1 / 6, 1 / 6, 1 / 6])
    assert metrics["collapse"]["fraction"] == [0.5 if eps < 4.5 else 1.0 for eps in metrics["collapse"]["eps"]]
    alone = [0.5 if eps < 0.5 else 1.0 for eps in metrics["collapse"]["eps"]]
    assert metrics["collapse"]["alone"] == {"x": alone, "word": alone}
    assert metrics["left_out"] == 0 and "nothing_seen" not in metrics


def test_anchors_by_hand(data):
    metrics = evaluate(KnownRun(data), metrics=["rmse", "r2", "error", "interval_score90"])["metrics"]
    train = np.array([[0, 0], [20, 40], [0, 10], [20, 30], [0, 0], [20, 40]])
    truth = np.array([[20, 40], [0, 10], [20, 30]])
    whole = math.sqrt(np.square(truth - train.mean(0)).mean())
    # The label of the first of these rows is missing: the overall mean stands in.
    by_class = np.stack([train.mean(0), train[0::2].mean(0), train[1::2].mean(0)])
    assert metrics["rmse_global.x"] == {"word": pytest.approx(whole, rel=1e-5)}
    assert metrics["rmse_class.x"] == {"word": pytest.approx(math.sqrt(np.square(truth - by_class).mean()), rel=1e-5)}
    assert metrics["r2.x"] == {"word": pytest.approx(1 - (metrics["rmse.x"]["word"] / whole) ** 2, rel=1e-5)}
    half = stats.norm.ppf(0.95) * train.std(0)
    score = interval_score(truth, train.mean(0) - half, train.mean(0) + half)
    assert metrics["interval_score90_global.x"] == {"word": pytest.approx(score, rel=1e-5)}
    # Three training rows of either class: the first is taken. Letters: a, b, and a or c alike.
    assert metrics["error_global.label"] == dict.fromkeys(("x", "word", "x+word"), 0.5)
    assert metrics["error_global.word"] == {"x": pytest.approx(1 / 9)}
    # One letter tells everything about x in training.
    assert metrics["rmse_linear.x"]["word"] < metrics["rmse_global.x"]["word"]


def test_only_what_is_wanted_is_computed(data, monkeypatch):
    run = KnownRun(data)
    fail = lambda *a, **k: pytest.fail("a baseline was fitted")  # noqa: E731
    monkeypatch.setattr(anchors, "_logistic", fail)
    monkeypatch.setattr(anchors, "_boosted_classes", fail)
    metrics = evaluate(run, metrics=["error.", "error_global", "error_whole"])["metrics"]
    assert set(metrics) == {f"{name}.{of}" for name in ("error", "error_global") for of in ("label", "word")} | {
        "error_whole.word", "left_out",
    }  # fmt: skip
    assert run.asked == [(("x",), ("word", "label")), (("word",), ("label",)), (("x", "word"), ("label",))]
    run.asked.clear()
    evaluate(run, metrics=["collapse"])
    assert run.asked == [(("x", "word"), ("z",)), ((), ("z",)), (("x",), ("z",)), (("word",), ("z",))]
    run.asked.clear()
    monkeypatch.undo()
    metrics = evaluate(run, metrics=["error_linear", "rmse_global"])["metrics"]
    assert run.asked == [] and len(metrics["error_linear.label"]) == 3 and metrics["rmse_global.x"]["word"] > 0


def test_conditions_leave_rows_out(data):
    run = KnownRun(data, conditions=("x",))
    result = evaluate(run, metrics=["error"])
    assert result["rows"] == 3 == result["n"]["x"] and result["metrics"]["left_out"] == 1
    assert set(result["metrics"]["error.label"]) == {"x"} == set(result["metrics"]["error_linear.label"])
    with pytest.raises(mmppl.UsageError, match="no metric ''"):
        evaluate(run, metrics=[""])
    with pytest.raises(mmppl.UsageError, match="no metric 'rmse.x'"):
        evaluate(run, metrics=["rmse.x"])  # what is conditioned on is not generated
    with pytest.raises(mmppl.UsageError, match="conditions on x"):
        evaluate(run, conditioning_sets=["word"])
    with pytest.raises(mmppl.DataError, match="no test row with x"):
        evaluate(KnownRun(data.mask_at_random(rate={"x": 1.0}), conditions=("x",)))


def test_collapse_of_a_conditional_program_is_onto_its_prior(data):
    run = KnownRun(data, conditions=("x",))
    logged = []
    run.query = lambda rows, *, query=run.query, **asked: logged.append(len(rows)) or query(rows, **asked)
    curves = evaluate(run, metrics=["collapse"])["metrics"]["collapse"]
    assert run.asked == [(("x", "word"), ("z",)), (("x",), ("z",))]  # word alone cannot be answered
    assert set(curves) == {"eps", "fraction", "prior_q", "prior_standard", "q_standard"}
    nats = {"fraction": 2.0, "prior_q": 2.0, "prior_standard": 0.5, "q_standard": 4.5}  # (3 - 1)²/2, 1²/2, 3²/2
    for name, kl in nats.items():
        assert curves[name] == [0.5 if eps < kl else 1.0 for eps in curves["eps"]]
    logged.clear()
    few = data.mask_at_random(rate={"word": 0.5}, seed=1, keep_one=False)
    run.fitted_on = few
    evaluate(run, metrics=["collapse"])
    test = few.rows("test")
    both = int((few.observed["x"] & few.observed["word"])[test].sum())
    assert logged == [both, both] and both < int(few.observed["x"][test].sum())  # a row of x alone has q = prior


@pytest.mark.parametrize("hyper", [{"latent": "laplace"}, {"learn_prior": True}], ids=str)
def test_an_answer_that_is_the_programs_own_prior_has_collapsed(hyper, tmp_path):
    rng = np.random.default_rng(0)
    raw = {"a": rng.normal(size=(60, 3)), "b": rng.normal(size=(60, 3)), "label": np.arange(60) % 2}
    run = mmppl.fit("mmvae", raw, hyper={"latent_dim": 4, "layers": 0, **hyper}, epochs=1, out=tmp_path / "run")
    program = run.program
    with torch.no_grad():
        if "learn_prior" in hyper:
            program.prior_logits.copy_(torch.tensor([3.0, 0.0, 0.0, 0.0]))
        own = torch.zeros(4) if "latent" in hyper else 2 * (4 * torch.softmax(program.prior_logits, -1)).log()
        for name in program.encoded:
            last = program.encoders[name][-1]
            last.weight.zero_()
            last.bias.copy_(torch.cat([torch.zeros(4), own]))
    curve = run.evaluate(metrics=["collapse"], split="all")["metrics"]["collapse"]
    assert curve["eps"][1] > 0 and curve["fraction"][1:] == [1.0] * (len(curve["eps"]) - 1)


def test_only_targets_of_the_program_have_metrics(data):
    run = KnownRun(data, silent=("word",))
    metrics = evaluate(run)["metrics"]
    assert not any(name.endswith(".word") for name in metrics) and "error.label" in metrics and "rmse.x" in metrics
    assert all("word" not in want for _, want in run.asked)
    with pytest.raises(mmppl.UsageError, match="no metric 'error.word'"):
        evaluate(run, metrics=["error.word"])


def test_a_program_that_only_classifies_has_no_collapse(data):
    run = KnownRun(data, conditions=("x",), silent=("word",))
    metrics = evaluate(run)["metrics"]
    assert "collapse" not in metrics and metrics["probe.label"] and metrics["error.label"]
    for name in ("collapse", "coherence", "nll", "evidence"):
        with pytest.raises(mmppl.UsageError, match=f"no metric {name!r}"):
            evaluate(run, metrics=[name])
    assert "collapse" in evaluate(KnownRun(data))["metrics"]


def test_conditioning_sets(data):
    assert default_conditioning_sets(Known(data.modalities)) == [("x",), ("word",), ("x", "word")]
    five = [mmppl.Modality(name, (2,)) for name in "abcde"]
    assert default_conditioning_sets(Known(five)) == [
        ("a",), ("b",), ("c",), ("d",), ("e",),
        ("a", "b", "c", "d"), ("a", "b", "c", "e"), ("a", "b", "d", "e"), ("a", "c", "d", "e"), ("b", "c", "d", "e"),
        ("a", "b", "c", "d", "e"),
    ]  # fmt: skip
    asked = evaluate(KnownRun(data), metrics=["error.label"], conditioning_sets=["word+x", [], ["word"]])
    assert list(asked["metrics"]["error.label"]) == ["x+word", "nothing", "word"]
    assert asked["n"] == {"x+word": 3, "nothing": 4, "word": 3}
    logged, blank = [], data.mask_at_random(rate={"word": 1.0}, keep_one=False)
    none = evaluate(KnownRun(blank), metrics=["error.label"], log=logged.append)
    assert none["n"] == {"x": 3, "word": 0, "x+word": 0} and list(none["metrics"]["error.label"]) == ["x"]
    assert "no test row has all of word, x+word" in logged
    with pytest.raises(mmppl.UsageError, match="no modality 'wrod'.*Did you mean word"):
        evaluate(KnownRun(data), conditioning_sets=["x+wrod"])


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_clusters_do_not_take(data, seed):
    with pytest.raises(mmppl.UsageError, match=f"seed {seed}"):
        evaluate(KnownRun(data), seed=seed)


@pytest.mark.parametrize("name, near", [("eror", "error"), ("error.lable", "error.label"), ("rmsse", "rmse")])
def test_unknown_metric(data, name, near):
    with pytest.raises(mmppl.UsageError, match=f"no metric {name!r}.*Did you mean {near}"):
        evaluate(KnownRun(data), metrics=[name])


def test_data_without_train_rows_lean_on_those_of_the_fit(data):
    new = data.take(data.rows("test"))
    metrics = evaluate(KnownRun(data), new)["metrics"]
    assert metrics == evaluate(KnownRun(data))["metrics"]
    logged = []
    metrics = evaluate(KnownRun(new), log=logged.append)["metrics"]
    assert not {"rmse_global.x", "r2.x", "error_linear.label", "error_boosting.label"} & {*metrics}
    assert metrics["rmse.x"]


def test_summarise_keeps_the_shape():
    def result(e):
        curve = {"eps": [0, 6], "fraction": [e, 1]}
        return {"n": 5, "metrics": {"error.label": {"x": e}, "rmse_global.x": e, "collapse": curve}}

    runs = [result(e) for e in (0.1, 0.2, 0.6)]
    runs[0]["metrics"]["error.word"] = {"x": 1.0}
    summary = summarise(runs)
    assert summary["runs"] == runs
    assert summary["mean"] == {
        "error.label": {"x": pytest.approx(0.3)},
        "rmse_global.x": pytest.approx(0.3),
        "collapse": {"eps": [0, 6], "fraction": [pytest.approx(0.3), 1]},
    }
    sd = math.sqrt((0.04 + 0.01 + 0.09) / 2)
    assert summary["sd"]["error.label"] == {"x": pytest.approx(sd)} and summary["sd"]["collapse"]["eps"] == [0, 0]
    assert summarise(runs[:1])["sd"]["rmse_global.x"] is None


def test_cmmd_end_to_end(tmp_path):
    run = mmppl.fit("cmmd", hyper={"hidden": 32, "layers": 1}, epochs=3, out=tmp_path / "run")
    result = run.evaluate(metrics=["error.", "error_linear", "rmse", "r2", "coverage", "collapse"])
    metrics = result["metrics"]
    assert result["n"] == {"rotated": len(run.data().rows("test"))} and metrics["left_out"] == 0
    assert set(metrics["error.label"]) == {"rotated"} == set(metrics["rmse.noisy"])
    assert 0.1 < metrics["error_linear.label"]["rotated"] < 0.25  # a property of the data
    of = {name: metrics[f"{name}.noisy"]["rotated"] for name in ("rmse_class", "rmse_linear", "rmse_global", "rmse")}
    assert of["rmse_class"] < of["rmse_linear"] < of["rmse_global"] < of["rmse"] + 0.1
    assert len(metrics["collapse"]["fraction"]) == 40
    assert run.evaluate(metrics=["error.label"], conditioning_sets=["rotated+noisy"])["metrics"]["error.label"]


def test_mvae_with_missing_modalities_end_to_end(tmp_path):
    data = mmppl.read("digits-three").mask_at_random(rate=0.3, seed=1)
    run = mmppl.fit("mvae", data, hyper={"hidden": 32, "layers": 1}, epochs=10, lr=5e-3, out=tmp_path / "run")
    logged = []
    result = run.evaluate(data, log=logged.append)
    metrics = result["metrics"]
    sets = ["image", "profile", "word", "image+profile", "image+word", "profile+word", "image+profile+word"]
    assert list(metrics["error.label"]) == sets == list(metrics["error_linear.label"])
    assert "error_boosting.label" not in metrics and any("no boosting beside the answers" in line for line in logged)
    assert list(metrics["rmse.image"]) == ["profile", "word", "profile+word"]
    errors = metrics["error.label"]
    assert errors["image+profile+word"] < 0.5 and errors["image+profile+word"] < max(errors[s] for s in sets[:3])
    test = data.rows("test")
    for key, n in result["n"].items():
        assert n == int(torch.stack([data.observed[name][test] for name in key.split("+")]).all(0).sum()) < len(test)
    assert 0.8 < metrics["coverage90.profile"]["image+word"] < 1
    assert all(
        math.isfinite(x)
        for value in metrics.values()
        if isinstance(value, dict)
        for x in value.values()
        if isinstance(x, float)
    )


def test_modalities_that_no_row_has_together(tmp_path):
    """Every metric does without the rows of a set that has none."""
    rng = np.random.default_rng(0)
    first = np.arange(60) < 30
    arrays = {
        "a": rng.normal(size=(60, 3)), "b": rng.normal(size=(60, 2)), "mask_a": first, "mask_b": ~first,
        "label": np.arange(60) % 2,
    }  # fmt: skip
    run = mmppl.fit("mvae", arrays, hyper={"hidden": 8, "layers": 1}, epochs=1)
    found = run.evaluate(metrics=["error", "rmse", "nll", "probe", "evidence", "collapse"], evidence_draws=30)
    assert found["n"]["a"] + found["n"]["b"] == found["rows"] and found["n"]["a+b"] == 0
    of_sets = {key for name, x in found["metrics"].items() if name.startswith(("nll", "probe", "error")) for key in x}
    assert of_sets == {"a", "b"}
    assert any(line.startswith("never seen together: a") for line in found["warnings"])
