"""Which likelihood whole numbers and proportions are taken for, and counts with a library size, at the door."""

import re

import numpy as np
import pytest
import torch

from mmppl import DataError, UsageError, read
from mmppl.data.examine.report import UNSEEN, refuse_unseen

RNG = np.random.default_rng(0)
N = 1000
SPLIT = np.where(np.arange(N) < 800, 0, 2)
X = RNG.normal(size=(N, 3))
SIZE = 10 ** RNG.uniform(-1, 1, (N, 1))
CONSTANT = RNG.normal(50_000, 9_000, (N, 2)).round().astype(int)
KINDS = {
    "overdispersed counts": (RNG.negative_binomial(1.5, 0.1, (N, 4)), "nb"),
    "counts of one column": (RNG.negative_binomial(0.6, 0.05, N), "nb"),
    "counts as floats with a gap": (RNG.negative_binomial(1.5, 0.1, (N, 4)), "nb"),
    "poisson counts": (RNG.poisson(2.5, (N, 40)), "poisson"),
    "log-normal amounts": (np.exp(RNG.normal(8, 1, (N, 3))).astype(int), "normal"),
    "years": (1950 + RNG.integers(0, 70, N), "normal"),
    "bell-shaped whole numbers": (CONSTANT, "normal"),
    "ages": (RNG.integers(18, 91, N), "normal"),
    "negative whole numbers": (RNG.poisson(9, (N, 3)) - 4, "normal"),
    "too large for float32": (RNG.negative_binomial(1, 1e-9, (N, 2)), "normal"),
    "bits": (RNG.integers(0, 2, (N, 5)).astype(np.uint8), "bernoulli"),
    "an image": (RNG.integers(0, 256, (N, 4, 4)).astype(np.uint8), "bernoulli"),
    "skewed proportions": (RNG.beta(0.8, 6, (N, 5)), "beta"),
    "narrow proportions": (0.5 + 0.01 * np.clip(RNG.normal(size=(N, 5)), -4, 4), "normal"),
    "clipped proportions": (np.clip(RNG.normal(0.1, 0.2, (N, 5)), 0, 1), "bernoulli"),
    "some exact zeros": (np.where(RNG.random((N, 5)) < 0.05, 0, RNG.beta(0.8, 6, (N, 5))), "normal"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_training_rows_prefer(kind):
    values, likelihood = KINDS[kind]
    gap = "gap" in kind
    data = read({"x": X, "a": np.where(np.arange(N)[:, None] == 7, np.nan, values) if gap else values, "split": SPLIT})
    m = data.modalities[1]
    assert (m.likelihood, m.size_factor) == (likelihood, None)
    lines = [finding.text for finding in data.findings if finding.name == "a" and "prefer" in finding.text]
    assert len(lines) == (likelihood in ("nb", "poisson", "beta"))
    if lines:  # what was chosen and why, and the option that undoes it
        assert f"taken for {likelihood}, which held-out training rows prefer (by" in lines[0]
        assert "--as a=normal takes" in lines[0]
        assert read({"x": X, "a": values}, as_={"a": "normal"}).modalities[1].likelihood == "normal"


def test_the_choice_does_not_hang_on_other_rows_or_on_masked_ones():
    """Test rows may hold anything legal, and rows that are masked anything at all."""
    values = RNG.negative_binomial(1.5, 0.1, (N, 4)).astype(float)
    seen = RNG.random(N) < 0.8
    other = np.where(SPLIT[:, None] == 2, 77.0, values)
    for filler in (0.0, np.nan, 1e30):
        arrays = {"a": np.where(seen[:, None], other, filler), "mask_a": seen, "x": X, "split": SPLIT}
        (m, *_), texts = read(arrays).modalities, [f.text for f in read(arrays).findings if "prefer" in f.text]
        assert m.likelihood == "nb" and len(texts) == 1
        assert texts == [f.text for f in read(arrays | {"a": np.where(seen[:, None], values, 5.0)}).findings
                         if "prefer" in f.text]  # fmt: skip


def test_odd_values_in_other_rows_are_told_and_refuse_nothing():
    """A proportion that rounding left outside changes nothing; a test row that no count can have keeps the Normal."""
    shares, counts = RNG.beta(0.8, 6, (N, 5)), RNG.negative_binomial(1.5, 0.1, (N, 4)).astype(float)
    shares[-1, 0] = 1.003
    assert read({"a": shares, "x": X, "split": SPLIT}).modalities[0].likelihood == "beta"
    counts[-1, 2] = 2.5
    data = read({"a": counts, "x": X, "split": SPLIT})
    assert data.modalities[0].likelihood == "normal"
    (line,) = [finding.text for finding in data.findings if "prefer" in finding.text]
    assert line == "a: training rows prefer nb to normal, which stays, because 'a', row 999, column 2: 2.5 is no count"


def test_few_rows_and_labels_and_what_is_named_stay():
    counts = RNG.negative_binomial(1.5, 0.1, (N, 4))
    assert read({"a": counts[:90], "x": X[:90]}).modalities[0].likelihood == "normal"
    assert read({"label_a": counts[:, 0], "x": X}).modalities[0].likelihood == "normal"
    for named in ("normal", "poisson", "zinb", "laplace:transform=standardise"):
        assert read({"a": counts, "x": X}, as_={"a": named}).modalities[0].likelihood == named.partition(":")[0]


def sized(columns, size=SIZE):
    return RNG.poisson(size * np.exp(RNG.normal(1, 1, columns)) * RNG.gamma(3, 1 / 3, (N, columns)))


def test_many_columns_of_counts_get_a_library_size():
    """Mean and spread of the factors are those of the training rows' totals over the sum of the centres."""
    counts = sized(60)
    data = read({"rna": counts, "x": X, "split": SPLIT})
    m = data.modalities[0]
    train = counts[data.split == 0]
    factors = np.maximum(train.sum(1), 0.5) / np.expm1(np.log1p(train).mean(0)).sum()
    assert m.likelihood == "nb"
    np.testing.assert_allclose(m.size_factor, (factors.mean(), factors.var() / factors.mean() ** 2), rtol=1e-6)
    assert type(m).from_json(m.to_json()) == m
    (line,) = (f.text for f in data.findings if "prefer" in f.text)
    assert "taken for nb of a library size" in line and "--as rna=nb:size=none takes rows as they are" in line
    assert read({"rna": counts, "x": X}, as_={"rna": "nb:size=none"}).modalities[0].size_factor is None
    assert read({"rna": counts, "x": X}, as_={"rna": "zinb"}).modalities[0].size_factor is not None
    assert read({"rna": sized(60, 1.0), "x": X}, as_={"rna": "nb"}).modalities[0].size_factor is None
    few = read({"rna": counts[:, :5], "x": X, "split": SPLIT}, as_={"rna": "poisson:size=total"})
    assert few.modalities[0].size_factor is not None
    plain = read({"rna": counts, "x": X, "split": SPLIT}, as_={"rna": "poisson:size=none"})
    again = read(plain, as_={"rna": "nb:size=total"})
    np.testing.assert_allclose(again.modalities[0].size_factor, m.size_factor, rtol=1e-5)


def test_what_has_no_size_is_named():
    for how, says in (
        ("normal:size=total", "normal is no likelihood of counts"),
        ("nb:size=rows", "none of total, none"),
    ):
        with pytest.raises(UsageError, match=says):
            read({"a": sized(3), "x": X}, as_={"a": how})


def test_later_proportions_that_rounding_left_outside_are_answered():
    shares = RNG.beta(0.8, 6, (N, 5))
    data = read({"a": shares, "x": X, "split": SPLIT})
    later = shares.copy()
    later[3, 2], later[4, 1] = 1.003, -0.002
    assert data.modalities[0].likelihood == "beta"
    again = read({"a": later, "x": X}, schema=data.modalities)
    assert again.values["a"][3, 2] == 1 and again.values["a"][4, 1] == 0
    assert [f.text for f in again.findings] == [
        "'a', row 3, column 2: 1.003 is clipped to the nearest value that beta has, in 2 such rows."
    ]
    later[3, 2] = 1.2  # refuses only questions about it
    odd = read({"a": later, "x": X}, schema=data.modalities)
    assert not odd.observed["a"][3] and odd.observed["a"].sum() == N - 1 and not odd.values["a"][3].any()
    assert torch.equal(odd.values["x"], again.values["x"])
    text = "'a', row 3, column 2: 1.2 lies outside [0, 1], where a Beta lives"
    assert [f.text for f in odd.findings if f.kind == UNSEEN] == [f"{text}; taken for missing in 1 such row."]
    refuse_unseen(odd.findings, ["x"])
    with pytest.raises(DataError, match=re.escape(text)):
        refuse_unseen(odd.findings, ["a"])
    with pytest.raises(DataError, match="'a', row 0, column 0: 7.0 lies outside"):
        read({"a": np.full((4, 5), 7.0)}, schema=data.modalities)
