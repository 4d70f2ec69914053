"""Cross-validation: every row is tested once, by a fit that is kept and never done twice."""

import numpy as np
import pytest

import mmppl
from mmppl import UsageError

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
