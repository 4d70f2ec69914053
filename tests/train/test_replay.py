"""A recording as a plain function computes the bits of the recorded graph."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from mmppl.train.fx_graph import simplify
from mmppl.train.replay import FUNCTIONS, METHODS, plain_function

aten = torch.ops.aten
A, B = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
ARGUMENTS = {
    aten.addmm.default: (A[0], A, B),
    aten.add.Tensor: (A, B),
    aten.cat.default: ([A, B], 1),
    aten.div.Tensor: (A, B),
    aten.mm.default: (A, B),
    aten.mul.Tensor: (A, 3.0),
    aten.pow.Tensor_Scalar: (A, 2),
    aten.select.int: (A, 1, 2),
    aten.stack.default: ([A, B], 1),
    aten.sub.Tensor: (A, B),
    aten.sum.dim_IntList: (A, [0], True),
    aten.unsqueeze.default: (A, 1),
    aten.where.self: (A > B, A, B),
    aten.expand.default: (A, [3, 4, 4]),
    aten.view.default: (A, [2, 8]),
}


@pytest.mark.parametrize("overload", [*FUNCTIONS, *METHODS], ids=str)
def test_each_native_call_is_its_operator(overload):
    arguments = ARGUMENTS.get(overload, (A,))
    native = FUNCTIONS.get(overload) or getattr(torch.Tensor, METHODS.get(overload, ""))
    want, got = overload(*arguments), native(*arguments)
    assert torch.equal(want, got) and want.stride() == got.stride() and want.dtype == got.dtype


@pytest.mark.parametrize("options", [dict(alpha=-0.3), dict(alpha=2)], ids=str)
def test_keywords_pass_through(options):
    assert torch.equal(aten.add.Tensor(A, B, **options), FUNCTIONS[aten.add.Tensor](A, B, **options))
    total = aten.sum.dim_IntList(A, [1], dtype=torch.float64)
    assert torch.equal(total, FUNCTIONS[aten.sum.dim_IntList](A, [1], dtype=torch.float64))


def test_a_recording_as_a_plain_function():
    weight = torch.nn.Parameter(A.clone())

    def step(x, flags):
        y = torch.where(flags, torch.relu(x @ weight.t()), 0.0).exp().sum(0)
        return [y, None, (y * torch.randn(4)).sum()]

    flags = A > 1
    recorded = simplify(make_fx(step)(B, flags))
    plain = plain_function(recorded)
    for _ in range(2):
        with torch.no_grad():
            torch.manual_seed(1)
            want = recorded(B, flags)
            torch.manual_seed(1)
            got = plain(B, flags)
            weight.mul_(0.5)  # parameters are bound, and move
        assert got[1] is None and torch.equal(got[0], want[0]) and torch.equal(got[2], want[2])
