"""MVAE on `digits-three` with a share of the modalities missing at random in training and test: label accuracy for each
conditioning set, on the test rows that have it, against logistic regression and extremely randomised trees on
mean-imputed features and mask features.

    python tests/benchmarks/digits_three.py [--seeds 10] [--rates 0 0.3 0.6] [--no-mvae] [--json FILE]

--no-mvae computes the baselines alone.
"""

import argparse
import json
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.evaluation.anchors import features, imputed

NAMES = {"error.label": "mvae", "error_linear.label": "logistic", "error_trees.label": "trees"}


@mmppl.metric("error_trees", of="class", asks=False)
def error_of_trees(target: mmppl.Target) -> float:
    """Share of wrong classes of 300 extremely randomised trees."""
    from sklearn.ensemble import ExtraTreesClassifier

    name, given = target.modality.name, [target.study.program.modality(name) for name in target.given]
    train = target.study.train
    labelled = np.flatnonzero(train.observed[name].numpy())
    known, asked = imputed(features(train, given, labelled), features(target.rows, given, np.arange(len(target.rows))))
    trees = ExtraTreesClassifier(300, random_state=target.study.seed).fit(known, train.values[name].numpy()[labelled])
    return float((trees.predict(asked) != target.truth).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.3, 0.6])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--no-mvae", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    hyper = dict(pair.split("=", 1) for pair in options.set)
    names = {metric: name for metric, name in NAMES.items() if not (options.no_mvae and name == "mvae")}
    result: dict[str, Any] = {
        "versions": {"mmppl": mmppl.__version__, "torch": torch.__version__},
        "seeds": options.seeds,
    }
    for rate in options.rates:
        found = []
        for seed in range(options.seeds):
            recipe = f"digits-three:seed={seed}"
            if options.no_mvae:
                data = mmppl.read(recipe, hide=rate, hide_seed=seed)
                run = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, hidden=8), data=data)
            else:
                run = mmppl.fit("mvae", recipe, hyper=hyper, hide=rate, seed=seed, epochs=options.epochs)
            found.append(run.evaluate(metrics=list(names), draws=64))
        table = {
            name: {
                given: [100 - 100 * np.mean(v), 100 * np.std(v, ddof=1) if len(v) > 1 else None]
                for given in found[0]["metrics"][metric]
                for v in [[one["metrics"][metric][given] for one in found]]
            }
            for metric, name in names.items()
        }
        means = {  # over the conditioning sets, (seeds,)
            name: np.array([100 - 100 * np.mean(list(one["metrics"][metric].values())) for one in found])
            for metric, name in names.items()
        }
        of_rate: dict[str, Any] = {
            "rows": {given: float(np.mean([one["n"][given] for one in found])) for given in found[0]["n"]},
            "accuracy": table,
            "mean": {name: mean.mean() for name, mean in means.items()},
        }
        if "mvae" in means and options.seeds > 1:
            leads = {name: means["mvae"] - mean for name, mean in means.items() if name != "mvae"}
            of_rate["lead"] = {name: [lead.mean(), lead.std(ddof=1)] for name, lead in leads.items()}
        result[f"missing {rate:.0%}"] = of_rate
        print(rate, json.dumps(of_rate, indent=1), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
