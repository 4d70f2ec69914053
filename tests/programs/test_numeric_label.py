"""A label that is a number goes through every program: fitted, asked for, given, evaluated and drawn."""

import numpy as np
import pytest

import mmppl

ROWS = 120
PROGRAMS = {"mvae": 1, "cmmd": 1}
SLOW = {"factors": None, "jmvae": 1, "mmvae": 1, "mopoe": 1, "mwvae": 1, "fmwvae": 1, "dae": 1, "ima": 4}
EVERY = [*PROGRAMS.items(), *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW.items())]


def arrays():
    r = np.random.default_rng(0)
    cause = r.normal(size=ROWS)
    near, far = (cause[:, None] + spread * r.normal(size=(ROWS, 4)) for spread in (0.5, 2))
    return {"text": near, "audio": far, "score": np.clip(10 * cause, -25, 25)}


@pytest.mark.parametrize("program, epochs", EVERY)
def test_a_number_is_a_label_everywhere(program, epochs, tmp_path):
    data = mmppl.read(arrays(), as_={"score": "laplace:role=label"})
    (label,) = (m for m in data.modalities if m.role == "label")
    assert (label.name, label.likelihood, label.shape) == ("score", "laplace", ())
    run = mmppl.fit(program, data, out=tmp_path / "run", **({} if epochs is None else {"epochs": epochs}))
    rows = {name: value[:7] for name, value in arrays().items()}
    said = run.query(rows, given=["text"], want=["score"], draws=8, quantiles=(0.1, 0.5, 0.9)).want["score"]
    assert said["mean"].shape == (7,) and (said["q10"] <= said["q50"]).all() and (said["q50"] <= said["q90"]).all()
    assert np.abs(said["mean"]).max() < 60, "in the units of the input"
    found = run.evaluate(metrics=["mae", "rmse.", "r2", "coverage90", "corr"], conditioning_sets=["text"])["metrics"]
    assert {"mae.score", "rmse.score", "r2.score", "coverage90.score", "mae_linear.score"} <= set(found)
    assert found["mae_linear.score"]["text"] < found["mae_global.score"]["text"], "ridge regression"
    if program == "factors":  # which is fitted to the end
        assert found["mae.score"]["text"] < 0.5 * found["mae_global.score"]["text"]
    else:
        assert "mae.score" in run.summary()["metrics"]
    if program not in PROGRAMS:
        assert run.plot(figures=["calibration", "latent", "generated"])
