"""Impartial optimisation on `mnist-photo-text`: three VAEs with and without each rule of `--gradients`.

    python tests/benchmarks/impartial.py --root DATA [--models MVAE ...] [--rules none pcgrad ...] [--seeds 0 1 2]
        [--rows 10000] [--epochs 20] [--precision fp32] [--whole] [--out FILE]
    python tests/benchmarks/impartial.py --root DATA --cost [--rounds 15] [--out FILE]

A run is one line of JSON, appended to --out; what is there already is not run again. It has the latent accuracy
(a linear classifier on 500 and on all training rows, per conditioning set and their mean), the coherence of what is
generated, per modality that is generated and their means, and the loss of each modality on validation rows. --whole
takes all rows, as the tables of RESULTS.md do. --cost times one step, recorded as in a fit, with each rule over one
without, in turn, so that the machine's drift cancels. (bf16 pays where the processor has it: on one with AVX2 alone a
product takes seven times as long as in fp32, beside which the cost of a rule would not show.)

Published (Javaloy, Meghdadi, Valera 2022, arXiv:2206.04496, on MNIST-SVHN-Text): mean latent accuracy of MVAE, MMVAE
and MoPoE up by 0.3, 3.2 and 1.6 points with the best rule.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mnist_photo_text import MODELS, NAMES

import mmppl
from mmppl.base.choices import GRADIENTS
from mmppl.base.precision import matmul_precision, probe_matmul
from mmppl.bench.harness import circumstances, figure, interleave, ratio
from mmppl.kernels.codegen.c_backend import compiled_kernels
from mmppl.objectives.impartial.rules import combiner
from mmppl.train.step import Step

CHOSEN = ("MVAE", "MMVAE", "MoPoE")
RULES = ("none", *GRADIENTS)
BATCH = 256


def part(data: mmppl.Dataset, rows: int | None) -> mmppl.Dataset:
    """So many training rows, a fifth as many test rows and a tenth for validation, the same in every run; None: all."""
    if rows is None:
        return data
    rng = np.random.default_rng(0)
    sizes = {"train": rows, "valid": rows // 10, "test": rows // 5}
    of_each = {name: data.rows(name) for name in sizes}
    chosen = [found[rng.permutation(len(found))[: sizes[name]]] for name, found in of_each.items()]
    return data.take(torch.cat(chosen).sort().values)


def fitted(model: str, rule: str, seed: int, data: mmppl.Dataset, epochs: int, precision: str) -> dict[str, Any]:
    """One run and what it shows."""
    program, hyper = MODELS[model]
    run = mmppl.fit(
        program, data, hyper=hyper, seed=seed, epochs=epochs, lr=1e-3, batch_size=BATCH, precision=precision, threads=1,
        gradients=None if rule == "none" else rule,  # type: ignore[arg-type]
    )  # fmt: skip
    found = run.evaluate(data, metrics=["probe", "coherence"], draws=4)["metrics"]
    line = {"model": model, "rule": rule, "seed": seed, "seconds": run.record.result.seconds}
    for name in ("probe500.label", "probe.label"):
        line[name] = found[name]
        line[f"{name}.mean"] = float(np.mean(list(found[name].values())))
    for name in NAMES:
        generated = found[f"coherence.{name}"]
        line[f"coherence.{name}"] = generated
        line[f"coherence.{name}.mean"] = float(np.mean(list(generated.values())))
    valid = run.metrics[-1]["valid"]
    return line | {"valid": {name: valid[f"nll.{name}"] for name in NAMES if f"nll.{name}" in valid}}


def cost(model: str, data: mmppl.Dataset, rounds: int, precision: str) -> dict[str, Any]:
    """Processor time of a recorded step with each rule over one without."""
    program, hyper = MODELS[model]
    batch = data.batch(data.rows("train")[:BATCH], NAMES)
    steps: dict[str, Callable[[], object]] = {}
    gemm = probe_matmul()  # as a fit has it
    with compiled_kernels(True), matmul_precision(gemm):
        for rule in RULES:
            torch.manual_seed(0)
            made = mmppl.load_program(program)(data.modalities, **hyper).train()
            combine = combiner(None if rule == "none" else rule)  # type: ignore[arg-type]
            step = Step(made, combine=combine, precision=precision)
            for _ in range(4):
                step(batch)
            if step.recorded is None:
                raise RuntimeError(f"{model} with {rule} runs step by step.")
            steps[rule] = partial(step, batch)
        times = interleave(steps, rounds=rounds)
    plain = [one.cpu for one in times["none"]]
    found = {rule: ratio([one.cpu for one in times[rule]], plain)._asdict() for rule in GRADIENTS}
    return {
        "model": model,
        "gemm": gemm,
        "precision": precision,
        "cost": found,
        "milliseconds": 1e3 * figure(plain).median,
    }


def done(file: Path) -> list[dict[str, Any]]:
    """The lines of a file; none where there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--models", nargs="+", default=list(CHOSEN), choices=CHOSEN)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", type=int, default=10_000, help="training rows")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--whole", action="store_true", help="all 50,000 rows")
    parser.add_argument("--cost", action="store_true", help="time steps instead")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("impartial.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole = mmppl.read("mnist-photo-text", root=options.root)

    def keep(line: Mapping[str, Any]) -> None:
        text = json.dumps({**line, **circumstances()})
        with options.out.open("a") as file:
            file.write(text + "\n")
        print(json.dumps(line), flush=True)

    if options.cost:
        for model in options.models:
            keep(cost(model, whole, options.rounds, options.precision))
        return
    rows = None if options.whole else options.rows
    settings = {"rows": rows, "epochs": options.epochs, "precision": options.precision}
    data = part(whole, rows)
    for seed in options.seeds:
        for model in options.models:
            for rule in options.rules:
                this = {"model": model, "rule": rule, "seed": seed, **settings}
                if not any(this.items() <= line.items() for line in done(options.out)):
                    keep(fitted(model, rule, seed, data, options.epochs, options.precision) | settings)


if __name__ == "__main__":
    main()
