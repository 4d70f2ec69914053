"""CMMD on `mnist-two-view`: test error, R² of the other view and KL(guide ‖ prior), beside the same prior and
classifier networks without generative terms.

    python tests/benchmarks/mnist_two_view.py --root DATA [--rotate fixed] [--seeds 3] [--epochs 60] [--batch-size 500]
        [--precision bf16] [--set NAME=VALUE]... [--no-baseline] [--out FOLDER] [--json FILE]

Runs are kept in --out; one that was killed goes on where it stopped, and a finished one is only scored.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl


def score(run: mmppl.Run, data: mmppl.Dataset, generative: bool) -> dict[str, float]:
    """Test and validation error in per cent, R² of the other view in per cent, KL on the validation rows in nats."""
    names = ["error.label", "r2"] if generative else ["error.label"]
    row: dict[str, float] = {}
    for split in ("valid", "test"):
        for name, value in run.evaluate(data, metrics=names, split=split, draws=8)["metrics"].items():
            if "." in name:
                row[f"{split} {name.split('.')[0]}"] = 100 * float(value["rotated"])
    if "kl.z" in run.record.result.terms:
        row["valid kl"] = run.record.result.terms["kl.z"]
    row["seconds"] = run.record.result.seconds
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--rotate", default="fixed", choices=["fixed", "fresh"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-two-view"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mmppl.read(f"mnist-two-view:rotate={options.rotate}", root=options.root)
    hyper = dict(pair.split("=", 1) for pair in options.set)
    result: dict[str, Any] = {"set": hyper, "epochs": options.epochs, "rotate": options.rotate}
    for kind in ("cmmd",) if options.no_baseline else ("cmmd", "baseline"):
        rows = []
        for seed in options.seeds:
            out = options.out / "-".join([kind, options.rotate, str(options.epochs), *options.set, str(seed)])
            run = mmppl.fit(
                "cmmd", data, hyper={**hyper, "generative": kind == "cmmd"}, epochs=options.epochs, seed=seed,
                lr=options.lr, batch_size=options.batch_size, precision=options.precision, out=out,
                resume=out.is_dir(),
            )  # fmt: skip
            rows.append(score(run, data, kind == "cmmd"))
            print(kind, seed, rows[-1], flush=True)
        spread = {k: float(np.std([r[k] for r in rows], ddof=1)) if len(rows) > 1 else None for k in rows[0]}
        result[kind] = {"mean": {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}, "sd": spread, "rows": rows}
    print(json.dumps({k: result[k] for k in ("cmmd", "baseline") if k in result}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
