"""CCA, DCCA, DCCAE, VCCA, VCCA-private, CMMD, MVAE and MMVAE on `mnist-two-view`: what z given one view tells.

    python tests/benchmarks/two_view_family.py --root DATA --out FILE.jsonl [--rows 10000|50000] [--seeds 0 1 2]
        [--programs cca dcca ...] [--scale 1.0]

Each run is one JSON line: the error of a linear SVM and of logistic regression on z given the rotated view, fitted to
the codes of the training rows, whose C is chosen on validation rows; the program's own answer to the label, where it
has one; of CCA and DCCA the correlation of the test rows. A run that is in --out already is not repeated. --scale 0.1
takes a tenth of the steps, to try it out. Labels teach CMMD, MVAE and MMVAE, and none of the others.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.base.quiet import without_warnings
from mmppl.evaluation.conditioning import with_all
from mmppl.evaluation.evaluate import metric_names
from mmppl.evaluation.latent import posterior_means

GIVEN = "rotated"
CS = (0.01, 0.1, 1.0, 10.0)
DEEP = dict(hidden=300, layers=2, dropout=0.2, activation="relu", linear=False)
VARIATIONAL = dict(hidden=512, layers=2, dropout=0.2, activation="relu", norm=False, linear=False)
GENERATIVE = dict(hidden=512, layers=2)
# name → program, hyper-parameters, and gradient steps for 10,000 rows (None: in closed form) with their settings
FAMILY: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "cca": ("dcca", dict(latent_dim=10, layers=0, reg=0.1), {}),
    "dcca": ("dcca", dict(latent_dim=10, **DEEP), dict(steps=600, batch_size=500, lr=2e-3)),
    "dccae": ("dcca", dict(latent_dim=10, reconstruct=1e-3, **DEEP), dict(steps=600, batch_size=500, lr=2e-3)),
    "vcca": ("vcca", dict(latent_dim=20, private=0, scale=0.1, **VARIATIONAL), dict(steps=1500, batch_size=200)),
    "vcca-private": (
        "vcca", dict(latent_dim=20, private=30, scale=0.1, **VARIATIONAL), dict(steps=1500, batch_size=200),
    ),
    "cmmd": ("cmmd", dict(), dict(steps=1000, batch_size=200)),
    "mvae": ("mvae", dict(latent_dim=30, **GENERATIVE), dict(steps=1500, batch_size=200)),
    "mmvae": ("mmvae", dict(latent_dim=30, **GENERATIVE), dict(steps=1500, batch_size=200)),
}  # fmt: skip
VIEWS = {"vcca": dict(views=(GIVEN,)), "vcca-private": dict(views=(GIVEN,))}  # that the guide sees


def probed(run: mmppl.Run, data: mmppl.Dataset) -> dict[str, float]:
    """Test errors in per cent of two linear classifiers of z, each with the C of the least error on validation rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    parts = {}
    for part in ("train", "valid", "test"):
        rows = with_all(data.take(data.rows(part)), [GIVEN, "label"])
        parts[part] = posterior_means(run, rows, [GIVEN]), rows.values["label"].numpy()
    scaler = StandardScaler().fit(parts["train"][0])
    codes = {part: scaler.transform(z) for part, (z, _) in parts.items()}
    ways = {
        "svm": lambda c: LinearSVC(C=c, dual=False, random_state=0),
        "logistic": lambda c: LogisticRegression(C=c, max_iter=300),
    }
    found = {}
    with without_warnings(ConvergenceWarning):
        for name, made in ways.items():
            fitted = [made(c).fit(codes["train"], parts["train"][1]) for c in CS]
            errors = {part: [np.mean(m.predict(codes[part]) != parts[part][1]) for m in fitted] for part in codes}
            best = int(np.argmin(errors["valid"]))
            found |= {f"{name} error": 100 * float(errors["test"][best]), f"{name} C": CS[best]}
    return found


def figures(name: str, data: mmppl.Dataset, seed: int, steps: float) -> dict[str, Any]:
    """Fit one program, and what it scores."""
    program, hyper, settings = FAMILY[name]
    hyper, settings = hyper | VIEWS.get(name, {}), dict(settings)
    if "steps" in settings:  # all are taken: the number is the same for all seeds
        epochs = max(2, round(steps * settings.pop("steps") * settings["batch_size"] / len(data.rows("train"))))
        settings["epochs"] = epochs
    begun = time.monotonic()
    run = mmppl.fit(program, data, hyper=hyper, seed=seed, **settings)
    row: dict[str, Any] = {"seconds": round(time.monotonic() - begun, 1), **probed(run, data)}
    wanted = ["error.label", "correlation_total"]
    known = [m for m in wanted if m in metric_names(run.program)]
    found = run.evaluate(data, metrics=known, conditioning_sets=[GIVEN], draws=8)["metrics"] if known else {}
    if "error.label" in found:
        row["own error"] = 100 * found["error.label"][GIVEN]
    if "correlation_total" in found:
        row["correlation"] = found["correlation_total"]
        row["correlation of training rows"] = float(run.program.correlations.sum())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--programs", nargs="+", default=list(FAMILY), choices=list(FAMILY))
    parser.add_argument("--scale", type=float, default=1.0, help="of the steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mmppl.read("mnist-two-view", root=options.root)
    train = data.rows("train")[: options.rows]
    data = data.take(torch.cat([train, data.rows("valid"), data.rows("test")]))
    steps = options.scale * max(1.0, (options.rows / 10_000) ** 0.5)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    keys = ("program", "rows", "seed", "scale")
    done = {tuple(json.loads(line)[key] for key in keys) for line in lines}
    for seed in options.seeds:
        for name in options.programs:
            key = dict(zip(keys, (name, options.rows, seed, options.scale)))
            if tuple(key.values()) in done:
                continue
            row = key | figures(name, data, seed, steps)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
