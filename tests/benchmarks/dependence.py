"""Estimates of total correlations that are known: three Gaussian vectors, correlated component by component.

    python tests/benchmarks/dependence.py [SEEDS] [STEPS]

prints a line of JSON for each case, method and seed. The total correlation is −(d/2) ln[(1 − r)² (1 + 2r)].
"""

import json
import math
import sys
import time

import torch

import mmppl

ROWS = 70_000  # of which 21,000 are fresh
CASES = [(0.0, 5), (0.5, 1), (0.5, 3), (0.5, 5), (0.8, 1), (0.8, 3), (0.8, 5)]  # r and d
LARGE = 3.5  # nats; beyond, one estimator alone is asked for: "js"


def truth(r: float, d: int) -> float:
    """The total correlation, in nats."""
    return -d / 2 * math.log((1 - r) ** 2 * (1 + 2 * r))


def joint_information(r: float, d: int) -> float:
    """I(x₁; x₂ x₃), what one permutation for the others would give, in nats."""
    return truth(r, d) + d / 2 * math.log(1 - r * r)


def vectors(r: float, d: int, rows: int, seed: int) -> torch.Tensor:
    """(3, rows, d)."""
    lower = torch.linalg.cholesky(torch.full((3, 3), r).fill_diagonal_(1.0))
    noise = torch.randn(rows, d, 3, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("ij,ndj->ind", lower, noise)


def estimate(r: float, d: int, method: str, seed: int, steps: int, rows: int = ROWS) -> dict[str, object]:
    """One line."""
    begun = time.process_time()
    found = mmppl.dependency(*vectors(r, d, rows, seed), method=method, seed=seed, steps=steps)
    own = {name: getattr(found, name) for name in ("tc", "se", "low", "high", "converged", "chain", "fresh")}
    known = truth(r, d)
    ratio = found.tc / known if known else None
    seconds = round(time.process_time() - begun, 1)
    return {"r": r, "d": d, "truth": known, "method": method, "seed": seed, "ratio": ratio, **own, "seconds": seconds}


if __name__ == "__main__":
    seeds, steps = (int(word) for word in (*sys.argv[1:], *("3", "2000")[len(sys.argv) - 1 :]))
    torch.set_num_threads(1)
    for seed in range(seeds):
        for r, d in CASES:
            for method in ("nwj", "dv") if truth(r, d) < LARGE else ("js",):
                print(json.dumps(estimate(r, d, method, seed, steps)), flush=True)
