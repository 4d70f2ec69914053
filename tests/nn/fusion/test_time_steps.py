"""Rows of different lengths: LSTMs against each row alone, and how many steps are computed that do not exist."""

import random

import pytest
import torch
from torch import nn

from mmppl.nn.fusion.registry import FUSIONS
from mmppl.nn.fusion.time_steps import Packing, groups_of_length, last_state, mean

SIZES = {"text": 5, "audio": 3}


def words(rows, seed=0):
    """Lengths like those of MOSI's sentences: on average 12 words, from 1 to 50, a few rows long."""
    rng = random.Random(seed)
    return [min(max(round(rng.lognormvariate(2.3, 0.65)), 1), 50) for _ in range(rows)]


def batch(lengths):
    steps = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    return {m: torch.randn(*steps.shape, F) for m, F in SIZES.items()}, dict.fromkeys(SIZES, steps)


def test_last_state_is_that_of_each_row_alone(float64):
    lstm = nn.LSTM(3, 4)
    x = torch.randn(4, 5, 3)
    steps = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]).bool()
    found = last_state(lstm, x, steps)
    for i in (0, 2, 3):
        alone = lstm(x[i, steps[i]].unsqueeze(1))[1][0][0, 0]
        torch.testing.assert_close(found[i], alone, rtol=1e-12, atol=1e-12)
    assert (found[1] == 0).all()


def test_ef_lstm_is_each_row_alone_without_padding(float64):
    model = FUSIONS["ef-lstm"](SIZES).eval()
    lengths = [3, 7, 1, 5]
    features, steps = batch(lengths)
    z = model(features, steps)
    for i, T in enumerate(lengths):
        x = torch.cat([features[m][i, :T] for m in SIZES], -1)
        h = model.lstm(x.unsqueeze(1))[0][-1, 0]
        torch.testing.assert_close(z[i], model.head(h), rtol=1e-12, atol=1e-12)


def test_lf_lstm_is_each_row_and_modality_alone(float64):
    model = FUSIONS["lf-lstm"](SIZES).eval()
    features, steps = batch([3, 7])
    steps = {"text": steps["text"], "audio": torch.zeros_like(steps["text"])}
    z = model(features, steps)
    for i, T in enumerate([3, 7]):
        h = model.lstms["text"](features["text"][i, :T].unsqueeze(1))[0][-1, 0]
        torch.testing.assert_close(z[i], model.head(torch.cat([h, torch.zeros_like(h)])), rtol=1e-12, atol=1e-12)


def test_packing_by_hand():
    packing = Packing.of(torch.tensor([[0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1]]).bool())
    assert packing.counts == [3, 2, 1]
    assert packing.places.tolist() == [3, 9, 1, 4, 11, 5]  # rows 1, 3, 0; then 1, 3; then 1
    longest_first = torch.tensor([[10.0], [30.0], [0.0]])
    assert packing.rows(longest_first).flatten().tolist() == [0.0, 10.0, 0.0, 30.0]


def test_mean_is_over_existing_steps():
    x = torch.tensor([[[1.0], [3.0], [0.0]], [[0.0], [0.0], [0.0]]])
    assert mean(x, torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()).flatten().tolist() == [2.0, 0.0]


@pytest.mark.parametrize("name", ["ef-lstm", "lf-lstm", "tfn", "lmf", "mfn"])
def test_no_step_is_computed_that_does_not_exist(name):
    """Counted where the arithmetic is done: the rows that go into LSTMs and into MFN's perceptrons."""
    torch.manual_seed(0)
    model = FUSIONS[name](SIZES).eval()
    lengths = words(64)
    counted = {}

    def count(key):
        def hook(module, inputs):
            first = inputs[0]
            counted[key] = counted.get(key, 0) + len(getattr(first, "data", first))

        return hook

    for key, module in model.named_modules():
        if isinstance(module, nn.LSTM | nn.LSTMCell) or key in ("attention", "proposal", "keep", "write"):
            module.register_forward_pre_hook(count(key))
    model(*batch(lengths))
    assert counted and set(counted.values()) == {sum(lengths)}
    assert 64 * max(lengths) > 2 * sum(lengths)  # padding would be most of the work


def test_groups_waste_at_most_a_fifth():
    """On batches of 48 sentences of a realistic distribution, in few groups; each row is in one group."""
    for seed in range(20):
        lengths = [n + 2 for n in words(48, seed)]
        groups = groups_of_length(lengths)
        assert sorted(row for group in groups for row in group) == list(range(48))
        for group in groups:
            own = [lengths[row] for row in group]
            assert len(own) * own[0] <= 1.2 * sum(own) and own[0] == max(own)
        assert len(groups) <= 8


@pytest.mark.parametrize("lengths", [[], [4], [2, 2, 2], [1, 1000]])
def test_groups_of_few(lengths):
    assert len(groups_of_length(lengths)) == len(set(lengths))
