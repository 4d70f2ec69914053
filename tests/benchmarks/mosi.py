"""Sentiment of CMU-MOSI by `mdm`: every fusion network without a penalty, with a critic that moves nothing else (a
sham), and with penalties.

    python tests/benchmarks/mosi.py --root DATA [--networks mfn ...] [--penalties none sham nwj ...] [--lambdas .1]
                                    [--seeds 0 1 ...] > RUNS
    python tests/benchmarks/mosi.py --summary RUNS

prints a line of JSON for each run, and for a file of such lines the mean and the standard deviation of each setting,
with the p-value of Wilcoxon's signed-rank test against the sham of the same seeds. "ef-lstm", "lf-lstm" and "mfn" read
windows of six utterances, "tfn" and "lmf" one. Test rows are those of 31 videos, which nothing else is taken from; the
best of 12 epochs is chosen on 12 of the other videos, whose labels the features of text and video have seen.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.evaluation.summary import paired_runs

WINDOWS = {"ef-lstm": 6, "lf-lstm": 6, "mfn": 6, "tfn": 1, "lmf": 1}
PENALTIES = ("none", "sham", "dv", "nwj", "wasserstein")
METRICS = ("mae", "corr", "a2", "a2_nonzero", "a7")
SHAM = "nwj"  # whose critic runs where λ is 0
LABEL = "score"
ABSOLUTE = "laplace:scale=1,role=label"  # the loss is the absolute error, as in the literature, and chooses the epoch


def settings(penalties: list[str], lambdas: list[float]) -> list[tuple[str, float]]:
    """(penalty, λ): those without a λ first."""
    first = [(penalty, 0.0) for penalty in penalties if penalty in ("none", "sham")]
    return first + [(penalty, weight) for weight in lambdas for penalty in penalties if penalty not in ("none", "sham")]


def one(data: Any, network: str, penalty: str, weight: float, seed: int) -> dict[str, Any]:
    """One run: its scores on the test rows, and what is left of them from each subset of the modalities."""
    begun = time.process_time()
    hyper = dict(fusion=network, penalty=SHAM if penalty == "sham" else penalty, penalty_weight=weight)
    run = mmppl.fit("mdm", data, hyper=hyper, preset="mosi", seed=seed)
    fitted = time.process_time()
    found = run.evaluate(data, metrics=[*METRICS, "drop"], draws=2)["metrics"]  # all draws have one Z
    kept = {name.removesuffix(f".{LABEL}"): values for name, values in found.items() if name.endswith(f".{LABEL}")}
    full = max(kept["mae"], key=len)  # the set of all of them has the longest name
    best = min(run.metrics, key=lambda line: line["loss"]["valid"])
    bound = {name: value for name, value in best["valid"].items() if name.startswith("tc.")}
    return {
        "network": network, "penalty": penalty, "weight": weight, "seed": seed, "epoch": best["epoch"],
        "valid": round(best["valid"][f"nll.{LABEL}"], 4),
        **{name: round(kept[name][full], 5) for name in METRICS},
        "subsets": {m: {given: round(x, 4) for given, x in kept[m].items() if given != full} for m in ("mae", "corr")},
        "drop": {
            name.removeprefix("drop_"): {given: round(x, 4) for given, x in ratios.items()}
            for name, ratios in kept.items() if name.startswith("drop_")
        },
        "bound": next(iter(bound.values()), None), "fit_seconds": round(fitted - begun, 2),
        "evaluate_seconds": round(time.process_time() - fitted, 2),
    }  # fmt: skip


def summary(lines: list[dict[str, Any]]) -> None:
    """A line for each network, penalty and λ."""
    runs: dict[tuple[str, str, float], dict[int, dict[str, Any]]] = defaultdict(dict)
    for line in lines:
        runs[line["network"], line["penalty"], line["weight"]][line["seed"]] = line
    for (network, penalty, weight), own in runs.items():
        print(f"{network:8} {penalty:12} {weight:4g} n={len(own)}", end="")
        for name in METRICS:
            values = [line[name] for line in own.values()]
            spread = np.std(values, ddof=1) if len(values) > 1 else float("nan")
            print(f"  {name} {np.mean(values):.3f} ± {spread:.3f}", end="")
        without_text = [line["drop"]["a2"]["audio+video"] for line in own.values()]
        print(f"  a2 ratio without text {np.mean(without_text):.2f}", end="")
        sham = runs.get((network, "sham", 0.0), {})
        shared = sorted(set(own) & set(sham)) if penalty != "sham" else []
        if len(shared) > 1:
            found = paired_runs([own[s]["mae"] for s in shared], [sham[s]["mae"] for s in shared])
            print(f"  mae − sham {found['mean']:+.4f} ± {found['sd']:.4f}, p {found['p']:.3f}", end="")
        print()
    seconds = sum(line["fit_seconds"] + line["evaluate_seconds"] for line in lines)
    print(f"{len(lines)} runs, {seconds / 60:.1f} minutes of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--networks", nargs="*", default=list(WINDOWS), choices=WINDOWS)
    parser.add_argument("--penalties", nargs="*", default=list(PENALTIES), choices=PENALTIES)
    parser.add_argument("--lambdas", nargs="*", type=float, default=[0.1, 0.01])
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(8)))
    parser.add_argument("--summary", type=Path)
    asked = parser.parse_args()
    if asked.summary:
        summary([json.loads(line) for line in asked.summary.read_text().splitlines()])
        return
    if asked.root is None:
        sys.exit("--root: give the folder that holds cmu_mosi.")
    torch.set_num_threads(1)
    data = {
        window: mmppl.read(f"mosi:window={window}", root=asked.root, as_={LABEL: ABSOLUTE})
        for window in sorted(set(WINDOWS.values()))
    }
    for penalty, weight in settings(asked.penalties, asked.lambdas):
        for seed in asked.seeds:
            for network in asked.networks:
                print(json.dumps(one(data[WINDOWS[network]], network, penalty, weight, seed)), flush=True)


if __name__ == "__main__":
    main()
