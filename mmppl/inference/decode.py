"""What a program's decoders make of latents that are given: no guide is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pyro import poutine

from ..core.program import Program
from ..data.dataset import Dataset
from .draws import keyed_draws
from .predictive import PredictiveAccumulator


@torch.no_grad()
def decode(
    program: Program, rows: Dataset, latents: Mapping[str, np.ndarray], want: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """name → the mean and std of its distribution in input units, (n, *shape), or the "prob" of classes.

    Args:
        rows: n rows, of which only the conditions of a conditional program matter (a row may be there many times).
        latents: name of the site → (n, D). Latents that are not named are drawn from the model, keyed by the rows' ids.
        want: names of modalities and labels.
    """
    batch = rows.batch(torch.arange(len(rows)), program.encoded).seeing(list(program.conditions)).wanting(list(want))
    # one draw per row, as a query has it, so that sites have the shapes that programs know: (draws, rows, D)
    fixed = {name: torch.as_tensor(np.asarray(value, np.float32)).unsqueeze(0) for name, value in latents.items()}
    with keyed_draws(0, rows.ids, range(1), unread=list(want)):
        model = poutine.trace(poutine.condition(program.model, data=fixed)).get_trace(batch)
    found = {}
    for name in want:
        of = PredictiveAccumulator(program.modality(name), 1, None, hold=False)
        of.add(model.nodes[name], 0)
        found[name] = of.moments()
    return found
