"""A term of several runs in one picture."""

import json

import numpy as np
import pytest
import torch
from matplotlib.image import imread

import mmppl
from mmppl.figures.training_curves import plot_term, term_curves

SMALL = {"hidden": 16, "layers": 1, "latent_dim": 3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """MW-VAE, aligned and not."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        mmppl.fit("mwvae", hyper=SMALL | {"variant": variant}, epochs=2, out=folder / variant)
        for variant in ("aligned", "unaligned")
    ]


def drawn(figure):
    """Colour → the values of its lines, validation and training."""
    lines = {}
    for line in figure.axes[0].lines:
        lines.setdefault(line.get_color(), {})[line.get_linestyle()] = line.get_ydata()
    return lines


@pytest.mark.parametrize("term", ["w2", "loss"])
def test_a_line_per_run_is_its_log(runs, term):
    figure = term_curves(runs, term)
    lines = list(drawn(figure).values())
    assert len(lines) == 2
    for run, line in zip(runs, lines):
        log = [json.loads(text) for text in (run.folder / "metrics.jsonl").read_text().splitlines()]
        for dash, part in (("-", "valid"), (":", "train")):
            wanted = [x["loss"][part] if term == "loss" else x[part][term] for x in log]
            assert np.array_equal(line[dash], wanted)
    (legend,) = figure.legends
    entries = [text.get_text() for text in legend.get_texts()]
    assert [text.split(": ")[1] for text in entries] == ["aligned", "unaligned"]
    last = runs[0].metrics[-1]
    number = last["loss"]["valid"] if term == "loss" else last["valid"][term]
    assert entries[0].startswith(f"{number:.3g}")
    if term == "w2":
        assert "(weight 1)" in entries[0] and "(weight 0)" in entries[1]


def test_runs_of_one_name_are_distinguished(runs):
    figure = term_curves([runs[0], mmppl.Run.load(runs[0].folder)], "w2")
    entries = ["".join(text.get_text().split()) for text in figure.legends[0].get_texts()]  # long names are broken
    assert all(text.endswith(str(runs[0].folder)) for text in entries)


def test_where_the_picture_goes(runs, tmp_path):
    path = plot_term(runs, "w2", tmp_path / "term.png")
    assert path == tmp_path / "term.png" and imread(path)[..., :3].std() > 0.02
    assert plot_term(runs, "nll.image", tmp_path / "a.png") == tmp_path / "a.png"
    for out in (tmp_path / "a.jpg", tmp_path / "none" / "a.png"):
        with pytest.raises(mmppl.UsageError, match=r"^--out [^\n]*expected a .png file in a folder that exists\.$"):
            plot_term(runs, "w2", out)


def test_a_term_that_a_run_has_not(runs, tmp_path):
    other = mmppl.fit("mvae", hyper=SMALL, epochs=1, out=tmp_path / "mvae")
    says = r"mvae: no term 'w2'; there are loss, nll.image[^\n]*kl.z, cross.image[^\n]*\.$"
    with pytest.raises(mmppl.UsageError, match=says):
        plot_term([*runs, other], "w2", tmp_path / "a.png")
    with pytest.raises(mmppl.UsageError, match="Did you mean nll.image"):
        plot_term(runs, "nll.imgae", tmp_path / "a.png")
    with pytest.raises(mmppl.UsageError, match="no runs"):
        plot_term([], "w2", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_models_in_memory_are_named(runs, tmp_path):
    data = mmppl.read("digits-three").take(torch.arange(60))
    run = mmppl.fit("mwvae", data, hyper=SMALL, epochs=1, out=tmp_path / "memory")
    assert any("digits-three:seed=0, n = 60" in text.get_text() for text in term_curves([run], "w2").texts)
    assert "digits-three:seed=0" in repr(run) and "digits-three:seed=0" in (run.folder / "README.md").read_text()
