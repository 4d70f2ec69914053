"""Frames of pandas, polars and Arrow are one and the same."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

import mmppl
from mmppl.errors import DataError

N = 24
BIG = 2**60 + 1
CELLS = {
    "id": [BIG + i for i in range(N)],
    "gene:a": [i * 1.5 for i in range(N)],
    "gene:b": [None if i == 5 else i / 2 for i in range(N)],
    "sex": ["f", "m", None, "f"] * 6,
    "stage": [1, None, 3, 2] * 6,
    "smoker": [True, None, False, True] * 6,
    "dose": [decimal.Decimal("1.5") * i for i in range(N)],
    "when": [datetime.date(2026, 1, 1 + i) for i in range(N)],
    "label": ["a", "b"] * 12,
}
del CELLS["gene:b"][5:6]
CELLS["gene:b"].append(0.25)


def frames():
    frame = pd.DataFrame(CELLS)
    yield "pandas", frame.assign(stage=frame.stage.astype("Int64"), smoker=frame.smoker.astype("boolean"))
    polars = pytest.importorskip("polars")
    yield "polars", polars.DataFrame(CELLS)
    yield "lazy", polars.LazyFrame(CELLS)
    arrow = pytest.importorskip("pyarrow")
    yield "arrow", arrow.table(CELLS)
    yield "batch", arrow.table(CELLS).to_batches()[0]
    yield "pandas of Arrow", arrow.table(CELLS).to_pandas(types_mapper=pd.ArrowDtype)


def test_all_libraries_give_the_same_data():
    found = {name: mmppl.read(frame) for name, frame in frames()}
    want = found["pandas"]
    assert {name: data.fingerprint() for name, data in found.items()} == dict.fromkeys(found, want.fingerprint())
    assert want.ids[1] == BIG + 1 and want.annotations["when"][1] == "2026-01-02"
    assert [(m.name, m.shape, m.likelihood) for m in want.modalities] == [
        ("gene", (2,), "normal"), ("sex", (), "categorical"), ("stage", (), "categorical"),
        ("smoker", (), "bernoulli"), ("dose", (), "normal"), ("label", (), "categorical"),
    ]  # fmt: skip
    assert [int((~want.observed[name]).sum()) for name in ("sex", "stage", "smoker")] == [6, 6, 6]


def lists(values, width):
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    x = np.arange(float(len(values)))
    yield pd.DataFrame({"x": x, "g": values})
    yield pd.DataFrame({"x": x, "g": [None if row is None else np.array(row) for row in values]})
    yield pl.DataFrame({"x": x, "g": values})
    yield pa.table({"x": x, "g": values})
    if width:
        yield pl.DataFrame({"x": x, "g": values}, schema_overrides={"g": pl.Array(pl.Float64, width)})
        yield pa.table({"x": x, "g": pa.array(values, pa.list_(pa.float64(), width))})
        yield pa.table({"x": x, "g": values}).slice(0)


def test_lists_of_one_length_are_a_modality():
    values = [[float(i), i * 2.0, i**2.0] if i % 5 else None for i in range(N)]
    for frame in lists(values, 3):
        data = mmppl.read(frame)
        assert data.modalities[1].shape == (3,) and (~data.observed["g"]).nonzero().flatten().tolist() == [
            0,
            5,
            10,
            15,
            20,
        ]
        back = data.modalities[1].value_in_input_units(data.values["g"].numpy())
        np.testing.assert_allclose(back[7], [7, 14, 49], rtol=1e-5)


def test_lists_of_other_lengths_are_refused():
    for frame in lists([[1.0, 2.0], None, [3.0]], 0):
        with pytest.raises(DataError, match="'g', row 2: a list of 1 where row 0 has 2; give all rows as many"):
            mmppl.read(frame)


def test_ordered_categories_keep_their_order():
    levels, values = ["low", "mid", "high"], ["high", "low", "mid", "low"] * 6
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    codes = pa.array([levels.index(value) for value in values])
    x = np.arange(float(N))
    for column, frame in (
        (pd.Categorical(values, levels, ordered=True), pd.DataFrame),
        (pl.Series(values, dtype=pl.Enum(levels)), pl.DataFrame),
        (pa.DictionaryArray.from_arrays(codes, pa.array(levels), ordered=True), pa.table),
    ):
        assert mmppl.read(frame({"x": x, "g": column})).modalities[1].classes == ("low", "mid", "high")
    plain = mmppl.read(pd.DataFrame({"x": x, "g": pd.Categorical(values, levels)}))
    assert plain.modalities[1].classes == ("high", "low", "mid")


def test_levels_of_columns_are_groups_and_the_index_names_the_rows():
    columns = pd.MultiIndex.from_tuples([("rna", "a"), ("rna", "b"), ("prot", "u"), ("age", "")])
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 4)), columns=columns)
    frame.index = [f"p{i}" for i in range(N)]
    data = mmppl.read(frame)
    assert [(m.name, m.features) for m in data.modalities] == [("rna", ("a", "b")), ("prot", ("u",)), ("age", None)]
    assert data.ids[2] == "p2"
    pa = pytest.importorskip("pyarrow")
    assert mmppl.read(pa.Table.from_pandas(frame[["rna"]].droplevel(0, axis=1))).ids[2] == "p2"


@pytest.mark.parametrize(
    "cells, says",
    [
        (pd.to_timedelta([1, 2, 3]), "'g' holds spans of time; convert them to numbers"),
        ([{"a": 1}] * 3, "'g' holds objects"),
        ([[1, 2], 3, [4, 5]], "'g', row 1: lists and single values are mixed"),
        ([[[1], [2, 3]], [[1], [2]], [[1], [2]]], "'g'"),
        ([1 + 2j, 2, 3], "'g' is complex128"),
        ([b"a", b"b", b"c"], "'g' holds objects"),
    ],
)
def test_what_is_no_number_or_text_is_refused_by_name(cells, says):
    with pytest.raises(DataError, match="^[^\n]*$") as error:
        mmppl.read(pd.DataFrame({"x": [1.5, 2, 3], "g": cells}))
    assert says in str(error.value)


def test_dates_that_rows_lack_are_left_out_and_told():
    frame = pd.DataFrame({"x": [0.5, 1.5, 2.5], "seen": pd.to_datetime(["2026-01-01 10:00", None, "2026-01-03 12:00"])})
    data = mmppl.read(frame)
    assert [m.name for m in data.modalities] == ["x"] and not data.annotations
    assert data.findings[0].text.startswith("seen: dates that some rows lack, left out")


def test_a_text_among_the_numbers_of_a_run_is_missing_and_told():
    numbers = np.arange(40.0)
    frame = pd.DataFrame({"clin:age": numbers, "clin:bmi": numbers % 7 / 3, "gene": numbers % 5 / 7})
    run = mmppl.read(frame).modalities
    odd = frame.assign(**{"clin:bmi": [25.0, "n/a", None, "24.5", *range(36)]})
    data = mmppl.read(odd, schema=run)
    assert data.present["clin"][:5].tolist() == [[True, True], [True, False], [True, False], [True, True], [True, True]]
    (told,) = [f for f in data.findings if f.kind == "unseen-level"]
    assert told.name == "clin"
    assert told.text == "'clin:bmi', row 1: 'n/a' is no number; taken for missing in 1 such row."
