"""Rows without a label teach MDM by its penalty alone: the published effect, where it exists, rests on it."""

import numpy as np
import torch

import mmppl
from mmppl.core.terms import terms_of

ROWS = 24


def gradients(penalty):
    """Of each term with respect to the fusion network, on rows of which none has a label."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 2 * ROWS).astype(float)
    label[ROWS:] = np.nan
    x, y = rng.normal(size=(2, 2 * ROWS, 3))
    data = mmppl.read(dict(x=x, y=y, label=label), as_={"label": "categorical:role=label"})
    torch.manual_seed(0)
    program = mmppl.load_program("mdm")(data.modalities, fusion="lf-lstm", penalty=penalty)
    terms = terms_of(program, data.batch(torch.arange(ROWS, 2 * ROWS), program.encoded))
    found = {}
    for name, (value, _) in terms.items():
        own = torch.autograd.grad(value, list(program.fusion.parameters()), retain_graph=True, allow_unused=True)
        found[name] = sum(float(g.abs().sum()) for g in own if g is not None)
    return found


def test_rows_without_a_label_count_for_the_penalty_alone():
    found = gradients("nwj")
    assert found["nll.label"] == 0
    assert found["tc.nwj"] > 1e-3
