"""CMMD on `digits-two-view` by repeated stratified cross-validation over all 1,797 rows, paired with the same prior and
classifier networks without generative terms.

    python tests/benchmarks/digits_two_view.py [--folds 5] [--repeats 3] [--json FILE]

Two intervals of the paired difference: over rows (each row is tested once a repeat; the mean of its differences over
the repeats is one observation), and the corrected resampled t interval over folds (Nadeau and Bengio 2003), which also
counts the spread between training sets and is known to be wide.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.model_selection import RepeatedStratifiedKFold

import mmppl
from mmppl.data.recipes.parts.digits import load_digits
from mmppl.data.recipes.parts.two_view import two_view


def one(data: mmppl.Dataset, folder: Path, **settings: Any) -> dict[str, Any]:
    """Fit on the fold's train rows; error and R² of its test rows in per cent, and which are wrong."""
    run = mmppl.fit("cmmd", data, out=folder, **settings)
    guess = run.query(data, want=["label"], draws=2)["label"]["prob"].argmax(-1)
    wrong = guess != data.values["label"][data.rows("test")].numpy()
    found = run.evaluate(
        data, metrics=["error.label", "r2"] if settings["hyper"]["generative"] else ["error.label"]
    )
    metrics = {
        name.split(".")[0]: 100 * float(value["rotated"]) for name, value in found["metrics"].items() if "." in name
    }
    return {**metrics, "wrong": wrong}


def corrected_interval(differences: np.ndarray, test_share: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of cross-validated differences; variance inflated by test/train."""
    n = len(differences)
    error = np.sqrt((1 / n + test_share / (1 - test_share)) * differences.var(ddof=1))
    half = stats.t.ppf(0.5 + level / 2, n - 1) * error
    return differences.mean() - half, differences.mean() + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = load_digits()
    hyper = dict(pair.split("=", 1) for pair in options.set)
    folds = RepeatedStratifiedKFold(n_splits=options.folds, n_repeats=options.repeats, random_state=0)
    rows: list[dict[str, Any]] = []
    by_row = np.zeros(len(labels))  # mean difference of a row's errors over the repeats
    with tempfile.TemporaryDirectory() as folder:
        for number, (_, test) in enumerate(folds.split(np.zeros(len(labels)), labels)):
            split = np.zeros(len(labels), np.int8)
            split[test] = 2
            seed = number // options.folds
            data = two_view(images, labels, split, seed=seed, name=f"digits-two-view fold {number}")
            row: dict[str, Any] = {"fold": number, "rows": len(test)}
            for kind, generative in (("cmmd", True), ("baseline", False)):
                settings = {"hyper": {**hyper, "generative": generative}, "seed": number}
                settings |= {k: v for k, v in (("epochs", options.epochs), ("lr", options.lr)) if v}
                row[kind] = one(data, Path(folder) / f"{kind}{number}", **settings)
            wrong = [row[kind].pop("wrong").astype(float) for kind in ("cmmd", "baseline")]
            by_row[test] += (wrong[0] - wrong[1]) / options.repeats
            rows.append(row)
            print(row, flush=True)
    errors = np.array([[r["cmmd"]["error"], r["baseline"]["error"]] for r in rows])
    r2 = np.array([r["cmmd"]["r2"] for r in rows])
    low, high = corrected_interval(errors[:, 0] - errors[:, 1], 1 / options.folds)
    half = 1.96 * by_row.std(ddof=1) / len(by_row) ** 0.5
    over_rows = [100 * (by_row.mean() - half), 100 * (by_row.mean() + half)]
    result = {
        "folds": options.folds,
        "repeats": options.repeats,
        "versions": {"mmppl": mmppl.__version__, "torch": torch.__version__},
        "error_percent": {"cmmd": errors[:, 0].mean(), "baseline": errors[:, 1].mean()},
        "error_sd_over_folds": {"cmmd": errors[:, 0].std(ddof=1), "baseline": errors[:, 1].std(ddof=1)},
        "difference_points": {"mean": 100 * by_row.mean(), "over_rows95": over_rows, "over_folds95": [low, high]},
        "r2_percent": {"mean": r2.mean(), "sd_over_folds": r2.std(ddof=1)},
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps({**result, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
