"""Throughput of `mmppl.fit`'s loop over that of the same CMMD hand-written in plain PyTorch.

    python tests/benchmarks/fit_loop.py [--hidden 64 512] [--threads 1] [--rounds 15] [--json [FILE]]

Ours is `Training._epoch` itself: batches, clock, step, finite check, Adam, sums of the terms, progress. Plain has the
same shapes, data path and settings, knows that every sample is complete, and needs no masks; it is timed with
`nn.Dropout`, as one would write it, and with our cheaper `nets.Dropout`, which leaves the loop alone to compare. The
limit is the matrix products of a step alone, which no loop can beat. Nothing is timed unless ours and plain give the
same loss and gradients with the same weights and noise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmppl import Dataset, Modality
from mmppl.base.precision import matmul_precision, probe_matmul
from mmppl.bench.harness import circumstances, figure, interleave, ratio
from mmppl.nn.mlp import Dropout
from mmppl.programs.cmmd import CMMD
from mmppl.train.loop import Training
from mmppl.train.settings import FitSettings
from mmppl.train.stages.gradient import GradientStage
from mmppl.train.step import Step

PIXELS, CLASSES, LATENT, LAYERS, BATCH, DROPOUT = 784, 10, 50, 3, 200, 0.2
OMEGA, ALPHA, LAMBDA = 0.4, 10.0, 1000.0
RESULTS = Path(__file__).parent / "results" / "fit_loop.json"
TARGET = 0.9
TOLERANCE = 1e-4  # relative, of the loss and of each gradient's norm: float32 sums over a batch in another order


class Plain(nn.Module):
    """CMMD as one would write it by hand for this one data set: two views and a label, all observed."""

    def __init__(self, hidden: int, dropout: Callable[[float], nn.Module]) -> None:
        super().__init__()

        def network(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
            widths = [inputs, *[hidden] * layers]
            blocks = [m for a, b in zip(widths, widths[1:]) for m in (nn.Linear(a, b), nn.ReLU(), dropout(DROPOUT))]
            return nn.Sequential(*blocks, nn.Linear(hidden, outputs))

        self.prior = network(PIXELS, hidden, 2 * LATENT, LAYERS)
        self.encoder = network(2 * PIXELS + CLASSES, hidden, 2 * LATENT, LAYERS)
        self.decoder = network(LATENT + PIXELS, hidden, 2 * PIXELS, LAYERS)
        self.classifier = network(LATENT, 50, CLASSES, 2)

    def loss(self, x_o: Tensor, x_m: Tensor, y: Tensor) -> Tensor:
        q_loc, q_log_var = self.encoder(torch.cat([x_o, x_m, F.one_hot(y, CLASSES).to(x_o.dtype)], 1)).chunk(2, 1)
        q_log_var = q_log_var.clamp(-12, 12)
        z = q_loc + torch.randn_like(q_loc) * torch.exp(0.5 * q_log_var)
        p_loc, p_log_var = self.prior(x_o).chunk(2, 1)
        p_log_var = p_log_var.clamp(-12, 12)
        x_loc, x_log_var = self.decoder(torch.cat([z, x_o], 1)).chunk(2, 1)
        x_log_var = x_log_var.clamp(-7, 7)
        scores = self.classifier(p_loc)
        prior_z = p_loc + torch.randn_like(p_loc) * torch.exp(0.5 * p_log_var)

        nll = 0.5 * ((x_m - x_loc).square() * torch.exp(-x_log_var) + x_log_var + math.log(2 * math.pi)).sum(1).mean()
        ratio = torch.exp(q_log_var - p_log_var)
        kl = 0.5 * (p_log_var - q_log_var + ratio + (q_loc - p_loc).square() * torch.exp(-p_log_var) - 1).sum(1).mean()
        mmd = kernel(z, z).mean() + kernel(prior_z, prior_z).mean() - 2 * kernel(z, prior_z).mean()
        return nll + OMEGA * kl + (1 - OMEGA) * LAMBDA * mmd + ALPHA * F.cross_entropy(scores, y)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    squares = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
    return torch.exp(squares.clamp_min(0) / -(LATENT**2))


class PlainLoop:
    """The usual loop: permute, select, loss, backward, cosine rate, fused Adam, `loss.item()`."""

    def __init__(self, model: Plain, data: Dataset, lr: float, steps: int) -> None:
        self.model, self.lr, self.steps, self.done = model, lr, steps, 0
        self.x_o, self.x_m = data.values["rotated"].flatten(1), data.values["noisy"].flatten(1)
        self.y = data.values["label"]
        self.optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)

    def epoch(self) -> float:
        self.model.train()
        total = 0.0
        for rows in torch.randperm(len(self.y)).split(BATCH):
            loss = self.model.loss(
                self.x_o.index_select(0, rows), self.x_m.index_select(0, rows), self.y.index_select(0, rows)
            )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * self.done / self.steps))
            self.optimiser.step()
            self.done += 1
            total += loss.item()
        return total


def synthetic(rows: int) -> Dataset:
    """Uniform noise in the shapes of `mnist-two-view`, every row for training."""
    generator = torch.Generator().manual_seed(0)
    return Dataset(
        name="uniform",
        modalities=(
            Modality("rotated", (28, 28), "bernoulli"),
            Modality("noisy", (28, 28), "normal", scale="predicted"),
            Modality("label", (), "categorical", role="label", classes=tuple(range(CLASSES))),
        ),
        values={
            "rotated": torch.rand(rows, 28, 28, generator=generator),
            "noisy": torch.rand(rows, 28, 28, generator=generator),
            "label": torch.randint(CLASSES, (rows,), generator=generator),
        },
        observed={name: torch.ones(rows, dtype=torch.bool) for name in ("rotated", "noisy", "label")},
        ids=np.arange(rows),
        split=np.zeros(rows, np.int8),
    )


def our_training(data: Dataset, hidden: int) -> Training:
    """What `mmppl.fit` runs its epochs on. The epochs are so many that the cosine hardly moves."""
    shape = {"latent_dim": LATENT, "hidden": hidden, "decoder_hidden": None, "layers": LAYERS, "dropout": DROPOUT}
    program = CMMD(data.modalities, **shape, omega=OMEGA, alpha=ALPHA, mmd_lambda=LAMBDA, kernel="paper")
    settings = FitSettings(epochs=10_000, batch_size=BATCH, lr=1e-3)
    training = Training(program, data, settings)
    training.stage = training.stage_at(1)
    return training


def step_of(training: Training) -> Step:
    """The recorded step of its one stage."""
    assert isinstance(training.stage, GradientStage)
    (evaluation,) = training.stage.evaluations
    return evaluation.step


def matched(plain: Plain, program: CMMD) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """(plain, ours) parameters that play the same part."""
    pairs = (
        (plain.prior, program.prior),
        (plain.encoder, program.encoder),
        (plain.decoder, program.decoders["noisy"]),
        (plain.classifier, program.classifiers["label"]),
    )
    return [pair for a, b in pairs for pair in zip(a.parameters(), b.parameters(), strict=True)]


def disagreement(training: Training, plain: Plain, train: bool) -> float:
    """Give `plain` our weights; → the largest relative difference of loss and gradients between ours and plain with
    the same noise. With `train`: dropout on, and the step first eager, then as the loop goes on with it."""
    program, data, recorded = training.program, training.rows.train, step_of(training)
    batch = replace(data.batch(torch.arange(BATCH), program.encoded), patterns=training.rows.patterns)  # as in the loop
    x_o, x_m, y = (batch.values[name] for name in ("rotated", "noisy", "label"))
    pairs = matched(plain, program)  # type: ignore[arg-type]
    program.train(train)
    plain.train(train)
    step = recorded if train else Step(program, replay=False)
    worst = 0.0
    for seed in (1, 2, 3):
        with torch.no_grad():
            for a, b in pairs:
                a.copy_(b.mul_(0.99))  # moved each time: a step that clings to old weights is found out
        torch.manual_seed(seed)
        loss = step(batch).loss
        torch.manual_seed(seed)
        expected = plain.loss(x_o.flatten(1), x_m.flatten(1), y)
        gradients = torch.autograd.grad(expected, [a for a, _ in pairs])
        both = [(loss, expected.detach()), *zip([b.grad for _, b in pairs], gradients)]
        worst = max(worst, *(float((got - want).norm() / want.norm()) for got, want in both))
    return worst


def products(model: nn.Module) -> Any:
    """A function that does the matrix products of one step and nothing else: forward, and both gradients of every layer
    but for those of the data."""
    shapes = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            from_data = name in ("prior.0", "encoder.0")
            x, gradient = torch.rand(BATCH, layer.in_features), torch.rand(BATCH, layer.out_features)
            shapes.append((x, gradient, layer.weight.detach(), from_data))

    def step() -> None:
        for x, gradient, weight, from_data in shapes:
            x @ weight.T
            gradient.T @ x
            if not from_data:
                gradient @ weight

    return step


def measure(hidden: int, rows: int, rounds: int) -> dict[str, Any]:
    """Figures of one width. Raises ValueError when the models do not agree."""
    torch.manual_seed(0)
    data = synthetic(rows)
    training = our_training(data, hidden)
    plain, same = Plain(hidden, nn.Dropout), Plain(hidden, Dropout)
    difference = max(disagreement(training, same, train=True), disagreement(training, plain, train=False))
    if not difference < TOLERANCE:
        raise ValueError(f"hidden {hidden}: loss or gradients differ by {difference:.1e} from the hand-written model's")
    lr, steps = training.settings.lr, training.rows.per_epoch
    multiply = products(plain)
    epochs = itertools.count(1)
    times = interleave(
        {
            "ours": lambda: training._epoch(next(epochs), 0.0),
            "plain": PlainLoop(plain, data, lr, training.steps).epoch,
            "plain, our dropout": PlainLoop(same, data, lr, training.steps).epoch,
            "products alone": lambda: [multiply() for _ in range(steps)],
        },
        rounds=rounds,
        seconds=0.5,
    )
    wall = {name: [r.wall / steps * 1e3 for r in values] for name, values in times.items()}
    cpu = {name: [r.cpu / steps * 1e3 for r in values] for name, values in times.items()}
    rivals = ("plain", "plain, our dropout")
    return {
        "hidden": hidden,
        "layers": LAYERS,
        "parameters": sum(p.numel() for p in plain.parameters()),
        "rounds": rounds,
        "steps_per_epoch": steps,
        "disagreement": difference,
        "recorded": step_of(training).recorded is not None,
        "milliseconds_per_step": {name: figure(values)._asdict() for name, values in wall.items()},
        "throughput_over": {name: ratio(wall[name], wall["ours"])._asdict() for name in rivals},
        "throughput_over_by_cpu_time": {name: ratio(cpu[name], cpu["ours"])._asdict() for name in rivals},
        "share_of_limit": ratio(wall["products alone"], wall["ours"])._asdict(),
    }


def met(result: dict[str, Any]) -> bool:
    return all(f["median"] >= TARGET for f in result["throughput_over"].values())


def show(result: dict[str, Any]) -> None:
    way = "replayed" if result["recorded"] else "eager"
    print(
        f"\nhidden {result['layers']}x{result['hidden']}, {result['parameters']:,} parameters, our step {way};", end=" "
    )
    print(f"loss and gradients agree to {result['disagreement']:.0e}; {result['rounds']} rounds")
    for name, f in result["milliseconds_per_step"].items():
        print(
            f"  {name:20s} {f['median']:8.3f} ms/step  iqr {100 * f['iqr']:4.1f} %  {f['low']:.3f} to {f['high']:.3f}"
        )
    for name, f in result["throughput_over"].items():
        cpu = result["throughput_over_by_cpu_time"][name]["median"]
        print(f"  throughput, ours over {name}: {f['median']:.3f}  iqr {100 * f['iqr']:.1f} %", end="  ")
        print(f"{f['low']:.3f} to {f['high']:.3f}; by processor time {cpu:.3f}")
    share = result["share_of_limit"]["median"]
    print(
        f"  limit: the products alone take {100 * share:.0f} % of our step. Target {TARGET}",
        "met" if met(result) else "MISSED",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=10_000, help="size of the synthetic data set: one epoch is a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", nargs="?", type=Path, const=RESULTS, help="write the figures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = probe_matmul()
    about = circumstances() | {
        "gemm": path,
        "data": f"{options.rows} rows of 2 x {PIXELS} uniform numbers and {CLASSES} classes",
        "settings": {"batch": BATCH, "latent": LATENT, "dropout": DROPOUT, "omega": OMEGA, "alpha": ALPHA}
        | {"mmd_lambda": LAMBDA, "kernel": "paper", "precision": "fp32", "optimiser": "Adam, fused"},
    }
    for key, value in about.items():
        print(f"{key}: {value}")
    with matmul_precision(path):  # for both: `fit` would choose it
        results = [measure(hidden, options.rows, options.rounds) for hidden in options.hidden]
    for result in results:
        show(result)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(about | {"figures": results}, indent=2) + "\n")
    return 0 if all(map(met, results)) else 1


if __name__ == "__main__":
    sys.exit(main())
