"""Likelihoods in Triton, on a GPU or interpreted, against the formula's PyTorch reference in float64 and their laws."""

import pytest
import torch
from reference.precision import assert_rounds_like

from mmppl.kernels import likelihood_triton
from mmppl.kernels.likelihood import LikelihoodKernel, bernoulli, laplace, normal, normal_predicted

two_scales = LikelihoodKernel(
    "two_scales", "-(x - m)**2*exp(-v)/2 + s*tanh(m) - softplus(v)", outputs=("m",), parameters=("v", "s")
)
KERNELS = [bernoulli, normal, normal_predicted, laplace, two_scales]
named = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
SHAPES = [
    (1, 1, 1),
    (3, 5, 33),
    (2, 3, 700),
    (7, 20, 3),
]  # S, B, D: one feature, a part of a block, blocks, groups of rows


def tensors(kernel, S, B, D):
    """x (B, D) in [0, 1], output, and parameters: a number per feature, then one for all."""
    rng = torch.Generator().manual_seed(S + D)
    x = torch.rand(B, D, generator=rng, dtype=torch.float64)
    output = torch.randn(S, B, D * len(kernel.outputs), generator=rng, dtype=torch.float64)
    shapes = [(D,), ()][: len(kernel.parameters)]
    return x, [output, *(torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes)]


def mask_of(S, B):
    return torch.rand(S, B, generator=torch.Generator().manual_seed(1)) < 0.7


def run(kernel, x, leaves, mask, device="cpu", dtype=torch.float64, plain=False):
    """The value, and the gradients of a weighted sum of it."""
    x, mask = x.to(device, dtype), None if mask is None else mask.to(device)
    leaves = [t.to(device, dtype, copy=True).requires_grad_() for t in leaves]
    value = kernel._reference(x, leaves[0], leaves[1:], mask) if plain else kernel(x, *leaves, mask=mask)
    weights = torch.linspace(-1, 1, value.numel(), dtype=dtype, device=device).view_as(value)
    return [value.detach(), *torch.autograd.grad(value, leaves, weights)]


@named
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_values_and_gradients(kernel, shape, masked, triton_device):
    x, leaves = tensors(kernel, *shape)
    mask = mask_of(*shape[:2]) if masked else None
    got, plain = (run(kernel, x, leaves, mask, triton_device, torch.float32, plain) for plain in (False, True))
    assert_rounds_like(got, plain, run(kernel, x, leaves, mask, plain=True))


@named
def test_gradients_are_finite_differences(kernel, triton_float64):
    x, leaves = tensors(kernel, 2, 3, 5)
    mask = mask_of(2, 3)
    leaves = [t.requires_grad_() for t in leaves]
    assert torch.autograd.gradcheck(lambda *t: kernel(x, *t, mask=mask), tuple(leaves), fast_mode=True)


@named
def test_what_lies_under_the_mask_changes_no_bit(kernel, triton_device):
    x, leaves = tensors(kernel, 3, 4, 6)
    mask = mask_of(3, 4)
    mask[:, 1] = False
    want = run(kernel, x, leaves, mask, triton_device, torch.float32)
    x[1], leaves[0][~mask] = torch.nan, torch.nan
    got = run(kernel, x, leaves, mask, triton_device, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(got, want))
    assert (got[0][~mask] == 0).all() and (got[1][~mask] == 0).all()


@named
def test_a_nan_outside_the_mask_shows_where_it_is(kernel, triton_device):
    x, leaves = tensors(kernel, 2, 3, 6)
    leaves[0][1, 2, 4] = torch.nan
    got = run(kernel, x, leaves, None, triton_device, torch.float32)
    assert got[0].isnan().nonzero().tolist() == [[1, 2]]
    slope = got[1].unflatten(-1, (-1, 6)).isnan().any(-2)  # of any output of the feature
    assert slope.nonzero().tolist() == [[1, 2, 4]]
    assert all(t.isnan().nonzero().tolist() == [[4]] for t in got[2:3])  # the parameter with a number per feature


def test_parameters_get_a_gradient_only_where_it_is_asked_for(triton_device):
    x, (output, log_var) = (t if isinstance(t, list) else t.float().to(triton_device) for t in tensors(normal, 2, 3, 4))
    output, log_var = (t.float().to(triton_device) for t in (output, log_var))
    g, rows = torch.ones(6, device=triton_device), x.expand(2, 3, 4)
    for wanted, count in ((False, 1), (True, 2)):
        found = likelihood_triton.backward(normal.formula, g, rows, output, [log_var], None, wanted)
        assert [t.shape for t in found] == [output.shape, log_var.shape][:count]


def test_many_programs_share_a_parameter(triton_device, monkeypatch):
    x, leaves = tensors(two_scales, 2, 6, 600)
    want = run(two_scales, x, leaves, None, triton_device, torch.float32)
    monkeypatch.setattr(likelihood_triton, "PROGRAMS", 6)  # of two blocks: three programs for 12 rows
    got = run(two_scales, x, leaves, None, triton_device, torch.float32)
    assert_rounds_like(got, want, run(two_scales, x, leaves, None, plain=True))


@named
def test_tensors_with_strides(kernel, triton_device):
    x, leaves = tensors(kernel, 3, 4, 6)
    x, leaves = x.float().to(triton_device), [t.float().to(triton_device) for t in leaves]
    wide = torch.full((3, 4, 2 * leaves[0].shape[-1]), torch.nan, device=triton_device)
    wide[..., : leaves[0].shape[-1]] = leaves[0]
    steps = [torch.stack([p, p], -1)[..., 0] for p in leaves[1:]]
    parts = [wide[..., : leaves[0].shape[-1]], *steps]
    assert torch.equal(kernel(x, *parts), kernel(x, *leaves))
    turned = leaves[0].transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(kernel(x.expand(3, 4, 6), turned, *leaves[1:]), kernel(x, *leaves))
    alone = leaves[0][:1].expand(3, -1, -1).detach().requires_grad_()  # one output for all subsets
    assert torch.equal(kernel(x, alone, *leaves[1:])[2], kernel(x, leaves[0][0], *leaves[1:]))
    (slope,) = torch.autograd.grad(kernel(x, alone, *leaves[1:]).sum(), alone)
    (other,) = torch.autograd.grad(kernel._reference(x, alone, leaves[1:], None).sum(), alone)
    torch.testing.assert_close(slope, other)


@named
@pytest.mark.parametrize("shape", [(0, 5, 7), (4, 0, 7), (4, 5, 0)], ids=str)
def test_empty_tensors(kernel, shape, triton_device):
    x, leaves = tensors(kernel, *shape)
    got, plain = (run(kernel, x, leaves, None, triton_device, torch.float32, plain) for plain in (False, True))
    torch.testing.assert_close(got, plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the interpreter's bfloat16 is not a GPU's")
@named
def test_outputs_in_bfloat16(kernel):
    x, leaves = tensors(kernel, 3, 5, 33)
    output, *parameters = (t.float().cuda() for t in leaves)
    narrow = output.bfloat16().requires_grad_()
    rows, g = x.float().cuda().expand(3, 5, 33), torch.ones(15, device="cuda")
    value = likelihood_triton.forward(kernel.formula, rows, narrow, parameters, None)
    assert value.dtype == torch.float32
    assert torch.equal(value, likelihood_triton.forward(kernel.formula, rows, narrow.float(), parameters, None))
    (slope,) = likelihood_triton.backward(kernel.formula, g, rows, narrow, parameters, None, False)
    (same,) = likelihood_triton.backward(kernel.formula, g, rows, narrow.float(), parameters, None, False)
    assert torch.equal(slope, same.bfloat16())


def test_more_rows_than_can_be_numbered_are_refused():
    output = torch.zeros(1, 1, 1).expand(2**16, 2**15, 1)  # takes no memory
    with pytest.raises(ValueError, match="laplace: 2147483648 rows; at most"):
        likelihood_triton.forward(laplace.formula, output, output, [torch.zeros(())], None)
