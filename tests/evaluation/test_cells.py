"""Hidden cells are scored as loops over them say, and metrics of modalities with gaps count what is there."""

import numpy as np
import pytest
from scipy.stats import norm

import mmppl
from mmppl.evaluation.after_fit import after_fit
from mmppl.evaluation.imputation.hidden_cells import GIVEN


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(150, 2))
    lab, other = (u @ rng.normal(size=(2, d)) + 0.3 * rng.normal(size=(150, d)) for d in (6, 5))
    return {"lab": np.where(rng.random(lab.shape) < 0.1, np.nan, lab), "other": other}


@pytest.fixture(scope="module")
def run(source):
    return mmppl.fit("factors", source, hide_cells=0.2, hyper=dict(latent_dim=4))


def test_hidden_cells_are_scored(run, source):
    found = mmppl.evaluate(run, metrics=["cells"], draws=8)["metrics"]
    data, lab = run.data(), source["lab"]
    rows = data.rows("test").numpy()
    hidden = (~data.present["lab"].numpy() & ~np.isnan(lab))[rows]
    answer = run.query(want="lab", split="test", only_missing=True, quantiles=[0.025, 0.05, 0.95, 0.975])["lab"]
    truth, mean, std = lab[rows][hidden], answer["mean"][hidden], answer["std"][hidden]
    assert found["cells_rmse.lab"] == {GIVEN: pytest.approx(np.sqrt(((truth - mean) ** 2).mean()), rel=1e-4)}
    assert found["cells_nats.lab"][GIVEN] == pytest.approx(-norm.logpdf(truth, mean, std).mean(), rel=1e-4)
    for level, low, high in ((90, "q05", "q95"), (95, "q02.5", "q97.5")):
        low = low if low in answer else "q2.5"
        inside = (answer[low][hidden] <= truth) & (truth <= answer[high][hidden])
        assert found[f"cells_coverage{level}.lab"][GIVEN] == pytest.approx(inside.mean())
    train = data.rows("train").numpy()
    shown = np.where(data.present["lab"].numpy(), lab, np.nan)[train]
    errors = (lab[rows] - np.nanmean(shown, 0))[hidden]
    assert found["cells_rmse_global.lab"][GIVEN] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert found["cells_r2.lab"][GIVEN] > 0.8
    assert (
        found["cells_rmse.lab"][GIVEN] < found["cells_rmse_imputer.lab"][GIVEN] < found["cells_rmse_global.lab"][GIVEN]
    )


def test_what_a_data_set_hides_is_scored_as_what_a_fit_hides(run, source):
    """`fit(read(…, hide_cells=…))` as `fit(…, hide_cells=…)`, with the same seed of the mask."""
    data = mmppl.read(source, hide_cells=0.2)
    found = mmppl.fit("factors", data, hyper=dict(latent_dim=4))
    asked = dict(metrics=["cells_nats", "cells_coverage90"], draws=4)
    wanted = mmppl.evaluate(run, **asked)["metrics"]
    assert wanted["cells_nats.lab"] and mmppl.evaluate(found, **asked)["metrics"] == wanted
    assert found.is_fitted_on(data) and mmppl.read(data).fingerprint() == data.fingerprint()
    other = mmppl.read(data, as_={"other": "ignore"})
    assert [m.name for m in other.whole.modalities] == ["lab"] and other.whole.present["lab"].sum() > 0


def test_metrics_count_the_cells_that_are_there(run, source):
    """Against loops: rmse, its anchors, and the coverage."""
    found = mmppl.evaluate(run, metrics=["rmse.", "rmse_global", "rmse_linear", "coverage90"], draws=8)["metrics"]
    data = run.data()
    rows, there = data.rows("test").numpy(), data.present["lab"].numpy()
    answer = run.query(given="other", want="lab", split="test", quantiles=[0.05, 0.95])["lab"]
    known, truth = there[rows], source["lab"][rows]
    assert found["rmse.lab"]["other"] == pytest.approx(np.sqrt(((answer["mean"] - truth)[known] ** 2).mean()), rel=1e-4)
    inside = ((answer["q05"] <= truth) & (truth <= answer["q95"]))[known]
    assert found["coverage90.lab"]["other"] == pytest.approx(inside.mean())
    train = data.rows("train").numpy()
    means = np.nanmean(np.where(there, source["lab"], np.nan)[train], 0)
    assert found["rmse_global.lab"]["other"] == pytest.approx(np.sqrt(((means - truth)[known] ** 2).mean()), rel=1e-4)
    assert found["rmse.lab"]["other"] < found["rmse_linear.lab"]["other"] < found["rmse_global.lab"]["other"]


def test_they_are_told_after_a_fit(run):
    told = after_fit(run, epochs=1, batch_size=32)["metrics"]
    assert {"cells_rmse.lab", "cells_coverage90.other"} <= set(told) and "cells_rmse_imputer.lab" not in told


@pytest.mark.slow
def test_they_are_found_again(source, tmp_path):
    np.savez(tmp_path / "a.npz", **source)
    kept = mmppl.fit("factors", tmp_path / "a.npz", hide_cells=0.2, hyper=dict(latent_dim=2), out=tmp_path / "run")
    again = mmppl.Run.load(tmp_path / "run")
    both = [mmppl.evaluate(one, metrics=["cells_rmse.lab"], draws=4)["metrics"] for one in (kept, again)]
    assert both[0] == both[1] and again.record.data.hide_cells == 0.2
    plain = mmppl.fit("factors", source, hyper=dict(latent_dim=2))
    assert not any(n.startswith("cells") for n in mmppl.evaluate(plain, metrics=["cells", "rmse"], draws=2)["metrics"])
