"""The exponents of Gaussian experts that held-out rows ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ...core.program import Program
from ...data.dataset import Dataset
from .noise import LARGEST
from .questions import Asked, log_predictive, predictions

ROWS, DRAWS, STEPS = 250, 16, 8  # at most: rows and draws of a question, steps of L-BFGS
PRIOR = 3.0  # sd of a log-exponent before any row is seen: nats are means over features, and say less than they could


def best_log_exponents(program: Program, rows: Dataset, asked: Sequence[Asked], seed: int) -> Tensor | None:
    """Maximise the held-out log predictive over the exponents of the experts, by a few steps of L-BFGS.

    The noise of each modality and the temperature of each label move with them, or exponents would make up for those.

    Args:
        program: the program, whose buffers come out as they went in.
        rows: held-out rows.
        asked: what is asked about them.
        seed: of the draws.

    Returns:
        (modalities,) logs of exponents, within ±3; None where no answer depends on them, as in a guide without Gaussian
        experts, or none is better than 1.
    """
    some = [(_few(of), len(of.rows)) for of in asked]
    states = [s for s in program.likelihood_parameters.values() if s.calibration is not None]
    held: list[tuple[torch.nn.Module, str]] = [(program, "expert_calibration"), *((s, "calibration") for s in states)]
    with _buffers(held) as before, torch.enable_grad():
        leaves = [torch.zeros_like(program.expert_calibration, requires_grad=True)]
        leaves += [torch.zeros((), dtype=t.dtype, requires_grad=True) for t in before[1:]]

        def loss() -> Tensor:
            program._buffers["expert_calibration"] = leaves[0]
            for state, start, leaf in zip(states, before[1:], leaves[1:]):
                state._buffers["calibration"] = start + leaf
            total: Tensor = 0.5 * (leaves[0] / PRIOR).square().sum()
            for of, stands_for in some:
                values = [
                    log_predictive(fn, truth)[counts].mean() * stands_for
                    for _, fn, truth, counts in predictions(program, rows, of, DRAWS, seed)
                ]
                total = total - sum(values) / len(values) / len(some)
            return total

        begin = loss()
        slopes = torch.autograd.grad(begin, leaves, allow_unused=True) if begin.requires_grad else [None]
        if slopes[0] is None or not slopes[0].any() or not begin.isfinite():
            return None
        optimiser = torch.optim.LBFGS(
            leaves, max_iter=STEPS, max_eval=STEPS + STEPS // 2, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            value = loss()
            for leaf, slope in zip(leaves, torch.autograd.grad(value, leaves, allow_unused=True)):
                leaf.grad = torch.zeros_like(leaf) if slope is None else slope
            return value

        optimiser.step(closure)
        end = loss()
    found = leaves[0].detach().clamp(-LARGEST, LARGEST)
    return found if bool(found.isfinite().all()) and float(end) < float(begin) else None


def _few(of: Asked) -> Asked:
    """The question about fewer rows, evenly spaced."""
    rows = of.rows[torch.linspace(0, len(of.rows) - 1, min(len(of.rows), ROWS)).long()]
    names = {name: numbers[torch.isin(numbers, rows)] for name, numbers in of.names.items()}
    return Asked(of.given, {name: numbers for name, numbers in names.items() if len(numbers)}, rows)


@contextmanager
def _buffers(held: Sequence[tuple[torch.nn.Module, str]]) -> Iterator[list[Tensor]]:
    """Inside, these buffers may be replaced, and nothing else of a program gets gradients. Yields their values."""
    before = [module._buffers[name] for module, name in held]
    program = held[0][0]
    moving = [p for p in program.parameters() if p.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        yield before  # type: ignore[misc]
    finally:
        for (module, name), value in zip(held, before):
            module._buffers[name] = value
        for parameter in moving:
            parameter.requires_grad_(True)
