"""Cross-validation: every row is tested once, by a fit that is kept and never done twice."""

import functools

import numpy as np
import pytest

import mmppl
from mmppl import UsageError
from mmppl.train.fit import fit

RNG = np.random.default_rng(0)
N = 60
ARRAYS = {"x": RNG.normal(size=(N, 3)), "y": RNG.normal(size=(N, 2)), "person": np.repeat(np.arange(20), 3)}
SMALL = dict(hyper={"hidden": 4, "layers": 1, "latent_dim": 2}, epochs=1, calibrate=False)
ASKED = dict(metrics=["rmse.y"], conditioning_sets=["x"], draws=2)


def test_folds_are_fitted_once_kept_and_summarised(tmp_path):
    lines = []
    how = dict(folds=2, as_={"person": "group"}, out=tmp_path / "folds", **SMALL, **ASKED)
    found = mmppl.evaluate_folds("mvae", ARRAYS, log=lines.append, **how)
    each = [run["metrics"]["rmse.y"]["x"] for run in found["runs"]]
    assert found["n"] == {"x": N} and found["folds"] == 2
    assert found["mean"]["rmse.y"]["x"] == pytest.approx(np.mean(each))
    assert found["sd"]["rmse.y"]["x"] == pytest.approx(np.std(each, ddof=1))
    assert any("fold 2 of 2" in str(line) for line in lines)
    first = tmp_path / "folds" / "fold-1"
    before = (first / "run.json").stat().st_mtime_ns
    again = mmppl.evaluate_folds("mvae", ARRAYS, **how)
    assert again == found and (first / "run.json").stat().st_mtime_ns == before
    shift = mmppl.Run.load(first).modalities[0].shift
    assert shift != mmppl.read(ARRAYS).modalities[0].shift  # each fold learns its own scale


def test_what_is_wrong_is_said_in_a_line():
    with pytest.raises(UsageError, match="no setting 'epoch'.*Did you mean epochs"):
        mmppl.evaluate_folds("mvae", ARRAYS, epoch=1)
    with pytest.raises(UsageError, match="50 folds: too few groups"):
        mmppl.evaluate_folds("mvae", ARRAYS, folds=50, as_={"person": "group"}, **SMALL)


def test_folds_learn_no_scale_from_hidden_cells():
    """Those of a fold are the means of what its training rows still show."""
    gaps = ARRAYS | {"x": np.where(RNG.random((N, 3)) < 0.1, np.nan, ARRAYS["x"])}
    found, asked = [], dict(metrics=["cells_rmse.x"], draws=2, **SMALL)

    @functools.wraps(fit)
    def fitted(program, dataset, **settings):
        found.append(dataset)
        return fit(program, dataset, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmppl.train.folds.evaluate_folds.fit", fitted)
        told = mmppl.evaluate_folds("mvae", gaps, folds=2, hide_cells=0.3, **asked)
    assert told["mean"]["cells_rmse.x"] and len(found) == 2
    for dataset in found:
        rows = dataset.rows("train").numpy()
        shown = np.where(dataset.present["x"].numpy(), gaps["x"], np.nan)[rows]
        shift = next(m.shift for m in dataset.modalities if m.name == "x")
        np.testing.assert_allclose(shift, np.nanmean(shown, 0), rtol=1e-5)
