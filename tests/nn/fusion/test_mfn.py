"""MFN against its equations, written out for one row at a time, without padding."""

import pytest
import torch

from mmppl.nn.fusion.registry import FUSIONS

SIZES = {"text": 5, "audio": 3}


def built(**hyper):
    torch.manual_seed(0)
    return FUSIONS["mfn"](SIZES, hidden=(4, 2), memory=3, widths=(5, 6, 7, 8), d=9, **hyper).eval()


def perceptron(network, x):
    first, last = (layer for layer in network if isinstance(layer, torch.nn.Linear))
    return last.weight @ torch.relu(first.weight @ x + first.bias) + last.bias


def gates(cell, x, h, c):
    """LSTM, gate by gate, in PyTorch's order: input, forget, candidate, output."""
    i, f, g, o = (cell.weight_ih @ x + cell.bias_ih + cell.weight_hh @ h + cell.bias_hh).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def by_hand(model, row):
    """Z of one row: a list of steps, each a dict of the features that exist."""
    h = {m: torch.zeros(n) for m, n in zip(SIZES, model.hidden)}
    c = dict(h)
    u = torch.zeros(model.memory)
    for step in row:
        before = torch.cat([c[m] for m in SIZES])
        for m, x in step.items():
            h[m], c[m] = gates(model.cells[m], x, h[m], c[m])
        changes = torch.cat([before, *(c[m] for m in SIZES)])
        attended = torch.softmax(perceptron(model.attention, changes), 0) * changes
        proposal = torch.tanh(perceptron(model.proposal, attended))
        both = torch.cat([attended, u])
        keep, write = (torch.sigmoid(perceptron(part, both)) for part in (model.keep, model.write))
        u = keep * u + write * proposal
    z = torch.cat([*(h[m] for m in SIZES), u])
    return torch.relu(model.head[0].weight @ z + model.head[0].bias)


def test_rows_of_different_lengths_are_each_row_by_hand(float64):
    """Also where a modality lacks a step that another has, and where a row lacks all."""
    model = built()
    features = {m: torch.randn(6, 5, F) for m, F in SIZES.items()}
    steps = {m: torch.rand(6, 5) < 0.6 for m in SIZES}
    steps["audio"][1] = False
    for m in SIZES:
        steps[m][2] = False
    steps["text"][3] = steps["audio"][3] = True
    z = model(features, steps)
    expected = []
    for i in range(6):
        row = [{m: features[m][i, t] for m in SIZES if steps[m][i, t]} for t in range(5)]
        expected.append(by_hand(model, [step for step in row if step]))
    torch.testing.assert_close(z, torch.stack(expected), rtol=1e-10, atol=1e-10)
    parameters = list(model.parameters())
    slopes = [torch.autograd.grad(part.sin().sum(), parameters) for part in (z, torch.stack(expected))]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("sizes, widths", [(SIZES, (32, 8)), ({"a": 2, "b": 3, "c": 4}, (32, 8, 8))], ids=len)
def test_text_has_the_widest_lstm_by_default(sizes, widths):
    assert FUSIONS["mfn"](sizes).hidden == widths
    assert FUSIONS["mfn"](sizes, hidden=3).hidden == (3,) * len(sizes)


def test_number_of_parameters():
    lstms = 4 * 4 * (5 + 4 + 2) + 4 * 2 * (3 + 2 + 2)
    attention, proposal = 13 * 5 + 6 * 12, 13 * 6 + 7 * 3  # 2·(4 + 2) = 12 numbers come in
    keep, write = 16 * 7 + 8 * 3, 16 * 8 + 9 * 3  # with the memory's 3 they are 15
    head = (4 + 2 + 3 + 1) * 9
    assert sum(p.numel() for p in built().parameters()) == lstms + attention + proposal + keep + write + head
