"""The files that code is generated into, and where they lie."""

import pytest

from mmppl.kernels.codegen import c_backend, generate
from mmppl.kernels.codegen.generate import FORMULAS, Formula


def test_nothing_is_left_of_a_formula_whose_derivatives_are_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr(generate, "FORMULAS", dict(FORMULAS))
    monkeypatch.setattr(generate, "cache_folder", lambda: tmp_path)

    def wrong(formula):
        formula.both(*[1.0] * len(formula.arguments))
        raise ValueError("the derivative disagrees")

    monkeypatch.setattr(generate, "check_derivatives", wrong)
    formula = Formula("mistaken", "x*x", ("x",), ("x",))
    for what in (lambda: formula.reference, lambda: formula.written("_triton"), lambda: formula.value(1.0)):
        with pytest.raises(ValueError, match="disagrees"):
            what()
        assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_told_once(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMPPL_CACHE", str(tmp_path / "file" / "cache"))
    c_backend.cache_folder.cache_clear()
    try:
        folder = c_backend.cache_folder()
        assert folder.is_dir() and c_backend.cache_folder() == folder
    finally:
        c_backend.cache_folder.cache_clear()
    (line,) = caplog.messages
    assert str(tmp_path / "file" / "cache") in line and str(folder) in line and "$MMPPL_CACHE" in line
    folder.rmdir()
