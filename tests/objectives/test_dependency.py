"""Estimates of total correlations: of Gaussians, whose truth is known; intervals; what is told; what is refused."""

import math

import numpy as np
import pytest
import torch

from mmppl import DataError, UsageError, dependency

QUICK = dict(steps=120, width=32, batch_size=256, lr=5e-3, shufflings=3)


def truth(r, d):
    return -d / 2 * math.log((1 - r) ** 2 * (1 + 2 * r))


def vectors(r, d, rows, seed):
    lower = torch.linalg.cholesky(torch.full((3, 3), r).fill_diagonal_(1.0))
    noise = torch.randn(rows, d, 3, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("ij,ndj->ind", lower, noise)


def test_a_quick_estimate_is_near_the_truth_and_never_far_above():
    x = vectors(0.8, 1, 9_000, seed=0)
    for method in ("nwj", "js"):
        found = dependency(*x, method=method, **QUICK)
        assert 0.85 * truth(0.8, 1) < found.tc < 1.03 * truth(0.8, 1) + 0.03, method
        assert found.low < found.tc < found.high and found.se < 0.05


def test_independent_permutations_are_not_one_common_one():
    """I(x₁; x₂ x₃), which one permutation for both would measure, is .2 nats here; the total correlation is .347."""
    one, two, three = vectors(0.5, 1, 9_000, seed=1)
    joint = truth(0.5, 1) + math.log(1 - 0.25) / 2
    common, each = dependency(one, torch.cat([two, three], 1), **QUICK), dependency(one, two, three, **QUICK)
    assert common.tc == pytest.approx(joint, abs=0.035) and each.tc == pytest.approx(truth(0.5, 1), abs=0.035)


def test_the_chain_sums_to_the_same():
    found = dependency(*vectors(0.8, 1, 9_000, seed=2), chain=True, **QUICK)
    assert found.chain and found.tc == pytest.approx(truth(0.8, 1), rel=0.1)


def test_independent_arrays_have_none():
    found = dependency(*vectors(0.0, 2, 9_000, seed=0), **QUICK | {"steps": 60})
    assert abs(found.tc) < 0.03 and found.low < 0.01


def test_the_error_is_that_of_other_fresh_rows():
    """The standard error against the spread of values over 30 fresh parts, critic and training rows being the same."""
    from mmppl.objectives.dependence import estimate

    torch.manual_seed(0)
    x = list(vectors(0.8, 1, 4_000, seed=3))
    critic, _ = estimate._trained(x, [v[:500] for v in x], "nwj", steps=100, batch_size=256, width=32, lr=5e-3)
    for method in ("nwj", "dv"):
        values, errors = [], []
        for seed in range(30):
            value, part, _ = estimate._read(critic, list(vectors(0.8, 1, 1_000, seed=100 + seed)), method, 5)
            values.append(value)
            errors.append(float(part.std()) / math.sqrt(1_000))
        spread = float(np.std(values, ddof=1))
        assert 0.7 < np.mean(errors) / spread < 1.6  # 99.9 % points of √(χ²/29), and an excess that few shufflings make


def test_the_same_seed_gives_the_same_and_leaves_the_stream_alone():
    x = vectors(0.5, 1, 600, seed=0)
    before = torch.get_rng_state()
    found = [dependency(*x, seed=seed, **QUICK | {"steps": 20}) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2] and torch.equal(before, torch.get_rng_state())


def test_units_do_not_matter_and_rows_with_holes_are_left_out():
    one, two, _ = vectors(0.8, 2, 900, seed=0).double()
    quick = QUICK | {"steps": 20}
    plain = dependency(one, two, **quick)
    assert dependency(1e6 * one + 1e3, two, **quick).tc == pytest.approx(plain.tc, abs=1e-3)
    holes = torch.cat([one, torch.full((30, 2), math.nan).double()])
    found = dependency(holes.numpy(), torch.cat([two, torch.zeros(30, 2)]), **quick)
    assert found == plain.__class__(**{**vars(plain), "left_out": 30})


def test_a_critic_that_still_improves_is_told():
    found = dependency(*vectors(0.8, 3, 2_000, seed=0), **QUICK | {"steps": 20, "lr": 1e-3})
    assert not found.converged and "more steps" in found.reason


def test_fresh_rows_may_be_named():
    x = vectors(0.5, 1, 1_000, seed=0)
    fresh = np.arange(1_000) < 400
    assert dependency(*x, fresh=fresh, **QUICK | {"steps": 5}).fresh == 400


def test_what_cannot_be_estimated_is_told():
    x = torch.randn(300, 2)
    for arrays, options, kind, words in (
        ((x,), {}, UsageError, "needs two"),
        ((x, x), dict(method="wasserstein"), UsageError, "bounds no total correlation"),
        ((x, x), dict(method="nvj"), UsageError, "Did you mean nwj"),
        ((x, x), dict(steps=0), UsageError, "steps 0"),
        ((x, x), dict(level=1.0), UsageError, "level 1"),
        ((x, x[:200]), {}, DataError, "300, 200 rows"),
        ((x[:150], x[:150]), {}, DataError, "150 whole rows"),
        ((x, x / 0), {}, DataError, "infinite"),
        ((x, x), dict(fresh=torch.zeros(300)), DataError, "0 fresh rows"),
    ):
        with pytest.raises(kind, match=words):
            dependency(*arrays, **options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("r", "d"), [(0.5, 1), (0.5, 3), (0.5, 5), (0.8, 1), (0.8, 3)])
@pytest.mark.parametrize("method", ["nwj", "dv"])
def test_bounds_reach_the_truth(method, r, d, seed):
    found, known = dependency(*vectors(r, d, 70_000, seed), method=method, seed=seed, chain=False), truth(r, d)
    assert found.fresh >= 20_000
    assert (1 - (0.05 if known <= 1.2 else 0.1)) * known < found.tc < 1.03 * known + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", ["nwj", "dv", "js"])
def test_nothing_is_found_where_nothing_is(method, seed):
    assert abs(dependency(*vectors(0.0, 5, 70_000, seed), method=method, seed=seed).tc) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_one_estimator_reaches_a_large_truth(seed):
    found, known = dependency(*vectors(0.8, 5, 70_000, seed), method="js", seed=seed), truth(0.8, 5)
    assert found.chain and 0.95 * known < found.tc < 1.03 * known + 0.03


@pytest.mark.slow
def test_one_common_permutation_gives_the_joint_information():
    one, two, three = vectors(0.5, 3, 70_000, seed=0)
    known = truth(0.5, 3) + 1.5 * math.log(1 - 0.25)  # .608
    assert dependency(one, torch.cat([two, three], 1)).tc == pytest.approx(known, rel=0.05)
