"""The temperature of class probabilities that held-out rows ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .noise import LARGEST, PRIOR, WORTH


@dataclass(frozen=True)
class Guesses:
    """What one question says of a modality of classes.

    Args:
        log_probs: (K, B, positions, C) log-probabilities, given K draws of the latent.
        truth: (B, positions) codes.
    """

    log_probs: Tensor
    truth: Tensor


def held_out_loss(questions: Sequence[Guesses], log_temperature: float) -> float:
    """The mean over questions of −Σ_b ln 1/K Σ_k softmax(log_probs_k / T)[truth], in nats of all rows.

    Args:
        questions: guesses of the same modality.
        log_temperature: ln T.

    Returns:
        Nats.
    """
    total = 0.0
    for of in questions:
        tempered = torch.log_softmax(of.log_probs.double() * torch.exp(torch.tensor(-log_temperature)).double(), -1)
        true = tempered.gather(-1, of.truth.long().expand(len(tempered), *of.truth.shape).unsqueeze(-1)).squeeze(-1)
        total -= float((true.logsumexp(0) - torch.tensor(float(len(true))).log()).sum()) / len(questions)
    return total


def best_log_temperature(questions: Sequence[Guesses], prior: float = PRIOR) -> float:
    """Minimise the held-out loss plus (ln T)² / (2 prior²) over ln T (Brent's method).

    Args:
        questions: guesses of the same modality.
        prior: standard deviation of ln T before any row is seen, in which few rows leave it near 0.

    Returns:
        ln T; 0 where it would gain less than `WORTH`.
    """
    from scipy.optimize import minimize_scalar

    def penalised(log_temperature: float) -> float:
        return held_out_loss(questions, log_temperature) + 0.5 * (log_temperature / prior) ** 2

    found = float(minimize_scalar(penalised, bounds=(-LARGEST, LARGEST), method="bounded", options={"xatol": 1e-3}).x)
    gains = held_out_loss(questions, 0.0) - held_out_loss(questions, found)
    return found if gains > WORTH else 0.0
