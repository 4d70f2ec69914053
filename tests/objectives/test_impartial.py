"""Rules that combine gradients: reference values, the property that defines each, and gradients that are 0."""

import itertools

import numpy as np
import pytest
import torch

from mmppl import UsageError, combine_gradients
from mmppl.base.choices import GRADIENTS
from mmppl.objectives.impartial.rules import GradientsOfTerms, graddrop
from mmppl.objectives.impartial.simplex import cagrad_weights, least_on_simplex, mgda_weights
from mmppl.objectives.impartial.weights import imtl_weights, norm_weights, pcgrad_weights

G = torch.tensor([[1.0, 2.0, 0.0], [-2.0, 1.0, 0.5], [0.5, -1.5, 1.0]], dtype=torch.float64)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gram(gradients):
    return gradients @ gradients.mT


def grid(number, steps):
    """All points of the simplex on a grid."""
    parts = itertools.product(range(steps + 1), repeat=number - 1)
    points = [(*p, steps - sum(p)) for p in parts if sum(p) <= steps]
    return torch.tensor(points, dtype=torch.float64) / steps


def test_reference_values():
    """Of the specification, from independent solutions in numpy."""
    projected = pcgrad_weights(gram(G), torch.arange(3).expand(3, 3)) @ G
    want = torch.tensor([-0.119047619, 0.9523809524, 2.976190476], dtype=torch.float64)
    torch.testing.assert_close(projected, want, rtol=1e-9, atol=0)
    scaled = projected / projected.norm() * G.sum(0).norm()
    want = torch.tensor([-0.0829702234, 0.6637617872, 2.074255585], dtype=torch.float64)
    torch.testing.assert_close(scaled, want, rtol=1e-9, atol=0)
    weights = imtl_weights(gram(G))
    want = torch.tensor([0.3026525894, 0.2471932436, 0.450154167], dtype=torch.float64)
    torch.testing.assert_close(weights, want, rtol=1e-9, atol=0)
    projections = (G / G.norm(dim=1, keepdim=True)) @ (weights @ G)
    torch.testing.assert_close(projections, torch.full((3,), 0.1734641045, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_projected_gradients_are_those_of_the_algorithm_step_by_step(number):
    """For any order, drawn here; and of two tasks that conflict, neither is harmed."""
    gradients = drawn(4, number, 6)
    order = torch.rand(4, number, number, generator=torch.Generator().manual_seed(1)).argsort(-1)
    got = (pcgrad_weights(gram(gradients), order).unsqueeze(-2) @ gradients).squeeze(-2)
    for problem, single in enumerate(gradients.numpy()):
        total = np.zeros(6)
        for i in range(number):
            left = single[i].copy()
            for j in order[problem, i].tolist():
                if j != i and left @ single[j] < 0:
                    left -= (left @ single[j]) / (single[j] @ single[j]) * single[j]
            total += left
        np.testing.assert_allclose(got[problem].numpy(), total, rtol=1e-9, atol=1e-12)


def test_of_two_tasks_in_conflict_neither_is_harmed():
    g = torch.tensor([[1.0, 0.0], [-5.0, 1.0]], dtype=torch.float64)
    assert (g[0] @ g.sum(0)) < 0  # the sum harms the first
    assert ((g @ combine_gradients(g, "pcgrad")) > 0).all()


def test_the_order_is_drawn_from_the_generator_and_matters():
    torch.manual_seed(0)
    several = {tuple(combine_gradients(G, "pcgrad").tolist()) for _ in range(20)}
    torch.manual_seed(0)
    again = {tuple(combine_gradients(G, "pcgrad").tolist()) for _ in range(20)}
    assert several == again and len(several) > 1


@pytest.mark.parametrize("seed", range(5))
def test_projections_are_equal_and_not_negative(seed):
    gradients = drawn(4, 7, seed=seed) * torch.tensor([[1.0], [10.0], [0.1], [1e-6]])
    weights = imtl_weights(gram(gradients))
    projections = (gradients / gradients.norm(dim=1, keepdim=True)) @ (weights @ gradients)
    torch.testing.assert_close(projections, projections.mean().expand(4), rtol=1e-5, atol=0)
    assert (projections > 0).all() and abs(float(weights.sum())) == pytest.approx(1.0)


def test_weights_that_would_ascend_every_task_change_their_sign():
    """Where the smallest gradient lies nearly between large ones, weights of sum 1 point away from all."""
    g = torch.tensor([[1.0, 0.2, 0.3], [1.0, -0.2, 0.3], [0.01, 0.0, 0.0035]], dtype=torch.float64)
    weights = imtl_weights(gram(g))
    assert float(weights.sum()) == pytest.approx(-1.0)
    assert ((g @ (weights @ g)) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_point_of_least_norm(seed):
    gradients = drawn(3, 4, seed=seed) + 0.5 * seed  # from 0 inside the hull to all nearly alike
    weights = mgda_weights(gram(gradients))
    best = (grid(3, 200) @ gradients).norm(dim=-1).min()
    assert float((weights @ gradients).norm()) <= float(best) + 1e-12
    assert (weights >= 0).all() and float(weights.sum()) == pytest.approx(1.0)
    point = weights @ gradients  # Kuhn & Tucker: no task gains less than ‖point‖², those that count exactly that
    gains = gradients @ point
    assert (gains >= point @ point - 1e-9).all()
    torch.testing.assert_close(gains[weights > 1e-9], (point @ point).expand(int((weights > 1e-9).sum())))


def test_one_gradient_that_is_another_twice_over_does_not_matter():
    g = torch.cat([G, 2 * G[:1]])
    torch.testing.assert_close(mgda_weights(gram(g)) @ g, mgda_weights(gram(G)) @ G, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_task_that_gains_least_gains_most(seed):
    """Of all directions within c ‖g₀‖ of the mean g₀, by a grid over its dual and by random directions."""
    gradients, c = drawn(3, 4, seed=seed), 0.5
    direction, mean = cagrad_weights(gram(gradients), c) @ gradients, gradients.mean(0)
    radius = c * mean.norm()
    assert float((direction - mean).norm()) <= float(radius) * (1 + 1e-9)
    worst = (gradients @ direction).min()
    mixed = grid(3, 200) @ gradients
    bound = (mixed @ mean + radius * mixed.norm(dim=-1)).min()  # weak duality: no direction gains more
    assert float(worst) == pytest.approx(float(bound), rel=1e-3, abs=1e-4) and worst <= bound + 1e-9
    others = drawn(2000, 4, seed=9)
    others = mean + radius * others / others.norm(dim=-1, keepdim=True)
    assert worst >= (others @ gradients.T).amin(-1).max() - 1e-9


def test_least_on_simplex_by_a_grid():
    matrix, linear = gram(drawn(3, 2, seed=3)), torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    got = least_on_simplex(matrix, linear, torch.tensor(0.7, dtype=torch.float64))
    value = lambda w: w @ linear + 0.7 * ((w @ matrix) * w).sum(-1).clamp_min(0).sqrt()  # noqa: E731
    assert float(value(got)) <= float(value(grid(3, 300)).min()) + 1e-9


def test_signs_are_kept_by_their_purity():
    """Each number takes one sign, the positive one as often as Σ g / Σ |g| says. 4,000 draws, z below 4.5 in 4 tests:
    wrong once in 37,000."""
    g = torch.tensor([[1.0, 1.0, -1.0, 2.0], [-3.0, 1.0, -2.0, -2.0]], dtype=torch.float64)
    torch.manual_seed(0)
    draws = graddrop(g.expand(4000, 2, 4))
    positive, negative = g.clamp_min(0).sum(0), g.clamp_max(0).sum(0)
    assert ((draws == positive) | (draws == negative)).all()
    share, want = (draws > 0).double().mean(0), torch.tensor([0.25, 1.0, 0.0, 0.5], dtype=torch.float64)
    sd = (want * (1 - want) / 4000).sqrt()
    assert ((share - want).abs() <= 4.5 * sd).all()


@pytest.mark.parametrize("rule", GRADIENTS)
def test_the_norm_is_that_of_the_sum(rule):
    gradients = drawn(5, 3, 8)
    combined = combine_gradients(gradients, rule)
    torch.testing.assert_close(combined.norm(dim=-1), gradients.sum(-2).norm(dim=-1), rtol=1e-9, atol=0)


def test_equal_norms_are_the_direction_of_the_sum_of_unit_gradients():
    units = (G / G.norm(dim=1, keepdim=True)).sum(0)
    want = units / units.norm() * G.sum(0).norm()
    torch.testing.assert_close(combine_gradients(G, "norm"), want, rtol=1e-9, atol=0)
    weights = norm_weights(gram(G))
    torch.testing.assert_close(weights * G.norm(dim=1), G.norm(dim=1).mean().expand(3), rtol=1e-9, atol=0)


@pytest.mark.parametrize("rule", GRADIENTS)
def test_a_gradient_that_is_zero_is_no_task(rule):
    """As of a modality that no row of a batch has: the others are combined as if it were not there."""
    padded = torch.cat([G[:2], torch.zeros(1, 3, dtype=torch.float64)])
    if rule == "pcgrad":  # of two tasks the order does not matter
        got, want = pcgrad_weights(gram(padded)) @ padded, pcgrad_weights(gram(G[:2])) @ G[:2]
    elif rule == "graddrop":
        chance = torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64)
        got, want = graddrop(padded, chance), graddrop(G[:2], chance)
    else:
        got, want = combine_gradients(padded, rule), combine_gradients(G[:2], rule)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", GRADIENTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_task_keeps_its_gradient_and_none_is_zero(rule, dtype):
    alone = torch.zeros(2, 3, 4, dtype=dtype)
    alone[0, 1] = torch.tensor([1e-3, -2.0, 0.0, 5.0])
    combined = combine_gradients(alone, rule)
    assert torch.equal(combined[0], alone[0, 1]) and not combined[1].any()


@pytest.mark.parametrize("rule", GRADIENTS)
def test_gradients_that_cancel_have_no_direction_and_stay_a_sum(rule):
    g = torch.stack([G[0], -G[0]]).float()
    assert combine_gradients(g, rule).abs().max() <= 1e-6 * g.abs().max() or rule == "graddrop"
    assert combine_gradients(torch.stack([G[0], -0.5 * G[0]]), rule).isfinite().all()


def test_each_problem_is_its_own():
    several = drawn(2, 3, 4, 6)
    for rule in sorted(set(GRADIENTS) - {"pcgrad", "graddrop"}):
        want = torch.stack([combine_gradients(g, rule) for g in several.flatten(0, 1)]).reshape(2, 3, 6)
        torch.testing.assert_close(combine_gradients(several, rule), want, rtol=1e-9, atol=1e-12)


def test_terms_by_name_and_what_is_refused():
    named = dict(zip("abc", G))
    assert torch.equal(GradientsOfTerms("imtl")(named), combine_gradients(G, "imtl"))
    with pytest.raises(UsageError, match=r"gradients pcgrd: choose from norm, pcgrad.* mean pcgrad"):
        combine_gradients(G, "pcgrd")
    with pytest.raises(UsageError, match=r"11 gradients are more than mgda and cagrad combine \(at most 10\)"):
        combine_gradients(drawn(11, 3), "mgda")
