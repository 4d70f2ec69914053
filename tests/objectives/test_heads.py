"""Decoders and classifiers on posteriors, against scikit-learn's logistic regression."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from mmppl import Batch, Modality, fit_classifier, fit_head, set_features

LABEL = Modality("y", (), "categorical", role="label", classes=("p", "q", "r"))


def rows(n=200):
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(n, 4, generator=rng)
    y = (z @ torch.randn(4, 3, generator=rng) + torch.randn(n, 3, generator=rng)).argmax(-1)
    every = torch.ones(n, dtype=torch.bool)
    return z, y, Batch({"x": z, "y": y}, {"x": every, "y": every}, torch.arange(n), n, ("x",))


def test_a_head_on_one_point_per_row_is_a_logistic_regression():
    z, y, batch = rows()
    head = nn.Linear(4, 3)
    fit_head(LABEL, head, [], batch, {("x",): z.unsqueeze(0)}, ridge=1.0)
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(z.double().numpy(), y.numpy())
    np.testing.assert_allclose(
        torch.softmax(head(z), -1).detach().numpy(), reference.predict_proba(z.numpy()), atol=2e-4
    )


def test_a_classifier_is_a_logistic_regression_on_its_features():
    """With gram = A², the penalty is on weights of A z: the same as a regression on A z."""
    z, y, batch = rows()
    root = torch.diag(torch.tensor([1.0, 0.5, 2.0, 0.1], dtype=torch.float64))
    seen = torch.ones(len(z), 1, dtype=torch.bool)
    classifier = nn.Linear(4 * 2 + 1, 3)
    fit_classifier(LABEL, classifier, batch, {("x",): (z, seen)}, root @ root, ridge=1.0)
    scaled = set_features(z.double() @ root, seen).numpy()
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(scaled, y.numpy())
    found = torch.softmax(classifier(set_features(z, seen)), -1).detach().numpy()
    np.testing.assert_allclose(found, reference.predict_proba(scaled), atol=2e-4)


def test_rows_of_which_nothing_is_seen_do_not_count():
    z, y, batch = rows()
    seen = torch.arange(len(z)).unsqueeze(-1) < 150
    some = torch.arange(150)
    short = Batch({"y": y[some]}, {"y": seen[some, 0]}, some, 150, ())
    one, other = nn.Linear(9, 3), nn.Linear(9, 3)
    fit_classifier(LABEL, one, batch, {("x",): (z, seen)}, torch.eye(4), ridge=1.0)
    fit_classifier(LABEL, other, short, {("x",): (z[some], seen[some])}, torch.eye(4), ridge=1.0)
    torch.testing.assert_close(one.weight, other.weight)


def test_sets_that_show_the_same_of_a_row_count_once():
    z, _, batch = rows()
    seen = torch.ones(len(z), 1, dtype=torch.bool)
    one, other = nn.Linear(9, 3), nn.Linear(9, 3)
    fit_classifier(LABEL, one, batch, {("x",): (z, seen)}, torch.eye(4), ridge=1.0)
    fit_classifier(LABEL, other, batch, {("x",): (z, seen), ("x", "w"): (z, seen)}, torch.eye(4), ridge=1.0)
    torch.testing.assert_close(one.weight, other.weight)
