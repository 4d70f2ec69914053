"""Weights of terms: those of the likelihoods, and those that rise with the clock."""

import math

import pytest
import torch

from mmppl import Modality, Terms
from mmppl.objectives.weights import likelihood_weights, warmup


def test_terms_add_up():
    terms = Terms({"a": (torch.tensor(2.0), 3.0)}) | {"b": (torch.tensor(1.0), torch.tensor(0.5))}
    assert isinstance(terms, Terms) and terms.loss.item() == 6.5


def test_a_weight_rises_linearly_and_stays():
    found = [float(warmup(2.0, torch.tensor(p), 0.4)) for p in (0.0, 0.1, 0.2, 0.4, 0.9, 1.0)]
    assert found == [0.0, 0.5, 1.0, 2.0, 2.0, 2.0]
    assert warmup(2.0, torch.tensor(0.0), 0.0) == 2.0  # no warm-up, no tensor


def test_likelihoods_are_weighed_by_size():
    """MNIST-SVHN-Text: λ = 3.92, 1, 384."""
    modalities = [
        Modality("mnist", (28, 28)),
        Modality("svhn", (3, 32, 32)),
        Modality("text", (8,), "categorical", classes=tuple("abc")),
        Modality("label", (), "categorical", role="label", classes=(0, 1)),
    ]
    weights = likelihood_weights(modalities, weigh="size", label_weight=5.0)
    assert weights == {"mnist": 3072 / 784, "svhn": 1.0, "text": 384.0, "label": 5.0}
    assert likelihood_weights(modalities, label_weight=1.0) == dict.fromkeys(weights, 1.0)


def test_labels_are_balanced_with_the_features_of_a_row():
    """The root of the features over the nats of guessed labels, between 1 and 50."""

    def label(name, classes, shape=()):
        kind = dict(likelihood="categorical", classes=tuple(range(classes))) if classes else dict(likelihood="normal")
        return Modality(name, shape, role="label", **kind)

    def weights(size, *labels, **more):
        return likelihood_weights([Modality("x", (size,)), *labels], **more)

    assert weights(90, label("y", 3)) == {"x": 1.0, "y": pytest.approx((90 / math.log(3)) ** 0.5)}
    assert weights(90, label("y", 3), weigh=(2.0,))["y"] == pytest.approx((180 / math.log(3)) ** 0.5)
    assert weights(90, label("y", 3, (4,)))["y"] == pytest.approx((90 / (4 * math.log(3))) ** 0.5)
    two = weights(90, label("y", 3), label("n", 0))
    assert two == {"x": 1.0, "y": pytest.approx((45 / math.log(3)) ** 0.5), "n": pytest.approx(45**0.5)}
    assert weights(1, label("y", 3))["y"] == 1.0 and weights(10_000, label("y", 3))["y"] == 50.0
    assert weights(90, label("y", 1))["y"] == pytest.approx((90 / math.log(2)) ** 0.5)  # a label seen once has no nats
    assert weights(90, label("y", 3), label_weight=0.0)["y"] == 0.0
