"""Tags and category of emoji, from one drawing: CMMD beside its classifier alone, MVAE and logistic regression; and its
two stages beside one, where a tenth of the rows has labels.

    python tests/benchmarks/emoji.py --root DATA --out FILE.jsonl [--methods cmmd mvae ...] [--seeds 0 1 2]
        [--shares 1 0.1] [--epochs 60] [--side 16] [--as NAME=LIKELIHOOD] [--split test]
        [--set NAME=VALUE ...]

FILE has a line for each run, and a run that it has is not repeated; the table at the end is of all its lines. Given is
`image`, the drawing of one maker, each pixel standardised: drawings are over white, and what is not centred is learned
far more slowly. What is generated, and seen in training alone, is the drawing of the other.

- average_precision: mean over the tags that have both kinds of rows in the part ("macro" mAP), and of all entries
  together ("micro"); auc of tags, likewise; error of the category. All in per cent.
- logistic: one logistic regression of each tag and one of the category, on principal components of the pixels, whose
  number and whose penalty are the best of a grid by the micro mean average precision (and the error) on valid rows.
- classifier: CMMD without generative terms, the same networks; with few labels it sees the labelled rows alone.
- one-stage, two-stage: CMMD; of the same number of epochs.
- mvae: labels are modalities that the guide does not see.

Share 0.1: that share of the train rows, drawn by the seed, keeps its labels; valid rows keep theirs, and tell neither
a fit nor its calibration anything. Choose settings on the valid part, with another seed (--split valid --seeds 100).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.base.random import generator
from mmppl.bench.harness import circumstances
from mmppl.data.dataset import Dataset
from mmppl.evaluation.metrics.tags import SCORES, columns_of
from mmppl.evaluation.study import Target

LABELS = ("tags", "category")
OF_TAGS = ("average_precision", "average_precision_micro", "auc", "auc_micro")
METRICS = [*(f"{name}.tags" for name in OF_TAGS), "error.category"]
CMMD: dict[str, Any] = dict(observed="image", hidden=256, latent_dim=32)
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("", {}),
    "classifier": ("cmmd", CMMD | dict(generative=False)),
    "one-stage": ("cmmd", CMMD),
    "two-stage": ("cmmd", CMMD | dict(two_stage=True)),
    "mvae": ("mvae", dict(hidden=256, latent_dim=32)),
}
COMPONENTS, PENALTIES = (50, 100), (0.01, 0.03, 0.1)  # and C, of standardised features


def with_labels(data: Dataset, share: float, seed: int) -> Dataset:
    """The same rows, of whose train part only a share has labels."""
    train = data.rows("train")
    order = train[torch.randperm(len(train), generator=generator(seed, "labels"))]
    observed = dict(data.observed)
    for name in LABELS:
        observed[name] = data.observed[name].clone()
        observed[name][order[round(share * len(train)) :]] = False
    return dataclasses.replace(data, observed=observed).replaced({})


def regression(data: Dataset, part: str) -> dict[str, float]:
    """The scores of logistic regression on principal components."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression

    rows = {name: data.rows(name) for name in ("train", "valid", part)}
    rows["train"] = rows["train"][data.observed["tags"][rows["train"]]]
    x, y = ({k: v[r].flatten(1).numpy() for k, r in rows.items()} for v in (data.values["image"], data.values["tags"]))
    c = {name: data.values["category"][r].numpy() for name, r in rows.items()}
    modality = next(m for m in data.modalities if m.name == "tags")
    pictures = data.values["image"][data.rows("train")].flatten(1).numpy()  # components need no labels

    def probability(z: dict[str, np.ndarray], truth: np.ndarray, penalty: float, name: str) -> np.ndarray:
        if truth.min() == truth.max():
            return np.full(len(z[name]), float(truth[0]))
        return LogisticRegression(C=penalty, max_iter=1000).fit(z["train"], truth).predict_proba(z[name])[:, 1]

    def columns(z: dict[str, np.ndarray], penalty: float, name: str) -> Any:
        share = np.stack([probability(z, truth, penalty, name) for truth in y["train"].T], 1)
        return columns_of(Target(None, modality, (), y[name], {"mean": share}), share)  # type: ignore[arg-type]

    def wrong(z: dict[str, np.ndarray], penalty: float, name: str) -> float:
        fitted = LogisticRegression(C=penalty, max_iter=1000).fit(z["train"], c["train"])
        return float((fitted.predict(z[name]) != c[name]).mean())

    tried = []
    for count in COMPONENTS:
        pca = PCA(count, whiten=True, random_state=0).fit(pictures)
        z = {name: pca.transform(values) for name, values in x.items()}
        for penalty in PENALTIES:
            micro = SCORES["average_precision_micro"](columns(z, penalty, "valid"))
            tried.append((micro, wrong(z, penalty, "valid"), z, penalty))
    _, _, z, penalty = max(tried, key=lambda one: one[0])
    of_part = columns(z, penalty, part)
    found = {f"{name}.tags": SCORES[name](of_part) for name in OF_TAGS}
    _, _, z, penalty = min(tried, key=lambda one: one[1])
    return found | {"error.category": wrong(z, penalty, part)}


def measured(data: Dataset, method: str, share: float, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One run, as a line of the file."""
    began, rows = time.process_time(), with_labels(data, share, seed)
    name, hyper = METHODS[method]
    if not name:
        scores = regression(rows, asked.split)
    else:
        given: dict[str, Any] = hyper | dict(pair.split("=", 1) for pair in asked.set)
        run = mmppl.fit(name, rows, hyper=given, seed=seed, epochs=asked.epochs, batch_size=asked.batch_size,
                        lr=asked.lr, calibrate=False)  # fmt: skip
        found = run.evaluate(rows, metrics=METRICS, conditioning_sets=["image"], split=asked.split)["metrics"]
        scores = {metric: found[metric]["image"] for metric in METRICS}
    return {metric: round(100 * score, 2) for metric, score in scores.items()} | {
        "seconds": round(time.process_time() - began, 1)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.1])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--side", type=int, default=16, help="pixels of a side of the drawings")
    parser.add_argument(
        "--as",
        dest="as_",
        nargs="+",
        default=["image=normal:transform=standardise"],
        help="likelihoods; none for the recipe's",
    )
    parser.add_argument("--split", default="test", choices=["valid", "test"])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="hyper-parameters of the programs")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    as_ = dict(pair.split("=", 1) for pair in asked.as_ if pair != "none")
    data = mmppl.read(f"emoji:side={asked.side}", root=asked.root, as_=as_)
    lines = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    names = ("epochs", "batch_size", "lr", "side", "as_", "set", "split")
    settings = {name: getattr(asked, name) for name in names}
    for share in asked.shares:
        for method in asked.methods:
            for seed in asked.seeds:
                key = dict(method=method, share=share, seed=seed, **settings)
                if any(key.items() <= line.items() for line in lines):
                    continue
                lines.append(key | measured(data, method, share, seed, asked) | {"made": circumstances()})
                with open(asked.out, "a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    table(lines)


def table(lines: list[dict[str, Any]]) -> None:
    """Print mean and standard deviation over the seeds of each method and settings."""
    shown = ("method", "share", "split", "epochs", "lr", "batch_size", "side", "as_", "set")
    for key in dict.fromkeys(json.dumps([line[name] for name in shown]) for line in lines):
        same = [line for line in lines if json.dumps([line[name] for name in shown]) == key]
        cells = []
        for metric in (*METRICS, "seconds"):
            values = [line[metric] for line in same]
            spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{metric} {np.mean(values):.1f}{spread}")
        print(f"{' '.join(map(str, json.loads(key)))} ({len(same)}): {', '.join(cells)}")


if __name__ == "__main__":
    main()
