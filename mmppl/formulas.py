"""The formulas behind the kernels, and the source that is generated from them: for reading."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from .kernels.codegen.generate import FORMULAS


class Generated(NamedTuple):
    """A formula, where its modules lie, and their text."""

    name: str
    formula: str
    torch_path: str
    triton_path: str
    torch_source: str
    triton_source: str


def generated() -> list[Generated]:
    """Every formula that a likelihood or kernel of this process has named, generated where it was not yet."""
    # a program that is only shown has not needed them
    importlib.import_module(".modalities.likelihoods.likelihood", __package__)
    found = []
    for formula in FORMULAS.values():
        places = [formula.written(suffix) for suffix in ("", "_triton")]
        paths, texts = [str(p) for p in places], [p.read_text(encoding="utf-8") for p in places]
        found.append(Generated(formula.name, formula.text, *paths, *texts))
    return found
