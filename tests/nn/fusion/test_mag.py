"""The multimodal adaptation gate against the same written out number by number."""

import math

import pytest
import torch

from mmppl.nn.fusion.mag import Gate

SIZES = {"audio": 3, "video": 2}


def built(beta=1.0, d=4):
    torch.manual_seed(0)
    return Gate(d, SIZES, beta=beta).double().eval()


def by_loops(gate, e, beside):
    """One word's vector e (list of d numbers) and features by name, to the d numbers that come out."""
    d = len(e)
    shift = [0.0] * d
    for name, x in beside.items():
        weigh, value = gate.weights[name], gate.shifts[name]
        for i in range(d):
            w = weigh.bias[i]
            for j, number in enumerate([*x, *e]):
                w = w + weigh.weight[i, j] * number
            v = value.bias[i]
            for j, number in enumerate(x):
                v = v + value.weight[i, j] * number
            shift[i] = shift[i] + (w if w > 0 else 0.0) * v
    length = sum(h * h for h in shift) ** 0.5
    alpha = gate.beta * sum(n * n for n in e) ** 0.5 / ((length if length > 0 else 1.0) + 1e-6)
    alpha = alpha if alpha < 1 else 1.0
    moved = [n + alpha * h for n, h in zip(e, shift)]
    mean = sum(moved) / d
    spread = (sum((n - mean) ** 2 for n in moved) / d + gate.norm.eps) ** 0.5
    return [(n - mean) / spread * gate.norm.weight[i] + gate.norm.bias[i] for i, n in enumerate(moved)]


@pytest.mark.parametrize("beta", [0.01, 1.0, 100.0])
def test_gate_is_its_scalar_reference(beta):
    """Values and gradients to 1e-8, where α is below 1, where it is cut, and both among the words."""
    gate = built(beta)
    e = torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_()
    beside = {m: (2 * torch.randn(2, 3, F, dtype=torch.float64)).requires_grad_() for m, F in SIZES.items()}
    found = gate(e, beside)
    rows = [[by_loops(gate, e[b, t], {m: x[b, t] for m, x in beside.items()}) for t in range(3)] for b in range(2)]
    expected = torch.stack([torch.stack([torch.stack(word) for word in row]) for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    wanted = [e, *beside.values(), *gate.parameters()]
    slopes = [torch.autograd.grad(part.sin().sum(), wanted) for part in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)


def test_alpha_is_cut_in_some_words_of_the_test_above():
    gate = built()
    e = torch.randn(2, 3, 4, dtype=torch.float64)
    beside = {m: 2 * torch.randn(2, 3, F, dtype=torch.float64) for m, F in SIZES.items()}
    own = e.norm(dim=-1)
    gate.beta = math.inf
    whole = gate.shift(e, beside).norm(dim=-1)
    assert (own < whole).any() and (own > whole).any()


def test_gate_passes_gradcheck():
    gate = built()
    e = torch.randn(2, 4, dtype=torch.float64).requires_grad_()
    beside = [torch.randn(2, F, dtype=torch.float64).requires_grad_() for F in SIZES.values()]
    assert torch.autograd.gradcheck(lambda e, *beside: gate(e, dict(zip(SIZES, beside))), (e, *beside))


def test_no_shift_is_longer_than_the_vector_times_beta():
    gate = built(beta=0.3)
    e, beside = torch.randn(50, 4).double(), {m: 10 * torch.randn(50, F).double() for m, F in SIZES.items()}
    assert (gate.shift(e, beside).norm(dim=-1) <= 0.3 * e.norm(dim=-1) + 1e-9).all()


def test_a_closed_gate_moves_nothing_and_has_finite_slopes():
    """‖H‖ = 0, where its derivative does not exist."""
    gate = built()
    with torch.no_grad():
        for part in gate.weights.values():
            part.bias.fill_(-1e3)
    e, beside = torch.randn(5, 4).double().requires_grad_(), {m: torch.randn(5, F).double() for m, F in SIZES.items()}
    found = gate(e, beside)
    torch.testing.assert_close(found, gate.norm(e), rtol=0, atol=0)
    slopes = torch.autograd.grad(found.sin().sum(), [e, *gate.parameters()])
    assert all(slope.isfinite().all() for slope in slopes)


def test_a_shift_of_zero_counts_as_one_long():
    """‖H‖ = 0 though the gate is open: α is that of ‖H‖ = 1, which the slopes show."""
    gate = built()
    with torch.no_grad():
        for part in gate.shifts.values():
            part.weight.zero_()
            part.bias.zero_()
    e, beside = 0.1 * torch.randn(4).double(), {m: torch.randn(F).double() for m, F in SIZES.items()}
    found, expected = gate(e, beside), torch.stack(by_loops(gate, e, beside))
    wanted = [part.bias for part in gate.shifts.values()]
    slopes = [torch.autograd.grad(part.sin().sum(), wanted) for part in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)
    assert slopes[0][0].any()


def test_number_of_parameters():
    per_modality = sum((size + 4 + 1) * 4 + (size + 1) * 4 for size in SIZES.values())
    assert sum(p.numel() for p in built().parameters()) == per_modality + 2 * 4
