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
