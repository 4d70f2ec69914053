"""Learned noise: its bounds let gradients back in, and its optimum is the mean square of the residuals."""

import math

import pytest
import torch

from mmppl import Modality, Program
from mmppl.modalities.likelihoods.noise import HIGHEST, LOWEST, SPEED, bounded_log_scale


def test_inside_the_bounds_it_is_linear_and_outside_only_the_way_back_has_a_gradient():
    raw = torch.tensor([0.3, -5.0, -5.0, 5.0, 5.0], dtype=torch.float64, requires_grad=True)
    value = bounded_log_scale(raw)
    torch.testing.assert_close(value.detach(), torch.tensor([3.0, LOWEST, LOWEST, HIGHEST, HIGHEST]).double())
    slopes = torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)  # descent goes against them
    (gradient,) = torch.autograd.grad(value, raw, slopes)
    assert gradient.tolist() == [SPEED, 0.0, -SPEED, SPEED, 0.0]


@pytest.mark.parametrize("likelihood", ["normal", pytest.param("laplace", marks=pytest.mark.slow)])
def test_adam_finds_the_closed_form_and_stays_at_the_bound_of_a_constant_column(likelihood):
    """σ² is the mean square, b the mean absolute value; a column without residual ends at the bound and comes back."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=rng, dtype=torch.float64) * torch.tensor([0.05, 2.0, 0.0])
    program = Program([Modality("x", (3,), likelihood)])
    modality, raw = program.modality("x"), program.likelihood_parameters["x"]["log_scale"]
    optimiser = torch.optim.Adam([raw], lr=2e-3)

    def step(x):
        optimiser.zero_grad()
        (-modality.family(modality, torch.zeros(200, 3).double()).log_prob(x).mean()).backward()
        optimiser.step()

    for _ in range(2000):
        step(x)
    scale = bounded_log_scale(raw).exp().detach()
    power = 2 if likelihood == "normal" else 1
    closed = x.abs().pow(power).mean(0).pow(1 / power)
    torch.testing.assert_close(scale[:2].double(), closed[:2], rtol=1e-2, atol=0)
    assert float(scale[2]) == pytest.approx(1e-3) and SPEED * raw[2] > LOWEST - 1  # it has not drifted away
    for _ in range(500):
        step(torch.ones_like(x))
    assert scale[2] < bounded_log_scale(raw).exp()[2] < 1.1


def test_an_image_has_one_scale_and_a_row_of_numbers_one_for_each():
    views = [Modality("image", (4, 5), "normal"), Modality("row", (5,), "laplace"), Modality("told", (5,), scale=0.5)]
    program = Program([*views, Modality("pixels", (4, 5), "normal", scale="learned")])
    shapes = {name: state["log_scale"].shape for name, state in program.likelihood_parameters.items()}
    assert shapes == {"image": (), "row": (5,), "pixels": (20,)}
    image = program.modality("image")
    x, found = torch.randn(3, 4, 5), image.family(image, torch.zeros(3, 20)).log_prob(torch.zeros(3, 4, 5))
    torch.testing.assert_close(found, torch.full((3,), -10 * math.log(2 * math.pi)))
    assert image.family(image, torch.zeros(3, 20)).log_prob(x).shape == (3,)
