"""Log-probabilities of counts, and Student's t and the Beta, against mpmath with 40 digits and against torch's, values
and gradients; what float32 leaves of them; and ln Γ itself."""

import mpmath
import numpy as np
import pytest
import torch
from torch.distributions import Beta, NegativeBinomial, Poisson, StudentT

from mmppl.kernels.codegen.gamma import stirling, stirling_slope
from mmppl.kernels.counts import nb_log_density, poisson_log_density, zinb_log_density
from mmppl.kernels.likelihood import EDGE, LikelihoodKernel, beta_log_density, student_log_density

pytestmark = pytest.mark.usefixtures("path")
mpmath.mp.dps = 40
SHAPES = [(1, 1, 1), (3, 5, 33), (2, 1, 517)]  # S, B, D
COUNTS = [0, 1, 2, 17, 1000, 1_000_000]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def counted(*shape):
    return torch.randint(0, 12, shape, generator=torch.Generator().manual_seed(1)).double()


def by_hand(name, x, output, *parameters):
    """(..., B, D) log-densities from torch's distributions."""
    if name == "poisson":
        return Poisson(output.exp(), validate_args=False).log_prob(x)
    if name == "student":
        return StudentT(2 + parameters[1].exp(), output, parameters[0].exp()).log_prob(x)
    if name == "beta":
        mean, total = torch.sigmoid(output), parameters[0].exp()
        return Beta(total * mean, total * (1 - mean)).log_prob(x)
    log_mean = output if name == "nb" else output.chunk(2, -1)[0]
    found = NegativeBinomial(parameters[0].exp(), logits=log_mean - parameters[0]).log_prob(x)
    if name == "nb":
        return found
    share = torch.sigmoid(output.chunk(2, -1)[1])
    return (share * (x == 0) + (1 - share) * found.exp()).log()


DENSITIES = {
    "poisson": poisson_log_density,
    "nb": nb_log_density,
    "zinb": zinb_log_density,
    "student": student_log_density,
    "beta": beta_log_density,
}
NUMBER_OF_PARAMETERS = {"poisson": 0, "nb": 1, "zinb": 1, "student": 2, "beta": 1}
named = pytest.mark.parametrize("name", DENSITIES)


def leaves_of(name, S, B, D):
    x = {"student": drawn(B, D, seed=5), "beta": torch.sigmoid(drawn(B, D, seed=5))}.get(name, counted(B, D))
    shapes = [(S, B, (1 + (name == "zinb")) * D), *([(D,), ()][: NUMBER_OF_PARAMETERS[name]])]
    return x, [drawn(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]


@named
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(name, shape):
    x, leaves = leaves_of(name, *shape)
    mask = torch.rand(shape[:2], generator=torch.Generator().manual_seed(2)) < 0.7
    got = DENSITIES[name](x, *leaves, mask=mask)
    want = torch.where(mask, by_hand(name, x, *leaves).sum(-1), 0.0)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    mine, other = (torch.autograd.grad(f.square().sum(), leaves, retain_graph=True) for f in (got, want))
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@named
def test_what_lies_under_masks_does_not_matter(name):
    """Neither rows that are masked nor elements that do not exist, whatever stands there."""
    S, B, D = 2, 4, 6
    x, leaves = leaves_of(name, S, B, D)
    mask = torch.tensor([[True, False, True, True], [True, True, False, True]])
    there = torch.rand(B, D, generator=torch.Generator().manual_seed(3)) < 0.6
    want = torch.where(mask, torch.where(there, by_hand(name, x, *leaves), 0.0).sum(-1), 0.0)
    for filler in (torch.nan, 1e30, -torch.inf):
        dirty = torch.where(there, x, filler)
        output = leaves[0].detach().clone()
        output[~mask] = filler
        output.unflatten(-1, (-1, D)).masked_fill_(~there.unsqueeze(-2), filler)
        parts = [output.requires_grad_(), *leaves[1:]]
        got = DENSITIES[name](dirty, *parts, mask=mask, present=there)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
        slopes = torch.autograd.grad(got.sum(), parts)
        assert all(slope.isfinite().all() for slope in slopes)
        assert (slopes[0].unflatten(-1, (-1, D)).movedim(-2, 0)[:, :, ~there] == 0).all()


def exact_nb(x, log_mean, log_r, logit=None):
    x, mean, r = mpmath.mpf(x), mpmath.exp(log_mean), mpmath.exp(log_r)
    value = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1)
    value += r * mpmath.log(r / (r + mean)) + x * mpmath.log(mean / (r + mean))
    if logit is None:
        return value
    share = 1 / (1 + mpmath.exp(-logit))
    return mpmath.log(share * (x == 0) + (1 - share) * mpmath.exp(value))


def exact_poisson(x, log_mean):
    return x * log_mean - mpmath.exp(log_mean) - mpmath.loggamma(x + 1)


@pytest.mark.parametrize("x", COUNTS)
def test_far_out(x):
    """Float64 to 1e-8 of the value, and float32 to what its module states, for 0 and huge counts, tiny and huge means,
    and a dispersion that makes a Poisson of the NB."""
    for log_mean in (-20.0, 0.0, 3.0, 13.75):
        at = torch.tensor([[float(x)]], dtype=torch.float64)
        mean = torch.tensor([[log_mean]], dtype=torch.float64)
        want = float(exact_poisson(x, log_mean))
        assert poisson_log_density(at, mean).item() == pytest.approx(want, rel=1e-8, abs=1e-8)
        narrow = poisson_log_density(at.float(), mean.float()).item()
        assert narrow == pytest.approx(want, rel=1e-6, abs=1e-5 + 2e-7 * (x + np.exp(log_mean)))
        for log_r in (-6.5, 0.0, 4.0, 9.0):
            inverse = torch.tensor([log_r], dtype=torch.float64)
            want = float(exact_nb(x, log_mean, log_r))
            assert nb_log_density(at, mean, inverse).item() == pytest.approx(want, rel=1e-8, abs=1e-8)
            narrow = nb_log_density(at.float(), mean.float(), inverse.float()).item()
            assert narrow == pytest.approx(want, rel=1e-6, abs=2e-6 * (1 + np.exp(log_r)))
            for logit in (-30.0, 0.5, 40.0):
                both = torch.tensor([[log_mean, logit]], dtype=torch.float64)
                want = float(exact_nb(x, log_mean, log_r, logit))
                assert zinb_log_density(at, both, inverse).item() == pytest.approx(want, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_are_finite_at_every_edge(dtype):
    wide = dtype == torch.float64
    edges = torch.tensor([-1e4, -40.0, -12.0, 0.0, 12.0, 40.0, 1e4], dtype=dtype)
    counts = torch.tensor([0.0, 1.0, 1e6], dtype=dtype)
    shares = torch.tensor([0.0, 1e-30, 1e-7, 0.5, 1 - 1e-7, 1.0], dtype=dtype)
    for log in (-6.9, 0.0, 9.2):
        learned = torch.tensor([log], dtype=dtype, requires_grad=True)
        for name, values in (
            ("nb", counts),
            ("beta", shares),
            *([("poisson", counts), ("zinb", counts)] if wide else []),
        ):
            output = edges.reshape(-1, 1, 1).expand(-1, len(values), 1 + (name == "zinb")).clone().requires_grad_()
            leaves = [output, learned][: 1 + NUMBER_OF_PARAMETERS[name]]
            value = DENSITIES[name](values.unsqueeze(-1), *leaves)
            assert value.isfinite().all(), name
            assert all(slope.isfinite().all() for slope in torch.autograd.grad(value.sum(), leaves)), name


def test_ends_of_a_beta_count_as_inside():
    """Exact zeros and ones, and what lies nearer to them than EDGE."""
    x = torch.tensor([[0.0, EDGE / 3, 1.0]], dtype=torch.float64)
    logits, log_total = torch.tensor([[-1.0, 0.3, 2.0]], dtype=torch.float64), torch.tensor(1.5, dtype=torch.float64)
    want = by_hand("beta", x.clamp(EDGE, 1 - EDGE), logits, log_total).sum(-1)
    torch.testing.assert_close(beta_log_density(x, logits, log_total), want)


def test_gamma_functions():
    """ln Γ, ψ and what Stirling leaves out, from 1e-6 to 1e7, in C (or PyTorch) against mpmath, to 1e-12."""
    z = torch.logspace(-6, 7, 79, dtype=torch.float64)
    log_gamma = LikelihoodKernel("log_gamma", "lgamma(m) + 0*x")
    rest = LikelihoodKernel("stirling_rest", "stirling(m) + 0*x")
    constant = mpmath.log(2 * mpmath.pi) / 2
    for kernel, value, slope in (
        (log_gamma, mpmath.loggamma, mpmath.digamma),
        (
            rest,
            lambda a: mpmath.loggamma(a) - (a - 0.5) * mpmath.log(a) + a - constant,
            lambda a: mpmath.digamma(a) - mpmath.log(a) + 1 / (2 * a),
        ),
    ):
        m = z.unsqueeze(-1).clone().requires_grad_()
        got = kernel(torch.zeros_like(m), m)
        (grown,) = torch.autograd.grad(got.sum(), m)
        want, risen = (
            torch.tensor([float(f(mpmath.mpf(float(a)))) for a in z], dtype=torch.float64) for f in (value, slope)
        )
        torch.testing.assert_close(got, want, rtol=1e-12, atol=4e-14)
        torch.testing.assert_close(grown[:, 0], risen, rtol=1e-12, atol=4e-14)


def test_stirling_in_pytorch_and_its_slope():
    z = torch.logspace(-3, 6, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(stirling(z).sum(), z)
    torch.testing.assert_close(slope, stirling_slope(z.detach()), rtol=1e-9, atol=1e-12)
    narrow = stirling(z.detach().float())
    torch.testing.assert_close(narrow.double(), stirling(z.detach()), rtol=1e-5, atol=2e-6)
