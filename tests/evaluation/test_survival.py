"""Survival times: scores and anchors against direct computations, and from a fit to a figure."""

import numpy as np
import pytest

import mmppl
from mmppl.cli import main
from mmppl.evaluation.anchors import predict, seconds
from mmppl.evaluation.survival import scores
from mmppl.evaluation.survival.anchors import kaplan_meier_median, weibull_regression
from mmppl.evaluation.survival.scores import concordance, time_errors
from mmppl.train.calibration.questions import log_predictive


def test_concordance_counts_known_pairs(monkeypatch):
    r = np.random.default_rng(0)
    time, event = r.integers(1, 9, 60).astype(float), r.random(60) < 0.6  # with ties
    predicted = np.round(time + 4 * r.normal(size=60))
    right = known = 0.0
    for i in range(60):
        for j in range(60):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
                known += 1
                right += 1.0 if predicted[j] > predicted[i] else 0.5 if predicted[j] == predicted[i] else 0.0
    signed = np.where(event, time, -time)
    assert concordance(signed, predicted) == pytest.approx(right / known)
    monkeypatch.setattr(scores, "BLOCK", 7)
    assert concordance(signed, predicted) == pytest.approx(right / known)
    assert concordance(signed, signed * 0) == 0.5 and np.isnan(concordance(-time, predicted))


def test_errors_of_censored_times_are_what_is_known():
    assert time_errors(np.array([3.0, 3.0, -3.0, -3.0]), np.array([2.0, 5.0, 2.0, 5.0])).tolist() == [1, 2, 1, 0]


def test_kaplan_meier_by_hand():
    """Freireich's remission times (6-MP): the published median is 23 weeks."""
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    assert kaplan_meier_median(np.array([6, 6, 6, 7, 10, 13, 16, 22, 23] + [-t for t in censored], float)) == 23
    assert kaplan_meier_median(np.array([1.0, -2.0, -3.0, -7.0])) == 7


def simulated(n, seed=0):
    """Times of a Weibull of shape 1.5 whose log-scale is 3 + .8 u, censored by follow-up of 5 to 60."""
    r = np.random.default_rng(seed)
    u = r.normal(size=n)
    time = np.exp(3 + 0.8 * u) * r.weibull(1.5, n)
    last = r.uniform(5, 60, n)
    views = {
        "gene": u[:, None] * [1, -1, 0.5] + 0.3 * r.normal(size=(n, 3)),
        "scan": u[:, None] + r.normal(size=(n, 2)),
    }
    return views | {"os": np.minimum(time, last), "event_os": (time <= last).astype(int)}, u


def test_a_regression_finds_the_weights_of_its_world():
    """20,000 rows, 5 standard errors of a median: 5 · 1.2 / √20,000."""
    arrays, u = simulated(20_000)
    signed = np.where(arrays["event_os"], 1, -1) * arrays["os"]
    asked = np.array([[-1.0], [0.0], [1.0]])
    got = weibull_regression(u[:, None], signed, asked)
    want = np.exp(3 + 0.8 * asked[:, 0]) * np.log(2) ** (1 / 1.5)
    np.testing.assert_allclose(np.log(got), np.log(want), atol=0.045)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival")
    np.savez(folder / "data.npz", **simulated(300)[0])
    words = ["fit", "mvae", "--data", "data.npz", "--as", "os=weibull", "--epochs", "2", "--out", "run", "--json"]
    words = [str(folder / word) if word in ("data.npz", "run") else word for word in words]
    assert main([*words, "--set", "hidden=16", "--set", "latent_dim=2"]) == 0
    return mmppl.Run.load(folder / "run")


def test_a_run_answers_times(run, capsys):
    said = run.query(given=["gene"], want=["os"], split="test")["os"]
    assert said["mean"].shape == (60,) and (said["q05"] > 0).all() and (said["q05"] < said["q95"]).all()
    found = run.evaluate(metrics=["concordance", "time_error"], conditioning_sets=["gene"])["metrics"]
    assert found["concordance_linear.os"]["gene"] > 0.6
    assert {"time_error.os", "time_error_global.os", "time_error_linear.os"} <= found.keys()
    assert main(["query", str(run.folder), "--given", "gene", "--want", "os", "--rows", "0:2"]) == 0
    assert "90 %" in capsys.readouterr().out
    rows = {name: array[:3] for name, array in simulated(300)[0].items()}
    again = run.query(rows, given=["scan", "gene"], want=["os", "evidence"], split="all")
    assert np.isfinite(again["os"]["mean"]).all()
    assert (run.query({"gene": rows["gene"]}, want=["os"], split="all")["os"]["mean"] > 0).all()
    without = run.query({"gene": rows["gene"], "os": rows["os"]}, want=["os"], split="all")
    assert any("no array 'event_os' says" in line for line in without.warnings)


def test_factors_order_times_as_well_as_a_regression():
    data = mmppl.read(simulated(600)[0], as_={"os": "weibull"})
    found = mmppl.fit("factors", data).evaluate(metrics=["concordance", "time_error"], conditioning_sets=["gene"])
    own = {name: scores["gene"] for name, scores in found["metrics"].items() if name != "left_out"}
    assert own["concordance.os"] > own["concordance_linear.os"] - 0.01
    assert own["time_error.os"] < own["time_error_global.os"]


def test_anchors_and_held_out_nats_know_censoring(run):
    data = run.data()
    train, test = (data.take(data.rows(part)) for part in ("train", "test"))
    given, m = data.modalities[:2], data.modalities[-1]
    assert predict("boosting", train, test, given, m) == {} == predict("class", train, test, given, m)
    assert seconds("boosting", 100, given, m) == 0 < seconds("linear", 100, given, m)
    bound = run.program.modality("os")
    import torch

    output = torch.zeros(3, len(test), 1)
    d = bound.family(bound, output)
    truth = test.values["os"]
    torch.testing.assert_close(log_predictive(d, truth), d.log_prob(truth)[0])


def test_only_missing_predicts_censored_times(run):
    """What is known of them is a bound, which is no answer."""
    data = run.data()
    signed = data.values["os"].numpy()
    asked = dict(want=["os"], split="all", draws=8)
    found, whole = (run.query(only_missing=some, **asked)["os"] for some in (True, False))
    assert np.array_equal(found["imputed"], signed < 0) and (signed < 0).any()
    for key in ("mean", "std", "q05", "q50"):
        np.testing.assert_array_equal(found[key][signed < 0], whole[key][signed < 0])
    np.testing.assert_allclose(found["mean"][signed > 0], signed[signed > 0], rtol=1e-6)
    assert (found["std"][signed > 0] == 0).all()


def test_a_run_remembers_how_a_missing_event_is_written(tmp_path):
    arrays, _ = simulated(40)
    arrays["event_os"][:3] = -1
    how = {"as_": {"os": "weibull"}, "missing": {"event_os": [-1]}}
    data = mmppl.read(arrays, **how)
    again = mmppl.read({name: values[:9] for name, values in arrays.items()}, schema=data.modalities)
    assert (~again.observed["os"]).nonzero().flatten().tolist() == [0, 1, 2]
    assert [type(m).from_json(m.to_json()) for m in data.modalities] == [*data.modalities]
    mmppl.write_schema(data, tmp_path / "schema.toml")
    assert mmppl.read(arrays, schema_file=tmp_path / "schema.toml").modalities == data.modalities


def test_times_without_their_events_are_missing_in_a_query_and_told():
    arrays, _ = simulated(40)
    run = mmppl.FittedModel(mmppl.load_program("mvae")(mmppl.read(arrays, as_={"os": "weibull"}).modalities, hidden=4))
    few = {name: values[:5] for name, values in arrays.items() if name != "event_os"}
    told = "os: no array 'event_os' says which times are events, and without it os is taken for missing"
    answer = run.query(few, given=["gene"], want=["os"], draws=4)
    assert any(told in line for line in answer.warnings)
    without = run.query({name: few[name] for name in ("gene", "scan")}, given=["gene"], want=["os"], draws=4)
    np.testing.assert_array_equal(answer["os"]["q50"], without["os"]["q50"])
