"""MW-VAE (or FMW-VAE) on MNIST images and their labels: the label from the image, the image from the label with z
sampled, W2² of pairs, nats of an image given its own code, over a grid of gamma and cross weight; beside it the
unaligned variant.

    python tests/benchmarks/mnist_label.py --root DATA [--program mwvae] [--gamma 0.1 1 10] [--cross 0 0.1 1]
        [--seeds 0 1 2] [--epochs 8] [--rows 50000] [--split test] [--set NAME=VALUE]... [--no-unaligned]
        [--out FOLDER] [--json FILE]

A cross weight is a number, or one for the image and one for the label: 0.1,1. Settings are chosen with --split valid.
The classifier for coherence is trained once on the train rows. Images of FMW-VAE are generated in every kind of style.
Runs are kept in --out; one that was killed goes on where it stopped, and a finished one is only scored. The JSON file
keeps what it has of other settings.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.bench.harness import circumstances
from mmppl.inference.decode import decode

STYLES = ("prior", "another", "class")


def score(run: mmppl.Run, data: mmppl.Dataset, split: str) -> dict[str, float]:
    """Shares of the rows in per cent; W2² of their pairs summed over D dimensions; nats of an image given itself, from
    one draw of its code; of FMW-VAE how much styles change a generated image; seconds of the fit by the clock."""
    ask: dict[str, Any] = dict(split=split)
    metrics = ["error.label", "nll.image"]
    found = run.evaluate(data, metrics=metrics, conditioning_sets=["image"], draws=16, **ask)["metrics"]
    row = {"label from image %": 100 * (1 - found["error.label"]["image"]), "nll.image": found["nll.image"]["image"]}
    for style in STYLES if "style" in run.program.query_options else ("",):
        asked = run.with_options(style=style) if style else run
        found = asked.evaluate(data, metrics=["coherence"], conditioning_sets=["label"], **ask)["metrics"]
        row[f"image from label{style and f', style {style}'} %"] = 100 * found["coherence.image"]["label"]
    row["judge %"] = 100 * found["judge_accuracy.image"]
    z = [run.query(data, given=[n], want=["z"], draws=2, quantiles=(), **ask).want["z"] for n in ("image", "label")]
    apart = (z[0]["mean"] - z[1]["mean"]) ** 2 + (z[0]["std"] - z[1]["std"]) ** 2
    row["W2²"] = float(apart.sum(-1).mean())
    if "style" in run.program.query_options:
        row |= {f"pixel sd over styles, z of {n}": style_sd(run, data, split, n) for n in ("label", "image")}
    terms = run.record.result.terms
    row |= {f"valid {name}": terms[name] for name in terms if name.startswith("kl")}
    return row | {"seconds": run.record.result.seconds}


def style_sd(run: mmppl.Run, data: mmppl.Dataset, split: str, source: str, number: int = 60) -> float:
    """How much images change by their style: the sd of a pixel over the styles of so many images, root mean square over
    pixels and so many contents, the means of z given `source`; grey values in [0, 1]."""
    rows = data.take(data.rows(split))  # type: ignore[arg-type]
    ask: dict[str, Any] = dict(draws=2, quantiles=(), split="all")
    ours, others = rows.take(torch.arange(number)), rows.take(torch.arange(number, 2 * number))
    style = run.query(ours, given=["image"], want=["private.image"], **ask).want["private.image"]["mean"]
    z = run.query(others, given=[source], want=["z"], **ask).want["z"]["mean"]
    i, j = np.indices((number, number)).reshape(2, -1)
    made = decode(run.program, ours.take(torch.from_numpy(i)), {"private.image": style[i], "z": z[j]}, ["image"])
    return float(np.sqrt(made["image"]["mean"].reshape(number, number, -1).var(0).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--program", default="mwvae", choices=["mwvae", "fmwvae"])
    parser.add_argument("--gamma", nargs="+", default=["0.1", "1", "10"])
    parser.add_argument("--cross", nargs="+", default=["0", "0.1", "1"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--rows", type=int, default=50_000, help="training images")
    parser.add_argument("--split", default="test", choices=["valid", "test"])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--no-unaligned", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-label"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mmppl.read("mnist-label", root=options.root)
    if options.rows < len(data.rows("train")):
        first_rows = torch.from_numpy(data.split == 0).cumsum(0) <= options.rows
        data = data.take((first_rows | torch.from_numpy(data.split > 0)).nonzero().squeeze(-1))
    shared: dict[str, Any] = dict(latent_dim=64, hidden=400)
    shared |= dict(pair.split("=", 1) for pair in options.set)
    grid: list[dict[str, Any]] = [dict(gamma=g, cross=c) for g in options.gamma for c in options.cross]
    if options.program == "mwvae" and not options.no_unaligned:
        grid.insert(0, dict(variant="unaligned"))
    training = dict(epochs=options.epochs, lr=options.lr, batch_size=options.batch_size, precision=options.precision)
    for hyper in grid:
        rows = []
        named = [f"{k}={v}" for k, v in (training | hyper).items()] + options.set
        cell = {"program": options.program, "settings": named, "rows": options.rows, "split": options.split}
        for seed in options.seeds:
            out = options.out / "-".join([options.program, str(options.rows), *named, str(seed)])
            run = mmppl.fit(
                options.program, data, hyper=shared | hyper, seed=seed, out=out, resume=out.is_dir(), **training
            )  # type: ignore[arg-type]
            rows.append(score(run, data, options.split))
            print(*named, seed, {k: round(v, 2) for k, v in rows[-1].items()}, flush=True)
        cell |= {"seeds": options.seeds, "mean": {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}}
        if len(rows) > 1:
            cell["sd"] = {k: float(np.std([r[k] for r in rows], ddof=1)) for k in rows[0]}
        if options.json:
            _keep(options.json, cell | {"of each": rows}, shared)


def _keep(file: Path, cell: dict[str, Any], shared: dict[str, Any]) -> None:
    """Put a cell into the file, in the place of the same one."""
    found = json.loads(file.read_text()) if file.is_file() else {}
    found |= {k: v for k, v in circumstances().items() if k != "command"}  # each cell has its settings
    found["shared"] = {k: v for k, v in shared.items() if not any(n.startswith(f"{k}=") for n in cell["settings"])}
    same = ("program", "settings", "rows", "split")
    others = [c for c in found.get("cells", []) if any(c[k] != cell[k] for k in same)]
    file.write_text(json.dumps(found | {"cells": [*others, cell]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
