"""The decoders of a program applied to given latents, without its guide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pyro import poutine

from ..base.turns import turn
from ..core.program import Program
from ..data.dataset import Dataset
from .draws import keyed_draws
from .predictive import PredictiveAccumulator


@torch.no_grad()
def decode(
    program: Program, rows: Dataset, latents: Mapping[str, np.ndarray], want: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Decode given latents.

    Args:
        program: a program with fitted weights.
        rows: n rows, of which only the conditions of a conditional program matter (a row may occur many times).
        latents: name of the latent → (n, D). Latents that are not named are drawn from the model, keyed by the ids of
            the rows.
        want: the names of modalities and labels.

    Returns:
        name → "mean" and "std" of its distribution in input units, (n, *shape), or "prob" for classes.
    """
    batch = rows.batch(torch.arange(len(rows)), program.encoded).seeing(list(program.conditions)).wanting(list(want))
    # One draw per row, as in a query, so that sites have the shape that programs expect: (draws, rows, D).
    fixed = {name: torch.as_tensor(np.asarray(value, np.float32)).unsqueeze(0) for name, value in latents.items()}
    with turn(), keyed_draws(0, rows.ids, range(1), unread=list(want)):
        model = poutine.trace(poutine.condition(program.model, data=fixed)).get_trace(batch)
    found = {}
    for name in want:
        of = PredictiveAccumulator(program.modality(name), 1, None, hold=False)
        of.add(model.nodes[name], 0)
        found[name] = of.moments()
    return found
