"""Programs of counts, proportions and numbers with heavy tails: the laws of every program, the command line, and that
what they say of simulated counts is true."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import mmppl
from mmppl.testing import check_program

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
@pytest.mark.parametrize("names", [("po", "zi"), ("nb", "be", "st")], ids=" ".join)
def test_the_laws_of_every_program(names):
    arrays = {name: array for name, array in mixed().items() if name.removeprefix("mask_") in names}
    assert check_program(mmppl.load_program("mvae"), data=mmppl.read(arrays, as_={name: AS[name] for name in names}))


def test_a_query_sets_the_total_of_counts():
    """As if the library were 1e4: means in proportion, and no spread of sizes; two draws of a latent, by hand."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2, 1, (60, 1)) * rng.gamma(2, 3, 5))
    data = mmppl.read({"rna": counts, "x": rng.normal(size=(60, 2))}, as_={"rna": "poisson:size=total"})
    model = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=4), data=data)
    asked = dict(given="x", want="rna", split="all", draws=2, rows=slice(8))
    own, found = (model.query(**asked, set_condition=how) for how in ({}, {"size_rna": "1e4"}))
    m = data.modalities[0]
    centres = np.expm1(np.array(m.input_scaling.shift))
    factor = 1e4 / centres.sum() / m.size_factor[0]
    np.testing.assert_allclose(found["rna"]["mean"], own["rna"]["mean"] * factor, rtol=1e-5)
    latent = own["rna"]["std"] ** 2 - own["rna"]["mean"]  # E v + Var m, with v = m + CV² m²
    spread, mean = m.size_factor[1], own["rna"]["mean"]
    of_latent = (latent - spread * mean**2) / (1 + spread)  # Var m of the two draws
    np.testing.assert_allclose(found["rna"]["std"] ** 2, found["rna"]["mean"] + of_latent * factor**2, rtol=1e-3)
    assert "rna: predicted as counts of a row whose total is 1e4." in found.warnings
    for how, why in (({"size_rna": "-1"}, "a total above 0"), ({"size_x": 3}, "there are size_rna")):
        with pytest.raises(mmppl.UsageError, match=why):
            model.query(**asked, set_condition=how)
    with pytest.raises(mmppl.UsageError, match="is of rna, which is not wanted"):
        model.query(given="rna", want="x", set_condition={"size_rna": 3}, split="all")


@pytest.fixture(scope="module")
def simulated():
    """Counts whose library sizes span two decades, and a fit of each likelihood to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
        import counts

        try:
            named = {name: counts.LIKELIHOODS[name] for name in ("nb of a library size", "poisson", "normal")}
            return counts.compared(rows=1600, columns=50, epochs=20, seed=0, named=named)
        finally:
            sys.modules.pop("counts", None)


@pytest.mark.slow
def test_simulated_counts_of_two_decades(simulated):
    """NB of a library size is the default and the most probable on held-out rows."""
    best = simulated["nb of a library size"]
    assert simulated["chosen"] == "nb of a library size"
    assert best["nats"] < min(simulated["poisson"]["nats"], simulated["normal"]["nats"]), json.dumps(simulated)
    assert 0.85 < best["coverage90"] < 0.97


@pytest.mark.slow
def test_means_of_simulated_counts_are_right(simulated):
    assert simulated["nb of a library size"]["mean"] == pytest.approx(1, abs=0.02)
