"""Parquet files in blocks of rows: the arrays that a DataFrame has, types, gaps, and what is refused."""

import numpy as np
import pytest

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
    of_frame = read_frame(pd.read_parquet(path, dtype_backend="numpy_nullable").astype({"dose": float}))
    wanted = of_frame.arrays
    assert contents.features == {"rna": ("g0", "g1", "g2"), "counts": ("c0", "c1")} == of_frame.features
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
        ({"x": pa.array([[1.0], [1.0, 2.0]])}, "'x', row 1 has 2 numbers, and rows before it 1"),
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
