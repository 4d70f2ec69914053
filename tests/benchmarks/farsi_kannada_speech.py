"""MVAE on `farsi-kannada-speech`: accuracy of the label on training and test rows from all seven conditioning sets,
coherence of what is generated (of one draw, and of the mean of --draws), and the error of that mean over that of the
true class's
training mean.

    python tests/benchmarks/farsi_kannada_speech.py --root DATA [--speech mean|segments] [--level one|kept]
        [--held-out SPEAKER] [--images distorted|plain] [--validation apart|none] [--seeds 0 1 2] [--epochs 15]
        [--rows N] [--set NAME=VALUE]... [--as NAME=LIKELIHOOD]... [--out FOLDER] [--json FILE]

The paper's figures are of training rows. Runs are kept in --out; one that was killed goes on where it stopped, and a
finished one is only scored.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist_photo_text import spread

import mmppl
from mmppl.bench.harness import circumstances
from mmppl.core.roles import class_label
from mmppl.evaluation.classifiers import predict
from mmppl.evaluation.coherence import classifiers
from mmppl.evaluation.conditioning import default_conditioning_sets, set_name

TRAINED = 10_000  # training rows, evenly spaced, for the training accuracy
SHOWN = ("farsi", "kannada", "speech")


def score(run: mmppl.Run, data: mmppl.Dataset, draws: int) -> dict[str, Any]:
    """metric → {conditioning set: number} or number; accuracies and coherence are shares."""
    train = data.rows("train")
    some = data.take(train[torch.linspace(0, len(train) - 1, min(len(train), TRAINED)).long()])
    errors = run.evaluate(some, split="all", metrics=["error.label"], draws=draws)["metrics"]["error.label"]
    found = {"accuracy.train": {given: 1 - error for given, error in errors.items()}}
    metrics = run.evaluate(data, metrics=["error.label", "coherence"], draws=draws)["metrics"]
    found["accuracy.test"] = {given: 1 - error for given, error in metrics.pop("error.label").items()}
    found |= {name: value for name, value in metrics.items() if name.startswith(("coherence.", "judge_accuracy"))}
    return found | missing(run, data, draws) | {"seconds": run.record.result.seconds}


def missing(run: mmppl.Run, data: mmppl.Dataset, draws: int) -> dict[str, Any]:
    """Error of the predictive mean of what is not given, over that of the training mean of the true class: nats of an
    image's pixels, squared error of speech in model units, each per test row; with the latter. And the share of those
    means whose predicted class is the true one."""
    train, test = (data.take(data.rows(part)) for part in ("train", "test"))
    label = class_label(run.program)
    assert label is not None
    of_class = classifiers(run.program, SHOWN, label, train)
    found: dict[str, Any] = {}
    truth = {name: test.values[name].double().flatten(1) for name in SHOWN}
    for name in SHOWN:
        found[f"error_class.{name}"] = error(name, truth[name], class_means(train, test, name))
    for given in default_conditioning_sets(run.program):
        others = [name for name in SHOWN if name not in given]
        if others:
            answer = run.query(test, given=list(given), want=others, draws=draws, split="all", quantiles=())
            for name in others:
                m = run.program.modality(name)
                mean = torch.from_numpy(np.asarray(m.to_model_units(answer[name]["mean"]), np.float64)).flatten(1)
                right = predict(of_class[name], mean.float()) == test.values["label"].numpy()
                found.setdefault(f"coherence_of_mean.{name}", {})[set_name(given)] = float(right.mean())
                ratio = error(name, truth[name], mean) / found[f"error_class.{name}"]
                found.setdefault(f"over_class_mean.{name}", {})[set_name(given)] = ratio
    return found


def class_means(train: mmppl.Dataset, test: mmppl.Dataset, name: str) -> torch.Tensor:
    """(n, size) training means of the test rows' classes."""
    train_values, label = train.values[name].double().flatten(1), train.values["label"]
    means = torch.stack([train_values[label == code].mean(0) for code in range(10)])
    return means[test.values["label"]]


def error(name: str, truth: torch.Tensor, mean: torch.Tensor) -> float:
    """Per row: squared error of speech, −Σ ln p of pixels, no probability below 1e-6."""
    if name == "speech":
        return float((truth - mean).square().sum(1).mean())
    mean = mean.clamp(1e-6, 1 - 1e-6)
    return float(-(truth * mean.log() + (1 - truth) * (1 - mean).log()).sum(1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--speech", default="mean", choices=["mean", "segments"])
    parser.add_argument("--level", default="one", choices=["one", "kept"], help="of the recordings")
    parser.add_argument("--held-out", metavar="SPEAKER")
    parser.add_argument("--images", default="distorted", choices=["plain", "distorted"], help="in training")
    parser.add_argument("--validation", default="apart", choices=["apart", "none"], help="none: trained on, too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--rows", type=int, help="only so many of each part, for a try")
    parser.add_argument("--set", action="append", default=["latent_dim=64"], metavar="NAME=VALUE")
    parser.add_argument("--as", action="append", default=[], dest="as_", metavar="NAME=LIKELIHOOD")
    parser.add_argument("--out", type=Path, default=Path("runs/farsi-kannada-speech"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    hyper = dict(pair.split("=", 1) for pair in options.set)
    others = f",level={options.level}" if options.level != "one" else ""
    others += f",held_out={options.held_out}" if options.held_out else ""
    others += f",validation={options.validation}" if options.validation != "apart" else ""
    spec = f"farsi-kannada-speech:speech={options.speech},partners=fresh,images={options.images}{others}"
    data = mmppl.read(spec, root=options.root, as_=dict(pair.split("=", 1) for pair in options.as_))
    if options.rows:
        data = data.take(torch.cat([data.rows(part)[: options.rows] for part in ("train", "valid", "test")]))
    settings = dict(epochs=options.epochs, lr=options.lr, batch_size=options.batch_size, precision=options.precision)
    rows = []
    for seed in options.seeds:
        place = "-".join(
            [options.speech, options.level, options.images, options.held_out or "all", options.validation]
            + [str(options.epochs), *options.set, str(seed)]
        )
        out = options.out / place
        run = mmppl.fit("mvae", data, hyper=hyper, seed=seed, out=out, resume=out.is_dir(), **settings)  # type: ignore[arg-type]
        rows.append(score(run, data, options.draws))
        print(seed, json.dumps(rows[-1]), flush=True)
    found: dict[str, Any] = circumstances()
    found |= {"data": data.name, "n": len(data), "as": options.as_, "set": options.set, **settings}
    found |= {"mean": spread(rows, np.mean), "rows": rows}
    if len(rows) > 1:
        found["sd"] = spread(rows, lambda values: np.std(values, ddof=1))
    print(json.dumps({name: found[name] for name in ("mean", "sd") if name in found}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
