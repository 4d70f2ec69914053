"""The figure of collapse curves shows the numbers of the metric."""

import numpy as np
import pytest
import torch

import mmppl
from mmppl.evaluation.evaluate import evaluate
from mmppl.figures.curves.collapse import collapse
from mmppl.figures.registry import FIGURES, Subject


def subject_of(name, data, **hyper):
    torch.manual_seed(0)
    program = mmppl.load_program(name)(data.modalities, **hyper).eval()
    rows = data.take(data.rows("test")[:20])
    return Subject(mmppl.FittedModel(program, data=data), data, rows, "an untrained model")


@pytest.fixture(scope="module")
def two_view():
    return mmppl.read("digits-two-view")


@pytest.mark.parametrize("name", ["cmmd", "mvae"])
def test_each_curve_is_that_of_the_metric(two_view, name):
    subject = subject_of(name, two_view, hidden=8, latent_dim=4)
    (ax,) = collapse(subject).axes
    found = evaluate(subject.model, subject.rows, split="all", metrics=["collapse"])["metrics"]["collapse"]
    lines = {line.get_label(): line for line in ax.lines}
    assert all(np.array_equal(line.get_xdata(), found["eps"]) for line in ax.lines)
    if name == "cmmd":
        labels = {
            "fraction": "all given from the conditions alone",
            "prior_q": "conditions alone from all given",
            "prior_standard": "conditions alone from N(0, I)",
            "q_standard": "all given from N(0, I)",
        }
    else:
        labels = {"fraction": "all given from the prior"}
        for view in ("rotated", "noisy"):
            np.testing.assert_array_equal(lines[f"{view} alone"].get_ydata(), found["alone"][view])
    for key, label in labels.items():
        np.testing.assert_array_equal(lines[label].get_ydata(), found[key])
    assert len(lines) == (4 if name == "cmmd" else 3)
    assert f"{1 - 0.01:.0%} of the rows" in ax.figure.get_supxlabel().replace("\n", " ")


def test_codes_without_a_density_have_no_curve(two_view):
    assert collapse(subject_of("dae", two_view, hidden=8, latent_dim=4)) is None
    assert "collapse" in FIGURES and FIGURES["collapse"].absent
