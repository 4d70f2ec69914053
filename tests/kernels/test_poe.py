"""Product of experts against tabulated values (normalised products on a grid) and its laws."""

import math

import pytest
import torch

from mmppl.kernels.poe import gaussian_product

MU = torch.tensor([[1.0, -0.5], [2.0, 0.3], [-1.0, 0.8]], dtype=torch.float64).unsqueeze(1)
LOG_VAR = torch.tensor([[0.0, -1.0], [math.log(0.25), 0.5], [1.0, -0.3]], dtype=torch.float64).unsqueeze(1)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([1, 1, 1], [1.355572234, -0.01714542838, -1.851266516, -1.73601264]),
        ([1, 0, 1], [0.2669563948, -0.05509986566, -0.8619948041, -1.622974012]),
        ([0, 0, 0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_tabulated_products(seen, expected):
    loc, log_var = gaussian_product(MU, LOG_VAR, torch.tensor([seen]).bool())
    torch.testing.assert_close(
        torch.cat([loc[0], log_var[0]]), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-8
    )


def test_extreme_precisions_are_exact():
    loc, log_var = gaussian_product(
        torch.tensor([[[3.0]], [[5.0]]]), torch.tensor([[[-800.0]], [[800.0]]]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert (loc.item(), log_var.item()) == (3.0, -800.0)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 3), (31, 5, 33, 65)], ids=str)  # S, M, B, D
def test_all_subsets_at_once_are_the_subsets_one_by_one(shape):
    S, M, B, D = shape
    rng = torch.Generator().manual_seed(0)
    loc, log_var = torch.randn(2, M, B, D, generator=rng, dtype=torch.float64)
    seen = torch.rand(S, B, M, generator=rng) < 0.6
    precision = torch.where(seen.movedim(-1, 1).unsqueeze(-1), torch.exp(-log_var), 0.0)  # (S, M, B, D)
    total = 1 + precision.sum(1)
    got = gaussian_product(loc, log_var, seen)
    torch.testing.assert_close(got[0], (precision * loc).sum(1) / total, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got[1], -total.log(), rtol=1e-10, atol=1e-10)
    order = torch.randperm(M, generator=rng)
    torch.testing.assert_close(gaussian_product(loc[order], log_var[order], seen[..., order]), got)


def test_gradients():
    rng = torch.Generator().manual_seed(1)
    loc, log_var = (torch.randn(3, 4, 2, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2))
    seen = torch.rand(5, 4, 3, generator=rng) < 0.5
    assert torch.autograd.gradcheck(lambda a, b: gaussian_product(a, b, seen), (loc, log_var))


def test_what_lies_under_the_mask_does_not_matter():
    loc, log_var = torch.randn(2, 2, 4, 3)
    seen = torch.tensor([[True, False]] * 4)
    want = gaussian_product(loc, log_var, seen)
    loc[1], log_var[1] = torch.nan, torch.nan
    assert all(torch.equal(a, b) for a, b in zip(gaussian_product(loc, log_var, seen), want))


def test_shapes_that_disagree_are_named():
    with pytest.raises(ValueError, match=r"expected loc \(M, B, D\)"):
        gaussian_product(MU, LOG_VAR, torch.ones(3, 1, dtype=torch.bool))
