"""Cross-covariance and HSIC of codes in weighted rows: values of the specification, gradients, masks, no weight."""

import numpy as np
import pytest
import torch

from mmppl import cross_covariance, cross_hsic

pytestmark = pytest.mark.usefixtures("float64")
C1 = [[0.3120454541, 0.263131024], [-0.1433700937, -0.08395566085]]  # losses.md, ima_xcov_matrix
BOTH = pytest.mark.parametrize("term", [cross_covariance, cross_hsic])


def det(shape, s):
    """The numbers of the specification's reference values: sin(s + 1.7 k) in C order."""
    return np.sin(s + 1.7 * np.arange(np.prod(shape))).reshape(shape)


U = np.stack([det((6, 2), 0.1), det((6, 2), 2.2)])
Y = np.stack([0.5 + 0.4 * det((6,), 0.7), 0.5 + 0.4 * det((6,), 1.9)])
Z = (Y[..., None] * U).sum(0) / Y.sum(0)[:, None]


def by_rows(z, u, w):
    """‖C‖², row by row and dimension by dimension."""
    w = w / w.sum()
    mz, mu = sum(a * x for a, x in zip(w, z)), sum(a * x for a, x in zip(w, u))
    c = sum(a * np.outer(x - mz, y - mu) for a, x, y in zip(w, z, u))
    return sum(entry**2 for entry in c.ravel())


def by_pairs(z, u, w):
    """HSIC as a sum over pairs, triples and quadruples, with σ² the sum of the variances of equally weighted rows."""
    w = w / w.sum()

    def gram(x):
        s2 = x.var(0).sum()
        return np.array([[np.exp(-((a - b) ** 2).sum() / (2 * s2)) for b in x] for a in x])

    k, m = gram(z), gram(u)
    joint = np.einsum("i,j,ij,ij", w, w, k, m)
    apart = np.einsum("i,j,ij", w, w, k) * np.einsum("i,j,ij", w, w, m)
    return joint + apart - 2 * np.einsum("i,j,l,ij,il", w, w, w, k, m)


BY_HAND = {cross_covariance: by_rows, cross_hsic: by_pairs}


def tensors(*arrays):
    return [torch.tensor(a, requires_grad=True) for a in arrays]


def test_values_of_the_specification():
    found = cross_covariance(*tensors(Z, U, 1 - Y))
    assert found[0].item() == pytest.approx(np.square(C1).sum(), rel=1e-9)
    np.testing.assert_allclose(found.detach().numpy(), [by_rows(Z, u, 1 - y) for u, y in zip(U, Y)], rtol=1e-13)


@BOTH
def test_each_modality_by_itself_is_what_it_is_by_hand(term):
    found = term(*tensors(Z, U, 1 - Y)).detach().numpy()
    np.testing.assert_allclose(found, [BY_HAND[term](Z, u, 1 - y) for u, y in zip(U, Y)], rtol=1e-12)
    assert term(*tensors(Z, U[1], 1 - Y[1])).item() == pytest.approx(found[1], rel=1e-13)
    equal = term(*tensors(Z, U)).detach().numpy()
    np.testing.assert_allclose(equal, [BY_HAND[term](Z, u, np.ones(6)) for u in U], rtol=1e-12)


def test_gradients_are_those_of_differences():
    """Of the covariances for z, u and the weights, whose scale does not matter."""
    assert torch.autograd.gradcheck(cross_covariance, tensors(Z, U, 1 - Y))
    weight = torch.tensor(1 - Y, requires_grad=True)
    (slope,) = torch.autograd.grad(cross_covariance(torch.tensor(Z), torch.tensor(U), weight).sum(), weight)
    np.testing.assert_allclose((slope * weight).sum(1).detach().numpy(), 0.0, atol=1e-15)


def test_hsic_has_a_gradient_for_the_weights():
    """The widths of the kernels have none by definition, so z and u are left out here."""
    z, u = torch.tensor(Z), torch.tensor(U)
    assert torch.autograd.gradcheck(lambda w: cross_hsic(z, u, w), tensors(1 - Y))


@BOTH
@pytest.mark.parametrize("filler", [1e6, float("nan")])
def test_what_is_not_observed_does_not_matter(term, filler):
    observed = np.ones((2, 6), bool)
    observed[0, 1] = observed[1, 4] = observed[1, 5] = False
    z, u, y = Z.copy(), U.copy(), Y.copy()
    z[5], u[~observed], y[~observed] = filler, filler, filler
    observed[0, 5] = False
    given = tensors(z, u, 1 - y)
    found = term(*given, observed=torch.tensor(observed))
    kept = [BY_HAND[term](Z[o], x[o], (1 - w)[o]) for x, w, o in zip(U, Y, observed)]
    np.testing.assert_allclose(found.detach().numpy(), kept, rtol=1e-12)
    for slope in torch.autograd.grad(found.sum(), given):
        assert slope.isfinite().all()
    (_, of_u, of_weight) = torch.autograd.grad(term(*given, observed=torch.tensor(observed)).sum(), given)
    assert not of_u[torch.tensor(~observed)].any() and not of_weight[torch.tensor(~observed)].any()


@BOTH
@pytest.mark.parametrize("observed", [None, torch.zeros(2, 6, dtype=torch.bool)])
def test_where_no_weight_is_left_it_is_0_with_a_finite_gradient(term, observed):
    given = tensors(Z, U, np.zeros_like(Y) if observed is None else 1 - Y)
    found = term(*given, observed=observed)
    assert found.tolist() == [0.0, 0.0]
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found.sum(), given))


@BOTH
def test_one_row_has_no_dependence(term):
    assert term(*tensors(Z[:1], U[:, :1], 1 - Y[:, :1])).tolist() == pytest.approx([0.0, 0.0], abs=1e-15)


def test_float32_keeps_its_digits_under_an_offset():
    """Centred before the products: the error is that of the offset's own rounding, 100 · 2⁻²⁴ per number."""
    z, u, w = (torch.tensor(a, dtype=torch.float32) for a in (Z + 100, U + 100, 1 - Y))
    np.testing.assert_allclose(cross_covariance(z, u, w), [by_rows(Z, x, 1 - y) for x, y in zip(U, Y)], rtol=1e-4)


@BOTH
def test_shapes_that_disagree(term):
    z, u, w = tensors(Z, U, 1 - Y)
    for wrong in ((z[:5], u, w), (z, u, w[:, :5]), (u, u, w), (z, u[0, :, 0], w[0])):
        with pytest.raises(ValueError, match=r"expected z \(B, D\), u \(\.\.\., B, E\)"):
            term(*wrong)


def test_hsic_sees_what_covariances_do_not():
    """x and x² of a symmetric x: uncorrelated, and dependent."""
    x = torch.linspace(-1, 1, 101).unsqueeze(-1)
    assert cross_covariance(x, x.square()) < 1e-20 and cross_hsic(x, x.square()) > 0.01
