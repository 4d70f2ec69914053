"""IMA on `mnist-speech`: does it find noise, and are its codes better for it?

    python tests/benchmarks/importance.py --root DATA [--parts codes rho noise programs planes tokens] [--seeds 0 1 2]
        [--json [FILE]]

33,000 training, 3,300 validation and 7,700 test pairs of a digit and a recording of its name, of which either is noise
in one of 11 (`mmppl data mnist-speech`). The networks have 500 (image) and 100 (speech) ReLUs twice, as in the paper; D
= 50, and the log-likelihood of speech counts 20 times (its codes learn little at 1).

- codes: importances beside the noise, precision@K of weighted, unweighted and unimodal codes, also without neighbours
  of the same recording, and the accuracy of a network of two layers that learns from the codes, also where a modality
  is noise; presets of the paper's networks, and what they end with where speech counts once.
- rho: the same importances over ρ.
- noise: noise that is harder: shuffled pixels; frames of a recording in another order, by covariance and by HSIC.
- programs: JMVAE, MVAE and DAE beside it, ten epochs, with weights 3, 10 and 30 of speech: `valid_precision10` says
  which serves the validation pairs best.
- planes: D = 2.
- tokens: `mosi-tokens`: importances of words that are no function words beside those that are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.bench.harness import circumstances
from mmppl.data.dataset import Dataset
from mmppl.evaluation.scores import detection

RESULTS = Path(__file__).parent / "results" / "importance.json"
PARTS = ("codes", "rho", "noise", "programs", "planes", "tokens")
NETWORKS: dict[str, Any] = dict(hidden=(500, 100), norm=False, linear=False, activation="relu")
SPEECH = (1.0, 20.0)
WEIGHTS = (3.0, 10.0, 30.0)  # of speech, in the other programs
EPOCHS = 10  # of the other programs
RHOS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
METRICS = ["importance", "precision10", "precision50", "mlp"]


def read(root: Path, **options: Any) -> Dataset:
    words = ",".join(f"{name}={value}" for name, value in options.items())
    return mmppl.read("mnist-speech" + (f":{words}" if words else ""), root=root)


def fitted(data: Dataset, seed: int, program: str = "ima", **hyper: Any) -> tuple[mmppl.Run, float]:
    began = time.perf_counter()
    settings = dict(latent_dim=50, weights=SPEECH) | NETWORKS | hyper
    run = mmppl.fit(program, data, hyper=settings, epochs=None if program == "ima" else EPOCHS, seed=seed)
    return run, time.perf_counter() - began


def figures(run: mmppl.Run, data: Dataset, *, split: str = "test", metrics: list[str] = METRICS) -> dict[str, Any]:
    asked = [m for m in metrics if m != "importance" or "importance" in run.program.quantities]
    return dict(mmppl.evaluate(run, data, split=split, metrics=asked)["metrics"])


def codes(root: Path, seed: int) -> list[dict[str, Any]]:
    data = read(root)
    run, seconds = fitted(data, seed)
    unweighted = figures(run.with_options(pooling="mean"), data, metrics=METRICS[1:])
    found = [dict(setting="default", seconds=seconds) | figures(run, data)]
    found.append(dict(setting="default, unweighted") | unweighted)
    run, seconds = fitted(data, seed, weights=(1.0, 1.0))
    return [*found, dict(setting="speech counts once", seconds=seconds) | figures(run, data)]


def rho(root: Path, seed: int) -> list[dict[str, Any]]:
    data, found = read(root), []
    for value in RHOS:
        run, _ = fitted(data, seed, rho=value)
        found.append(dict(setting=f"rho={value:g}") | figures(run, data, metrics=["importance"]))
    return found


def noise(root: Path, seed: int) -> list[dict[str, Any]]:
    found = []
    for options, hyper in (
        (dict(image_noise="shuffled"), {}),
        (dict(speech_noise="shuffled"), {}),
        (dict(speech_noise="shuffled"), dict(dependence="hsic")),
    ):
        data = read(root, **options)
        run, seconds = fitted(data, seed, **hyper)
        setting = ", ".join(f"{name}={value}" for name, value in (options | hyper).items())
        found.append(dict(setting=setting, seconds=seconds) | figures(run, data, metrics=["importance", "precision10"]))
    return found


def programs(
    root: Path,
    seed: int,
    latent_dim: int = 50,
    names: tuple[str, ...] = ("jmvae", "mvae", "dae"),
    weights: tuple[float, ...] = WEIGHTS,
) -> list[dict[str, Any]]:
    data, found = read(root), []
    for name in names:
        for weight in weights:
            run, seconds = fitted(data, seed, name, weights=(1.0, weight), latent_dim=latent_dim)
            valid = figures(run, data, split="valid", metrics=["precision10"])["precision10.label"]["image+speech"]
            found.append(
                dict(setting=f"{name}, D={latent_dim}, speech × {weight:g}", seconds=seconds, valid_precision10=valid)
                | figures(run, data, metrics=METRICS[1:])
            )
    return found


def planes(root: Path, seed: int) -> list[dict[str, Any]]:
    data = read(root)
    run, seconds = fitted(data, seed, latent_dim=2)
    found = [dict(setting="ima", seconds=seconds) | figures(run, data)]
    return found + programs(root, seed, 2, ("jmvae",), (10.0,))


def tokens(root: Path, seed: int) -> list[dict[str, Any]]:
    data = mmppl.read("mosi-tokens", root=root)
    run = mmppl.fit("ima", data, preset="paper-iemocap", seed=seed)
    test = data.take(data.rows("test"))
    value = run.query(test, given=["word"], want=["importance"], split="all")["importance"]["value"][:, 0]
    function = test.annotations["function_word"]
    _, first = np.unique(test.annotations["token"], return_index=True)
    every, once = (detection(~function[at], value[at])["auc"] for at in (slice(None), first))
    return [
        dict(
            setting="content words over function words", rows=len(test), auc=every, auc_of_distinct_words=once,
            content=float(value[~function].mean()), function=float(value[function].mean()),
        )
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--json", nargs="?", const=RESULTS, type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    measure = dict(codes=codes, rho=rho, noise=noise, programs=programs, planes=planes, tokens=tokens)
    cells = []
    for part in asked.parts:
        for seed in asked.seeds:
            for cell in measure[part](asked.root, seed):
                cells.append(dict(part=part, seed=seed) | cell)
                print(json.dumps(cells[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(dict(**circumstances(), cells=cells), indent=1) + "\n")


if __name__ == "__main__":
    main()
