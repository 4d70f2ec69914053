"""What is suspicious about data: each kind is found, and named with its option; and what is fine is not reported."""

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from mmppl.data.examine.registry import EXAMINATIONS
from mmppl.data.read import read
from mmppl.errors import DataError

N = 400
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, 3))
SOME = np.arange(N) % 20 == 5
AGES = RNG.integers(18, 91, N)


def with_code(values, code, rows=SOME):
    values = np.array(values, dtype=np.result_type(values, np.min_scalar_type(code)))
    values[rows] = code
    return values


def found(arrays, kind, **how):
    return [finding for finding in read({"x": X, **arrays}, **how).findings if finding.kind == kind]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (AGES, -9),
        (AGES, 999),
        (RNG.normal(100, 9, N), -999.0),
        (RNG.normal(0, 1, (N, 4)), 1e20),
        (RNG.normal(270, 9, (N, 2)).astype(np.float32), np.float32(9.969209968386869e36)),
        (RNG.poisson(40, N), -1),
        (RNG.normal(0, 30, (N, 5)).round().astype(np.int16), 32767),
        (RNG.integers(0, 3, (N, 6)), -9),
        (RNG.normal(5, 1, (N, 2)), 12345.0),
    ],
)
def test_sentinels(values, code):
    (finding,) = found({"b": with_code(values, code)}, "sentinels")
    assert finding.suspected and finding.name == "b"
    cells = SOME.sum() * (values.shape[1] if values.ndim > 1 else 1)
    assert f"{float(code):.10g} in {cells} cells" in finding.text
    option = finding.text.rpartition("--missing b=")[2]
    data = read({"x": X, "b": with_code(values, code)}, missing={"b": [option]})
    assert not data.findings and (data.observed["b"].numpy() == ~SOME).all()


def test_a_column_of_a_frame_is_named():
    frame = pd.DataFrame({"gene:a": X[:, 0], "gene:b": with_code(X[:, 1], -99.0), "c": X[:, 2]})
    finding = next(f for f in read(frame).findings if f.suspected)
    assert finding.text.startswith("gene:b: -99 in 20 cells")


LFQ = np.exp(RNG.normal(17, 1, (N, 8))).astype(np.int64)


@pytest.mark.parametrize(
    "values",
    [
        np.where(SOME[:, None], 0, LFQ * (RNG.random((N, 8)) > 0.2)),
        np.where(SOME[:, None], 0.0, RNG.normal(size=(N, 5))),
        np.where(SOME[:, None], 0.0, RNG.uniform(20, 30, (N, 40))),
        np.where(SOME[:, None], 0, RNG.poisson(5, (N, 9))),
    ],
)
def test_rows_of_zeros(values):
    finding = found({"b": values}, "zeros")[0]
    assert (
        finding.suspected and f"{SOME.sum()} rows are all 0" in finding.text and "--missing b=zero-rows" in finding.text
    )
    kept = found({"b": values}, "zeros", missing={"b": ["zero-rows"]})
    assert not any("all 0" in other.text for other in kept)


@pytest.mark.parametrize(
    "values",
    [LFQ * (RNG.random((N, 8)) > 0.3), with_code(RNG.normal(80, 9, N).round(), 0), with_code(LFQ[:, 0], 0)],
)
def test_zeros_apart(values):
    (finding,) = found({"b": values}, "zeros")
    assert finding.suspected and finding.text.startswith("b: 0 in ") and "--missing b=0" in finding.text


def test_means_of_intensities_with_zeros_stay_among_them():
    """A log-normal across the gap between 0 and e¹⁷ has a mean far above every intensity."""
    m = read({"x": X, "b": LFQ * (RNG.random((N, 8)) > 0.3)}).modalities[1]
    assert m.transform == "standardise" and read({"x": X, "b": LFQ}).modalities[1].transform == "log1p"


@pytest.mark.parametrize("word", ["Unknown", "unlabelled", "?", "-", "None", "not available"])
def test_labels_that_say_nothing(word):
    label = np.array(["B cell", "T cell", "NK"])[np.arange(N) % 3].astype("U16")
    (finding,) = found({"label": with_word(label, word)}, "unlabelled")
    assert finding.suspected and f"{word!r} in 20 rows" in finding.text and f"--missing label={word}" in finding.text
    assert not found({"label": with_word(label, word)}, "unlabelled", missing={"label": [word]})


def with_word(label, word):
    label = label.copy()
    label[SOME] = word
    return label


@pytest.mark.parametrize(
    ("label", "code"),
    [(np.arange(N) % 3, -1), (np.arange(N) % 5 + 1, 9999), (np.arange(N) % 4, -9), (np.arange(N) % 10 * 5, -99)],
)
def test_codes_beside_classes(label, code):
    (finding,) = found({"y": with_code(label, code)}, "unlabelled")
    assert finding.suspected and f"--missing y={code}" in finding.text
    assert not found({"y": label}, "unlabelled")


def test_minus_one_beside_two_classes_is_a_scale_unless_most_have_it():
    assert not found({"y": np.arange(N) % 3 - 1}, "unlabelled")
    assert found({"y": np.where(np.arange(N) % 5, -1, np.arange(N) // 5 % 2)}, "unlabelled")


def test_free_text():
    texts = np.array([f"patient came in with {i} complaints" for i in range(N)])
    (finding,) = found({"label_note": texts}, "free-text")
    assert finding.suspected and "--as label_note=ignore" in finding.text
    (finding,) = found({"town": np.array([f"town {i % 40}" for i in range(N)])}, "free-text")
    assert not finding.suspected and "40 different texts" in finding.text
    assert not found({"town": np.array([f"town {i % 20}" for i in range(N)])}, "free-text")


def test_constant_columns():
    constant, later = X.copy(), X.copy()
    constant[:, 1], later[:, 2] = 7.25, np.where(np.arange(N) < 300, 5.0, X[:, 2])
    split = np.repeat([0, 2], [300, 100])
    assert [f.text[:12] for f in found({"b": constant, "c": later, "split": split}, "constant")] == [
        "b, column 1:", "c, column 2:",
    ]  # fmt: skip
    images = np.pad(RNG.random((N, 4, 4)), ((0, 0), (2, 2), (2, 2)))
    assert not found({"b": images}, "constant")


@pytest.mark.parametrize(
    "values",
    [with_code(X, 90.0, slice(3, 4)), RNG.standard_cauchy((N, 3)) ** 3, with_code(LFQ / 1e6, 1e7, slice(9, 10))],
)
def test_heavy_tails(values):
    assert all(finding.suspected for finding in found({"b": values}, "heavy-tails"))
    assert found({"b": values}, "heavy-tails")


def test_a_log_normal_mean_above_the_data_is_named():
    counts = np.where(RNG.random(N) < 0.5, RNG.integers(0, 3, N), RNG.integers(50_000, 60_000, N))
    (finding,) = found({"b": counts}, "heavy-tails", as_={"b": "normal"})
    assert "--as b=normal:transform=standardise" in finding.text


def test_duplicates():
    wide = RNG.normal(size=(N, 10))
    wide[50:60] = wide[40:50]
    assert "10 rows repeat" in found({"b": wide, "x": np.zeros((N, 2)) + 1.5}, "duplicates")[0].text
    assert not found({"b": RNG.integers(0, 2, (N, 10)).astype(float)}, "duplicates")


def test_never_together():
    first = np.arange(N) < 200
    (finding,) = found({"a": X[:, :1], "b": X[:, 1:], "mask_a": first, "mask_b": ~first}, "never-together")
    assert finding.text.startswith("a (200 rows) and b (200 rows) are never observed together")


def test_people_in_several_parts():
    person, split = np.arange(N) // 4, np.arange(N) % 4 // 2 * 2
    (finding,) = found({"group": person, "split": split}, "people")
    assert finding.suspected and finding.text.startswith("group: 100 of 100 are in the training and the test rows")
    assert not found({"group": person, "split": person % 2 * 2}, "people") and not found({"group": person}, "people")
    (finding,) = found({"patient": person}, "people")
    assert "--as patient=group" in finding.text and not found({"patient": person}, "people", as_={"patient": "group"})


def fine():
    """Data of which nothing may be suspected."""
    for name in ("digits", "wine", "breast_cancer", "iris", "diabetes", "linnerud"):
        loaded = getattr(datasets, f"load_{name}")()
        yield name, {"x": loaded.data, "y" if loaded.target.ndim == 1 else "target": loaded.target}
    rng = np.random.default_rng(0)
    bytes_ = np.where(rng.random((N, 28, 28)) < 0.2, rng.integers(1, 256, (N, 28, 28)), 0).astype(np.uint8)
    yield "images with many zeros", {"a": bytes_, "b": bytes_.reshape(N, -1) / 255, "c": bytes_ / 255}
    rates = np.exp(rng.normal(0, 1.5, 50))
    counts = rng.poisson(rates, (N, 50))
    yield "counts and their logs", {"a": counts, "b": np.log1p(counts), "c": rng.negative_binomial(1, 0.1, (N, 9))}
    outliers = rng.normal(size=(N, 20))
    outliers[3, 4], outliers[7, 4], outliers[8, 8] = 6, -6.2, 9
    yield "standardised with outliers", {"a": outliers, "b": X}
    hot = np.eye(10)[rng.integers(0, 10, N)]
    some = hot.copy()
    some[::7] = 0
    yield "one-hot", {"a": hot, "b": some, "c": some.astype(int), "d": X}
    cold = np.round(rng.normal(2, 6, (N, 3)))
    yield "temperatures", {"a": cold, "b": cold[:, 0].astype(int), "c": rng.normal(0, 10, (N, 2)), "d": cold - 9}
    yield "skewed", {
        "a": rng.lognormal(0, 0.7, (N, 5)), "b": rng.exponential(3, N), "c": rng.gamma(0.5, 1, (N, 4)),
        "d": rng.standard_t(5, (N, 5)), "e": np.where(rng.random(N) < 0.7, 0, rng.gamma(0.5, 8, N)).round(1),
    }  # fmt: skip
    yield "clinic", {
        "age": AGES, "kids": rng.poisson(1.2, N), "bmi": rng.normal(26, 4, N).round(1), "sex": rng.integers(0, 2, N),
        "likert": rng.integers(-3, 4, N), "three": rng.integers(-1, 2, N), "year": rng.integers(1950, 2020, N),
        "income": rng.lognormal(10, 0.8, N).round(), "kind": np.array(["a", "b", "other"])[rng.integers(0, 3, N)],
    }  # fmt: skip
    yield "clipped", {
        "a": np.clip(rng.normal(2000, 900, (N, 5)), 0, 4095).round(), "b": np.clip(X, -2, 2),
        "c": np.maximum(0, X), "d": np.clip(rng.normal(80, 20, N), 0, 100).round(), "e": rng.random((N, 20)) < 0.01,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "arrays"), list(fine()), ids=lambda value: value if isinstance(value, str) else "")
def test_nothing_is_suspected(name, arrays):
    assert [finding.text for finding in read(arrays, strict=True).findings if finding.suspected] == []


def test_strict_refuses_in_one_line():
    with pytest.raises(DataError, match="^arrays: b: -9 in 20 cells [^\n]*--missing b=-9 \\(and 1 more; [^\n]*\\)$"):
        read({"x": X, "b": with_code(AGES, -9), "c": with_code(AGES, 999)}, strict=True)


def test_every_examination_says_its_name():
    arrays = {"x": X, "b": with_code(AGES, -9), "label": with_word(np.array(["a", "b"] * 200).astype("U9"), "?")}
    assert {finding.kind for finding in read(arrays).findings} <= set(EXAMINATIONS)
