import json

import numpy as np
import pytest

from mmppl.cli import main
from mmppl.kernels.codegen import cache


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    observed = np.arange(30) % 3 > 0
    picture, dose = rng.integers(0, 255, (30, 4, 5)).astype(np.uint8), rng.normal(size=(30, 1))
    np.savez(tmp_path / "mine.npz", picture=picture, dose=dose, mask_dose=observed, label=np.arange(30) % 2)
    return str(tmp_path / "mine.npz")


def test_recipes(capsys):
    from mmppl.data.recipes.registry import recipes

    assert main(["data", "--json"]) == 0
    assert [r["name"] for r in json.loads(capsys.readouterr().out)["recipes"]] == [name for name, _, _ in recipes()]
    assert main(["data"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and needs in text for name, _, needs in recipes())


def test_description(capsys, file):
    assert main(["data", file]) == 0
    text = capsys.readouterr().out
    for part in (
        "mine.npz: 30 rows",
        "4×5",
        "bernoulli",
        "standardise",
        "66.7%",
        "2 classes: 0, 1",
        "picture + dose  20",
    ):
        assert part in text, part


def test_description_as_json(capsys, file):
    import mmppl

    assert main(["data", file, "--as", "dose=ignore", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(mmppl.read(file, as_={"dose": "ignore"}).describe()))
    assert [m["name"] for m in found["modalities"]] == ["picture", "label"]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own: a process chooses its folder once, and another one must not be cleared."""
    monkeypatch.setenv("MMPPL_CACHE", str(tmp_path / "cache"))
    cache.cache_folder.cache_clear()
    yield
    cache.cache_folder.cache_clear()


def test_the_cache_of_converted_data_is_cleared(mmppl, tmp_path, own_cache):
    other = tmp_path / "cache" / "data" / "one"
    other.mkdir(parents=True)
    (tmp_path / "cache").chmod(0o700)
    (other / "contents.json").write_text("{}")
    cleared = mmppl("data", "--clear-cache", "--json").json
    assert (cleared["freed"], cleared["left"]) == (2, 0) and not other.exists()
    mmppl("data", "a.npz", "--clear-cache").failed(2, "or clear the cache, not both")
