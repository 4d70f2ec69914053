"""Recipes by registry: one file each, options from the signature, help from the docstring."""

import importlib.util
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import sklearn.datasets

from mmppl.cli import main
from mmppl.data import recipes as package
from mmppl.data.dataset import Dataset
from mmppl.data.read import read
from mmppl.data.recipes.parts import digits
from mmppl.data.recipes.registry import RECIPES, recipe, recipes
from mmppl.errors import UsageError

BLOBS = '''
    """Blobs."""
    from typing import Literal

    import numpy as np

    from mmppl.data.recipes.registry import recipe


    @recipe("two-blobs")
    def two_blobs(*, n: int = 40, spread: float = 1.0, shape: Literal["round", "flat"] = "round", seed: int = 0):
        """Two blobs: place; label.

        Needs: nothing at all, not even
        patience.

        Args:
            n: number of rows.
        """
        rng, label = np.random.default_rng(seed), np.arange(n) % 2
        place = 5 * label[:, None] + spread * rng.normal(size=(n, 2)) * (1, 0.1 if shape == "flat" else 1)
        return {"place": place, "label": label}
'''


@pytest.fixture
def forget():
    """Takes out afterwards what a test registers."""
    before = set(RECIPES)
    yield
    for name in set(RECIPES) - before:
        RECIPES.forget(name)


@pytest.fixture
def blobs(tmp_path, forget):
    """A user's recipe in a file of its own."""
    (tmp_path / "blobs.py").write_text(textwrap.dedent(BLOBS))
    spec = importlib.util.spec_from_file_location("blobs", tmp_path / "blobs.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_users_recipe_is_one_file(blobs, capsys):
    data = read("two-blobs:n=60,spread=1e-3,shape=flat,seed=3")
    assert len(data) == 60 and data.name == "two-blobs:n=60,spread=1e-3,shape=flat,seed=3"
    assert [(m.name, m.role) for m in data.modalities] == [("place", "modality"), ("label", "label")]
    spread = read("two-blobs:spread=1e-3,shape=flat").modalities[0].spread
    assert spread == pytest.approx((2.5, 2.5), rel=0.05) and read("two-blobs").name == "two-blobs"
    entry = ("two-blobs", "Two blobs: place; label", "nothing at all, not even patience")
    assert entry in recipes()
    assert main(["data", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert {"name": entry[0], "about": entry[1], "needs": entry[2]} in listed


def test_a_built_in_recipe_is_one_file(tmp_path, monkeypatch, forget):
    (tmp_path / "two_blobs.py").write_text(textwrap.dedent(BLOBS).replace("from mmppl.data.recipes", "from "))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package.__spec__, "submodule_search_locations", package.__path__)
    monkeypatch.setattr(RECIPES, "_files", None)
    assert ("two-blobs", "Two blobs: place; label", "nothing at all, not even patience") in recipes()
    assert "mmppl.data.recipes.two_blobs" not in sys.modules
    assert len(read("two-blobs:n=60")) == 60
    sys.modules.pop("mmppl.data.recipes.two_blobs")


@pytest.mark.parametrize(
    "spec, says",
    [
        ("two-blob", "no recipe or file 'two-blob'"),
        ("two-blob", "Did you mean two-blobs?"),
        ("two-blobs:sed=1", "two-blobs: no option 'sed'; it has n, spread, shape, seed. Did you mean seed?"),
        ("two-blobs:n=1.5", "two-blobs: n='1.5' is not a whole number."),
        ("two-blobs:n", "two-blobs: n='' is not a whole number."),
        ("two-blobs:spread=inf", "two-blobs: spread='inf' is no finite float."),
        ("two-blobs:shape=flatt", "two-blobs: shape='flatt' is none of round, flat. Did you mean flat?"),
        ("two-blobs:root=x", "no option 'root'"),
        ("mnist-label:seed=1", "mnist-label: no option 'seed'; it has none."),
        ("mnist-svhn:pairs=0", "pairs=0: at least one round is needed"),
        ("mnist-two-view:rotate=often", "rotate='often' is none of fixed, fresh."),
        ("mnist-two-view:download=true", "no option 'download'"),
    ],
)
def test_options_are_those_of_the_signature(blobs, spec, says):
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        read(spec)
    assert says in str(error.value)


def silent(*, seed: int = 0) -> dict:
    return {}


def needy(*, seed: int = 0) -> dict:
    """One line.

    Needs more than a colon.
    """
    return {}


def positional(seed: int = 0) -> dict:
    """One line.

    Needs: nothing.
    """
    return {}


def odd(root: Path, *, seed: int, how: dict = {}, kind: Literal["a"] = "a") -> dict:
    """One line.

    Needs: nothing.
    """
    return {}


@pytest.mark.parametrize(
    "name, function, says",
    [
        ("mine", silent, ["lacks a docstring that says", 'a paragraph "Needs: …"']),
        ("mine", needy, ['recipe \'mine\' lacks a paragraph "Needs: …" in its docstring']),
        ("mine", positional, ["lacks a * before seed (options are keyword-only);"]),
        ("mine", odd, ["lacks a default of seed, a type of how that can be read from text (int,", ", not dict;"]),
        ("mine", 7, ["lacks a function that makes the data set"]),
        ("digits-three", needy, ["recipe 'digits-three' is registered already"]),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused_when_it_is_registered(name, function, says):
    before = list(RECIPES)
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        recipe(name)(function)
    assert all(text in str(error.value) for text in says), error.value
    assert list(RECIPES) == before


def test_every_built_in_recipe_has_the_required_parts():
    for name, line, needs in recipes():
        assert line and needs and RECIPES.lacks(RECIPES[name]) == []


def test_listing_recipes_imports_nothing_heavy():
    code = """
        import sys
        from mmppl.cli import main
        assert main(["data"]) == 0
        heavy = [name for name in sys.modules if name in ("torch", "sklearn", "numpy", "sympy")]
        assert not heavy, heavy
        recipes = [name for name in sys.modules if name.startswith("mmppl.data.recipes.") and "registry" not in name]
        assert all(hasattr(sys.modules[name], "__path__") for name in recipes), recipes  # folders alone
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_digits_are_those_of_scikit_learn(monkeypatch):
    bunch = sklearn.datasets.load_digits()
    images, labels = digits.load_digits()
    assert images.numpy().dtype == np.float32 and np.array_equal(images.numpy() * 16, bunch.images)
    assert labels.dtype == np.int64 and np.array_equal(labels, bunch.target)
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)  # where the file is not there
    again = digits.load_digits()
    assert np.array_equal(again[0].numpy(), images.numpy()) and np.array_equal(again[1], labels)


def test_a_recipe_may_return_a_data_set(forget):
    @recipe("of-mine")
    def of_mine(*, seed: int = 0) -> Dataset:
        """Somebody's digits.

        Needs: nothing.
        """
        return read(f"digits-three:seed={seed}")

    assert read("of-mine:seed=1").fingerprint() == read("digits-three:seed=1").fingerprint()
