"""The terms of a program on all rows at once, without gradient, and the error of its labels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..base.turns import taking_turns
from ..core.batch import Batch
from ..core.program import Program
from ..core.terms import terms_of
from ..data.dataset import Dataset
from ..evaluation.scores import mean_absolute_error
from ..evaluation.study import point
from ..inference.query import ask
from ..modalities.kinds import is_score, kind
from .step import autocast

LABELLED_ROWS = 2000  # of the validation rows are asked for the metrics of each epoch


def mean_terms(
    program: Program, batches: Iterable[Batch], *, seed: int, precision: str, terms: Sequence[str] | None
) -> tuple[dict[str, float], dict[str, float]]:
    """The mean over the rows of every term, with noise that is the same at each call, and the weights.

    Args:
        program: is left in evaluation mode.
        batches: of all rows.
        seed: of the noise.
        precision: of the networks.
        terms: names of those that count; None: all.

    Returns:
        name → value, and name → weight (0 of those that do not count).
    """
    program.eval()
    sums: dict[str, Tensor] = {}
    weights, count = {}, 0
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for batch in taking_turns(batches):
            with autocast(precision, batch.index.device):
                found = terms_of(program, batch)
            for name, (value, _) in found.items():
                sums[name] = sums.get(name, 0.0) + value.double() * len(batch)
            count += len(batch)
        weights = {n: float(w) if terms is None or n in terms else 0.0 for n, (_, w) in found.items()}
    return {name: float(total) / count for name, total in sums.items()}, weights


@contextmanager
def at_the_end(program: Program) -> Iterator[None]:
    """Inside, the program's clock has run down: warm-ups are over, so that losses of all epochs compare."""
    before = program.progress.clone()
    program.progress.fill_(1.0)
    try:
        yield
    finally:
        program.progress.copy_(before)


def mean_over(found: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """The mean of the values of each name, with these weights; {} of nothing."""
    total = sum(weight for _, weight in found)
    return {name: sum(values[name] * n for values, n in found) / total for name in (found[0][0] if found else {})}


def weighted(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The loss that terms of these values and weights make."""
    return sum(weights[name] * value for name, value in values.items())


def label_errors(program: Program, valid: Dataset, seed: int) -> dict[str, float]:
    """Error rate of each label of classes or tags, and mean absolute error of each label that is one number in the
    units of the input, on (the first) validation rows, given all else that a row has.

    Args:
        program: on any device.
        valid: validation rows, on the CPU.
        seed: of the draws.
    """
    program.eval()
    answered = map(program.modality, program.targets())
    labels = [m for m in answered if m.role == "label" and (m.classes or is_score(m) or kind(m) == "tags")]
    good = torch.ones(len(valid), dtype=torch.bool)
    for name in program.conditions:
        good &= valid.observed[name]
    asked = valid.take(good.nonzero().squeeze(-1)[:LABELLED_ROWS])
    if not labels or not len(asked):
        return {}
    on_cpu = program if program.progress.device.type == "cpu" else copy.deepcopy(program).cpu()
    answer = ask(on_cpu, asked, want=[m.name for m in labels], draws=4, seed=seed)
    metrics = {}
    for m in labels:
        known = asked.observed[m.name].numpy()
        truth = asked.values[m.name].cpu().numpy()[known]
        if not len(truth):
            continue
        if is_score(m):
            guess = point(m, answer.want[m.name])[known]
            metrics[f"mae.{m.name}"] = mean_absolute_error(m.value_in_input_units(truth), guess)
        else:
            guess = (answer.want[m.name]["prob"].argmax(-1) if m.classes else answer.want[m.name]["predicted"])[known]
            metrics[f"error.{m.name}"] = float((guess != truth).mean())
    return metrics
