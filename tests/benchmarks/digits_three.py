"""MVAE on `digits-three` with a share of the modalities missing at random in training and test: label accuracy for each
conditioning set against logistic regression on mean-imputed features.

    python tests/benchmarks/digits_three.py [--seeds 10] [--rates 0 0.3 0.6] [--json FILE]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.3, 0.6])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    hyper = dict(pair.split("=", 1) for pair in options.set)
    result: dict[str, Any] = {
        "versions": {"mmppl": mmppl.__version__, "torch": torch.__version__},
        "seeds": options.seeds,
    }
    with tempfile.TemporaryDirectory() as folder:
        for rate in options.rates:
            found = []
            for seed in range(options.seeds):
                run = mmppl.fit(
                    "mvae", f"digits-three:seed={seed}", hyper=hyper, hide=rate, seed=seed, epochs=options.epochs,
                    out=Path(folder) / f"{rate}-{seed}",
                )  # fmt: skip
                found.append(run.evaluate(metrics=["error.label", "baseline_error.label"], draws=64)["metrics"])
            table = {}
            for kind in ("error.label", "baseline_error.label"):
                table[kind] = {
                    given: [100 - 100 * np.mean(v), 100 * np.std(v, ddof=1)]
                    for given in found[0][kind]
                    for v in [[f[kind][given] for f in found]]
                }
            means = [  # over the conditioning sets, (seeds,)
                np.array([100 - 100 * np.mean(list(f[k].values())) for f in found])
                for k in ("error.label", "baseline_error.label")
            ]
            lead = means[0] - means[1]
            result[f"missing {rate:.0%}"] = {
                "accuracy": table["error.label"],
                "baseline": table["baseline_error.label"],
            }
            result[f"missing {rate:.0%}"]["mean"] = {
                "mvae": means[0].mean(),
                "baseline": means[1].mean(),
                "lead": [lead.mean(), lead.std(ddof=1) if len(lead) > 1 else None],
            }
            print(rate, json.dumps(result[f"missing {rate:.0%}"], indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
