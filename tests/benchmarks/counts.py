"""Counts whose library sizes span two decades, beside a block of numbers: the negative binomial of a library size, a
Normal on ln(1 + x) and a Poisson, each as the likelihood of the same program on the same rows.

    python tests/benchmarks/counts.py [--rows 2000] [--columns 60] [--epochs 40] [--seeds 0 1 2] [--program mvae]

Prints JSON, for each seed and likelihood, of the test rows: `nats`, −ln p(counts | both blocks' latent) per row in the
units of the counts (`nll.rna` of `mmppl evaluate`; with a library size it includes the nats of the row's total);
`mean`, the mean of the training rows' answers from the other block over that of their simulated means, which is 1 where
answers tell the truth; `coverage90`, of the test rows' intervals; and `chosen`, what the data are taken for where
nobody says. The world is log-linear in two latents, with NB noise of inverse dispersion 3.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from typing import Any

import numpy as np

import mmppl

LIKELIHOODS = {"nb of a library size": "nb:size=total", "nb": "nb:size=none", "poisson": "poisson", "normal": "normal"}
R = 3.0  # inverse dispersion


def world(rows: int, columns: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Simulate counts ("rna") and numbers ("prot") of two latents.

    Args:
        rows: the number of rows, of which 70 % are for training and 20 % are test rows.
        columns: the number of counts of a row.
        seed: the seed.

    Returns:
        The arrays, and (rows, columns) the means of the counts.
    """
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(rows, 2))
    size = 10 ** rng.uniform(-1, 1, rows)
    rate = np.exp(rng.normal(1.0, 1.0, columns) + 0.4 * latent @ rng.normal(size=(2, columns)))
    counts = rng.poisson(size[:, None] * rate * rng.gamma(R, 1 / R, rate.shape))
    numbers = latent @ rng.normal(size=(2, 8)) + 0.3 * rng.normal(size=(rows, 8))
    split = np.searchsorted([0.7, 0.8], np.arange(rows) / rows, side="right")
    return {"rna": counts, "prot": numbers, "split": split}, size[:, None] * rate


def compared(
    rows: int, columns: int, epochs: int, seed: int, program: str = "mvae", named: dict[str, str] = LIKELIHOODS
) -> dict[str, Any]:
    """Fit a program with each likelihood and score it on the test rows.

    Args:
        rows: see `world`.
        columns: see `world`.
        epochs: the epochs of each fit.
        seed: the seed of the world and of the fits.
        program: the program.
        named: what it is called → what `--as rna=` says.

    Returns:
        Name → "nats", "mean" and "coverage90"; "chosen" → the default.
    """
    arrays, means = world(rows, columns, seed)
    default = mmppl.read(arrays).modalities[0]
    found: dict[str, Any] = {"chosen": default.likelihood + (" of a library size" if default.size_factor else "")}
    test = arrays["split"] == 2
    for name, likelihood in named.items():
        data = mmppl.read(arrays, as_={"rna": likelihood})
        with tempfile.TemporaryDirectory() as folder:
            run = mmppl.fit(program, data, epochs=epochs, batch_size=64, seed=seed, out=f"{folder}/run")
            nats = run.evaluate(metrics=["nll.rna"], conditioning_sets=[["rna", "prot"]])["metrics"]["nll.rna"]
            answer, of_train = (
                run.query(given=["prot"], want=["rna"], split=part, draws=100)["rna"] for part in ("test", "train")
            )
        inside = (answer["q05"] <= arrays["rna"][test]) & (arrays["rna"][test] <= answer["q95"])
        found[name] = {
            "nats": round(next(iter(nats.values())), 2),
            "mean": round(float(of_train["mean"].mean() / means[arrays["split"] == 0].mean()), 4),
            "coverage90": round(float(inside.mean()), 3),
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--program", default="mvae")
    options = parser.parse_args()
    how = (options.rows, options.columns, options.epochs)
    print(json.dumps({seed: compared(*how, seed, options.program) for seed in options.seeds}, indent=1))
