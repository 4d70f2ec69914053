"""Fitted models beside the truth: linear-Gaussian worlds whose noise, evidence and intervals are known exactly.

    python tests/benchmarks/worlds.py [--program mvae] [--preset P] [--set NAME=VALUE] [--shapes 6/3/10 ...]
        [--rates 0 .4] [--layers 0 default] [--seeds 0 1 2] [--method guide]
        [--json [FILE]]

z ~ N(0, I_3), x_m = W_m z + b_m + noise, W not orthogonal; 5,000 rows, a tenth of them held out; default settings of
the program (`--layers 0` makes its networks affine). Of 5,000 fresh rows with nothing missing:

- noise: learned over true standard deviation, the geometric mean over the features of each modality; the worst of them,
  and of a single feature;
- evidence: nats per row below the exact evidence (1,000 rows, 300 draws), and the share of rows with k̂ > 0.7;
- coverage of central 90 % intervals, their width over the exact one's, and the rmse of the predictive mean over the
  exact one's, each for every set of given modalities and every other one: the least and the greatest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.bench.harness import circumstances
from mmppl.testing.linear_gaussian import World

RESULTS = Path(__file__).parent / "results" / "worlds.json"
ROWS, FRESH, LATENT = 5_000, 5_000, 3
SHAPES = ("6/3/10", "4/4", "12/2/5/8")
WIDE = 2 * 1.6448536  # standard deviations in a central interval of 90 %


def measure(program: str, shape: str, rate: float, layers: str, seed: int, **options: Any) -> dict[str, Any]:
    """Fit one world and compare."""
    sizes = {f"x{i}": int(size) for i, size in enumerate(shape.split("/"))}
    world = World.make(sizes, LATENT, orthogonal=False, seed=seed)
    train, fresh = (world.sample(n, seed=100 * k + seed) for n, k in ((ROWS, 1), (FRESH, 2)))
    split = np.where(np.arange(ROWS) % 10 == 0, "valid", "train")
    data = {**{n: v.numpy() for n, v in train.values.items()}, "split": split}
    hyper, method = dict(options.pop("hyper")), options.pop("method")
    if layers != "default":
        hyper["layers"] = int(layers)
    began = time.perf_counter()
    run = mmppl.fit(program, data, hyper=hyper, hide=rate, seed=seed, **options)
    found: dict[str, Any] = dict(shape=shape, rate=rate, layers=layers, seed=seed)
    found |= dict(seconds=round(time.perf_counter() - began, 1), steps=run.summary()["steps"])
    return found | noise(run, world) | evidence(run, world, fresh.values) | intervals(run, world, fresh.values, method)


def noise(run: mmppl.Run, world: World) -> dict[str, float]:
    ratios = {}
    for m in run.program.modalities:
        output = torch.zeros(1, m.output_size)
        scale = m.family(m, output).variance.sqrt().detach().numpy()
        zero = np.zeros((1, m.size))
        spread = m.value_in_input_units(zero + 1) - m.value_in_input_units(zero)
        ratios[m.name] = (scale * spread / world.sds[m.name]).ravel()
    of_modalities = [np.exp(np.log(r).mean()) for r in ratios.values()]
    worst = max(of_modalities, key=lambda r: abs(np.log(r)))
    feature = max(np.concatenate([*ratios.values()]), key=lambda r: abs(np.log(r)))
    return dict(noise=float(worst), noise_feature=float(feature))


def evidence(run: mmppl.Run, world: World, values: dict[str, torch.Tensor]) -> dict[str, float]:
    rows = {n: v[:1_000] for n, v in values.items()}
    given = {n: v.numpy() for n, v in rows.items()}
    found = run.query(given, want=["evidence"], draws=300, split="all")["evidence"]
    gap = found["nats"] - world.log_evidence(rows, [*rows]).numpy()
    return dict(gap=float(np.mean(gap)), khat=float(np.mean(found["khat"] > 0.7)))


def intervals(run: mmppl.Run, world: World, values: dict[str, torch.Tensor], method: str) -> dict[str, list[float]]:
    names, found = [*values], {"coverage": [], "width": [], "rmse": []}  # type: ignore[var-annotated]
    data = {n: v.numpy() for n, v in values.items()}
    for target in names:
        others = [n for n in names if n != target]
        for given in itertools.chain.from_iterable(itertools.combinations(others, k + 1) for k in range(len(others))):
            answer = run.query(data, given=list(given), want=[target], draws=200, method=method, split="all")[target]
            mean, variance = world.predictive(values, list(given), target)
            low, high, truth = answer["q05"], answer["q95"], data[target]
            found["coverage"].append(float(((truth >= low) & (truth <= high)).mean()))
            found["width"].append(float(((high - low) / (WIDE * variance.sqrt().numpy())).mean()))
            errors = [float(np.square(guess - truth).mean()) for guess in (answer["mean"], mean.numpy())]
            found["rmse"].append((errors[0] / errors[1]) ** 0.5)
    return {name: [min(numbers), max(numbers)] for name, numbers in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="mvae")
    parser.add_argument("--preset")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--rates", nargs="*", type=float, default=[0.0, 0.4])
    parser.add_argument("--layers", nargs="*", default=["0", "default"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--method", default="guide", help="of the queries: guide or importance")
    parser.add_argument("--json", nargs="?", const=RESULTS, type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    hyper = dict(pair.split("=", 1) for pair in asked.set)
    hyper = {name: json.loads(value) if value[:1] in "-.0123456789tf" else value for name, value in hyper.items()}
    cells = []
    for shape, layers, rate in itertools.product(asked.shapes, asked.layers, asked.rates):
        for seed in asked.seeds:
            options = dict(hyper=hyper, preset=asked.preset, steps=asked.steps, method=asked.method)
            cells.append(measure(asked.program, shape, rate, layers, seed, **options))
            print(json.dumps(cells[-1]), flush=True)
    if asked.json:
        found = dict(program=asked.program, preset=asked.preset, hyper=hyper, **circumstances(), cells=cells)
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
