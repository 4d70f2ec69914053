"""Counts, proportions and numbers with heavy tails from a file to answers."""

import numpy as np
import pytest

AS = {"po": "poisson:size=total", "nb": "nb", "zi": "zinb:scale=shared", "st": "student", "be": "beta"}


def mixed(n=48):
    """Two rows in five lack something."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(n, 1))
    arrays = {
        "po": rng.poisson(np.exp(1 + 0.5 * u + np.zeros(3))),
        "nb": rng.negative_binomial(2, 0.2, (n, 4)),
        "zi": rng.negative_binomial(2, 0.2, (n, 3)) * (rng.random((n, 3)) < 0.6),
        "st": u + rng.standard_t(3, (n, 3)),
        "be": rng.beta(2, 5, (n, 3)),
    }
    return arrays | {f"mask_{name}": rng.random(n) < 0.8 for name in ("po", "be")}


@pytest.mark.slow
@pytest.mark.parametrize("program", ["mvae", "factors"])
def test_from_file_to_answer(mmppl, program, tmp_path):
    """`factors` takes part through its surrogate. Means stay in the support, and quantiles of counts are counts."""
    np.savez(tmp_path / "data.npz", **mixed(160))
    words = [word for name, how in AS.items() for word in ("--as", f"{name}={how}")]
    found = mmppl(
        "fit", program, "--data", tmp_path / "data.npz", *words, "--epochs", 2, "--out", tmp_path / "run", "--json"
    ).json
    assert all(np.isfinite(number) for number in found["metrics"].values() if isinstance(number, float))
    answer = mmppl("query", tmp_path / "run", "--given", "st", "--want", "po,nb,zi,be", "--rows", "0:9", "--json").json
    for name, got in answer["want"].items():
        numbers = {key: np.array(got[key], float) for key in ("mean", "std", "q05", "q50", "q95")}
        assert all((value >= 0).all() and np.isfinite(value).all() for value in numbers.values())
        if name == "be":
            assert all((numbers[key] <= 1).all() for key in ("mean", "q05", "q95"))
        else:
            assert all((numbers[key] == np.rint(numbers[key])).all() for key in ("q05", "q50", "q95"))
    chosen = [word for name in ("po", "nb", "zi", "be") for word in ("--metric", f"nll.{name}")]
    scored = mmppl("evaluate", tmp_path / "run", *chosen, "--metric", "nll_global.nb", "--json").json["metrics"]
    assert all(np.isfinite(number) for sets in scored.values() if isinstance(sets, dict) for number in sets.values())
