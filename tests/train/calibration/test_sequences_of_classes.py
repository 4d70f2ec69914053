"""Calibration of sequences of classes, of which rows have fewer steps than the longest."""

import math

import numpy as np
import torch

import mmppl
from mmppl.modalities.modality import Modality
from mmppl.train.calibration.questions import log_predictive


def test_a_row_has_the_sum_over_the_steps_that_exist():
    """As many rows as steps, so that no axis passes for another."""
    steps = classes = draws = 3
    m = Modality("w", (steps, 1), "categorical", classes=("a", "b", "c"), sequence=True)
    torch.manual_seed(0)
    output = torch.randn(draws, steps, m.output_size, dtype=torch.float64)
    truth = torch.arange(steps * steps).reshape(steps, steps, 1) % classes
    there = torch.arange(steps) < torch.tensor([[1], [2], [3]])
    fn = m.family(m, output).of_elements(there.unsqueeze(-1))
    found = log_predictive(fn, truth)
    p = output.reshape(draws, steps, steps, classes).softmax(-1).mean(0)
    for row in range(steps):
        wanted = sum(math.log(p[row, step, truth[row, step, 0]]) for step in range(row + 1))
        assert math.isclose(found[row].item(), wanted, rel_tol=1e-9)


def test_texts_of_unequal_length_are_fitted_and_calibrated():
    r = np.random.default_rng(0)
    text, length = np.array(list("abc"))[r.integers(0, 3, (60, 4, 1))], r.integers(1, 5, 60)
    data = {"w": text, "length_w": length, "x": r.normal(size=(60, 3))}
    run = mmppl.fit("mvae", data, hyper=dict(hidden=4, latent_dim=2), epochs=1)
    assert np.isfinite(run.summary()["loss"])
