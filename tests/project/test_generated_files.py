"""The files that code is generated into, and where they lie."""

import pytest
from platformdirs import user_cache_path

from mmppl.kernels.codegen import cache, generate
from mmppl.kernels.codegen.cache import cache_folder
from mmppl.kernels.codegen.generate import FORMULAS, Formula


def test_nothing_is_left_of_a_formula_whose_derivatives_are_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr(generate, "FORMULAS", dict(FORMULAS))
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)

    def wrong(formula):
        formula.value_and_grad(*[1.0] * len(formula.arguments))
        raise ValueError("the derivative disagrees")

    monkeypatch.setattr(generate, "check_derivatives", wrong)
    formula = Formula("mistaken", "x*x", ("x",), ("x",))
    for what in (lambda: formula.reference, lambda: formula.source("_triton"), lambda: formula.value(1.0)):
        with pytest.raises(ValueError, match="disagrees"):
            what()
        assert not list(tmp_path.iterdir())


@pytest.fixture
def anew():
    """The cache folder is looked for again, here and after the test."""
    for what in (cache_folder, cache._private, cache._say_unwritable):
        what.cache_clear()
    yield
    for what in (cache_folder, cache._private, cache._say_unwritable):
        what.cache_clear()


def test_a_cache_that_cannot_be_written_is_reported_once(monkeypatch, tmp_path, caplog, anew):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMPPL_CACHE", str(tmp_path / "file" / "cache"))
    folder = cache_folder()
    assert folder.is_dir() and cache_folder() == folder
    (line,) = caplog.messages
    assert str(tmp_path / "file" / "cache") in line and str(folder) in line and "$MMPPL_CACHE" in line
    folder.rmdir()


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, tmp_path, anew):
    monkeypatch.delenv("MMPPL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == user_cache_path("mmppl", appauthor=False) and cache_folder().is_dir()


def test_a_user_without_a_home_gets_a_temporary_cache(monkeypatch, caplog, anew):
    def homeless(*_, **__):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("MMPPL_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", homeless)
    folder = cache_folder()
    (line,) = caplog.messages
    assert folder.is_dir() and str(folder) in line and "home directory" in line
    folder.rmdir()
