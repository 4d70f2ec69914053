"""The figures of small runs: they are written, they are pictures, and nothing needs what the data do not have."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

import mmppl
from mmppl import judges
from mmppl.figures import SAMPLES, _examples
from mmppl.panels import heat_map, is_image, is_vector

SMALL = {"hidden": 16, "layers": 1}


@pytest.fixture(autouse=True)
def no_judges(tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "cache_folder", lambda: tmp_path)


def check(paths, names):
    assert [path.name for path in paths] == [f"{name}.png" for name in names]
    for path in paths:
        assert path.parent.name == "figures"
        pixels = imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 200 and pixels.std() > 0.02  # not blank


def test_cmmd(tmp_path):
    run = mmppl.fit("cmmd", hyper=SMALL, epochs=2, out=tmp_path / "run")
    heard = []
    check(run.plot(say=heard.append), ["loss", "generated", "reconstructions", "latent"])
    assert len(heard) == 5 and any("no coherence is drawn" in line for line in heard)
    with pytest.raises(mmppl.MMPPLError):
        run.plot(tmp_path / "none.npz")


def test_figures_go_through_no_link(tmp_path):
    data = {"a": np.random.default_rng(0).normal(size=(20, 2))}
    run = mmppl.fit("mvae", data, hyper=SMALL, epochs=1, out=tmp_path / "run")
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (run.path / "figures").mkdir()
    (run.path / "figures" / "loss.png").symlink_to(mine)
    check(run.plot()[:1], ["loss"])
    assert mine.read_text() == "mine" and not (run.path / "figures" / "loss.png").is_symlink()
    (run.path / "figures").rename(tmp_path / "elsewhere")
    (run.path / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(mmppl.DataError, match="^[^\n]*figures: a link[^\n]*Remove it.$"):
        run.plot()


def test_mvae_with_missing_modalities(tmp_path):
    data = mmppl.read("digits-three").hide(rate=0.6, seed=1)
    run = mmppl.fit("mvae", data, hyper=SMALL, epochs=1, out=tmp_path / "run")
    check(run.plot(data), ["loss", "generated", "reconstructions", "latent"])
    heard = []
    check(mmppl.Run.load(run.path).plot(say=heard.append), ["loss"])  # what was hidden by hand cannot be read again
    assert "only the losses are drawn" in heard[0]


def test_without_images_or_labels(tmp_path):
    rng = np.random.default_rng(0)
    genes, age = rng.normal(size=(60, 7)), 50 + 9 * rng.normal(size=60)
    genes[:5] = np.nan
    data = {"genes": genes, "age": age, "site": np.array([["n", "s"]] * 60)}
    run = mmppl.fit("mvae", data, hyper=SMALL | {"latent_dim": 1}, epochs=1, out=tmp_path / "run")
    check(run.plot(data), ["loss", "generated", "latent"])


def test_coherence_is_drawn_where_judges_are_kept_and_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "STEPS", 30)
    run = mmppl.fit("mvae", hyper=SMALL, epochs=1, out=tmp_path / "run")
    run.evaluate(metrics=["coherence"], given_sets=["image"])
    monkeypatch.setattr(judges, "_train", lambda *a: pytest.fail("a judge was trained for a figure"))
    check(run.plot(), ["loss", "generated", "reconstructions", "latent", "coherence"])


def test_cells_of_a_heat_map_tell_per_cents():
    ax = Figure().subplots()
    heat_map(ax, np.array([[0.25, np.nan], [1.0, 0.0]]), ["a", "b"], ["x", "y"])
    assert [text.get_text() for text in ax.texts] == ["25.0", "100.0", "0.0"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["given a", "b"]


def test_what_is_a_picture():
    for shape in ((8, 8), (1, 8, 8), (3, 8, 8), (8, 8, 3)):
        assert is_image(mmppl.Modality("m", shape)) and not is_vector(mmppl.Modality("m", shape))
    for shape in ((32,), (2, 8, 8)):
        assert is_vector(mmppl.Modality("m", shape)) and not is_image(mmppl.Modality("m", shape))
    letters = mmppl.Modality("m", (2, 2), "categorical", classes=("a", "b"))
    number = mmppl.Modality("m", ())
    assert not any(kind(m) for kind in (is_image, is_vector) for m in (letters, number))


def test_examples_are_a_row_of_each_class_with_what_is_given():
    data = mmppl.read("digits-three").hide(rate=0.5, seed=0)
    rows = data.take(data.rows("test"))
    program = mmppl.Program(data.modalities)
    chosen = _examples(program, rows, ["image"])
    assert len(chosen) == SAMPLES and chosen.values["label"].tolist() == list(range(SAMPLES))
    assert all(seen.all() for seen in chosen.observed.values())
    two = rows.take((rows.values["label"] < 2).nonzero().squeeze(-1))
    assert sorted(_examples(program, two, ["image"]).values["label"].tolist()) == [0] * 4 + [1] * 4
