"""Four VAEs, and CMMD for each observed set, on `mnist-photo-text`: how well a linear classifier reads the digit off
the latent, and how often what is generated shows it, by what is given.

    python tests/benchmarks/mnist_photo_text.py --root DATA [--models MoPoE ...] [--seeds 0 1 2] [--epochs 20]
        [--set NAME=VALUE]... [--out FOLDER] [--json FILE]

Labels train nothing but CMMD. Runs are kept in --out; one that was killed goes on where it stopped, and a finished one
is only scored.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.bench.harness import circumstances
from mmppl.evaluation.conditioning import default_conditioning_sets, set_name
from mmppl.evaluation.latent import FEW, linear_probe, posterior_means

NAMES = ("image", "photo", "text")
SHARED = dict(latent_dim=20, weights="size", label_weight=0.0)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # name → program and its hyper-parameters
    "MVAE": ("mvae", dict(SHARED, subsets="sampled", extra=1, scored="seen", cross=0.0, beta=2.5)),
    "JMVAE": ("jmvae", dict(SHARED, beta=2.5, towards="both")),
    "MMVAE": ("mmvae", dict(SHARED, objective="elbo", draws=1, dreg=False, beta=2.5)),
    "MoPoE": (  # answers: what the authors evaluate
        "mopoe",
        dict(SHARED, beta=2.5, scored="observed", prior_expert="full", answers="product"),
    ),
}
OBSERVED = [subset for size in (1, 2) for subset in combinations(NAMES, size)]


def score(run: mmppl.Run, data: mmppl.Dataset) -> dict[str, Any]:
    """metric → share, or {conditioning set: share}, on the test rows."""
    metrics = run.evaluate(data, metrics=["probe", "coherence", "error.label"], draws=8)["metrics"]
    for name in ("probe500.label", "probe.label"):
        if len(metrics.get(name, {})) > 1:
            metrics[name]["mean"] = float(np.mean(list(metrics[name].values())))
    if type(run.program).__name__ == "MMVAE":
        metrics["probe500.label, one component"] = of_one_component(run, data)
    return metrics | {"seconds": run.record.result.seconds}


def of_one_component(run: mmppl.Run, data: mmppl.Dataset, seed: int = 0) -> dict[str, float]:
    """The probe on 500 latents where each row's is the mean of one of a mixture's components, chosen at random: so the
    authors of MoPoE read a mixture of experts. `evaluate` reads the mean of the mixture."""
    rng = np.random.default_rng(seed)
    train, test = (data.take(data.rows(part)) for part in ("train", "test"))
    train = train.take(torch.from_numpy(rng.choice(len(train), FEW)))
    parts = [(p, {n: posterior_means(run, p, [n], seed) for n in NAMES}) for p in (train, test)]
    found = {}
    for given in default_conditioning_sets(run.program):
        read = []
        for part, means in parts:
            chosen = rng.integers(len(given), size=len(part))
            z = np.stack([means[name] for name in given])[chosen, np.arange(len(part))]
            read += [z, part.values["label"].numpy()]
        found[set_name(given)] = linear_probe(*read, standardise=False)
    return found | {"mean": float(np.mean(list(found.values())))}


def spread(rows: list[Any], of: Any) -> Any:
    """A statistic of the numbers at the same place of all rows."""
    if isinstance(rows[0], dict):
        return {key: spread([row[key] for row in rows], of) for key in rows[0]}
    return float(of(rows)) if isinstance(rows[0], (int, float)) else rows[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--models", nargs="+", default=[*MODELS, "CMMD"], choices=[*MODELS, "CMMD"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="CMMD takes the first alone")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="for all but CMMD")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-photo-text"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mmppl.read("mnist-photo-text", root=options.root)
    settings = dict(epochs=options.epochs, lr=options.lr, batch_size=options.batch_size, precision=options.precision)
    found: dict[str, Any] = {**circumstances(), "set": options.set, **settings}

    def fitted(label: str, program: str, hyper: dict[str, Any], seed: int) -> dict[str, Any]:
        out = options.out / "-".join([label, str(options.epochs), *options.set, str(seed)])
        run = mmppl.fit(program, data, hyper=hyper, seed=seed, out=out, resume=out.is_dir(), **settings)  # type: ignore[arg-type]
        row = score(run, data)
        print(label, seed, json.dumps(row), flush=True)
        return row

    for model in options.models:
        if model == "CMMD":
            for observed in OBSERVED:
                hyper: dict[str, Any] = dict(observed=",".join(observed), latent_dim=20, alpha=100.0)
                hyper |= dict(decoder_hidden=256, dropout=0.0)  # decoders as wide as the others'
                name = f"CMMD {'+'.join(observed)}"
                found[name] = fitted(name.replace(" ", "-"), "cmmd", hyper, options.seeds[0])
        else:
            program, hyper = MODELS[model]
            hyper = hyper | dict(pair.split("=", 1) for pair in options.set)
            rows = [fitted(model, program, hyper, seed) for seed in options.seeds]
            found[model] = {"mean": spread(rows, np.mean), "rows": rows}
            if len(rows) > 1:
                found[model]["sd"] = spread(rows, lambda values: np.std(values, ddof=1))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
