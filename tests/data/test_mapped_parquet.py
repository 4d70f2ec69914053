"""Parquet files in blocks of rows: the arrays that a DataFrame has, types, gaps, and what is refused."""

import numpy as np
import pytest
import torch

from mmppl import DataError, read
from mmppl.data.mapped import parquet
from mmppl.data.mapped.blocks import OtherType, loaded
from mmppl.data.mapped.parquet import ParquetSource
from mmppl.data.readers.tables.frame import read_frame

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")
N = 40


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(parquet, "BLOCK", 60)


def written(path, columns, **how):
    pq.write_table(pa.table(columns), path, row_group_size=7, **how)
    return path


def table():
    rng = np.random.default_rng(0)
    gone = {name: rng.random(N) < 0.3 for name in ("rna", "counts", "sex")}
    columns = {f"rna:g{i}": pa.array(rng.normal(size=N).astype(np.float32), mask=gone["rna"]) for i in range(3)}
    columns |= {f"counts:c{i}": pa.array(rng.poisson(5, N), mask=gone["counts"]) for i in range(2)}
    columns["sex"] = pa.array(rng.choice(["f", "male"], N), mask=gone["sex"])
    columns["dose"] = pa.array(rng.normal(size=N))
    columns["smokes"] = pa.array(rng.random(N) < 0.5)
    columns["label"] = pa.array(rng.integers(0, 3, N).astype(np.int8))
    columns["id"] = pa.array([f"p{i}" for i in range(N)])
    return columns


def test_arrays_are_those_of_a_frame(tmp_path):
    path = written(tmp_path / "a.parquet", table())
    found, contents = loaded(ParquetSource(path))
    frame = read_frame(pd.read_parquet(path, dtype_backend="numpy_nullable").astype({"dose": float}))
    wanted = frame.arrays
    assert contents.features == {"rna": ("g0", "g1", "g2"), "counts": ("c0", "c1")} == frame.features
    for name in ("dose", "smokes", "label", "id"):
        assert np.array_equal(found[name], wanted[name]), name
    assert found["rna"].dtype == np.float32 and found["counts"].dtype == np.int64
    frame = pd.read_parquet(path)
    assert np.array_equal(found["rna"], frame[["rna:g0", "rna:g1", "rna:g2"]].to_numpy(), equal_nan=True)
    there = frame["counts:c0"].notna().to_numpy()
    assert np.array_equal(found["mask_counts"], there) and not there.all()
    assert np.array_equal(found["counts"][there], frame[["counts:c0", "counts:c1"]].to_numpy()[there])
    assert np.array_equal(found["mask_sex"], frame["sex"].notna())
    assert found["sex"].dtype == np.dtype("U4")
    assert set(found["sex"][found["mask_sex"]]) == {"f", "male"}


def test_on_disk_as_in_memory_as_a_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("mmppl.data.mapped.kept.cache_folder", lambda: tmp_path)
    path = written(tmp_path / "a.parquet", table())
    fingerprints = [read(path, store=store).fingerprint() for store in ("memory", "disk")]
    fingerprints.append(read(pd.read_parquet(path)).fingerprint())
    assert len(set(fingerprints)) == 1
    assert read(path, store="disk", as_={"sex": "ignore"}).fingerprint() != fingerprints[0]


def test_lists_dictionaries_and_the_index(tmp_path):
    lists = [[1.0, 2.0], None, [3.0, None], [5.0, 6.0]]
    columns = {
        "a": pa.array(lists),
        "b": pa.array([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int32(), 2)),
        "c": pa.array(["x", None, "yy", "x"]).dictionary_encode(),
        "patient": pa.array([4, 3, 2, 1]),
    }
    schema = pa.schema({name: of.type for name, of in columns.items()}, {"pandas": '{"index_columns": ["patient"]}'})
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "a.parquet", row_group_size=2)
    found, contents = loaded(ParquetSource(tmp_path / "a.parquet"))
    nan = np.nan
    assert np.array_equal(found["a"], [[1, 2], [nan, nan], [3, nan], [5, 6]], equal_nan=True)
    assert found["b"].tolist()[0] == [1, 2] and found["mask_b"].tolist() == [True, True, False, True]
    assert found["c"].tolist() == ["x", "", "yy", "x"] and found["mask_c"].tolist() == [True, False, True, True]
    assert found["id"].tolist() == [4, 3, 2, 1]
    assert not contents.features


def test_whole_numbers_of_which_a_row_lacks_some_have_a_mask_of_cells(tmp_path):
    columns = {"n:a": pa.array([1, None, 3, None]), "n:b": pa.array([5, None, 7, 8])}
    found, _ = loaded(ParquetSource(written(tmp_path / "a.parquet", columns)))
    assert found["n"].dtype == np.int64
    assert found["mask_n"].tolist() == [[True] * 2, [False] * 2, [True] * 2, [False, True]]
    assert found["n"][found["mask_n"]].tolist() == [1, 5, 3, 7, 8]


def test_a_mask_of_ones_own_is_kept(tmp_path):
    columns = {"n": pa.array([1, None, 3, 4]), "mask_n": pa.array([True, True, False, True]), "x": pa.array([1.0] * 4)}
    found, _ = loaded(ParquetSource(written(tmp_path / "a.parquet", columns)))
    assert found["mask_n"].tolist() == [True, False, False, True]


def some(of, every=5):
    """The values, of which each fifth is null."""
    return pa.array([None if i % every == 0 else v for i, v in enumerate(of.tolist())])


def kinds_of_tables():
    """Small tables of each kind: name → columns, and what is asked of them."""
    rng = np.random.default_rng(1)
    x = pa.array(rng.normal(size=N))
    numbers, whole = rng.normal(size=(N, 4)), rng.integers(0, 5, (N, 3))
    some_cells = [[None if (i + j) % 7 == 0 else float(v) for j, v in enumerate(row)] for i, row in enumerate(numbers)]
    wide = {f"c{i}": some(rng.normal(size=N), 4 + i) for i in range(14)}
    yield "gaps in a group", {f"lab:{f}": some(rng.normal(size=N), 4 + i) for i, f in enumerate("abc")}, {}
    yield "gaps of counts", {f"n:{f}": some(rng.poisson(9, N), 4 + i) for i, f in enumerate("abc")}, {}
    yield "many columns", wide, {}
    yield "the others ignored", wide | {"x": x}, {"as_": {"g": "c1,c2", "x": "normal", "*": "ignore"}}
    yield "null lists", {"v": some(numbers), "x": x}, {}
    yield "null cells of lists", {"v": pa.array(some_cells), "x": x}, {}
    cells = [[None, 2] if i % 4 == 0 else row[:2] for i, row in enumerate(whole.tolist())]
    yield "null cells of lists of whole numbers", {"v": pa.array(cells), "x": x}, {}
    yield "empty lists", {"v": pa.array([row if i % 6 else [] for i, row in enumerate(whole.tolist())]), "x": x}, {}
    lists = [None if i == 9 else row[: i % 4] for i, row in enumerate(numbers.tolist())]
    yield "lists of unequal length", {"v": pa.array(lists), "x": x}, {}
    texts = [[f"text {v}" for v in row] for row in whole.tolist()]
    yield "lists of texts", {"v": pa.array(texts), "x": x}, {}
    yield "strings", {"s": some(rng.choice(["a", "bb", "ccc"], N)), "b": some(rng.random(N) < 0.5), "x": x}, {}
    yield "ids", {"id": pa.array([f"p{i}" for i in range(N)]), "x": x, "y": x}, {}
    yield "masks of rows", {"x": x, "mask_x": pa.array(rng.random(N) < 0.7), "y": x}, {}
    masks = {f"mask_v:{f}": pa.array(rng.random(N) < 0.7) for f in "ab"}
    yield "masks of cells", {"v:a": x, "v:b": some(rng.normal(size=N))} | masks | {"y": x}, {}
    yield "a split", {"x": x, "y": x, "split": pa.array(rng.choice(["train", "valid", "test"], N))}, {}


def assert_same(path, **how):
    one, other = (read(path, store=store, **how) for store in ("memory", "disk"))
    assert one.modalities == other.modalities
    assert one.fingerprint() == other.fingerprint() and one.fingerprints() == other.fingerprints()
    assert one.ids.tolist() == other.ids.tolist() and one.split.tolist() == other.split.tolist()
    for of in ("values", "observed", "present"):
        mine, theirs = getattr(one, of), getattr(other, of)
        assert mine.keys() == theirs.keys(), of
        for name in mine:
            assert torch.equal(mine[name], theirs[name]), (of, name)
    assert one.annotations.keys() == other.annotations.keys()
    assert all(np.array_equal(one.annotations[name], other.annotations[name]) for name in one.annotations)
    assert one.findings == other.findings
    assert [note for note in other.notes if "kept on disk" not in note] == list(one.notes) != list(other.notes)


@pytest.mark.parametrize("columns, asked", [pytest.param(*rest, id=name) for name, *rest in kinds_of_tables()])
def test_every_kind_of_table_is_on_disk_as_in_memory(tmp_path, monkeypatch, columns, asked):
    monkeypatch.setattr("mmppl.data.mapped.kept.cache_folder", lambda: tmp_path)
    path = written(tmp_path / "a.parquet", columns)
    assert_same(path, **asked)


@pytest.mark.parametrize("how", [{"hide": 0.3}, {"hide_cells": 0.1}], ids=str)
@pytest.mark.parametrize("name", ["gaps of counts", "null cells of lists", "masks of cells"])
def test_the_same_cells_are_hidden_on_disk(tmp_path, monkeypatch, name, how):
    monkeypatch.setattr("mmppl.data.mapped.kept.cache_folder", lambda: tmp_path)
    columns = next(columns for of, columns, _ in kinds_of_tables() if of == name)
    assert_same(written(tmp_path / "a.parquet", columns), **how)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(100, 100 + 2 * N, 2),
        pd.Index(range(7, 7 + N), name="patient"),
        pd.Index([f"p{i}" for i in range(N)]),
        pd.Index(np.arange(N) / 4),
        pd.date_range("2024-01-01", periods=N),
        pd.MultiIndex.from_product([range(N // 2), ["first", "last"]], names=["patient", "visit"]),
    ],
    ids=["range", "whole numbers", "texts", "floats", "days", "two levels"],
)
@pytest.mark.parametrize("own", [False, True])
def test_the_index_names_the_rows_and_is_no_data(tmp_path, monkeypatch, index, own):
    monkeypatch.setattr("mmppl.data.mapped.kept.cache_folder", lambda: tmp_path)
    frame = pd.DataFrame({"x": np.linspace(0, 1, N), "y": np.linspace(1, 3, N) ** 2}, index=index)
    if own:
        frame["id"] = np.arange(N) * 3
    frame.to_parquet(tmp_path / "a.parquet")
    assert_same(tmp_path / "a.parquet")
    assert [m.name for m in read(tmp_path / "a.parquet", store="disk").modalities] == ["x", "y"]


def test_columns_in_two_levels_are_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("mmppl.data.mapped.kept.cache_folder", lambda: tmp_path)
    columns = pd.MultiIndex.from_product([["rna", "lab"], ["a", "b"]])
    pd.DataFrame(np.random.default_rng(0).normal(size=(N, 4)), columns=columns).to_parquet(tmp_path / "a.parquet")
    assert_same(tmp_path / "a.parquet")


def test_texts_with_single_empty_cells_and_classes_in_an_order(tmp_path):
    order = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), ["low", "high"], ordered=True)
    columns = {"x:a": ["u", None, "w"], "x:b": ["u", "v", "w"], "s": order}
    source = ParquetSource(written(tmp_path / "a.parquet", columns))
    with pytest.raises(OtherType):
        list(source.blocks(source.contents()))
    found, _ = loaded(source)
    assert found["mask_x"].tolist() == [[True, True], [False, True], [True, True]]
    assert source.levels == {"s": ("low", "high")}


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"x": pa.array([["u"], ["v"], [None]])}, "'x', row 2: null in place of a text"),
        ({"x:a": [1, 2], "x:b": ["u", "v"]}, "mix numbers and strings"),
        ({"x:a": [1, 2], "x": [1, 2]}, "is a column and also a group"),
        ({"x": pa.array([1, 2], pa.timestamp("ms"))}, r"column 'x' is timestamp\[ms\]; store numbers.*--as x=ignore"),
        ({"x": pa.array([[[1.0]], [[2.0]]])}, "column 'x' is list.*; store numbers"),
        ({"x": pa.array([None, None], pa.list_(pa.float32()))}, "'x' is empty in every row"),
    ],
    ids=range(6),
)
def test_what_is_refused(tmp_path, columns, words):
    path = written(tmp_path / "a.parquet", columns)
    with pytest.raises(DataError, match=words) as raised:
        loaded(ParquetSource(path))
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("keep", [0, 4, 200])
def test_a_file_that_is_cut_off_is_refused(tmp_path, keep):
    path = written(tmp_path / "a.parquet", table())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="a.parquet: (an empty file|cannot be read)"):
        read(path)


def test_damaged_pages_are_refused(tmp_path):
    path = written(tmp_path / "a.parquet", {"x": pa.array(np.arange(50.0))}, compression="zstd")
    data = bytearray(path.read_bytes())
    data[20:200] = bytes(180)
    path.write_bytes(data)
    with pytest.raises(DataError, match="a.parquet: cannot be read"):
        read(path)
