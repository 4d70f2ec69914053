"""Figures of importances: histograms and codes, and words of utterances."""

import numpy as np
import pytest
import torch
from matplotlib.image import imread

import mmppl
from mmppl.figures.plot import plot
from mmppl.figures.registry import Subject
from mmppl.figures.words import LONGEST, page


class Weighing(mmppl.load_program("mvae")):
    """Trusts a modality by its first column."""

    quantities = ("importance",)

    def quantity(self, name, batch):
        first = {m: torch.sigmoid(batch.input(self.modality(m))[:, 0]) for m in self.encoded}
        return {m: torch.where(batch.sees(m), y, 0.0) for m, y in first.items()}


def fitted(**more):
    """4 utterances of 10 words, each said twice, with two acoustic vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 3))
    told = np.repeat(np.arange(4), 20)
    token = rng.integers(0, 20, 80)
    arrays = {
        "word": vectors[token], "acoustic": rng.normal(size=(80, 2)), "utterance": np.array([f"u{i}" for i in told]),
        "token": np.array([f"w{i}" if i else "<b>$x_" for i in token]), "noise_acoustic": np.arange(80) % 9 == 0,
        "split": np.where(np.arange(80) < 10, "train", "test"),
    } | more  # fmt: skip
    as_ = dict.fromkeys(("utterance", "token", "noise_acoustic"), "annotation")
    data = mmppl.read(arrays, as_={name: word for name, word in as_.items() if name in arrays})
    torch.manual_seed(0)
    return mmppl.FittedModel(Weighing(data.modalities, latent_dim=2, hidden=8), data=data)


def test_importances_and_words(tmp_path):
    model = fitted()
    paths = plot(model, tmp_path, figures=["importances", "words"])
    assert [path.name for path in paths] == ["importances.png", "words.png", "words.html"]
    for path in paths[:2]:
        pixels = imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 150 and pixels.std() > 0.02  # not blank
    text = paths[2].read_text()
    assert text.count("<p>") == 5 and "&lt;b&gt;$x_" in text and "<b>" not in text and "http" not in text


def test_a_word_is_shaded_by_the_mean_importance_of_its_pairs():
    """A word that is said again is shown again."""
    told = np.tile(np.repeat(["the", "cat", "saw", "the", "dog"], 4), 4)
    model = fitted(token=told)
    rows = model.data()
    shown = page(Subject(model, rows, rows, "about"))
    value = torch.sigmoid(rows.values["word"][:, 0]).numpy().reshape(4, 5, 4).mean(-1)
    for line in value:
        words = zip(("the", "cat", "saw", "the", "dog"), line)
        assert all(f'title="{mean:.3f}">{word}</span>' in shown for word, mean in words)
    assert shown.count(">the</span>") == 8


def test_long_utterances_are_cut():
    rng = np.random.default_rng(0)
    model = fitted(
        utterance=np.full(80, "one"), token=np.array([f"t{i}" for i in range(80)]), word=rng.normal(size=(80, 3))
    )
    rows = model.data()
    assert page(Subject(model, rows, rows, "about")).count("<span") == LONGEST


def test_models_that_have_no_such_figure(tmp_path):
    data = mmppl.read("digits-two-view")
    model = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8), data=data)
    for name in ("importances", "words"):
        with pytest.raises(mmppl.UsageError, match=f"no figure {name}: no importances"):
            plot(model, tmp_path, figures=[name])
    rng = np.random.default_rng(0)
    model = fitted(token=rng.normal(size=80))  # numbers, which are no words, are no reason to crash
    assert len(plot(model, tmp_path, figures=["words"])) == 2
