"""Permutations of modalities, and critics: who may go where, what a critic sees, how steep it is."""

import collections
import math

import pytest
import torch

from mmppl import Batch, UsageError
from mmppl.objectives.dependence.critic import Critic
from mmppl.objectives.dependence.lipschitz import ClippedLinear, gradient_penalty
from mmppl.objectives.dependence.shuffle import Shuffle, in_one, shuffled
from mmppl.objectives.dependence.total_correlation import TotalCorrelation


def holes(rows, modalities, rate=0.4, seed=0):
    return torch.rand(rows, modalities, generator=torch.Generator().manual_seed(seed)) >= rate


@pytest.mark.parametrize("derange", [False, True])
def test_rows_exchange_what_they_have(derange):
    present = holes(23, 4)
    shuffle = Shuffle(4, derange=derange)
    source = shuffle(present)
    assert torch.equal(source[0], torch.arange(23))
    for m, rows in enumerate(source):
        assert sorted(rows.tolist()) == list(range(23))
        assert torch.equal(present[rows, m], present[:, m])
        assert (rows[~present[:, m]] == (~present[:, m]).nonzero().squeeze(-1)).all()
        if m and derange:
            assert (rows[present[:, m]] != present[:, m].nonzero().squeeze(-1)).all()


def test_permutations_are_uniform_and_independent():
    """χ² of all 36 pairs of permutations of three rows over 720 draws: below the 99.9 % point, seeded."""
    shuffle, counts = Shuffle(3, seed=5), collections.Counter()
    for _ in range(720):
        counts[tuple(map(tuple, shuffle(torch.ones(3, 3, dtype=torch.bool))[1:].tolist()))] += 1
    assert len(counts) == 36
    assert sum((n - 20) ** 2 / 20 for n in counts.values()) < 66.6  # 35 degrees of freedom


def test_derangements_are_uniform_cycles():
    shuffle = Shuffle(2, derange=True)
    counts = collections.Counter(tuple(shuffle(torch.ones(4, 2, dtype=torch.bool))[1].tolist()) for _ in range(300))
    assert len(counts) == 6  # cycles of four rows
    assert sum((n - 50) ** 2 / 50 for n in counts.values()) < 20.5  # the 99.9 % point of 5 degrees of freedom


def test_a_shuffle_has_a_stream_of_its_own():
    here = torch.ones(50, 3, dtype=torch.bool)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, other = Shuffle(3, seed=1), Shuffle(3, seed=1)
    first = one(here), one(here)
    assert torch.equal(before, torch.get_rng_state()) and not torch.equal(*first)
    torch.rand(7)
    other.load_state_dict(Shuffle(3, seed=1).state_dict())
    assert torch.equal(other(here), first[0]) and torch.equal(other(here), first[1])
    assert not torch.equal(Shuffle(3, seed=2)(here), first[0])
    one.eval()
    assert torch.equal(one(here), one(here)) and int(one.drawn) == 2


def test_a_modality_moves_with_its_mask():
    values = {"x": torch.arange(5.0).unsqueeze(-1), "y": 10 + torch.arange(5), "label": torch.arange(5)}
    observed = {"x": torch.ones(5, dtype=torch.bool), "y": torch.tensor([1, 0, 1, 1, 0]).bool()}
    observed["label"] = observed["x"]
    batch = Batch(values, observed, torch.arange(5), 5, ("x", "y"))
    rows = Shuffle(2, seed=4, derange=True)(batch.seen)
    moved = shuffled(batch, batch.encoded, rows)
    assert torch.equal(moved.values["x"], values["x"]) and torch.equal(moved.values["label"], values["label"])
    assert torch.equal(moved.values["y"], values["y"][rows[1]]) and torch.equal(moved.observed["y"], observed["y"])
    both = in_one(batch, moved)
    assert len(both) == both.size == 10 and torch.equal(both.seen[5:], batch.seen)


def test_a_critic_does_not_see_what_a_row_lacks():
    critic = Critic([3, 2], width=16)
    one, two = torch.randn(6, 3), torch.randn(6, 2)
    present = torch.tensor([[True, True], [True, False]]).repeat(3, 1)
    expected = critic([one, two], present)
    for filler in (math.nan, 1e30):
        assert torch.equal(critic([one, torch.where(present[:, 1:], two, filler)], present), expected)
    zero = torch.where(present[:, 1:], two, 0.0)
    assert not torch.equal(critic([one, zero]), expected)  # to lack a modality is not to have zeros


@pytest.mark.parametrize("squash", ["norm", "tanh"])
def test_inflated_codes_do_not_inflate_the_dual(squash):
    term = TotalCorrelation([4], method="wasserstein", squash=squash).eval()
    z, mixed = torch.randn(2, 64, 4)
    assert all(abs(float(term([s * z], [s * mixed]).detach())) <= 4 for s in (1e2, 1e5))  # points in a ball of radius 2
    plain = TotalCorrelation([4], method="wasserstein", squash="none").eval()
    plain.critic.load_state_dict(term.critic.state_dict())
    assert abs(float(plain([1e5 * z], [1e5 * mixed]).detach())) > 4


def steepest(critic, size, pairs=4_000):
    """The largest slope between pairs of points near each other, and the largest gradient norm at points."""
    x = 3 * torch.randn(pairs, size)
    y = x + 0.01 * torch.randn(pairs, size)
    with torch.no_grad():
        slope = (critic([x]) - critic([y])).abs() / (x - y).norm(dim=-1)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(critic([x]).sum(), x)
    return max(float(slope.max()), float(gradient.norm(dim=-1).max()))


def test_a_spectral_critic_is_not_steeper_than_1():
    critic = Critic([6], width=32, lipschitz="spectral")
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    x, y = torch.randn(256, 6) + 1, torch.randn(256, 6) - 1
    for _ in range(40):
        optimiser.zero_grad()
        (critic([y]).mean() - critic([x]).mean()).backward()
        optimiser.step()
    assert 0.3 < steepest(critic.eval(), 6) <= 1.01
    whole = float((critic([x]).mean() - critic([y]).mean()).detach())
    assert 0.4 * 2 * math.sqrt(6) < whole <= 2 * math.sqrt(6) + 0.5  # W₁ of two Gaussians 2√6 apart, and batch noise


def test_clipped_weights_stay_small_and_can_come_back():
    layer = ClippedLinear(3, 2)
    with torch.no_grad():
        layer.weight.fill_(5.0)
    out = layer(torch.ones(1, 3))
    out.sum().backward()
    assert out.abs().max() <= 0.04 + 1e-6 and (layer.weight.grad == 1).all()


@pytest.mark.usefixtures("float64")
def test_the_gradient_penalty_is_that_of_a_linear_critic():
    linear = torch.nn.Linear(3, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, 0.0, 4.0]]))
    rows = torch.tensor([True, False])
    joint, product = torch.randn(2, 2, 3)
    joint[1] = torch.nan
    found = gradient_penalty(linear, torch.where(rows[:, None], joint, 0.0), product, torch.rand(2, 1), rows)
    assert float(found.detach()) == pytest.approx(16.0)  # (5 − 1)²
    found.backward()
    expected = 2 * (5 - 1) * torch.tensor([[3.0, 0.0, 4.0]]) / 5
    assert torch.allclose(linear.weight.grad, expected)


def test_fewer_than_two_rows_are_no_dependence():
    for method in ("dv", "nwj", "wasserstein"):
        term = TotalCorrelation([3], method=method)
        z = torch.randn(4, 3, requires_grad=True)
        rows = torch.tensor([True, False, False, False])
        value = term([z], [z.flip(0)], rows=rows)
        value.backward()
        assert float(value) == 0 and z.grad.isfinite().all()


def test_wrong_settings_are_told():
    for options, words in (
        (dict(method="nwjj"), "no method 'nwjj'"),
        (dict(weight=-1.0), "weight -1"),
        (dict(lr=0.0), "lr 0"),
        (dict(method="wasserstein", dropout=0.4), "dropout"),
        (dict(squash="no"), "squash"),
    ):
        with pytest.raises(UsageError, match=words):
            TotalCorrelation([2], **options)


def wasserstein_of_gaussians(r, steps):
    """(what a spectral critic finds between three equicorrelated numbers and their permutations, the true W₂)."""
    noise = torch.Generator().manual_seed(0)
    lower = torch.linalg.cholesky(torch.full((3, 3), r).fill_diagonal_(1.0))
    term = TotalCorrelation([3], method="wasserstein", squash="none")
    optimiser = torch.optim.Adam(term.parameters(), 1e-3)
    for _ in range(steps):
        joint, product = torch.randn(256, 3, generator=noise) @ lower.mT, torch.randn(256, 3, generator=noise)
        optimiser.zero_grad()
        (-term([joint], [product])).backward()
        optimiser.step()
    joint, product = torch.randn(50_000, 3, generator=noise) @ lower.mT, torch.randn(50_000, 3, generator=noise)
    with torch.no_grad():
        value = float(term.eval()([joint], [product]))
    eigenvalues = torch.tensor([1 + 2 * r, 1 - r, 1 - r])
    return value, float((eigenvalues.sqrt() - 1).square().sum().sqrt()), steepest(term.critic, 3)


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, 0.5, 0.8])
def test_the_dual_lies_between_two_fifths_of_the_distance_and_the_distance(r):
    value, distance, slope = wasserstein_of_gaussians(r, 1_000)
    assert slope <= 1.01
    assert abs(value) <= 0.01 if r == 0 else 0.4 * distance <= value <= distance


@pytest.mark.slow
@pytest.mark.parametrize(("method", "cap"), [("dv", 1.0), ("nwj", 1 - 1 / math.e)])
def test_a_sigmoid_critic_stays_below_its_cap(method, cap):
    """The two vectors are the same: their dependence has no bound, and the critic is trained to its cap."""
    term = TotalCorrelation([1, 1], method=method, sigmoid=True)
    optimiser = torch.optim.Adam(term.parameters(), 5e-3)
    for _ in range(400):
        x = torch.randn(256, 1)
        value = term([x, x], [x, x[torch.randperm(256)]])
        optimiser.zero_grad()
        (-value).backward()
        optimiser.step()
    assert 0.5 * cap < float(value.detach()) < cap


def test_the_penalty_is_on_what_the_bound_sees():
    """With a sigmoid at the end, on its slope, too."""
    torch.manual_seed(0)
    term = TotalCorrelation([2], method="wasserstein", lipschitz="penalty", sigmoid=True, squash="none", width=8)
    z, mixed = torch.randn(2, 6, 2)
    torch.manual_seed(1)
    found = term.terms([z], [mixed])["lipschitz.tc"][0]
    torch.manual_seed(1)
    share = torch.rand(6, 1)
    between = (share * z + (1 - share) * mixed).requires_grad_()
    (slope,) = torch.autograd.grad(term.critic([between]).sum(), between)
    torch.testing.assert_close(found, (slope.norm(dim=-1) - 1).square().mean())
