"""Transforms to model units and back: each against its own inverse, its derivative and its moments by quadrature."""

import numpy as np
import pytest
import torch

from mmppl import Modality, UsageError, read
from mmppl.modalities.scaling import Scaling
from mmppl.modalities.transforms import TRANSFORMS, Transform

SHIFT, SPREAD = (0.5, -1.0, 2.0), (2.0, 0.5, 0.25)


def scaling(name):
    return Scaling(name, SHIFT, SPREAD) if TRANSFORMS[name].learns else Scaling(name)


class Root(Transform):
    """A user's own: (√x − mean) / standard deviation."""

    learns, affine = True, False

    def bend(self, x):
        return x**0.5

    def unbend(self, y):
        return y**2

    def moments(self, mean, variance):
        return mean**2 + variance, 2 * variance**2 + 4 * mean**2 * variance

    def location(self, mean, sd):
        return (mean**2 - sd**2 / 2) ** 0.25  # E y² = m² + v, Var y² = 2v² + 4m²v, so (E y²)² − Var y²/2 = m⁴

    def log_slope(self, bent):
        return -torch.log(2 * bent)

    def illegal(self, x):
        return x < 0, "is negative and has no root."


@pytest.fixture
def root():
    TRANSFORMS.register("root")(Root())
    yield
    TRANSFORMS.forget("root")


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", ["none", "standardise", "image", "log1p", "log", "root"])
def test_a_transform_and_back(name):
    rng = np.random.default_rng(0)
    s, x = scaling(name), rng.gamma(4.0, 5.0, size=(7, 3, 1))
    y = s.to_model(x, (3, 1))
    np.testing.assert_allclose(s.to_input(y, (3, 1)), x, rtol=1e-12)
    flat = s.of_features(torch.from_numpy(x).flatten(1))
    np.testing.assert_allclose(flat.numpy(), y.reshape(7, 3), rtol=1e-12)
    leaf = torch.from_numpy(x).requires_grad_()
    bent = s.curve.bend(leaf)
    (slope,) = torch.autograd.grad(bent.sum(), leaf)
    scale = torch.tensor(SPREAD).double().reshape(3, 1) if s.curve.learns else torch.ones(3, 1)
    want = (slope / scale).log().flatten(1).sum(1)
    np.testing.assert_allclose(s.log_jacobian(torch.from_numpy(y)).numpy(), want.numpy(), rtol=1e-9)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", ["none", "standardise", "image", "log1p", "log", "root"])
def test_moments_are_those_of_the_curve(name):
    """E and Var of the transformed Normal by Gauss-Hermite quadrature with 60 nodes (exact to rounding here)."""
    s = scaling(name)
    mean, variance = np.array([1.3, 3.0, -0.4]), np.array([0.2, 0.4, 0.01])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    values = s.to_input(mean + np.sqrt(variance) * nodes[:, None], (3,))
    weights = (weights / weights.sum())[:, None]
    first = (weights * values).sum(0)
    second = (weights * (values - first) ** 2).sum(0)
    got = s.moments(mean, variance, (3,))
    np.testing.assert_allclose(got[0], first, rtol=1e-9)
    np.testing.assert_allclose(got[1], second, rtol=1e-7)
    np.testing.assert_allclose(s.location(got[0], np.sqrt(got[1]), (3,)), mean, rtol=1e-9)


@pytest.mark.usefixtures("root")
def test_a_new_transform_is_a_new_entry():
    counts = np.random.default_rng(0).poisson(30.0, size=(50, 2))
    data = read({"x": counts, "y": np.random.default_rng(1).normal(size=(50, 2))}, as_={"x": "normal:transform=root"})
    m = data.modalities[0]
    train = np.sqrt(counts[data.split == 0])
    np.testing.assert_allclose(m.shift, train.mean(0))
    np.testing.assert_allclose(m.value_in_input_units(data.values["x"].double().numpy()), counts, rtol=1e-5)
    assert Modality.from_json(m.to_json()) == m
    with pytest.raises(UsageError, match="none, standardise, image, .*, log1p, log, root.* Did you mean root"):
        read({"x": counts}, as_={"x": "normal:transform=rot"})


class Half(Transform):
    affine = False

    def bend(self, x):
        return x**3


def test_a_transform_without_a_required_part_is_refused():
    with pytest.raises(UsageError, match="transform 'half' lacks unbend, moments, log_slope, location; add"):
        TRANSFORMS.register("half")(Half())
    with pytest.raises(UsageError, match="transform 'half' lacks the base class Transform"):
        TRANSFORMS.register("half")(Half)
    with pytest.raises(UsageError, match="transform 'none' is registered already"):
        TRANSFORMS.register("none")(Root())
    with pytest.raises(ValueError, match="has learnt no shift and spread yet"):
        Modality("x", (2,), transform="standardise").to_model_units(np.zeros(2))
