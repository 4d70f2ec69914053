"""The captured training step on a GPU against the step from Python and its rivals, and one fit."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch

import mmppl
from mmppl import Batch, Program
from mmppl.train.cuda_graph import CapturedStep
from mmppl.train.optimiser import adam, mutable_state
from mmppl.train.step import Step

from . import step
from .case import Case, apart
from .gpu_section import Report
from .steps import mopoe

STEPS = 8  # the first of them run from Python, the last are replays
CLOSE = 1e-4  # relative difference of losses that another order of sums can explain after so many steps


class Stepper:
    """Callable: one step of `mmppl fit` on a batch, which returns its loss.

    Args:
        program: the program that is trained.
        batch: the batch.
        precision: "fp32" or "bf16".
        captured: whether the step is a CUDA graph (on a GPU) or a recording (on the CPU); else it runs from Python.
    """

    def __init__(self, program: Program, batch: Batch, precision: str, *, captured: bool) -> None:
        device = batch.index.device
        self.program, self.batch, self.said = program.to(device).train(), batch, list[str]()
        self.optimiser = adam(self.program, 1e-3, device)
        on_gpu = device.type == "cuda"
        self.step = Step(self.program, precision=precision, replay=captured and not on_gpu, log=self.said.append)
        state = partial(mutable_state, self.program, [self.optimiser])
        self.graph: CapturedStep | None = None
        if captured and on_gpu:
            self.graph = CapturedStep(self.step, self.optimiser.step, state, log=self.said.append)

    def __call__(self) -> float:
        if self.graph is not None:
            return float(self.graph(self.batch).loss)
        outcome = self.step(self.batch)
        self.optimiser.step()
        return float(outcome.loss)

    @property
    def replays(self) -> bool:
        """Whether it no longer runs from Python."""
        return self.step.recorded is not None if self.graph is None else self.graph.replay is not None


def repeats(program: Program, batch: Batch, precision: str) -> tuple[float, float]:
    """Compare the losses of a few steps, captured and from Python, from the same state.

    Args:
        program: the program.
        batch: the batch.
        precision: "fp32" or "bf16".

    Returns:
        The largest relative difference of the losses, and what is allowed.

    Raises:
        RuntimeError: the step was not captured; the message says why.
    """
    losses = []
    for captured in (True, False):
        run = Stepper(copy.deepcopy(program), batch, precision, captured=captured)
        torch.manual_seed(0)
        losses.append([run() for _ in range(STEPS)])
        if captured and not run.replays:
            raise RuntimeError(run.said[0] if run.said else f"not captured after {STEPS} steps")
    return max(abs(a - b) / abs(b) for a, b in zip(*losses)), CLOSE


def timed(report: Report, family: str, case: Case, made: Callable[[], Program], batch: Batch, precision: str) -> None:
    """Check that the captured step repeats the one from Python, then time both and the rivals of the case.

    Args:
        report: receives the checks and the row.
        family: family of both.
        case: the case, with any `ours`.
        made: makes the program.
        batch: the batch.
        precision: "fp32" or "bf16".
    """
    if not report.check(family, "captured repeats Python", case.shape, lambda: repeats(made(), batch, precision)):
        report.row(family, case.name, case.shape)
        return
    ours, plain = (Stepper(made(), batch, precision, captured=captured) for captured in (True, False))
    for _ in range(STEPS):
        ours()
    rivals = {"our step from Python": step.scoped(plain), **case.rivals}
    case = replace(case, ours=step.scoped(ours), rivals=rivals)
    if report.check(family, "against hand-written PyTorch", case.shape, case.error):
        report.row(family, case.name, case.shape, called=report.seconds({"ours": case.ours, **case.rivals}))
    else:
        report.row(family, case.name, case.shape)


def mvae_steps(report: Report) -> None:
    """Measure the step of the MVAE of three modalities, also against idiomatic Pyro."""
    for rows, precision in [(4, "fp32")] if report.dry else [(256, "fp32"), (256, "bf16"), (4, "fp32")]:
        pyro.clear_param_store()  # the idiomatic rival of the previous case has left its networks there
        case, batch = step.case(rows, precision, report.device), step.sample(rows, report.device)
        timed(report, f"MVAE step, {precision}, batch {rows}", case, step.program, batch, precision)


def mopoe_step(report: Report) -> None:
    """Measure the step of MoPoE over all subsets of ten modalities, against hand-written PyTorch."""
    count, rows = (3, 4) if report.dry else (10, 128)
    torch.manual_seed(0)
    made = partial(mopoe.program, mopoe.modalities(count))
    batch = moved(mopoe.sample(count, rows), report.device)
    by_hand = mopoe.Plain(count).to(report.device)
    by_hand.subsets = by_hand.subsets.to(report.device)
    case = Case(
        "MoPoE step, fp32",
        f"modalities={count} of {mopoe.SIZE} subsets={2**count - 1} batch={rows}",
        lambda: None,  # `timed` replaces this by ours
        {"hand-written PyTorch": step.scoped(mopoe.plain(by_hand, batch))},
        None,
        lambda: (kl_apart(made(), by_hand, batch), 1e-5),
    )
    timed(report, "MoPoE step", case, made, batch, "fp32")


def moved(batch: Batch, device: str) -> Batch:
    """Return the same rows on a device."""
    values, observed = ({n: t.to(device) for n, t in part.items()} for part in (batch.values, batch.observed))
    return Batch(values, observed, batch.index.to(device), batch.size, batch.encoded)


def kl_apart(program: Program, by_hand: mopoe.Plain, batch: Batch) -> float:
    """Compute the relative difference of the KL over all subsets and of its gradients between our program and the
    hand-written model with the same weights.

    Args:
        program: our program.
        by_hand: the hand-written model, on the device of the batch.
        batch: the batch.

    Returns:
        The larger of the differences.
    """
    program = program.to(batch.index.device)
    other = copy.deepcopy(by_hand)
    pairs = [
        pair
        for m, network in zip(program.modalities, other.encoders)
        for pair in zip(program.encoders[m.name].parameters(), network.parameters())
    ]
    with torch.no_grad():
        for a, b in pairs:
            b.copy_(a)
    found, _ = program.objective(batch)["kl.z"]
    truth = other.divergences(list(batch.values.values()))[2].mean()
    slopes = torch.autograd.grad(found, [a for a, _ in pairs]), torch.autograd.grad(truth, [b for _, b in pairs])
    return max(apart([found], [truth]), apart(*slopes))


def steps(report: Report) -> None:
    """Measure training steps."""
    mvae_steps(report)
    mopoe_step(report)


def fit(report: Report) -> None:
    """Measure a fit on the recipe that comes with scikit-learn: its loss, its step, and the answers of the run."""
    family, said = "fit", list[str]()
    with tempfile.TemporaryDirectory() as folder:
        kept: list[Any] = []

        def log(message: Any) -> None:
            if isinstance(message, str):
                said.append(message)

        def fitted() -> tuple[float, float]:
            epochs = dict(epochs=1) if report.dry else {}
            run = mmppl.fit("mvae", seed=0, device=report.device, out=Path(folder) / "run", log=log, **epochs)  # type: ignore[arg-type]
            kept.append(run)
            return float(not math.isfinite(run.summary()["loss"])), 0.0

        def answers() -> tuple[float, float]:
            answer = kept[0].query(rows=slice(0, 5), want="label,image")
            shares = torch.as_tensor(answer["label"]["prob"])
            pictures = torch.as_tensor(answer["image"]["mean"])
            wrong = (shares.sum(-1) - 1).abs().max() if bool(pictures.isfinite().all()) else math.nan
            return float(wrong), 1e-5

        def learnt() -> tuple[float, float]:
            """The error of the test rows' labels, given everything else."""
            return kept[0].evaluate()["metrics"]["error.label"]["image+profile+word"], 0.1

        name = "mvae on its own recipe"
        if report.check(family, "the loss is finite", name, fitted):
            from_python = [line for line in said if "not as a CUDA graph" in line]
            report.check(family, "the step is captured", name, lambda: (float(len(from_python)), 0.0))
            report.check(family, "the run answers", name, answers)
            if not report.dry:  # a fit of one epoch has learned little
                report.check(family, "error of the label", name, learnt)
            found = kept[0].summary()
            report.row(family, "fit of mvae", f"{found['epochs']} epochs", called={"ours": found["seconds"]})
        for line in said:
            report.note(line)


SECTIONS: dict[str, Callable[[Report], None]] = {"step": steps, "fit": fit}
