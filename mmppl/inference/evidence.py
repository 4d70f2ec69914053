"""The evidence ln p(targets | given), by importance sampling from the query guide.

On average an importance estimate of ln p is a lower bound of it (Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519,
theorem 1). Given something, ln p(targets | given) is a difference of two such estimates, and that is no bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base.turns import taking_turns
from ..core.batch import Batch
from ..errors import UsageError
from ..objectives.traces import is_random
from .draws import draw, in_chunks
from .psis import MAX_KHAT, ROUNDING, smooth
from .questions.question import Question


class Estimate(NamedTuple):
    """An importance estimate for every row.

    Attributes:
        log_evidence: (B,) ln of the mean weight, in nats.
        relative: (draws, B) weights divided by their mean; their variance divided by the number of draws is the
            variance of the estimate (delta method).
        ess: (B,) effective number of draws.
        khat: (B,) Pareto shape of the largest weights.
    """

    log_evidence: Tensor
    relative: Tensor
    ess: Tensor
    khat: Tensor


def evidence(question: Question, batch: Batch, ids: np.ndarray, step: int) -> dict[str, np.ndarray]:
    """Estimate ln p(targets | given), in nats and in the units of the input.

    If something is given, it is the difference of two importance estimates, each a lower bound on average; the
    difference is no bound.

    Args:
        question: the question.
        batch: B rows.
        ids: (B,) their ids.
        step: the number of draws at a time.

    Returns:
        "nats", "se" (its standard error), "ess" and "khat", (B,) each; 0 without error where no target is observed.
        "se" is NaN where k̂ is above `MAX_KHAT`, in one of the two estimates: the weights may then have no variance that
        a standard error could be computed from.

    Raises:
        UsageError: there is nothing to take the evidence of.
    """
    targets = question.targets()
    if not targets:
        raise UsageError("query: evidence of what? Name what is wanted beside it, or give something.")
    given = [n for n in question.given if n not in (*targets, *question.program.conditions)]
    log_evidence, relative, ess, khat = estimate(question, batch, ids, [*given, *targets], step)
    if given:
        below = estimate(question, batch, ids, given, step)
        # Both estimates use the same noise, so they vary together.
        log_evidence, relative = log_evidence - below.log_evidence, relative - below.relative
        ess, khat = torch.minimum(ess, below.ess), torch.maximum(khat, below.khat)
    alone = log_evidence.new_full(log_evidence.shape, torch.nan)  # one draw has no spread
    variance = relative.var(0) / question.draws if question.draws > 1 else alone
    variance = torch.where(khat > MAX_KHAT, torch.nan, variance)
    for name in targets:
        jacobian = question.program.modality(name).log_jacobian(batch.value(name), batch.present.get(name))
        log_evidence = log_evidence + torch.where(batch.observed[name], jacobian.double(), 0.0)
    asked = torch.stack([batch.observed[name] for name in targets]).any(0)  # ln p of nothing is 0, without error
    log_evidence, variance, khat = (torch.where(asked, t, 0.0) for t in (log_evidence, variance, khat))
    ess = torch.where(asked, ess, float(question.draws))
    return {"nats": log_evidence.numpy(), "se": variance.sqrt().numpy(), "ess": ess.numpy(), "khat": khat.numpy()}


def estimate(question: Question, batch: Batch, ids: np.ndarray, names: list[str], step: int) -> Estimate:
    """Estimate ln p(names | conditions) in model units.

    Args:
        question: the question.
        batch: B rows.
        ids: (B,) their ids.
        names: the names that are scored, each where it is observed.
        step: the number of draws at a time.

    Returns:
        The estimate.
    """
    program = question.program
    shown = [n for n in [*program.conditions, *names] if n in program.encoded]
    log_weights, rounding = importance_weights(question, batch, ids, shown, names, step)
    shift = log_weights.max(0).values
    weights = (log_weights - shift).exp()
    mean = weights.mean(0)
    smoothed = smooth(log_weights, rounding)
    return Estimate(mean.log() + shift, weights / mean, smoothed.ess, smoothed.khat)


class LogWeights(NamedTuple):
    """The logarithms of importance weights.

    Attributes:
        values: (draws, B) in nats, not normalised.
        rounding: (B,) the error in nats that they may have from rounding: `ROUNDING` times the precision of the
            densities, times the absolute values of their terms, averaged over the draws.
    """

    values: Tensor
    rounding: Tensor


def importance_weights(
    question: Question, batch: Batch, ids: np.ndarray, given: Sequence[str], scored: Sequence[str], step: int
) -> LogWeights:
    """Compute the log-weights ln p(z) + ln p(scored | z) − ln q(z | given) of all draws.

    Each scored name counts where it is observed, and each latent where the model does not mask it.

    Args:
        question: the question.
        batch: B rows.
        ids: (B,) their ids.
        given: the names that the guide sees.
        scored: the names that the model scores.
        step: the number of draws at a time.

    Returns:
        The log-weights.
    """
    total = torch.zeros(question.draws, len(batch), dtype=torch.float64)
    rounding = torch.zeros(len(batch), dtype=torch.float64)
    for draws in taking_turns(in_chunks(question.draws, step)):
        total[draws.start : draws.stop], of_chunk = _weights_of(question, batch, ids, draws, given, scored)
        rounding += of_chunk * len(draws) / question.draws
    return LogWeights(total, rounding)


def _weights_of(
    question: Question, batch: Batch, ids: np.ndarray, draws: range, given: Sequence[str], scored: Sequence[str]
) -> LogWeights:
    """The log-weights of some draws. This is a function of its own so that the traces of a chunk are freed."""
    total = torch.zeros(len(draws), len(batch), dtype=torch.float64)
    rounding = torch.zeros_like(total)

    def add(term: Tensor, kept: Tensor | None, sign: int = 1) -> None:
        nonlocal total, rounding
        exact = term.double() if kept is None else torch.where(kept, term.double(), 0.0)
        size = torch.where(exact.isfinite(), exact.abs(), 0.0)
        total, rounding = total + sign * exact, rounding + ROUNDING * torch.finfo(term.dtype).eps * size

    guide, model = draw(
        question.program, batch, ids, draws, given=given, scored=scored, seed=question.seed,
        precision=question.precision,
    )  # fmt: skip
    for name, site in guide.nodes.items():
        if is_random(site) and not site["is_observed"]:
            p = model.nodes[name]
            add(p["fn"].log_prob(site["value"]), p["mask"])  # masked as in the loss
            add(site["fn"].log_prob(site["value"]), p["mask"], -1)
    for name in scored:
        if name not in question.program.conditions:
            add(model.nodes[name]["fn"].log_prob(batch.value(name)), batch.observed[name])
    return LogWeights(total, rounding.mean(0))
