"""The files that code is generated into."""

import pytest

from mmppl.kernels import generate
from mmppl.kernels.generate import FORMULAS, Formula


def test_nothing_is_left_of_a_formula_whose_derivatives_are_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr(generate, "FORMULAS", dict(FORMULAS))
    monkeypatch.setattr(generate, "cache_folder", lambda: tmp_path)

    def wrong(formula):
        formula.both(*[1.0] * len(formula.arguments))
        raise ValueError("the derivative disagrees")

    monkeypatch.setattr(generate, "check_derivatives", wrong)
    formula = Formula("mistaken", "x*x", ("x",), ("x",))
    for what in (lambda: formula.twin, lambda: formula.written("_triton"), lambda: formula.value(1.0)):
        with pytest.raises(ValueError, match="disagrees"):
            what()
        assert not list(tmp_path.iterdir())
