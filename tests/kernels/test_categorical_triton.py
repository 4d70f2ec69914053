"""The categorical log-density in Triton, on a GPU or interpreted: against PyTorch in float64, and its laws."""

import math

import pytest
import torch
from reference.precision import assert_rounds_like

from mmppl.kernels import categorical, categorical_triton
from mmppl.kernels.categorical import categorical_log_density

SHAPES = [(1, 1, 1, 1), (3, 5, 1, 10), (2, 3, 4, 33), (1, 2, 2, 1500)]  # S, B, L, K


def inputs(S, B, L, K):
    rng = torch.Generator().manual_seed(S + K)
    logits = 3 * torch.randn(S, B, L, K, generator=rng, dtype=torch.float64)
    return logits, torch.randint(K, (B, L), generator=rng), torch.rand(S, B, generator=rng) < 0.7


def run(logits, codes, mask, device="cpu", dtype=torch.float64, plain=False):
    """The value, and the gradient of a weighted sum of it."""
    leaf = logits.to(device, dtype, copy=True).requires_grad_()
    codes, mask = codes.to(device), None if mask is None else mask.to(device)
    value = (categorical._plain if plain else categorical_log_density)(leaf, codes, mask)
    weights = torch.linspace(-1, 1, value.numel(), dtype=dtype, device=device).view_as(value)
    return [value.detach(), *torch.autograd.grad(value, leaf, weights)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
def test_values_and_gradients(shape, masked, triton_device):
    logits, codes, mask = inputs(*shape)
    mask = mask if masked else None
    got, plain = (run(logits, codes, mask, triton_device, torch.float32, plain) for plain in (False, True))
    assert_rounds_like(got, plain, run(logits, codes, mask, plain=True))


def test_gradients_are_finite_differences(triton_float64):
    logits, codes, mask = inputs(2, 3, 2, 5)
    call = lambda t: categorical_log_density(t, codes, mask)  # noqa: E731
    assert torch.autograd.gradcheck(call, logits.requires_grad_(), fast_mode=True)


def test_what_lies_under_the_mask_changes_no_bit(triton_device):
    logits, codes, mask = inputs(3, 4, 2, 6)
    mask[:, 1] = False
    want = run(logits, codes, mask, triton_device, torch.float32)
    logits[~mask], codes[1] = torch.nan, 77
    got = run(logits, codes, mask, triton_device, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(got, want))
    assert (got[0][~mask] == 0).all() and (got[1][~mask] == 0).all()


@pytest.mark.parametrize("classes", [6, 1100])
def test_a_nan_outside_the_mask_shows_where_it_is(classes, triton_device):
    logits, codes, _ = inputs(2, 2, 2, classes)
    logits[1, 0, 1, 4] = torch.nan
    value, slope = run(logits, codes, None, triton_device, torch.float32)
    assert value.isnan().nonzero().tolist() == [[1, 0]]
    assert slope.isnan().any(-1).nonzero().tolist() == [[1, 0, 1]] and slope[1, 0, 1].isnan().all()


@pytest.mark.parametrize("code", [-1, 6])
def test_a_code_that_is_no_class_gives_nan(code, triton_device):
    logits, codes, _ = inputs(1, 3, 2, 6)
    want = run(logits, codes, None, triton_device, torch.float32)
    codes[1, 1] = code
    value, slope = run(logits, codes, None, triton_device, torch.float32)
    assert value.isnan().tolist() == [[False, True, False]]
    assert (
        slope.isnan().all(-1).tolist() == slope.isnan().any(-1).tolist() == [[[False] * 2, [False, True], [False] * 2]]
    )
    assert torch.equal(value[:, ::2], want[0][:, ::2])


def test_logits_far_out(triton_device):
    """Impossible classes and large logits; the first 1024 classes of the second row are all impossible."""
    logits = torch.zeros(1, 2, 1, 1030, device=triton_device)
    logits[0, 0, 0, :2] = torch.tensor([1000.0, -1000.0])
    logits[0, 1, 0, :1028] = -torch.inf
    logits.requires_grad_()
    value = categorical_log_density(logits, torch.tensor([[0], [1029]], device=triton_device))
    torch.testing.assert_close(value.cpu(), torch.tensor([[0.0, -math.log(2)]]))
    (slope,) = torch.autograd.grad(value.sum(), logits)
    assert (slope[0, 0] == 0).all() and slope[0, 1, 0, -3:].tolist() == pytest.approx([0.0, -0.5, 0.5])


def test_tensors_with_strides(triton_device):
    logits, codes, _ = (t.to(triton_device) for t in inputs(3, 4, 2, 6))
    want = categorical_log_density(logits, codes)
    turned = logits.transpose(0, 3).contiguous().transpose(0, 3)
    assert torch.equal(categorical_log_density(turned, codes.T.contiguous().T), want)
    alone = categorical_log_density(logits[:1].expand(3, 4, 2, 6), codes.int())
    assert torch.equal(alone, want[:1].expand(3, 4))


@pytest.mark.parametrize("shape", [(0, 5, 2, 7), (4, 0, 2, 7), (4, 5, 0, 7)], ids=str)
def test_empty_tensors(shape, triton_device):
    logits, codes, _ = inputs(*shape)
    got, plain = (run(logits, codes, None, triton_device, torch.float32, plain) for plain in (False, True))
    torch.testing.assert_close(got, plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the interpreter's bfloat16 is not a GPU's")
def test_logits_in_bfloat16():
    logits, codes, _ = inputs(1, 6, 2, 33)
    narrow, codes, g = logits[0].bfloat16().cuda(), codes.cuda(), torch.ones(6, device="cuda")
    value = categorical_triton.forward(narrow, codes, None)
    assert value.dtype == torch.float32 and torch.equal(value, categorical_triton.forward(narrow.float(), codes, None))
    slope = categorical_triton.backward(g, narrow, codes, None)
    assert torch.equal(slope, categorical_triton.backward(g, narrow.float(), codes, None).bfloat16())
