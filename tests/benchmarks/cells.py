"""Missing entries of real tables of several views, imputed by a program and by imputers of one table.

    python tests/benchmarks/cells.py DATA [SHARES] [PROGRAM] [SEEDS] [CACHE]

DATA is an .npz file of views (and a label, which is left out). For each share (such as 0.1,0.3,0.5) and seed so many of
all entries are hidden completely at random; everything learns from the rest of all rows. A line of JSON for each view
has the rmse of the hidden entries, in units of the spread of their columns, of the program, of IterativeImputer
(Bayesian ridge, the 50 nearest features, 5 passes), of KNNImputer and of the mean, and how many of the hidden entries
the program's 90 % intervals hold. The imputers see all views side by side; their answers are kept in the folder CACHE.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

import mmppl

WIDTH = 50  # nearest features of a regression


def views_of(path: str) -> dict[str, np.ndarray]:
    """Name → (N, d) floats: the arrays of several columns."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return {name: x.astype(np.float64) for name, x in arrays.items() if x.ndim == 2 and x.dtype.kind in "iuf"}


def imputers(table: np.ndarray, cache: Path | None) -> dict[str, np.ndarray]:
    """Name → (N, d) with answers in place of NaN, and the seconds that they took."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # isort: skip
    from sklearn.impute import IterativeImputer, KNNImputer
    from sklearn.linear_model import BayesianRidge

    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            return dict(kept)
    nearest = min(WIDTH, table.shape[1])
    found, spread = {}, np.nanstd(table, 0)
    spread[spread == 0] = 1
    scaled = (table - np.nanmean(table, 0)) / spread  # distances of neighbours depend on the units
    for name, imputer in {
        "iterative": IterativeImputer(BayesianRidge(), n_nearest_features=nearest, max_iter=5, random_state=0),
        "knn": KNNImputer(),
    }.items():
        begun = time.process_time()
        found[name] = imputer.fit_transform(scaled) * spread + np.nanmean(table, 0)
        found[f"{name}_seconds"] = np.array(time.process_time() - begun)
    if cache is not None:
        np.savez(cache, **found)
    return found


def measure(path: str, share: float, program: str, seed: int, cache: Path | None) -> list[dict[str, object]]:
    """One line for each view."""
    views = views_of(path)
    rng = np.random.default_rng(seed)
    hole = {name: rng.random(x.shape) < share for name, x in views.items()}
    seen = {name: np.where(hole[name], np.nan, x) for name, x in views.items()}
    key = f"{Path(path).stem}-{share}-{seed}.npz"
    others = imputers(np.concatenate(list(seen.values()), 1), None if cache is None else cache / key)
    begun = time.process_time()
    rows = len(next(iter(views.values())))
    as_ = dict.fromkeys(views, "normal:transform=standardise")  # all are compared as they are
    run = mmppl.fit(program, seen | {"split": np.zeros(rows, dtype=int)}, as_=as_, seed=seed)
    answer = run.query(want=list(views), only_missing=True, split="all")
    seconds, lines, column = time.process_time() - begun, [], 0
    for name, x in views.items():
        at, own = hole[name], answer[name]
        spread = np.broadcast_to(np.where(x.std(0) > 0, x.std(0), 1), x.shape)[at]
        line: dict[str, object] = {
            "data": Path(path).stem,
            "share": share,
            "seed": seed,
            "program": program,
            "view": name,
        }
        line["rmse"] = _rmse(own["mean"][at], x[at], spread)
        for other in ("iterative", "knn"):
            line[other] = _rmse(others[other][:, column : column + x.shape[1]][at], x[at], spread)
        line["mean"] = _rmse(np.broadcast_to(np.nanmean(seen[name], 0), x.shape)[at], x[at], spread)
        line["coverage90"] = round(float(((own["q05"] <= x) & (x <= own["q95"]))[at].mean()), 4)
        line["seconds"] = round(seconds, 1)
        line["seconds_iterative"], line["seconds_knn"] = (
            round(float(others[f"{o}_seconds"]), 1) for o in ("iterative", "knn")
        )
        lines.append(line)
        column += x.shape[1]
    return lines


def _rmse(found: np.ndarray, truth: np.ndarray, spread: np.ndarray) -> float:
    return round(float(np.sqrt((((found - truth) / spread) ** 2).mean())), 4)


if __name__ == "__main__":
    path, shares, program, seeds, folder = (*sys.argv[1:], *("0.1,0.3,0.5", "factors", "1", "")[len(sys.argv) - 2 :])
    for share in map(float, shares.split(",")):
        for seed in range(int(seeds)):
            for line in measure(path, share, program, seed, Path(folder) if folder else None):
                print(json.dumps(line), flush=True)
