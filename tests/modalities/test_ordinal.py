"""Classes that have an order: the formula against differences of logistic distribution functions, and their reading."""

import numpy as np
import pytest
import torch

import mmppl
from mmppl import DataError, Modality, UsageError, read
from mmppl.evaluation.metrics.ordinal import median_class
from mmppl.modalities.likelihoods.ordinal import cumulative_logit

RNG = torch.Generator().manual_seed(0)
CUTS = torch.tensor([[-1.3, 0.2, 0.21, 2.0], [-0.5, 0.0, 3.0, 9.0]], dtype=torch.float64)
STAGES = ("I", "II", "III", "IV", "V")


def likelihood(output, classes=STAGES, shape=(2,), raw=None):
    raw = 0.05 * torch.randn(2, len(classes) - 1, generator=RNG) if raw is None else raw
    m = Modality("stage", shape, "ordinal", classes=classes, learned={"cuts": raw})
    return m.family(m, output)


def test_probabilities_are_differences_of_logistic_functions():
    """Values and gradients in float64; the plain difference, 3e-7 at least, is off by up to 1e-9 of itself."""
    score = torch.linspace(-6, 6, 26, dtype=torch.float64).reshape(13, 2).requires_grad_()
    cuts = CUTS.clone().requires_grad_()
    below = torch.sigmoid(cuts - score.unsqueeze(-1))
    edges = [torch.zeros(13, 2, 1), below, torch.ones(13, 2, 1)]
    want = torch.cat(edges, -1).diff().log()
    got = cumulative_logit(score, cuts)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    weights = torch.rand(want.shape, generator=RNG, dtype=torch.float64)
    for ours, theirs in zip(*(torch.autograd.grad((x * weights).sum(), (score, cuts)) for x in (got, want))):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_far_from_the_cuts_nothing_is_lost():
    """In float32: ln p of a class in between falls like −|f|, and its gradient is ±1."""
    score = torch.tensor([[-1e4], [1e4]], requires_grad=True)
    log_p = cumulative_logit(score, torch.tensor([[0.0, 1.0]]))[..., 1]
    torch.testing.assert_close(log_p, torch.tensor([[-1e4], [-1e4]]), rtol=1e-3, atol=0)
    log_p.sum().backward()
    assert score.grad.flatten().tolist() == [1.0, -1.0]


def test_cuts_ascend_and_begin_even():
    for scale in (1, 100):  # beyond the bounds of a gap, too
        cuts = likelihood(torch.zeros(1, 2), raw=scale * torch.randn(2, 4, generator=RNG)).cuts
        assert (cuts.diff() > 0).all()
    even = likelihood(torch.zeros(1, 2), raw=torch.zeros(2, 4)).probs
    torch.testing.assert_close(even, torch.full_like(even, 0.2))
    two = likelihood(torch.tensor([[0.7, -2.0]]), classes=("no", "yes"), raw=torch.zeros(2, 1)).probs[..., 1]
    torch.testing.assert_close(two, torch.sigmoid(torch.tensor([[0.7, -2.0]])))  # two classes: a logistic regression


def test_log_prob_gradients_masks_and_draws():
    output = torch.randn(6, 2, generator=RNG).requires_grad_()
    d = likelihood(output)
    codes = torch.randint(0, 5, (6, 2), generator=RNG)
    want = d.probs.log().gather(-1, codes.unsqueeze(-1)).squeeze(-1).sum(-1)
    torch.testing.assert_close(d.log_prob(codes), want)
    mask = torch.tensor([True, False] * 3)
    filled = torch.where(mask.unsqueeze(-1), codes, 1000)
    (grad,) = torch.autograd.grad(d.log_prob(filled, mask)[mask].sum(), output)
    (naive,) = torch.autograd.grad(want[mask].sum(), output)
    torch.testing.assert_close(grad, naive)
    there = torch.tensor([[True, False]])
    torch.testing.assert_close(d.of_elements(there).log_prob(codes), d.probs.log()[:, 0].gather(-1, codes[:, :1])[:, 0])
    share = likelihood(output[:1].detach(), raw=torch.zeros(2, 4)).expand(torch.Size([20_000]))
    drawn = share.from_uniform(torch.rand(20_000, 2, generator=RNG))
    counts = torch.stack([(drawn == k).double().mean(0) for k in range(5)], -1)
    assert ((counts - share.probs[0]).abs() < 5 * (0.25 / 20_000) ** 0.5).all()  # 5 standard errors


def test_a_temperature_tempers_the_probabilities():
    m = Modality("stage", (), "ordinal", role="label", classes=STAGES)
    program = mmppl.load_program("mvae")([Modality("x", (2,)), m], hidden=4, latent_dim=2)
    bound = program.modality("stage")
    state = program.likelihood_parameters["stage"]
    before = bound.family(bound, torch.ones(1, 1)).probs
    state.calibration.fill_(np.log(2.0))
    after = bound.family(bound, torch.ones(1, 1))
    want = before.sqrt() / before.sqrt().sum()
    torch.testing.assert_close(after.probs, want)
    torch.testing.assert_close(after.log_prob(torch.tensor([3])), want[0, 3:4].log())


STRINGS = {"x": np.arange(8.0), "stage": np.array(["low", "high", "medium", "low"] * 2)}


def order_of(as_, data=STRINGS):
    found = read(data, as_={"stage": as_})
    return found.modalities[-1].classes, [f.text for f in found.findings if f.kind == "order" and f.suspected]


def test_the_order_is_given_numeric_or_told():
    order = ("low", "medium", "high")
    for how in ("low/medium/high", "low<medium<high", "none/low/medium/high"):  # of those only that occur are classes
        assert order_of(f"ordinal:order={how}") == (order, [])
    classes, told = order_of("ordinal")
    assert classes == ("high", "low", "medium") and "order high < low < medium; --as stage=ordinal:order=" in told[0]
    assert order_of("ordinal", STRINGS | {"stage": np.array(["10", "9"] * 4)}) == (("9", "10"), [])
    assert order_of("ordinal", STRINGS | {"stage": np.array([3, 1, 2, 10] * 2)}) == ((1, 2, 3, 10), [])
    data = read(STRINGS, as_={"stage": "ordinal:order=low/medium/high"})
    assert data.values["stage"].tolist() == [0, 2, 1, 0] * 2
    again = read(data, as_={"stage": "ordinal:order=high/medium/low"})
    assert again.values["stage"].tolist() == [2, 0, 1, 2] * 2
    with pytest.raises(DataError, match="its classes are taken in the order"):
        read(STRINGS, as_={"stage": "ordinal"}, strict=True)


def test_an_ordered_categorical_brings_its_order():
    pandas = pytest.importorskip("pandas")
    stage = pandas.Categorical(STRINGS["stage"], ["low", "medium", "high"], ordered=True)
    frame = pandas.DataFrame({"x": STRINGS["x"], "stage": stage})
    m = read(frame).modalities[-1]
    assert (m.likelihood, m.classes, m.role) == ("ordinal", ("low", "medium", "high"), "modality")
    assert read(frame, target="stage").modalities[-1].role == "label"
    assert read(frame, as_={"stage": "categorical"}).modalities[-1].likelihood == "categorical"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("ordinal:order=low/high", "order lacks 'medium', a class that occurs"),
        ("ordinal:order=low/high/medium/low", "order has 'low' twice"),
        ("categorical:order=low/medium/high", "no key 'order'"),
    ],
)
def test_a_wrong_order_is_one_line(how, says):
    with pytest.raises(UsageError, match=says):
        read(STRINGS, as_={"stage": how})


def test_the_median_class_has_the_least_expected_distance():
    prob = torch.softmax(3 * torch.randn(200, 5, generator=RNG), -1).double().numpy()
    distance = np.abs(np.arange(5)[:, None] - np.arange(5))  # (guess, true)
    assert np.array_equal(median_class(prob), (prob @ distance.T).argmin(-1))
