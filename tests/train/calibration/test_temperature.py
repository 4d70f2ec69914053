"""The temperature against an independent optimiser, in float64."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from mmppl.train.calibration.temperature import Guesses, best_log_temperature, held_out_loss


def made(rows, temperature, *, draws=3, classes=4, seed=0):
    """Labels drawn from softmax(logits / temperature), and the logits of some draws, which are all the same."""
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, rows, 1, classes, generator=rng, dtype=torch.float64)
    truth = torch.distributions.Categorical(logits=logits[0] / temperature)
    uniform = torch.rand(rows, 1, 1, generator=rng, dtype=torch.float64)
    codes = (uniform > truth.probs.cumsum(-1)).sum(-1).clamp_max(classes - 1)
    return Guesses(logits.expand(draws, -1, -1, -1) + 0.3 * torch.randn(draws, rows, 1, classes, generator=rng), codes)


def loss_in_numpy(questions, t):
    total = 0.0
    for q in questions:
        log_p = log_softmax(q.log_probs.numpy() / np.exp(t), -1)
        true = np.take_along_axis(log_p, q.truth.numpy()[None, ..., None].repeat(len(log_p), 0), -1)[..., 0]
        total -= (logsumexp(true, 0) - np.log(len(log_p))).sum() / len(questions)
    return total


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_it_is_that_of_another_implementation(temperature):
    questions = [made(300, temperature), made(200, temperature, seed=1)]
    best = minimize_scalar(lambda t: loss_in_numpy(questions, t), bounds=(-3, 3), method="bounded").x
    found = best_log_temperature(questions, prior=1e6)
    assert found == pytest.approx(best, abs=2e-3)
    assert held_out_loss(questions, found) == pytest.approx(loss_in_numpy(questions, found))
    assert held_out_loss(questions, found) < held_out_loss(questions, 0.0)


def test_it_finds_the_temperature_of_the_labels():
    """5,000 labels: the standard error of ln T is about .03."""
    rng = torch.Generator().manual_seed(5)
    alike = made(5000, 2.0, draws=1)
    exact = Guesses(2 * torch.randn(1, 5000, 1, 4, generator=rng, dtype=torch.float64), alike.truth)
    assert best_log_temperature([alike]) == pytest.approx(np.log(2.0), abs=0.1)
    assert best_log_temperature([exact]) > 1.5  # guesses that know nothing are flattened


def test_nothing_to_gain_is_the_identity_and_few_rows_change_little():
    exact = made(400, 1.0, draws=1)
    calm = Guesses(exact.log_probs, exact.truth)
    assert abs(best_log_temperature([calm])) < 0.15
    certain = Guesses(torch.tensor([[[[8.0, 0.0]]]], dtype=torch.float64), torch.tensor([[1]]))
    assert 0 < best_log_temperature([certain]) < np.log(8.0)
    assert best_log_temperature([Guesses(certain.log_probs, torch.tensor([[0]]))]) == 0.0
