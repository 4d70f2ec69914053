"""Log-densities of rows that lack some of their stretches (the steps of a sequence, or single features), against a loop
over rows in float64: values and gradients, and nothing that stands where nothing exists."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Laplace, Normal

from mmppl.kernels.categorical import categorical_log_density
from mmppl.kernels.likelihood import (
    bernoulli_log_density,
    laplace_log_density,
    normal_log_density,
    normal_predicted_log_density,
)

pytestmark = pytest.mark.usefixtures("path")
SHAPES = [(1, 1, 1, 1), (2, 5, 7, 3), (3, 4, 6, 1), (1, 9, 1, 5)]  # S, B, P stretches of F features


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def looped(log_p, present, mask):
    """(S, B) sums of (S, B, P, F) log-densities over what exists, one row after the other."""
    rows = [
        torch.stack([
            log_p[s, b][present[b]].sum() if mask[s, b] else log_p.new_zeros(()) for b in range(log_p.shape[1])
        ])
        for s in range(log_p.shape[0])
    ]  # fmt: skip
    return torch.stack(rows)


def masks(s, b, p):
    rng = torch.Generator().manual_seed(1)
    return torch.rand(b, p, generator=rng) < 0.6, torch.rand(s, b, generator=rng) < 0.7


def poisoned(t, present, each):
    """The same with NaN wherever nothing exists; the last axis holds the stretches, perhaps several times."""
    there = present.repeat_interleave(each, -1)
    return torch.where(there.repeat(1, t.shape[-1] // there.shape[-1]), t, torch.nan)


def agree(got, want, inputs):
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    weights = torch.linspace(-1, 1, got.numel(), dtype=torch.float64).view_as(got)
    slopes, wanted = (
        torch.autograd.grad((of * weights).sum(), inputs, retain_graph=True, allow_unused=True) for of in (got, want)
    )
    for mine, other in zip(slopes, wanted):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["number", "scalar", "shared by the stretches", "of every feature"])
@pytest.mark.parametrize("density", [normal_log_density, laplace_log_density])
def test_numbers(shape, kind, density):
    s, b, p, f = shape
    present, mask = masks(s, b, p)
    x, loc = drawn(b, p * f), drawn(s, b, p * f, seed=2).requires_grad_()
    number = {"number": 0.3, "scalar": drawn(), "shared by the stretches": drawn(f), "of every feature": drawn(p * f)}[
        kind
    ]
    inputs = [loc] if kind == "number" else [loc, number.requires_grad_()]
    whole = number.repeat(p) if kind == "shared by the stretches" else torch.as_tensor(number, dtype=torch.float64)
    family = Normal(loc, (whole / 2).exp()) if density is normal_log_density else Laplace(loc, whole.exp())
    want = looped(family.log_prob(x).unflatten(-1, (p, f)), present, mask)
    agree(density(poisoned(x, present, f), loc, number, mask, present), want, inputs)
    agree(
        density(x, loc, number, None, present),
        looped(family.log_prob(x).unflatten(-1, (p, f)), present, mask | True),
        inputs,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_predicted_noise_and_bits(shape):
    s, b, p, f = shape
    present, mask = masks(s, b, p)
    x, output = drawn(b, p * f), drawn(s, b, 2 * p * f, seed=2).requires_grad_()
    loc, log_var = output.chunk(2, -1)
    want = looped(Normal(loc, (log_var / 2).exp()).log_prob(x).unflatten(-1, (p, f)), present, mask)
    agree(normal_predicted_log_density(poisoned(x, present, f), output, mask, present), want, [output])
    bits, logits = (x > 0).double(), drawn(s, b, p * f, seed=3).requires_grad_()
    want = looped(Bernoulli(logits=logits).log_prob(bits).unflatten(-1, (p, f)), present, mask)
    agree(bernoulli_log_density(logits, poisoned(bits, present, f), mask, present), want, [logits])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_classes(shape):
    s, b, p, f = shape
    present, mask = masks(s, b, p)
    logits = drawn(s, b, p * f, 4).requires_grad_()
    codes = torch.randint(0, 4, (b, p * f), generator=torch.Generator().manual_seed(3))
    want = looped(Categorical(logits=logits).log_prob(codes).unflatten(-1, (p, f)), present, mask)
    wild = torch.where(present.repeat_interleave(f, -1), codes, 0)
    agree(categorical_log_density(logits, wild, mask, present), want, [logits])


def test_what_a_decoder_says_of_nothing_does_not_matter():
    """Not even NaN, and its gradient is 0 there."""
    present = torch.tensor([[True, False], [False, False]])
    for density in (bernoulli_log_density, lambda m, x, mask, there: normal_log_density(x, m, drawn(2), mask, there)):
        output = drawn(2, 4)
        output[~present.repeat_interleave(2, -1)] = torch.nan
        output.requires_grad_()
        found = density(output, torch.rand(2, 4).double(), None, present)
        (slope,) = torch.autograd.grad(found.sum(), output)
        assert found.isfinite().all() and found[1] == 0
        assert slope.isfinite().all() and slope[~present.repeat_interleave(2, -1)].eq(0).all()


def test_stretches_have_to_be_equal_and_masks_bool():
    x = torch.zeros(2, 6)
    with pytest.raises(ValueError, match="6 features are no 4 equal stretches"):
        normal_log_density(x, x, 0.0, None, torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="or their mask is no bool"):
        bernoulli_log_density(x, x, None, torch.ones(2, 3))
    with pytest.raises(ValueError, match="6 positions are no 5 equal stretches"):
        categorical_log_density(
            torch.zeros(2, 6, 3), torch.zeros(2, 6).long(), None, torch.ones(2, 5, dtype=torch.bool)
        )
