"""Columns that are constant in the training rows: nothing is learnt of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding, listed
from .registry import Examined, examination


@examination("constant")
def constant(data: Examined) -> Iterator[Finding]:
    """Find such columns of numbers that are no images, whose borders are often constant."""
    alone = []
    for m in data.modalities:
        if m.family.values == "classes" or len(m.shape) > 1:
            continue
        train = np.flatnonzero(data.observed[m.name] & (data.split == 0))
        if len(train) < 2:
            continue
        array = data.filled(m.name).reshape(len(data.split), -1)
        first = array[train[0]]
        alike = np.flatnonzero((first == array[train[1]]) & (first == array[train[-1]]))  # few, looked at whole
        same = [int(place) for place in alike if (array[train, place] == first[place]).all()]
        if same and m.size == 1:
            alone.append(m.name)
        elif same:
            yield Finding("constant", m.name, f"{data.columns(m, same)}: {SAYS}; leave out such columns")
    if alone:
        option = f"--as {alone[0] if len(alone) == 1 else 'NAME'}=ignore"
        yield Finding("constant", alone[0], f"{listed(alone)}: {SAYS}; {option}")


SAYS = "constant in the training rows, so that nothing is learnt of it"
