"""Closed forms of diagonal Gaussians against tabulated values (quadrature) and against torch's distributions."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from mmppl.kernels.gaussian import gaussian_kl, gaussian_kl_standard, gaussian_log_density

M1, V1 = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64), torch.tensor([0.64, 0.25, 2.25], dtype=torch.float64)
M2, V2 = torch.tensor([-0.25, 0.0, 1.0], dtype=torch.float64), torch.tensor([1.44, 1.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("q", "p", "expected"),  # by quadrature, a dimension at a time
    [
        ((M1, V1), (M2, V2), 3.139108313),
        ((M2, V2), (M1, V1), 4.051212868),
        ((M1[:1], V1[:1]), (M2[:1], V2[:1]), 0.3229998303),
    ],
)
def test_kl_is_the_tabulated_value(q, p, expected):
    assert gaussian_kl(q[0], q[1].log(), p[0], p[1].log()).item() == pytest.approx(expected, abs=1e-8)


def test_kl_to_the_standard_normal():
    assert gaussian_kl_standard(M1, V1.log()).item() == pytest.approx(3.205825624, abs=1e-8)
    zero = torch.zeros(3).double()
    torch.testing.assert_close(gaussian_kl_standard(M1, V1.log()), gaussian_kl(M1, V1.log(), zero, zero))


def test_values_and_gradients_agree_with_torch():
    rng = torch.Generator().manual_seed(0)
    arguments = [torch.randn(4, 5, 3, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    m, lv, n, lw = arguments
    q, p = (Independent(Normal(a, (0.5 * b).exp()), 1) for a, b in ((m, lv), (n, lw)))
    for ours, theirs in [
        (gaussian_kl(m, lv, n, lw), kl_divergence(q, p)),
        (gaussian_log_density(m, n, lw), p.log_prob(m)),
    ]:
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        for a, b in zip(
            *(torch.autograd.grad(f.sum(), arguments, allow_unused=True, retain_graph=True) for f in (ours, theirs))
        ):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("log_var", [-80.0, 80.0])
def test_extreme_variances_stay_finite(log_var):
    loc, same = torch.zeros(1), torch.tensor([log_var])
    assert gaussian_kl(loc, same, loc, same).item() == 0.0
    assert math.isfinite(gaussian_log_density(loc, loc, same).item())
