"""Batch: subsets, masks and what is scored, against loops over rows."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mmppl import Batch, Modality, UsageError, all_subsets, load_program
from mmppl.modalities.subsets import full_and_singletons, one_subset_each, random_subsets


def make(observed, encoded=("a", "b", "c"), labels=("y",)):
    rows = len(observed)
    columns = {n: torch.tensor([bool(o[i]) for o in observed]) for i, n in enumerate(encoded)}
    columns |= {n: torch.ones(rows, dtype=torch.bool) for n in labels}
    values = {n: torch.randn(rows, 2) for n in columns}
    return Batch(values, columns, torch.arange(rows), rows, encoded)


def test_all_subsets_are_the_non_empty_ones_once():
    subsets = all_subsets(3)
    assert subsets.shape == (7, 3) and subsets.any(-1).all() and len(subsets.unique(dim=0)) == 7


def test_more_subsets_than_memory_holds_are_refused():
    """A frame of many columns that are not grouped is many modalities; this is reported before it fills the memory."""
    assert len(all_subsets(12)) == 4095
    with pytest.raises(UsageError, match=r"^16 modalities have 65,535 subsets.*modality:column[^\n]*$"):
        all_subsets(16)
    views = [Modality(f"g{i}", (1,)) for i in range(11)]
    with pytest.raises(UsageError, match=r"^MVAE: all 2,047 subsets[^\n]*subsets=sampled[^\n]*$"):
        load_program("mvae")(views, subsets="all")
    assert load_program("mvae")(views, hidden=4).subsets == "sampled"
    assert load_program("mvae")(views[:4], hidden=4).subsets == "all"
    load_program("mvae")(views, subsets="sampled", hidden=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=6))
def test_each_row_meets_each_of_its_own_subsets_once(observed):
    subsets = all_subsets(3)
    batch = make(observed).under(subsets, scored="seen")
    for b, row in enumerate(observed):
        own = {tuple(s.tolist()) for s in subsets if all(o or not x for o, x in zip(row, s.tolist()))}
        met = [tuple(batch.seen[s, b].tolist()) for s in range(7) if batch.active[s, b]]
        assert len(met) == len(own) and set(met) == own
    assert torch.equal(batch.scored["b"], batch.seen[..., 1])
    assert torch.equal(batch.scored["y"], batch.observed["y"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=6), st.integers(0, 3))
def test_subsets_are_cut_down_to_what_a_row_has(observed, number):
    drawn = random_subsets(3, number)
    batch = make(observed).under(full_and_singletons(3), scored="seen", cut=True, drawn=drawn)
    table = [*full_and_singletons(3).tolist(), *drawn.tolist()]
    assert batch.seen.shape[0] == len(table) == 4 + number
    for b, row in enumerate(observed):
        left = [[bool(o and x) for o, x in zip(row, subset)] for subset in table]
        assert batch.seen[:, b].tolist() == left
        assert batch.active[:, b].tolist() == [any(subset) for subset in left]


def test_the_sub_sampled_objective_has_one_and_m_and_k_subsets():
    singletons = [[True, False, False], [False, True, False], [False, False, True]]
    assert full_and_singletons(3).tolist() == [[True] * 3, *singletons]
    assert len(full_and_singletons(19)) + len(random_subsets(19, 1)) == 21  # CelebA-19
    assert len(full_and_singletons(2)) + len(random_subsets(2, 5)) == 3  # two modalities have no subsets in between
    assert full_and_singletons(1).tolist() == [[True]]


def test_random_subsets_have_a_uniform_size_then_a_uniform_choice():
    """Chi-square over the 25 subsets of 2, 3 or 4 of 5, at p > 1e-4: this seed is one draw of that test."""
    torch.manual_seed(0)
    drawn = random_subsets(5, 30_000).tolist()
    expected = {
        c: 30_000 / 3 / len(list(combinations(range(5), k))) for k in (2, 3, 4) for c in combinations(range(5), k)
    }
    counts = dict.fromkeys(expected, 0)
    for subset in drawn:
        counts[tuple(i for i, x in enumerate(subset) if x)] += 1
    assert chisquare(list(counts.values()), list(expected.values())).pvalue > 1e-4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=6), st.sampled_from(["seen", "unseen"]))
def test_each_row_meets_the_subset_that_was_drawn_for_it(observed, scored):
    drawn = one_subset_each(torch.tensor(observed))
    assert (drawn <= torch.tensor(observed)).all() and torch.equal(drawn.any(-1), torch.tensor(observed).any(-1))
    batch = make(observed).under(all_subsets(3)[:0], scored, drawn=drawn.unsqueeze(0))
    assert torch.equal(batch.seen, drawn.unsqueeze(0)) and torch.equal(batch.active, drawn.any(-1).unsqueeze(0))
    rest = torch.tensor(observed) & ~drawn
    assert torch.equal(batch.scored["b"][0], (drawn if scored == "seen" else rest)[:, 1])


def test_a_row_draws_any_of_its_own_subsets_equally_often():
    """Chi-square over the 7 subsets of 3 of 4 modalities, at p > 1e-4: this seed is one draw of that test."""
    torch.manual_seed(0)
    drawn = one_subset_each(torch.tensor([[True, False, True, True]]).expand(20_000, -1))
    assert not drawn[:, 1].any()
    counts = (drawn[:, [0, 2, 3]].long() @ torch.tensor([1, 2, 4])).bincount(minlength=8)
    assert counts[0] == 0 and chisquare(counts[1:].tolist()).pvalue > 1e-4
    most = torch.ones(1000, 50, dtype=torch.bool)
    assert 20 < one_subset_each(most).sum(-1).double().mean() < 30  # 2^50 codes still are whole numbers


def test_seeing_is_a_subset_of_what_is_observed():
    batch = make([(1, 1, 0), (0, 1, 1)]).seeing(["a", "c"])
    assert batch.seen.tolist() == [[True, False, False], [False, False, True]]
    assert batch.sees("c").tolist() == [False, True]


def test_values_and_inputs_are_zero_where_nothing_was_observed():
    batch = make([(1, 1, 0), (0, 1, 1)])
    batch.values["a"][1] = torch.nan
    number, word = Modality("a", (2,)), Modality("w", (2,), "categorical", classes=("x", "y", "z"))
    assert batch.value("a")[1].tolist() == [0, 0] and batch.input(number)[1].tolist() == [0, 0]
    codes = Batch(
        {"w": torch.tensor([[0, 2], [1, 1000]])}, {"w": torch.tensor([True, False])}, torch.arange(2), 2, ("w",)
    )
    assert codes.input(word).tolist() == [[1, 0, 0, 0, 0, 1], [0] * 6]


def test_modality_survives_json_and_units_are_inverse():
    for transform, x in (("standardise", 7.5), ("image", 128.0), ("log1p", 12.0), ("none", 0.25)):
        m = Modality("a", (), transform=transform, shift=(2.0,), spread=(3.0,))
        assert Modality.from_json(m.to_json()) == m
        assert m.value_in_input_units(m.to_model_units(torch.tensor(x).double().numpy())) == pytest.approx(x)


def test_log_normal_moments_of_counts():
    """2·10⁶ draws; the relative standard errors of mean and variance are 0.05 % and 0.4 %, the bounds 5 of them."""
    m = Modality("n", (), transform="log1p", shift=(1.0,), spread=(0.5,))
    draws = m.value_in_input_units(
        0.3 + 0.8 * torch.randn(2_000_000, generator=torch.Generator().manual_seed(0)).double().numpy()
    )
    mean, variance = m.to_input_units(torch.tensor(0.3).double().numpy(), torch.tensor(0.64).double().numpy())
    assert mean == pytest.approx(draws.mean(), rel=0.0025) and variance == pytest.approx(draws.var(), rel=0.02)
