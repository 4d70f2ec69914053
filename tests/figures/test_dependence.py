"""The figure of a critic's scores: its numbers against the program's own, rows at the ends, and what it shows."""

import numpy as np
import pytest
import torch
from matplotlib.image import imread

import mmppl
from mmppl.figures.dependence import _scores, _verdict, page
from mmppl.figures.plot import plot
from mmppl.figures.registry import Subject


def fitted(penalty="nwj", **more):
    """40 rows of two vectors that are nearly the same; four of them lack the second."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(40, 3))
    b = a + 0.1 * rng.normal(size=(40, 3))
    b[6:10] = np.nan
    arrays = {"a": a, "b": b, "score": a[:, 0], "id": np.array([f"row<{i}>" for i in range(40)])}
    arrays |= {"split": np.where(np.arange(40) < 8, "train", "test")} | more
    as_ = {"score": "normal:role=label"} | dict.fromkeys(more, "annotation")
    data = mmppl.read(arrays, as_=as_)
    torch.manual_seed(0)
    program = mmppl.load_program("mdm")(data.modalities, penalty=penalty)
    return mmppl.FittedModel(program, data=data)


def subject(model):
    data = model.data()
    return Subject(model, data, data.take(data.rows("test")), "about")


def test_picture_and_page(tmp_path):
    said = np.array([f"what <b>${i}_" for i in range(40)])
    model = fitted(transcript=said)
    paths = plot(model, tmp_path, figures=["dependence"])
    assert [path.name for path in paths] == ["dependence.png", "dependence.html"]
    pixels = imread(paths[0])[..., :3]
    assert min(pixels.shape[:2]) > 150 and pixels.std() > 0.02  # not blank
    text = paths[1].read_text()
    scores = _scores(subject(model))
    for end in (scores.aligned.argmax(), scores.aligned.argmin()):
        row = scores.rows[end] + 8
        assert f"<td>{scores.aligned[end]:.3f}<td>row&lt;{row}&gt;<td>what &lt;b&gt;${row}_" in text
    assert "<b>" not in text and "http" not in text and text.count("<tr><td>") == 30
    assert "transcript" not in page(subject(fitted()))


def test_scores_are_the_critics():
    model = fitted()
    scores = _scores(subject(model))
    rows, program = subject(model).rows, model.program
    assert sorted(scores.rows) == list(range(2, 32))
    with torch.no_grad():
        batch = rows.batch(torch.as_tensor(scores.rows), program.encoded)
        found = program.bound.critic([program.code(batch)], batch.seen)
    np.testing.assert_allclose(scores.aligned, found, rtol=1e-5, atol=1e-6)
    assert not np.allclose(scores.aligned, scores.permuted)
    higher = (scores.aligned[:, None] > scores.permuted).mean()
    assert f"in {100 * higher:.0f} %" in _verdict(scores)
    again = _scores(subject(model))
    assert np.array_equal(again.permuted, scores.permuted)


def test_without_a_critic_there_is_none(tmp_path):
    with pytest.raises(mmppl.UsageError, match="no figure dependence: no critic, or no row with two modalities"):
        plot(fitted("none"), tmp_path, figures=["dependence"])
