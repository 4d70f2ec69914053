"""The figures of small runs: they are written, they are pictures, and nothing needs what the data do not have."""

from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

import mmppl
from mmppl.evaluation import classifiers
from mmppl.figures.drawing import GAP, example_rows, heat_map, mosaic
from mmppl.figures.generated import SAMPLES
from mmppl.figures.registry import Subject
from mmppl.figures.styles import CONTENTS, STYLES, style_transfer
from mmppl.figures.traversals import AXES, STEPS, traversals
from mmppl.inference.decode import decode
from mmppl.kernels.codegen import cache
from mmppl.modalities.images import pixels

SMALL = {"hidden": 16, "layers": 1}


@pytest.fixture(autouse=True)
def no_classifiers(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "kept", partial(cache._checked, tmp_path))
    monkeypatch.setattr(classifiers, "keep", partial(cache._write, tmp_path))


def check(paths, names):
    assert sorted(path.name for path in paths) == sorted(f"{name}.png" for name in names)
    for path in paths:
        assert path.parent.name == "figures"
        pixels = imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 200 and pixels.std() > 0.02  # not blank


@pytest.mark.slow
def test_cmmd(tmp_path):
    run = mmppl.fit("cmmd", hyper=SMALL, epochs=2, out=tmp_path / "run")
    logged = []
    names = ["calibration", "collapse", "loss", "generated", "reconstructions", "latent", "traversals"]
    check(run.plot(log=logged.append), names)
    assert len(logged) == 8 and any("no coherence is drawn" in line for line in logged)
    with pytest.raises(mmppl.MMPPLError):
        run.plot(tmp_path / "none.npz")


def test_figures_go_through_no_link(tmp_path):
    data = {"a": np.random.default_rng(0).normal(size=(20, 2))}
    run = mmppl.fit("mvae", data, hyper=SMALL, epochs=1, out=tmp_path / "run")
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "loss.png").symlink_to(mine)
    check(run.plot()[:1], ["loss"])
    assert mine.read_text() == "mine" and not (run.folder / "figures" / "loss.png").is_symlink()
    (run.folder / "figures").rename(tmp_path / "elsewhere")
    (run.folder / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(mmppl.DataError, match="^[^\n]*figures: a link[^\n]*Remove it.$"):
        run.plot()


def test_mvae_with_missing_modalities(tmp_path):
    data = mmppl.read("digits-three").mask_at_random(rate=0.6, seed=1)
    run = mmppl.fit("mvae", data, hyper=SMALL, epochs=1, out=tmp_path / "run")
    some = ["reconstructions", "traversals"]
    check(run.plot(data, figures=some), some)
    logged = []
    check(mmppl.Run.load(run.folder).plot(log=logged.append), ["loss"])  # what was hidden by hand cannot be read again
    assert "only the losses are drawn" in logged[0]


def test_without_images_or_labels(tmp_path):
    rng = np.random.default_rng(0)
    genes, age = rng.normal(size=(60, 7)), 50 + 9 * rng.normal(size=60)
    genes[:5] = np.nan
    data = {"genes": genes, "age": age, "site": np.array([["n", "s"]] * 60)}
    run = mmppl.fit("mvae", data, hyper=SMALL | {"latent_dim": 1}, epochs=1, out=tmp_path / "run")
    check(run.plot(data), ["calibration", "collapse", "loss", "generated", "latent"])


def test_coherence_is_drawn_where_classifiers_are_kept_and_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "STEPS", 30)
    run = mmppl.fit("mvae", hyper=SMALL, epochs=1, out=tmp_path / "run")
    run.evaluate(metrics=["coherence"], conditioning_sets=["image"])
    monkeypatch.setattr(classifiers, "_train", lambda *a: pytest.fail("a classifier was trained for a figure"))
    check(run.plot(figures=["loss", "coherence"]), ["loss", "coherence"])


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    """A run with private latents of image and word; and its test rows."""
    out = tmp_path_factory.mktemp("styled") / "run"
    hyper = SMALL | {"latent_dim": 9, "private": "3,0,2,0"}
    run = mmppl.fit("fmwvae", hyper=hyper, epochs=1, out=out)
    data = run.data()
    return run, data.take(data.rows("test"))


def subject(run, rows):
    return Subject(run, rows, rows, "about")


def cell(ax, i, j):
    """The 8×8 picture in row i and column j of a mosaic, one of its three equal channels."""
    whole = np.asarray(ax.images[0].get_array())
    return whole[i * (8 + GAP) :, j * (8 + GAP) :][:8, :8, 0]


def test_decode_returns_the_moments_of_the_decoder(styled):
    run, rows = styled
    some, program = rows.take(torch.tensor([3, 3, 5])), run.program
    z, style = np.random.default_rng(0).normal(size=(2, 3, 9)).astype(np.float32)
    found = decode(program, some, {"z": z, "private.image": style[:, :3]}, ["image", "label", "word"])
    with torch.no_grad():
        image = program.decoders["image"](torch.from_numpy(np.concatenate([z, style[:, :3]], 1))).sigmoid()
        temperature = program.likelihood_parameters["label"].calibration.exp()
        label = (program.decoders["label"](torch.from_numpy(z)) / temperature).softmax(-1)
    assert temperature != 1
    np.testing.assert_allclose(found["image"]["mean"], image.reshape(3, 8, 8), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["label"]["prob"], label, rtol=1e-5, atol=1e-6)
    assert found["word"]["prob"].shape[0] == 3  # in a style of the prior


def test_decoded_knows_what_a_conditional_program_conditions_on(tmp_path):
    run = mmppl.fit("cmmd", hyper=SMALL, epochs=1, out=tmp_path / "run")
    rows = run.data().take(torch.arange(2))
    z = np.zeros((2, run.program.latent_dim), np.float32)
    assert decode(run.program, rows, {"z": z}, ["noisy"])["noisy"]["mean"].shape == (2, 8, 8)


def test_traversals_move_one_number_at_a_time(styled):
    """The first line of z is the axis with the most KL, its columns what is decoded there; words move no image."""
    run, rows = styled
    example = rows.take(torch.tensor([7]))
    figure = traversals(subject(run, rows), example)
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == [f"image along the axes of {name}, most KL first" for name in ("z", "private.image")]
    (around, prior), (of_style, _) = ([*part.axes] for part in figure.subfigs)
    names = [label.get_text() for label in around.get_yticklabels()]
    numbers = [float(name.split()[1]) for name in names]
    assert len(names) == AXES and numbers == sorted(numbers, reverse=True) and len(of_style.get_yticklabels()) == 3
    given = ["image", "profile", "word"]
    answers = run.query(rows, given=given, want=["z"], draws=64, split="all").want["z"]
    kl = 0.5 * (answers["mean"] ** 2 + answers["std"] ** 2 - 1 - 2 * np.log(answers["std"])).mean(0)
    assert [int(name.split(":")[0]) for name in names] == np.argsort(-kl)[:AXES].tolist()
    middle = run.query(example, given=given, want=["z", "private.image"], draws=64, split="all").want
    for ax, z, style in (
        (around, middle["z"]["mean"].copy(), middle["private.image"]["mean"]),
        (prior, np.zeros((1, 9)), np.zeros((1, 3))),
    ):
        z[0, np.argmax(kl)] = STEPS[-1]
        found = decode(run.program, example, {"z": z, "private.image": style}, ["image", "label"])
        np.testing.assert_allclose(cell(ax, 0, len(STEPS) - 1), found["image"]["mean"][0], atol=1e-5)
        assert ax.texts[len(STEPS) - 1].get_text() == str(found["label"]["prob"].argmax())


def test_every_content_in_every_style(styled):
    """On the left the image whose style it is; the columns are classes, and other images, which stand above."""
    run, rows = styled
    (part,) = style_transfer(subject(run, rows)).subfigs
    of_label, of_image = part.axes
    styles = example_rows(run.program, rows, ["image"], STYLES)
    classes = example_rows(run.program, rows, ["label"], CONTENTS)
    assert [t.get_text() for t in of_label.get_xticklabels()] == ["style", "", *"0123456789"]
    ask = dict(draws=64, split="all")
    style = run.query(styles, given=["image"], want=["private.image"], **ask).want["private.image"]["mean"]
    z = run.query(classes, given=["label"], want=["z"], **ask).want["z"]["mean"]
    for i, j in ((0, 0), (5, 3), (7, 9)):
        np.testing.assert_allclose(cell(of_label, i, 0), styles.values["image"][i], atol=1e-6)
        latents = {"z": z[j : j + 1], "private.image": style[i : i + 1]}
        made = decode(run.program, styles.take(torch.tensor([0])), latents, ["image"])["image"]["mean"][0]
        np.testing.assert_allclose(cell(of_label, i, j + 2), made, atol=1e-5)
    assert (cell(of_label, 0, 1) == 1).all() and (cell(of_image, 0, 0) == 1).all()
    above = [next(k for k, x in enumerate(rows.values["image"].numpy()) if np.allclose(x, cell(of_image, 0, 2 + j)))
             for j in range(CONTENTS)]  # fmt: skip
    assert rows.values["label"][above].tolist() == sorted(rows.values["label"][above].tolist())
    z = run.query(rows.take(torch.tensor(above)), given=["image"], want=["z"], **ask).want["z"]["mean"]
    made = decode(run.program, styles, {"z": z[:8], "private.image": style}, ["image"])["image"]["mean"]
    for i in range(STYLES):
        np.testing.assert_allclose(cell(of_image, 2 + i, 2 + i), made[i], atol=1e-5)


def test_only_the_named_figures_are_drawn(styled, tmp_path):
    run, _ = styled
    check(run.plot(figures=["styles", "traversals", "styles"]), ["styles", "traversals"])
    with pytest.raises(mmppl.UsageError, match=r"^no figure 'losses'; there are calib[^\n]*Did you mean loss\?$"):
        run.plot(figures=["losses"])
    plain = mmppl.fit("mvae", {"a": np.random.default_rng(0).normal(size=(20, 3))}, epochs=1, out=tmp_path / "run")
    for name, why in (
        ("styles", "no image has a private latent beside z"),
        ("traversals", "no image depends on a latent"),
        ("reconstructions", "the program generates no images"),
        ("coherence", "no classifier is kept"),
    ):
        with pytest.raises(mmppl.UsageError, match=f"^[^\n]*run: no figure {name}: {why}[^\n]*$"):
            plain.plot({"a": np.ones((3, 3))}, figures=[name])
    with pytest.raises(mmppl.UsageError, match="name the data"):
        mmppl.Run.load(plain.folder).plot(figures=["generated"])


def test_a_figure_names_changed_options(styled):
    run, _ = styled
    from mmppl.figures.generated import generated
    from mmppl.figures.plot import _subject

    figure = generated(_subject(run.with_options(style="another"), None, None, print))
    assert "style=another" in figure.get_supxlabel().replace("\n", " ")


def test_pictures_of_a_mosaic_lie_where_they_belong():
    grey = mmppl.Modality("m", (2, 3))
    values = np.arange(12.0).reshape(2, 1, 2, 3)
    ax = Figure().subplots()
    mosaic(ax, pixels(grey, values), (0.0, 22.0), ["a", "b"], ["c"], np.array([["x"], ["y"]]))
    whole = ax.images[0].get_array()
    assert whole.shape == (2 * 2 + GAP, 3, 3) and (whole[2 : 2 + GAP] == 1).all()
    np.testing.assert_allclose(whole[2 + GAP :, :, 1], values[1, 0] / 22)
    assert ax.get_yticks().tolist() == [0.5, 0.5 + 2 + GAP] and [t.get_text() for t in ax.texts] == ["x", "y"]
    colour = mmppl.Modality("m", (3, 2, 2))
    whole = np.random.default_rng(0).random((1, 1, 3, 2, 2))
    mosaic(ax, pixels(colour, whole), (0.0, 1.0))
    np.testing.assert_allclose(ax.images[1].get_array(), np.moveaxis(whole[0, 0], 0, -1))


def test_cells_of_a_heat_map_show_per_cents():
    ax = Figure().subplots()
    heat_map(ax, np.array([[0.25, np.nan], [1.0, 0.0]]), ["a", "b"], ["x", "y"])
    assert [text.get_text() for text in ax.texts] == ["25.0", "100.0", "0.0"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["given a", "b"]


def test_examples_are_a_row_of_each_class_with_what_is_given():
    data = mmppl.read("digits-three").mask_at_random(rate=0.5, seed=0)
    rows = data.take(data.rows("test"))
    program = mmppl.Program(data.modalities)
    chosen = example_rows(program, rows, ["image"], SAMPLES)
    assert len(chosen) == SAMPLES and chosen.values["label"].tolist() == list(range(SAMPLES))
    assert all(seen.all() for seen in chosen.observed.values())
    two = rows.take((rows.values["label"] < 2).nonzero().squeeze(-1))
    assert sorted(example_rows(program, two, ["image"], SAMPLES).values["label"].tolist()) == [0] * 4 + [1] * 4
