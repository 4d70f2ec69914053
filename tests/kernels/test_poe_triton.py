"""The product of experts in Triton, on a GPU or interpreted: against PyTorch's operations in float64, and its laws."""

import pytest
import torch
from reference.precision import assert_rounds_like

from mmppl.kernels import poe
from mmppl.kernels.poe import gaussian_product, gaussian_product_kl, gaussian_product_sample


def experts(S, M, B, D, *, prior=True):
    """loc, log_var, noise, and the target's two; seen."""
    rng = torch.Generator().manual_seed(S + M)
    tensors = [torch.randn(*shape, generator=rng, dtype=torch.float64)
               for shape in ((M, B, D), (M, B, D), (S, B, D), (B, D), (B, D))]  # fmt: skip
    seen = torch.rand(S, B, M, generator=rng) < 0.6
    seen[..., :1] |= not prior  # without it, at least one has to be seen
    return tensors, seen


def product(loc, log_var, noise, to, width, *, seen, prior, plain):
    return (poe._product if plain else gaussian_product)(loc, log_var, seen, prior=prior)


def draws(loc, log_var, noise, to, width, *, seen, prior, plain):
    if plain:
        return poe._sample(loc, log_var, seen, noise, None, prior)
    return gaussian_product_sample(loc, log_var, seen, noise, prior=prior)


def draws_and_target(loc, log_var, noise, to, width, *, seen, prior, plain):
    if plain:
        return poe._sample(loc, log_var, seen, noise, (to, width), prior)
    return gaussian_product_sample(loc, log_var, seen, noise, prior=prior, target=(to, width))


def kl_and_target(loc, log_var, noise, to, width, *, seen, prior, plain):
    if plain:
        return poe._sample(loc, log_var, seen, None, (to, width), prior)[1:]
    return (gaussian_product_kl(loc, log_var, seen, prior=prior, target=(to, width)),)


OPERATIONS = [product, draws, draws_and_target, kl_and_target]
named = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda f: f.__name__)


def run(operation, tensors, seen, device="cpu", dtype=torch.float64, *, prior=True, plain=False):
    """The outputs and the gradients of a weighted sum of them."""
    leaves = [t.to(device, dtype, copy=True).requires_grad_() for t in tensors]
    outputs = operation(*leaves, seen=seen.to(device), prior=prior, plain=plain)
    weights = [torch.linspace(-1, 1, o.numel(), dtype=dtype, device=device).view_as(o) for o in outputs]
    targets = leaves[3:] if "target" in operation.__name__ else []
    return [t.detach() for t in (*outputs, *torch.autograd.grad(outputs, [*leaves[:2], *targets], weights))]


@named
@pytest.mark.parametrize(
    ("shape", "prior"),  # S, M, B, D
    [((1, 1, 1, 1), True), ((3, 2, 5, 3), False), ((7, 5, 2, 33), True), ((2, 9, 3, 7), False)],
    ids=str,
)
def test_values_and_gradients(operation, shape, prior, triton_device):
    tensors, seen = experts(*shape, prior=prior)
    got, plain = (run(operation, tensors, seen, triton_device, torch.float32, prior=prior, plain=p) for p in (0, 1))
    assert_rounds_like(got, plain, run(operation, tensors, seen, prior=prior, plain=True))


@named
def test_gradients_are_finite_differences(operation, triton_float64):
    tensors, seen = experts(3, 3, 2, 2)
    leaves = [t.requires_grad_(i != 2) for i, t in enumerate(tensors)]
    call = lambda *t: operation(*t, seen=seen, prior=True, plain=False)  # noqa: E731
    assert torch.autograd.gradcheck(call, tuple(leaves), fast_mode=True)


@named
def test_what_lies_under_the_mask_changes_no_bit(operation, triton_device):
    tensors, seen = experts(3, 3, 4, 5)
    seen[..., 1] = False
    seen[:, 2, 0] = False
    want = run(operation, tensors, seen, triton_device, torch.float32)
    for t in tensors[:2]:
        t[1], t[0, 2] = torch.nan, torch.nan
    got = run(operation, tensors, seen, triton_device, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(got, want))


@named
@pytest.mark.parametrize("which", [0, 1], ids=["loc", "log_var"])
def test_a_nan_outside_the_mask_shows_where_it_is(operation, which, triton_device):
    tensors, seen = experts(2, 2, 3, 4)
    seen[:] = True
    seen[:, 1, 1] = False  # a gradient of 0 where its neighbour's is NaN
    tensors[which][0, 1, 2] = torch.nan
    got = run(operation, tensors, seen, triton_device, torch.float32)
    plain = run(operation, tensors, seen, triton_device, torch.float32, plain=True)
    assert got[0].isnan().any()
    assert all(torch.equal(a.isnan(), b.isnan()) for a, b in zip(got, plain))


def test_nothing_seen_is_the_prior(triton_device):
    (loc, log_var, noise, *_), seen = experts(2, 3, 2, 5)
    loc, log_var, noise = (t.to(triton_device, torch.float32).requires_grad_() for t in (loc, log_var, noise))
    seen = (seen & False).to(triton_device)
    mean, fused = gaussian_product(loc, log_var, seen)
    assert (mean == 0).all() and (fused == 0).all()
    z, kl = gaussian_product_sample(loc, log_var, seen, noise)
    assert torch.equal(z, noise) and (kl == 0).all()
    assert all((g == 0).all() for g in torch.autograd.grad((z.sum() + kl.sum()), (loc, log_var)))


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("size", [80.0, 800.0])
def test_extreme_precisions(size, prior, triton_device):
    """A certain expert dominates, an uncertain one has no effect; the gradients are those of PyTorch's operations."""
    tensors, _ = experts(3, 2, 1, 1)
    tensors[0][:] = torch.tensor([3.0, 5.0]).view(2, 1, 1)
    tensors[1][:] = torch.tensor([-size, size]).view(2, 1, 1)
    seen = torch.tensor([[[1, 1]], [[1, 0]], [[0, 1]]]).bool()
    got, plain = (run(product, tensors, seen, triton_device, torch.float32, prior=prior, plain=p) for p in (0, 1))
    alone = [0.0, 0.0] if prior else [5.0, size]
    assert got[0].flatten().tolist() == pytest.approx([3.0, 3.0, alone[0]])
    assert got[1].flatten().tolist() == pytest.approx([-size, -size, alone[1]])
    torch.testing.assert_close(got, plain)


def test_many_chunks_of_subsets_and_blocks_of_features(triton_device, monkeypatch):
    from mmppl.kernels import poe_triton

    tensors, seen = experts(9, 2, 1, 40)
    want = run(draws_and_target, tensors, seen, triton_device, torch.float32)
    for programs in (2, 4):  # of two blocks: one chunk of nine subsets, or two of five and four
        monkeypatch.setattr(poe_triton, "PROGRAMS", programs)
        got = run(draws_and_target, tensors, seen, triton_device, torch.float32)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)  # nine numbers added in another order


def test_tensors_with_strides(triton_device):
    (loc, log_var, noise, *_), seen = experts(4, 2, 3, 5)
    loc, log_var, noise, seen = (t.to(triton_device) for t in (loc.float(), log_var.float(), noise.float(), seen))
    want = gaussian_product_sample(loc, log_var, seen[:1].expand(4, 3, 2).contiguous(), noise)
    apart = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in (loc, log_var, noise)]
    got = gaussian_product_sample(apart[0], apart[1], seen[:1].expand(4, 3, 2), apart[2])
    assert all(torch.equal(a, b) for a, b in zip(got, want))
    (slope,) = torch.autograd.grad(  # an expanded gradient of the sum
        gaussian_product(loc.requires_grad_(), log_var, seen)[0].sum(), loc
    )
    (other,) = torch.autograd.grad(poe._product(loc, log_var, seen, True)[0].sum(), loc)
    torch.testing.assert_close(slope, other)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)], ids=str)
@named
def test_empty_tensors(operation, shape, triton_device):
    tensors, seen = experts(*shape)
    got, want = (run(operation, tensors, seen, triton_device, torch.float32, plain=plain) for plain in (0, 1))
    torch.testing.assert_close(got, want)
