"""Product of experts against tabulated values (normalised products on a grid) and its laws."""

import math

import pytest
import torch

from mmppl.kernels.codegen.c_backend import compiled_kernels
from mmppl.kernels.poe import gaussian_product, gaussian_product_kl, gaussian_product_sample

pytestmark = pytest.mark.usefixtures("path")
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


def test_a_mean_that_overflows_times_its_precision():
    """In float32, beside a row of which that is not so, with gradients."""
    loc = torch.tensor([[[3e4, -1.0], [0.5, 1.0]], [[3e4, 2.0], [0.25, 1.0]]]).requires_grad_()
    log_var = torch.tensor([[[-80.0, 0.0], [0.5, 1.0]], [[-80.0, -79.0], [0.0, 1.0]]]).requires_grad_()
    seen = torch.ones(2, 2, dtype=torch.bool)
    got = gaussian_product(loc, log_var, seen)
    exact = [t.detach().double().requires_grad_() for t in (loc, log_var)]
    want = gaussian_product(*exact, seen)
    torch.testing.assert_close(got, tuple(t.float() for t in want), rtol=1e-5, atol=1e-6)  # e⁸⁰ has no more digits
    slopes = torch.autograd.grad(sum(t.sum() for t in got), (loc, log_var))
    expected = torch.autograd.grad(sum(t.sum() for t in want), exact)
    torch.testing.assert_close(slopes[0], expected[0].float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slopes[1], expected[1].float(), rtol=1e-5, atol=0.05)  # holds differences of 3e4s


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


def experts(S, M, B, D, spread=1.0):
    rng = torch.Generator().manual_seed(1)
    loc, log_var = (torch.randn(M, B, D, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2))
    noise = torch.randn(S, B, D, generator=rng, dtype=torch.float64)
    target = [torch.randn(B, D, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]
    return loc, (spread * log_var).detach().requires_grad_(), torch.rand(S, B, M, generator=rng) < 0.6, noise, target


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 5, 3), (7, 3, 65, 20), (2, 4, 3, 1500)], ids=str)  # S, M, B, D
@pytest.mark.parametrize("spread", [1.0, 90.0])
@pytest.mark.parametrize("given_target", [False, True])
def test_draws_and_kl_are_those_of_the_product(shape, spread, given_target):
    loc, log_var, seen, noise, target = experts(*shape, spread=spread)
    if given_target and spread > 1:
        seen = seen & (log_var.abs() < 80).all(-1).T  # else the KL itself is beyond any number
    inputs = [loc, log_var, *(target if given_target else [])]
    z, kl = gaussian_product_sample(loc, log_var, seen, noise, target=tuple(target) if given_target else None)
    mean, fused = gaussian_product(loc, log_var, seen)
    at, spread_at = target if given_target else (torch.zeros_like(mean), torch.zeros_like(mean))
    p = torch.distributions.Normal(at, torch.exp(0.5 * spread_at))
    want = torch.distributions.kl_divergence(torch.distributions.Normal(mean, torch.exp(0.5 * fused)), p).sum(-1)
    torch.testing.assert_close(z, mean + noise * torch.exp(0.5 * fused), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(kl, want, rtol=1e-9, atol=1e-9)
    # the gradient, against autograd through plain operations
    got = torch.autograd.grad((z.sin().sum() + kl.square().mean()), inputs)
    with compiled_kernels(False):
        z, kl = gaussian_product_sample(loc, log_var, seen, noise, target=tuple(target) if given_target else None)
        expected = torch.autograd.grad((z.sin().sum() + kl.square().mean()), inputs)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("given_target", [False, True])
def test_the_kl_alone(given_target):
    loc, log_var, seen, noise, target = experts(7, 3, 65, 20)
    inputs = [loc, log_var, *(target if given_target else [])]
    at = tuple(target) if given_target else None
    got = gaussian_product_kl(loc, log_var, seen, target=at)
    want = gaussian_product_sample(loc, log_var, seen, noise, target=at)[1]
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(kl.square().mean(), inputs) for kl in (got, want)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("prior", [True, False])
def test_gradients_of_product_and_sample(prior):
    loc, log_var, seen, noise, target = experts(3, 3, 4, 5)
    seen[..., 0] |= not prior
    exponents = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    options = dict(exponents=exponents, prior=prior)
    assert torch.autograd.gradcheck(lambda a, b, t: gaussian_product(a, b, seen, exponents=t, prior=prior),
                                    (loc, log_var, exponents))  # fmt: skip
    assert torch.autograd.gradcheck(lambda a, b, *t: gaussian_product_sample(a, b, seen, noise, target=t, **options),
                                    (loc, log_var, *target))  # fmt: skip


def test_tempering_is_the_tabulated_one():
    temper = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    seen = torch.ones(1, 3, dtype=torch.bool)
    got = torch.cat(gaussian_product(MU, LOG_VAR, seen, exponents=temper), -1)[0]
    want = torch.tensor([1.245115673, 0.2933889937, -1.830300285, -1.734375593], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-8)
    got = torch.cat(gaussian_product(MU, LOG_VAR, seen, prior=False), -1)[0]
    want = torch.tensor([1.608106265, -0.02081315757, -1.680432941, -1.542158849], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)], ids=str)
def test_empty_tensors(shape):
    S, M, B, D = shape
    loc, seen = torch.randn(M, B, D, requires_grad=True), torch.ones(S, B, M, dtype=torch.bool)
    z, kl = gaussian_product_sample(loc, loc, seen, torch.randn(S, B, D))
    assert z.shape == (S, B, D) and kl.shape == (S, B)
    (z.sum() + kl.sum()).backward()


def test_bad_arguments_are_named():
    loc, log_var, seen, noise, _ = (t if isinstance(t, list) else t.detach() for t in experts(2, 3, 4, 5))
    for change, words in (
        (dict(seen=seen.double()), "seen must be bool"),
        (dict(noise=noise[:1]), "expected noise"),
        (dict(noise=noise.float()), "convert them to one dtype"),
        (dict(exponents=-torch.ones(3, dtype=torch.float64)), "not negative"),
        (dict(prior=False, seen=seen & False), "nothing is seen"),
    ):
        with pytest.raises(ValueError, match=words):
            gaussian_product_sample(**{**dict(loc=loc, log_var=log_var, seen=seen, noise=noise), **change})
