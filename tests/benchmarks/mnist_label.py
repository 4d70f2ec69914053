"""MW-VAE (or FMW-VAE) on MNIST images and their labels: the label from the image, the image from the label with z
sampled, W2² of test pairs, over a grid of gamma and cross weight; beside it the unaligned variant.

    python tests/benchmarks/mnist_label.py --root DATA [--program mwvae] [--gamma 0.1 1 10] [--cross 0 0.1 1]
        [--seeds 0 1 2] [--epochs 8] [--rows 50000] [--set NAME=VALUE]... [--out FOLDER] [--json FILE]

A cross weight is a number, or one for the image and one for the label: 0.1,1. The judge of coherence is trained once on
the train rows. Of FMW-VAE, images are generated with every kind of style. Runs are kept in --out; one that was killed
goes on where it stopped, and a finished one is only scored.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl

STYLES = ("prior", "another", "class")


def score(run: mmppl.Run, data: mmppl.Dataset) -> dict[str, float]:
    """Shares of the test rows in per cent; W2² of test pairs summed over D dimensions; terms in nats, of validation."""
    row: dict[str, float] = {}
    accuracy = run.evaluate(data, metrics=["error.label"], given_sets=["image"], draws=16)["metrics"]["error.label"]
    row["label from image %"] = 100 * (1 - accuracy["image"])
    styles = STYLES if hasattr(run.program, "style") else ("",)
    for style in styles:
        if style:
            run.program.style = style  # type: ignore[assignment]
        found = run.evaluate(data, metrics=["coherence"], given_sets=["label"])["metrics"]
        row[f"image from label{style and f', style {style}'} %"] = 100 * found["coherence.image"]["label"]
    row["judge %"] = 100 * found["judge_accuracy.image"]
    z = [run.query(data, given=[n], want=["z"], draws=2, quantiles=()).want["z"] for n in ("image", "label")]
    apart = (z[0]["mean"] - z[1]["mean"]) ** 2 + (z[0]["std"] - z[1]["std"]) ** 2
    row["W2²"], row["D"] = float(apart.sum(-1).mean()), run.program.latent_dim  # type: ignore[assignment]
    terms = run.info["result"]["terms"]
    row |= {name: terms[name] for name in terms if name.startswith(("nll", "kl"))}
    return row | {"seconds": run.info["result"]["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--program", default="mwvae", choices=["mwvae", "fmwvae"])
    parser.add_argument("--gamma", nargs="+", default=["0.1", "1", "10"])
    parser.add_argument("--cross", nargs="+", default=["0", "0.1", "1"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rows", type=int, default=50_000, help="training images")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-label"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mmppl.read("mnist-label", root=options.root)
    taught = torch.from_numpy(data.split == 0).cumsum(0) <= options.rows
    data = data.take((taught | torch.from_numpy(data.split > 0)).nonzero().squeeze(-1))
    shared: dict[str, Any] = dict(latent_dim=64, hidden=400, activation="relu", norm=False)
    shared |= dict(pair.split("=", 1) for pair in options.set)
    grid = [(f"gamma {g}, cross {c}", dict(gamma=g, cross=c)) for g in options.gamma for c in options.cross]
    if options.program == "mwvae":
        grid.insert(0, ("unaligned", dict(variant="unaligned")))
    settings = dict(epochs=options.epochs, lr=options.lr, batch_size=options.batch_size, precision=options.precision)
    found: dict[str, Any] = {"program": options.program, "rows": options.rows, "set": options.set, **settings}
    for name, hyper in grid:
        rows = []
        for seed in options.seeds:
            parts = [options.program, name.replace(" ", ""), str(options.epochs), str(options.rows), *options.set]
            out = options.out / "-".join([*parts, str(seed)])
            run = mmppl.fit(
                options.program, data, hyper=shared | hyper, seed=seed, out=out, resume=out.is_dir(), **settings
            )  # type: ignore[arg-type]
            rows.append(score(run, data))
            print(name, seed, {k: round(v, 2) for k, v in rows[-1].items()}, flush=True)
        found[name] = {"mean": {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}, "rows": rows}
        if len(rows) > 1:
            found[name]["sd"] = {k: float(np.std([r[k] for r in rows], ddof=1)) for k in rows[0]}
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
