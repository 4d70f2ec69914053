"""Parquet, Feather and Arrow files: lists and flat columns, what is missing, ids, several files."""

import json

import numpy as np
import pytest

from mmppl.base import memory
from mmppl.data.read import read
from mmppl.data.readers.arrow import files
from mmppl.data.readers.registry import Request, reader_of
from mmppl.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")
N = 12
ROWS = np.random.default_rng(0).normal(size=(N, 3))


def written(path, columns, **options):
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return path


def arrays_of(source, **options):
    name, reader = reader_of(source)
    assert name in ("parquet", "feather", "shards")
    return reader.read(source, Request(**options))


def lists(array, missing=()):
    return pa.array([None if row in missing else value.tolist() for row, value in enumerate(array)])


@pytest.fixture
def mixed():
    """A table with a column of every kind."""
    return pa.table(
        {
            "vector": lists(ROWS, (1, 4)),
            "fixed": pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 3, mask=pa.array(np.arange(N) == 2)),
            "steps": lists([ROWS[: 1 + row % 4, :2] for row in range(N)], (5,)),
            "image": lists(np.arange(N * 4, dtype=np.uint8).reshape(N, 2, 2)).cast(pa.list_(pa.list_(pa.uint8()))),
            "sex": pa.array(["m", "f", None] * 4).dictionary_encode(),
            "smokes": pa.array([True, None, False] * 4),
            "count": pa.array([3, None, 5] * 4),
            "price": pa.array(["1.25", None, "2.50"] * 4).cast(pa.decimal128(8, 2)),
            "half": pa.array(ROWS[:, 0].astype(np.float16)),
            "lab:na": ROWS[:, 0],
            "lab:k": pa.array([None, 2.0, 1.0] * 4),
            "gene": pa.array([None if row == 3 else {"a": row, "b": -row} for row in range(N)]),
            "when": pa.array(pd.date_range("2020-01-01", periods=N)),
            "id": np.arange(N) + 2**60 + 1,
        }
    )


def check(found):
    arrays = found.arrays
    there = ~np.isin(np.arange(N), (1, 4))
    assert np.array_equal(arrays["vector"][there], ROWS[there]) and np.array_equal(arrays["mask_vector"], there)
    assert np.array_equal(arrays["mask_fixed"], np.arange(N) != 2) and np.array_equal(arrays["fixed"][3:], ROWS[3:])
    lengths = 1 + np.arange(N) % 4
    lengths[5] = 0
    assert np.array_equal(arrays["length_steps"], lengths) and arrays["steps"].shape == (N, 4, 2)
    for row in range(N):
        assert np.array_equal(arrays["steps"][row, : lengths[row]], ROWS[: lengths[row], :2])
        assert not arrays["steps"][row, lengths[row] :].any()
    assert arrays["image"].dtype == np.uint8 and np.array_equal(arrays["image"].ravel(), np.arange(4 * N))
    gap = np.arange(N) % 3 == 1
    assert arrays["sex"][:2].tolist() == ["m", "f"] and np.array_equal(arrays["mask_sex"], np.arange(N) % 3 != 2)
    assert arrays["smokes"].dtype == bool and np.array_equal(arrays["mask_smokes"], ~gap)
    assert arrays["count"].dtype == np.int64 and arrays["count"][[0, 2]].tolist() == [3, 5]
    assert np.array_equal(arrays["mask_count"], ~gap)
    assert np.array_equal(arrays["price"][:3], [1.25, np.nan, 2.5], equal_nan=True)
    assert arrays["half"].dtype == np.float16
    assert np.array_equal(arrays["lab"][:, 0], ROWS[:, 0]) and np.array_equal(
        np.isnan(arrays["lab"][:, 1]), np.arange(N) % 3 == 0
    )
    assert found.features == {"lab": ("na", "k"), "gene": ("a", "b")}
    assert arrays["gene"].dtype == np.int64 and np.array_equal(arrays["mask_gene"], np.arange(N) != 3)
    assert arrays["gene"][4].tolist() == [4, -4]
    assert found.annotations == ["when"] and arrays["when"][1].startswith("2020-01-02 00:00:00")
    assert arrays["id"].tolist() == [2**60 + 1 + row for row in range(N)]


def test_columns_of_every_kind(tmp_path, mixed):
    check(arrays_of(written(tmp_path / "a.parquet", mixed, row_group_size=5)))
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(mixed, tmp_path / "a.feather")
    check(arrays_of(tmp_path / "a.feather"))
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), mixed.schema) as file:
        file.write_table(mixed, max_chunksize=5)
    check(arrays_of(tmp_path / "a.arrow"))
    with pa.ipc.new_stream(str(tmp_path / "b.arrow"), mixed.schema) as file:
        file.write_table(mixed, max_chunksize=7)
    check(arrays_of(tmp_path / "b.arrow"))


def test_batches_do_not_matter(tmp_path, mixed, monkeypatch):
    path = written(tmp_path / "a.parquet", mixed, row_group_size=7)
    monkeypatch.setattr(files, "ROWS", 2)
    check(arrays_of(path))


def test_slices_of_tables_start_where_they_start(tmp_path, mixed):
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), mixed.schema) as file:
        file.write_table(pa.concat_tables([mixed, mixed]).slice(N))
    check(arrays_of(tmp_path / "a.arrow"))
    written(tmp_path / "b.parquet", pa.concat_tables([mixed, mixed]).slice(N))
    check(arrays_of(tmp_path / "b.parquet"))


def test_a_table_is_read_as_its_data_frame_is(tmp_path):
    frame = pd.DataFrame(
        {
            "rna:a": ROWS[:, 0], "rna:b": np.where(np.arange(N) == 3, np.nan, ROWS[:, 1]), "n": np.arange(N) * 7,
            "age": np.where(np.arange(N) % 5 == 2, np.nan, np.arange(N)), "sex": pd.Categorical(["m", "f", None] * 4),
            "few:a": pd.array([1, None] * 6, dtype="Int64"), "few:b": pd.array([1, None, None, 4] * 3, dtype="Int64"),
            "both:a": pd.array([1, None] * 6, dtype="Int64"), "both:b": pd.array([7, None] * 6, dtype="Int64"),
            "word:a": ["x", None] * 6, "word:b": ["y", None] * 6, "yes": [True, False] * 6,
            "some:a": ["x", None, "y"] * 4, "some:b": ["y", None] * 6, "clin:age": [1.0, None, 3.0] * 4,
            "clin:sex": ["f", "m", None, "f"] * 3, "clin:bmi": np.arange(N),
            "stage": pd.Categorical(["low", "high"] * 6, ["low", "mid", "high"], ordered=True),
            "when": pd.date_range("2020-01-01", periods=N), "late": [pd.NaT, *pd.date_range("2020", periods=N - 1)],
        },
        index=[f"p{row}" for row in range(N)],
    )  # fmt: skip
    frame.to_parquet(tmp_path / "a.parquet")
    found, wanted = arrays_of(tmp_path / "a.parquet"), reader_of(frame)[1].read(frame, Request())
    assert found.arrays.keys() == wanted.arrays.keys() and dict(found.features) == dict(wanted.features)
    assert found.arrays["mask_some"].shape == (N, 2) and "clin:sex" in found.arrays and "late" not in found.arrays
    assert (found.levels, found.as_) == (wanted.levels, wanted.as_) == ({"stage": ("low", "mid", "high")}, found.as_)
    assert found.told == [finding for finding in wanted.told if finding.name == "late"]
    assert [*found.annotations] == ["when"]
    for name, array in wanted.arrays.items():
        if name == "when":  # the texts of times differ: Arrow writes the hour, too
            continue
        there = wanted.arrays.get(f"mask_{name}", np.ones(N, bool)).astype(bool)
        assert found.arrays[name].dtype.kind == array.dtype.kind, name
        equal = np.array_equal(found.arrays[name][there], array[there], equal_nan=array.dtype.kind == "f")
        assert equal, name


@pytest.mark.parametrize(
    "index, ids",
    [
        (pd.RangeIndex(N), None),
        (pd.RangeIndex(5, 5 + 2 * N, 2), [5, 7]),
        (pd.Index([f"p{row}" for row in range(N)], name="patient"), ["p0", "p1"]),
        (pd.Index(np.arange(N) + 2**60, name="id"), [2**60, 2**60 + 1]),
        (pd.MultiIndex.from_product([["a", "b"], range(6)]), ["('a', 0)", "('a', 1)"]),
    ],
)
def test_the_index_of_pandas_becomes_ids(tmp_path, index, ids):
    pd.DataFrame({"x": ROWS[:, 0], "y": ROWS[:, 1]}, index=index).to_parquet(tmp_path / "a.parquet")
    arrays = arrays_of(tmp_path / "a.parquet").arrays
    assert {*arrays} - {"id"} == {"x", "y"}
    assert ("id" not in arrays) if ids is None else arrays["id"][:2].tolist() == ids


@pytest.mark.parametrize("write", ["to_parquet", "to_feather"])
def test_classes_keep_their_order(tmp_path, write):
    frame = pd.DataFrame({"x": ROWS[:, 0], "stage": pd.Categorical(["low", "high"] * 6, ["low", "high"], ordered=True)})
    getattr(frame, write)(tmp_path / "a.table")
    m = read(tmp_path / "a.table").modalities[1]
    assert (m.likelihood, m.classes) == ("ordinal", ("low", "high"))


def test_parts_that_order_classes_differently_bring_no_order(tmp_path):
    for number, order in enumerate((["low", "high"], ["high", "low"])):
        stage = pd.Categorical(["low", "high"] * 6, order, ordered=True)
        pd.DataFrame({"x": ROWS[:, 0], "stage": stage}).to_parquet(tmp_path / f"{number}.parquet")
    found = arrays_of(tmp_path)
    assert not found.levels and not found.as_
    assert any("stage: its parts order the classes differently" in note for note in found.notes)


def test_a_time_that_was_asked_for_must_be_in_every_row(tmp_path):
    path = written(tmp_path / "a.parquet", {"t": pa.array([None, *pd.date_range("2020", periods=11)]), "x": ROWS[:, 0]})
    assert [m.name for m in read(path).modalities] == ["x"]
    with pytest.raises(DataError, match="'t', row 0 has no time"):
        read(path, as_={"t": "time"})


def test_columns_in_two_levels(tmp_path):
    columns = pd.MultiIndex.from_tuples([("rna", "a"), ("rna", "b"), ("lab", "na")])
    pd.DataFrame(ROWS, columns=columns).to_parquet(tmp_path / "a.parquet")
    assert dict(arrays_of(tmp_path / "a.parquet").features) == {"rna": ("a", "b"), "lab": ("na",)}


def test_metadata_that_say_nothing_are_passed_over(tmp_path):
    for said in (b"{", b"[]", b"[" * 100_000, b'{"index_columns": 3}', json.dumps({"index_columns": [{}, 1]}).encode()):
        table = pa.table({"x": ROWS[:, 0]}).replace_schema_metadata({b"pandas": said})
        assert [*arrays_of(written(tmp_path / "a.parquet", table)).arrays] == ["x"]


def test_real_views_come_back(tmp_path, data_root):
    path = data_root / "uci_mfeat" / "uci_mfeat.npz"
    if not path.is_file():
        pytest.skip("no uci_mfeat")
    with np.load(path) as file:
        arrays = {name: file[name][::20] for name in ("fac", "pix", "mor", "label")}
    whole = read(arrays)
    columns = {}
    for name, array in arrays.items():
        wide = array.ndim == 2
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1]) if wide else array
    of_lists = read(written(tmp_path / "lists.parquet", columns, row_group_size=70))
    assert of_lists.fingerprint() == whole.fingerprint()
    flat = {
        (f"{name}:{at}" if array.ndim == 2 else name): column
        for name, array in arrays.items()
        for at, column in enumerate(array.T if array.ndim == 2 else [array])
    }
    of_columns = read(written(tmp_path / "flat.parquet", flat, row_group_size=70))
    assert of_columns.fingerprint() == read(pd.DataFrame(flat)).fingerprint()
    for m in whole.modalities:
        assert np.array_equal(of_columns.values[m.name], whole.values[m.name])


def test_parts_come_in_the_order_of_their_numbers(tmp_path):
    whole = {"x": np.arange(22.0) ** 2, "y": np.arange(22)}
    for part in range(11):
        rows = slice(2 * part, 2 * part + 2)
        written(tmp_path / f"part-{part}.parquet", {name: array[rows] for name, array in whole.items()})
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "_metadata").write_bytes(b"PAR1")
    assert arrays_of(tmp_path).arrays["y"].tolist() == list(range(22))
    listed = [tmp_path / "part-3.parquet", str(tmp_path / "part-1.parquet")]
    assert arrays_of(listed).arrays["y"].tolist() == [6, 7, 2, 3]
    assert read(tmp_path).fingerprint() == read(whole).fingerprint()


def test_names_of_files_that_say_the_part_are_the_split(tmp_path):
    for name, rows in {"test-00000-of-00001": 3, "train-00000-of-00002": 5, "train-00001-of-00002": 4}.items():
        written(tmp_path / f"{name}.parquet", {"x": np.arange(float(rows)) / 3})
    assert arrays_of(tmp_path).arrays["split"].tolist() == ["test"] * 3 + ["train"] * 9
    (tmp_path / "more").mkdir()
    for part, rows in {"train": 6, "dev": 2}.items():
        (tmp_path / "more" / part).mkdir()
        written(tmp_path / "more" / part / "0.parquet", {"x": np.arange(float(rows)) / 3})
    assert arrays_of(tmp_path / "more").arrays["split"].tolist() == ["valid"] * 2 + ["train"] * 6


def test_types_of_parts_are_joined(tmp_path):
    for part, column in enumerate([[1, 2], [None, 0.5], [None, None]]):
        written(tmp_path / f"{part}.parquet", {"x": column, "y": [1, 2]})
    assert np.array_equal(arrays_of(tmp_path).arrays["x"][:4], [1, 2, np.nan, 0.5], equal_nan=True)


def test_an_empty_list_among_those_of_one_length_is_a_missing_row(tmp_path):
    found = arrays_of(written(tmp_path / "a.parquet", {"x": [[1.0, 2.0], [], None, [3.0, 4.0]]}))
    assert found.arrays["mask_x"].tolist() == [True, False, False, True] and "length_x" not in found.arrays
    assert found.notes == ["x: 1 empty lists among those of one length are missing rows"]


def test_lists_of_numbers_and_texts_of_unequal_length(tmp_path):
    found = arrays_of(
        written(tmp_path / "a.parquet", {"x": [[1], [2, 3], None], "w": [["a"], ["b", "c"], ["d"]]})
    ).arrays
    assert found["x"].tolist() == [[1, 0], [2, 3], [0, 0]] and found["length_x"].tolist() == [1, 2, 0]
    assert found["w"].tolist() == [["a", ""], ["b", "c"], ["d", ""]] and found["length_w"].tolist() == [1, 2, 1]


def test_a_null_in_a_list_is_a_missing_number(tmp_path):
    found = arrays_of(written(tmp_path / "a.parquet", {"x": [[1, None], [2, 3]]})).arrays["x"]
    assert np.array_equal(found, [[1, np.nan], [2, 3]], equal_nan=True)


def test_tensors_of_fixed_shape(tmp_path):
    images = np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3)
    table = pa.table({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(images)})
    assert np.array_equal(arrays_of(written(tmp_path / "a.parquet", table)).arrays["x"], images)
    turned = pa.fixed_shape_tensor(pa.float32(), (2, 3), permutation=[1, 0]).wrap_array(
        table["x"].combine_chunks().storage
    )
    found = arrays_of(written(tmp_path / "a.parquet", {"x": turned})).arrays["x"]
    assert np.array_equal(found, images.transpose(0, 2, 1))


def test_a_run_reads_a_column_that_is_empty(tmp_path):
    rows = {"x": lists(ROWS), "y": ROWS[:, 0]}
    schema = read(written(tmp_path / "a.parquet", rows)).modalities
    empty = {"x": pa.array([None] * N, pa.list_(pa.float64())), "y": ROWS[:, 0]}
    data = read(written(tmp_path / "b.parquet", empty), schema=schema)
    assert not data.observed["x"].any() and data.observed["y"].all()


def test_what_is_ignored_is_not_read(tmp_path):
    path = written(tmp_path / "a.parquet", {"x": ROWS[:, 0], "y": ROWS[:, 1], "raw": pa.array([b"\0"] * N)})
    assert "raw: " not in str(read(path, as_={"raw": "ignore"}).notes)
    with pytest.raises(DataError, match="'raw' is binary; store numbers or texts, or leave the column out"):
        read(path)


def test_without_pyarrow_one_line_says_what_to_install(tmp_path, monkeypatch):
    path = written(tmp_path / "a.parquet", {"x": ROWS[:, 0]})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"reading it takes pyarrow; install it with pip install 'mmppl\[table\]'"):
        read(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def parquet(**columns):
    return lambda path: written(path, columns)


def middle(path):
    written(path, {"x": ROWS[:, 0]}, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:30] = b"\xff" * 26
    path.write_bytes(content)


def illegible(path):
    """A file in which the name of a column is no text."""
    with pa.ipc.new_file(str(path), pa.schema({"a_name": pa.float64()})) as file:
        file.write_table(pa.table({"a_name": ROWS[:, 0]}))
    path.write_bytes(path.read_bytes().replace(b"a_name", b"a_\xff\xfe\xff\xff"))


def two(first, second):
    return lambda folder: [written(folder / f"{n}.parquet", part) for n, part in enumerate((first, second))]


def beside(name):
    return lambda folder: (written(folder / "0.parquet", {"x": [1.0]}), (folder / name).write_bytes(b""))


def keyed(folder):
    (folder / "label=0").mkdir()
    written(folder / "label=0" / "0.parquet", {"x": ROWS[:, 0]})


def twice(path):
    written(path, pa.table([pa.array(ROWS[:, 0]), pa.array(ROWS[:, 1])], names=["x", "x"]))


INNER = pa.array([[[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0, 4.0]]])
BAD = [
    ("a.parquet", lambda p: p.write_bytes(b""), "a.parquet: an empty file"),
    ("a.parquet", lambda p: p.write_bytes(b"PAR1"), "a.parquet: cannot be read"),
    ("a.parquet", lambda p: p.write_text("x,y\n1,2\n"), "a.parquet: neither a Parquet nor an Arrow file, it begins"),
    ("a.parquet", lambda p: (written(p, {"x": ROWS[:, 0]}), cut(p)), "a.parquet: cannot be read"),
    ("a.parquet", middle, "a.parquet: cannot be read"),
    ("a.parquet", twice, "a.parquet: column 'x' occurs more than once"),
    ("a.parquet", parquet(x=pa.array([b"\0"] * N)), "'x' is binary; store numbers or texts"),
    ("a.parquet", parquet(x=pa.array([3] * N, pa.duration("s"))), "'x' is duration[s]; store numbers or texts"),
    ("a.parquet", parquet(x=pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64()))), "'x' is map<string, int64"),
    ("a.parquet", parquet(x=pa.array([[{"a": 1}]] * N)), "'x' is struct<a: int64> in lists; store numbers"),
    ("a.parquet", parquet(x=pa.array([{"a": b"1"}] * N)), "'x', field 'a', is binary; store numbers"),
    ("a.parquet", parquet(x=INNER), "'x', row 0: its inner lists have 2 and 1 values"),
    ("a.parquet", parquet(x=pa.array([[[1.0], None], [[2.0], [3.0]]])), "'x', row 0: null in place of a list"),
    ("a.parquet", parquet(x=pa.array([["a", "b"], ["c", None]])), "'x', row 1: null in place of a text"),
    ("a.parquet", parquet(x=pa.array([[[[1.0]]], [[[1.0]], [[2.0]]]])), "'x': rows 0 and 1 have the shapes (1, 1, 1)"),
    ("a.parquet", parquet(x=pa.array([[2**60, None], [1, 2]])), "'x': whole numbers of 16 digits and more beside gaps"),
    ("a.parquet", parquet(**{"x:a": [[1.0], [2.0]], "x:b": [1, 2]}), "'x': 'a' holds lists"),
    ("a.parquet", parquet(**{"x:a": [1.0, 2.0], "x": [1, 2]}), "'x' is a column and also a group x:…"),
    ("a.parquet", parquet(**{"x:a": [{"b": 1}] * 2}), "'x:a' holds records, and so cannot be part of a group"),
    ("a.parquet", parquet(x=ROWS[:, 0], id=pa.array([1, None] * 6)), "'id', row 1 is empty"),
    ("a.parquet", parquet(x=ROWS[:, 0], id=pa.array([2**64 - 1] * N, pa.uint64())), "too large to be told apart"),
    ("a.parquet", parquet(x=["a" * 20_000, "b"] * 6), "'x': a text of 20,000 characters"),
    ("a.parquet", parquet(x=[1.0, np.inf] * 6), "'x', row 1: inf is in an observed row"),
    ("a.feather", lambda p: p.write_bytes(b"FEA1" + bytes(20)), "a.feather: Feather version 1"),
    ("a.feather", lambda p: p.write_bytes(b"ARROW1\0\0" + bytes(20)), "a.feather: cannot be read"),
    ("a.arrow", illegible, "a.arrow: cannot be read"),
    ("a.arrow", lambda p: p.write_bytes(b"\xff\xff\xff\xff" + bytes(20)), "a.arrow: "),
    (".", two({"x": [1.0]}, {"y": [1.0]}), "1.parquet: has no column 'x', unlike another part"),
    (".", two({"x": [1.0]}, {"x": ["a"]}), "1.parquet: 'x' is texts, and numbers (float64) in files before"),
    (".", two({"x": [1.0]}, {"x": [[1.0]]}), "1.parquet: 'x' is numbers (float64) in lists, and numbers (float64) in"),
    (".", beside("1.parquet"), "1.parquet: an empty file"),
    (".", beside("1.arrow"), "files of several formats (.arrow, .parquet)"),
    (".", keyed, "partitioned by folders (label=0)"),
]  # fmt: skip


@pytest.mark.parametrize("name, make, says", BAD)
def test_files_that_are_refused(tmp_path, name, make, says):
    make(tmp_path / name)
    with pytest.raises(DataError, match="^[^\n]*$") as error:
        read(tmp_path / name)
    assert says in str(error.value)


def test_a_row_group_must_fit_into_memory(tmp_path, monkeypatch):
    path = written(tmp_path / "a.parquet", {"x": np.zeros(2_000_000)})  # 8 kB
    monkeypatch.setattr(memory, "available", lambda: 10_000_000)
    with pytest.raises(DataError, match="'x': 2,000,000 rows takes 18 MB of memory, and 10 MB are free"):
        read(path)


def test_lists_must_fit_when_they_are_padded(tmp_path, monkeypatch):
    path = written(tmp_path / "a.parquet", {"x": [[0.0] * 100_000, *[[1.0]] * 99]})
    monkeypatch.setattr(memory, "available", lambda: 10_000_000)
    with pytest.raises(DataError, match=r"'x': 100 rows of \(100000,\) values takes 80 MB"):
        read(path)
