"""Bounds on the total correlation: values of the specification, optima, order, gradients, masks, caps."""

import math

import numpy as np
import pytest
import torch

from mmppl.objectives.dependence.bounds import (
    BOUNDS,
    donsker_varadhan,
    donsker_varadhan_averaged,
    info_nce,
    jensen_shannon,
    log_mean_exp,
    moved_average,
    nguyen_wainwright_jordan,
    pearson_chi2,
    smile,
    wasserstein,
)

pytestmark = pytest.mark.usefixtures("float64")
EACH = pytest.mark.parametrize("name", list(BOUNDS))


def det(shape, s):
    """The numbers of the specification's reference values: sin(s + 1.7 k) in C order."""
    return np.sin(s + 1.7 * np.arange(np.prod(shape))).reshape(shape)


P = 1 + 0.9 * det((2, 2, 2), 0.4)
P = P / P.sum()
Q = np.einsum("a,b,c->abc", P.sum((1, 2)), P.sum((0, 2)), P.sum((0, 1)))
TC = 0.02777536917  # losses.md, tc_discrete
RATIO = np.log(P / Q)
MANY = 200_000


def rows_of(p, t):
    """T in rows of which each cell of `p` has its share."""
    count = np.round(p.ravel() * MANY).astype(int)
    return torch.tensor(np.repeat(t.ravel(), count))


def on_table(bound, t):
    return float(bound(rows_of(P, t), rows_of(Q, t)))


def test_batch_values_of_the_specification():
    joint, product = torch.tensor([0.9, 0.1, 1.4, -0.3]), torch.tensor([-0.2, 0.4, 0.0, -1.1])
    found = [bound(joint, product) for bound in (donsker_varadhan, nguyen_wainwright_jordan, wasserstein)]
    assert [float(f) for f in found] == pytest.approx([0.6183697667, 0.1899145706, 0.75], abs=1e-9)


def test_the_moving_average_and_its_gradient_are_those_of_the_specification():
    product = torch.tensor([-0.2, 0.4, 0.0, -1.1])
    average = moved_average(torch.tensor(math.log(1.5)), product, 0.01)
    assert float(average.exp()) == pytest.approx(1.494108566, abs=1e-8)
    theta = torch.tensor(0.3, requires_grad=True)
    a, b = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([0.2, -0.4, 1.0, 0.3])
    value = donsker_varadhan_averaged(theta * a, theta * b, average)
    plain = donsker_varadhan(theta * a, theta * b)
    assert float(value.detach()) == pytest.approx(float(plain.detach()), abs=1e-12)
    value.backward()
    assert float(theta.grad) == pytest.approx(0.3680390499, abs=1e-8)


def test_the_first_batch_makes_the_whole_average():
    product = torch.tensor([0.3, 2.0])
    assert moved_average(torch.tensor(-math.inf), product, 0.01) == log_mean_exp(product)


TOLERANCE = 1e-4  # of a table of eight cells in 200,000 rows, each rounded by half a row


@pytest.mark.parametrize(
    ("bound", "best", "value"),
    [
        (donsker_varadhan, RATIO + 3, TC),
        (nguyen_wainwright_jordan, 1 + RATIO, TC),
        (smile, RATIO, TC),
        (pearson_chi2, 2 * (P / Q - 1), float((Q * (P / Q - 1) ** 2).sum())),
        (
            jensen_shannon,
            RATIO,
            float((P * np.log(2 * P / (P + Q))).sum() + (Q * np.log(2 * Q / (P + Q))).sum()),
        ),
    ],
)
def test_the_optimum_gives_the_divergence_and_nothing_gives_more(bound, best, value):
    assert on_table(bound, best) == pytest.approx(value, abs=TOLERANCE)
    for s in range(5):
        assert on_table(bound, best + 0.3 * det((2, 2, 2), s)) < value + TOLERANCE


def test_info_nce_is_the_exact_mean_over_all_draws():
    """By enumeration: one row of p and two of q, each draw with its probability, is the reference."""
    t, p, q = det((8,), 0.9), P.ravel(), Q.ravel()
    exact = 0.0
    for i in range(8):
        for j in range(8):
            for k in range(8):
                both = np.log(np.exp(t[i]) + np.exp(t[j]) + np.exp(t[k])) - math.log(3)
                exact += p[i] * q[j] * q[k] * (t[i] - both)
    found = 0.0
    for j in range(8):
        for k in range(8):
            found += (
                q[j]
                * q[k]
                * sum(p[i] * float(info_nce(torch.tensor(t[i : i + 1]), torch.tensor(t[[j, k]]))) for i in range(8))
            )
    assert found == pytest.approx(exact, abs=1e-12)
    assert exact < TC


def test_donsker_varadhan_is_never_below_nwj():
    for s in range(20):
        joint, product = torch.tensor(det((30,), s)), torch.tensor(3 * det((30,), s + 0.5))
        assert donsker_varadhan(joint, product) >= nguyen_wainwright_jordan(joint, product) - 1e-12


def test_a_sigmoid_caps_the_bounds():
    joint, product = torch.ones(50), torch.zeros(50)  # the best that T in [0, 1] can do
    assert donsker_varadhan(joint, product) == pytest.approx(1.0)
    assert nguyen_wainwright_jordan(joint, product) == pytest.approx(1 - 1 / math.e)


def test_smile_clips_rows_of_the_product_alone():
    joint, product = torch.tensor([7.0, 9.0]), torch.tensor([-8.0, 20.0])
    expected = 8 - math.log((math.exp(-5) + math.exp(5)) / 2)
    assert float(smile(joint, product)) == pytest.approx(expected, abs=1e-12)


@EACH
def test_gradients_are_those_of_the_loss_they_stand_for(name):
    joint, product = (torch.tensor(det((7,), s), requires_grad=True) for s in (0.3, 1.1))
    stands = jensen_shannon if name == "smile" else BOUNDS[name]
    (found,) = torch.autograd.grad(BOUNDS[name](joint, product), product)
    step = 1e-6
    for i in range(7):
        moved = [product.detach().clone() for _ in range(2)]
        moved[0][i] += step
        moved[1][i] -= step
        slope = (stands(joint, moved[0]) - stands(joint, moved[1])) / (2 * step)
        assert float(found[i]) == pytest.approx(float(slope.detach()), abs=1e-8)


@EACH
@pytest.mark.parametrize("filler", [1e30, math.nan, -math.inf])
def test_rows_that_do_not_count_do_not_matter(name, filler):
    joint, product = torch.tensor(det((9,), 0.3)), torch.tensor(det((9,), 1.1))
    rows = torch.arange(9) % 3 != 1
    expected = BOUNDS[name](joint[rows], product[rows])
    one, two = (torch.where(rows, t, filler).requires_grad_() for t in (joint, product))
    found = BOUNDS[name](one, two, rows)
    assert float(found) == pytest.approx(float(expected), abs=1e-12)
    found.backward()
    assert one.grad[rows].isfinite().all() and (one.grad[~rows] == 0).all() and (two.grad[~rows] == 0).all()


@EACH
def test_no_row_gives_a_finite_value_and_gradient(name):
    joint, product = (torch.full((3,), math.nan, requires_grad=True) for _ in range(2))
    found = BOUNDS[name](joint, product, torch.zeros(3, dtype=torch.bool))
    found.backward()
    assert found.isfinite() and (joint.grad == 0).all() and (product.grad == 0).all()
