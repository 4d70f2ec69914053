"""Which rows decide, that no fit has seen them, and what is made better."""

import numpy as np
import pytest
import torch

import mmppl
from mmppl import FitError, UsageError
from mmppl.train.tuning.held_out import hold_out
from mmppl.train.tuning.objective import choose_objective
from mmppl.train.tuning.trial import HeldOutCurve, Settings, score_settings

RNG = np.random.default_rng(0)
N = 60
Z = RNG.normal(size=(N, 2))
ARRAYS = {
    "x": Z + 0.1 * RNG.normal(size=(N, 2)),
    "y": Z @ RNG.normal(size=(2, 3)) + 0.1 * RNG.normal(size=(N, 3)),
    "label": (Z[:, 0] > 0).astype(int),
}
SPLIT = np.array(["train"] * 40 + ["valid"] * 10 + ["test"] * 10)
SMALL = dict(hidden=4, layers=1, latent_dim=2)


def held_out(arrays, folds=None):
    return hold_out(mmppl.read(arrays), lambda split: mmppl.read(arrays, split=split), folds)


def model(dataset, **hyper):
    torch.manual_seed(0)
    return mmppl.FittedModel(mmppl.load_program("mvae")(dataset.modalities, **SMALL | hyper), data=dataset)


def ids(dataset, part):
    return set(dataset.ids[dataset.rows(part)].tolist())


def test_the_validation_rows_score_and_test_rows_take_no_part():
    found = held_out(ARRAYS | {"split": SPLIT})
    (dataset,) = found.datasets
    assert found.rows == 10 and ids(dataset, "test") == set(range(40, 50))
    assert ids(dataset, "all") == set(range(50)), "what a fit holds out it takes from the train rows"
    assert dataset.drawn_valid and ids(dataset, "valid") < set(range(40))


def test_folds_hold_out_every_row_once_that_is_no_test_row():
    found = held_out(ARRAYS | {"split": SPLIT}, folds=3)
    tested = [ids(dataset, "test") for dataset in found.datasets]
    assert found.rows == 50 == sum(map(len, tested)) and set().union(*tested) == set(range(50))
    assert all(ids(dataset, "all") == set(range(50)) for dataset in found.datasets)
    of_few = held_out(ARRAYS)  # drawn parts of fewer than 200 rows
    assert len(of_few.datasets) == 5
    many = {name: np.tile(array, (5, *[1] * (array.ndim - 1))) for name, array in ARRAYS.items()}
    assert len(held_out(many).datasets) == 1
    with pytest.raises(UsageError, match="too few"):
        held_out(ARRAYS, folds=70)
    without = np.array(["train"] * 50 + ["test"] * 10)
    assert held_out(ARRAYS | {"split": without}, folds=1).rows > 0  # some of the train rows are drawn


def test_what_is_made_better_by_default():
    data = mmppl.read(ARRAYS)
    found = choose_objective(model(data).program)
    assert (found.metric, found.direction, found.sets) == ("log_loss.label", "min", None)
    numbers = mmppl.read({**ARRAYS, "label": RNG.normal(size=N)}, as_={"label": "normal:role=label"})
    assert choose_objective(model(numbers).program).metric == "predictive_nats.label"
    no_label = mmppl.read({name: ARRAYS[name] for name in "xy"})
    found = choose_objective(model(no_label).program)
    assert found.names == ("predictive_nats.x", "predictive_nats.y") and found.asked_from == "all else that a row has"
    cmmd = mmppl.load_program("cmmd")(data.modalities, **SMALL)
    assert choose_objective(cmmd).asked_from == "x"


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("eror", {}, "there is none of that name.*Did you mean error"),
        ("error.lable", {}, "Did you mean error.label"),
        ("rmse_global", {}, "an anchor without a latent"),
        ("coverage90.x", {}, "name --direction min or max"),
        ("error", dict(conditioning_sets=["x+z"]), "no modality 'z'"),
        ("rmse.x", dict(conditioning_sets=["x"]), "is in every set that is given"),
    ],
)
def test_metrics_that_cannot_be_made_better(metric, options, message):
    program = model(mmppl.read(ARRAYS)).program
    with pytest.raises(UsageError, match=message):
        choose_objective(program, metric, **options)


def test_scores_are_those_of_evaluate_where_rows_are_whole():
    data = mmppl.read(ARRAYS | {"split": SPLIT})
    fitted = model(data)
    metrics = (
        fitted.program and mmppl.evaluate(fitted, metrics=["log_loss", "rmse.y", "predictive", "nll.y"])["metrics"]
    )
    for metric, want in (
        ("log_loss.label", metrics["log_loss.label"]["x+y"]),
        ("rmse.y", metrics["rmse.y"]["x"]),
        (
            "predictive_nats",
            np.mean([metrics[f"predictive_nats.{n}"][g] for n, g in (("x", "y"), ("y", "x"), ("label", "x+y"))]),
        ),
    ):
        assert choose_objective(fitted.program, metric).score(fitted) == pytest.approx(want, rel=1e-6), metric
    asked = choose_objective(fitted.program, "nll.y", conditioning_sets=["x", "x+y"])
    assert asked.score(fitted) == pytest.approx(np.mean([metrics["nll.y"][g] for g in ("x", "x+y")]))
    with pytest.raises(UsageError, match="a curve"):
        choose_objective(fitted.program, "calibration.label", "min").score(fitted)


def test_rows_that_lack_something_are_answered_from_what_they_have():
    arrays = ARRAYS | {"split": SPLIT, "x": np.where(np.arange(N)[:, None] % 2, ARRAYS["x"], np.nan)}
    fitted = model(mmppl.read(arrays))
    found = choose_objective(fitted.program).score(fitted)
    answer = fitted.query(want="label", draws=32, split="test")["label"]["prob"]
    truth = arrays["label"][50:]
    assert found == pytest.approx(-np.log(answer[np.arange(10), truth]).mean(), rel=1e-5)
    nobody = mmppl.read(arrays | {"label": np.where(np.arange(N) < 50, arrays["label"], -1)}, missing={"label": [-1]})
    with pytest.raises(FitError, match="no held-out row has label"):
        choose_objective(model(nobody).program).score(model(nobody))


def test_no_fit_depends_on_the_rows_that_score_it_or_on_test_rows(monkeypatch):
    """Neither weights nor steps nor calibration nor scales: with other values there, the program is the same."""
    programs = []

    def scored(self, fitted, **how):
        programs.append({name: value.clone() for name, value in fitted.program.state_dict().items()})
        return 0.0

    monkeypatch.setattr("mmppl.train.tuning.objective.Objective.score", scored)
    for filler in (0.0, 1e3):
        arrays = ARRAYS | {"split": SPLIT, "x": ARRAYS["x"] + filler * (np.arange(N) >= 40)[:, None]}
        rows = held_out(arrays)
        objective = choose_objective(model(rows.datasets[0]).program)
        settings = Settings(SMALL, {"steps": 20})
        score_settings(mmppl.load_program("mvae"), rows, objective, settings, seed=0)
    first, second = programs
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_curve_is_told_at_powers_of_two_and_changes_no_fit():
    rows = held_out(ARRAYS | {"split": SPLIT})
    objective = choose_objective(model(rows.datasets[0]).program)
    told = []
    curve = HeldOutCurve(rows.datasets[0], objective, 0, lambda step, value: told.append((step, value)))
    how = dict(hyper=SMALL, epochs=5)
    runs = [mmppl.fit("mvae", rows.datasets[0], callbacks=callbacks, **how) for callbacks in ([], [curve])]
    assert [step for step, _ in told] == [1, 2, 4] and all(np.isfinite(value) for _, value in told)
    plain, watched = (run.program.state_dict() for run in runs)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_a_search_with_fits_ends_on_the_test_rows():
    pytest.importorskip("optuna")
    how = dict(hyper=dict(hidden=4, layers=1), epochs=1, calibrate=False, folds=2)
    found = mmppl.tune("mvae", ARRAYS | {"split": SPLIT}, search="latent_dim=1|20", trials=2, **how)
    assert found["held_out"] == {"rows": 50, "fits": 2} and found["test"]["rows"] == 10
    settings = {"hyper": found["best"]["hyper"], **found["best"]["training"]}
    run = mmppl.fit("mvae", ARRAYS | {"split": SPLIT}, **settings)
    assert found["test"]["best"] == choose_objective(run.program).score(run)
    assert bool(found["warnings"]) == (found["test"]["best"] > found["test"]["default"])
