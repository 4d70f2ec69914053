import dataclasses
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmppl.data.read import read
from mmppl.errors import DataError, UsageError

N = 60


def arrays():
    rng = np.random.default_rng(1)
    mask = np.ones(N, bool)
    mask[:6] = False
    text = rng.normal(size=(N, 2))
    text[4:10] = np.nan
    return {
        "image": rng.integers(0, 256, (N, 3, 3)).astype(np.uint8),
        "text": text,
        "sound": rng.normal(size=(N, 4)),
        "mask_image": mask,
        "mask_sound": np.arange(N) != 5,
        "label": np.array(["no", "yes", "maybe"] * 20),
        "id": np.array([f"p{i}" for i in range(N)]),
    }


@pytest.fixture
def data():
    return read(arrays())


def test_describe(data):
    description = json.loads(json.dumps(data.describe()))
    assert description["n"] == N and sum(description["split"].values()) == N and description["name"] == "arrays"
    assert description["patterns"] == {"image+text+sound": 50, "text+sound": 4, "image+sound": 4, "sound": 1}
    assert description["empty_rows"] == 1
    image, text, sound, label = description["modalities"]
    assert image["shape"] == [3, 3] and image["observed"] == 0.9 and image["transform"] == "image"
    assert label["classes"] == ["maybe", "no", "yes"] and label["role"] == "label"


def test_rows_take_and_batch(data):
    parts = [data.rows(part) for part in ("train", "valid", "test")]
    assert sorted(torch.cat(parts).tolist()) == data.rows("all").tolist() == list(range(N))
    assert (data.split[parts[2].numpy()] == 2).all()
    with pytest.raises(UsageError, match="Did you mean valid?"):
        data.rows("vali")
    rows = torch.tensor([50, 3, 8])
    some = data.take(rows)
    assert some.ids.tolist() == ["p50", "p3", "p8"] and some.split.tolist() == data.split[rows].tolist()
    assert torch.equal(some.values["sound"], data.values["sound"][rows])
    batch = data.batch(rows, ("text", "image"))
    assert batch.size == N and data.batch(rows, (), size=7).size == 7
    assert batch.seen.tolist() == [[True, True], [True, False], [False, True]]
    assert torch.equal(batch.values["text"], some.values["text"]) and torch.equal(batch.index, rows)


def test_any_change_changes_the_fingerprint(data):
    assert data.fingerprint() == read(arrays()).fingerprint() and len(data.fingerprint()) == 64
    changed = [arrays() for _ in range(5)]
    changed[0]["text"][20, 1] += 1e-3
    changed[1]["mask_sound"][30] = False
    changed[2]["id"][0] = "q0"
    changed[3] |= {"split": data.split[::-1].astype(int)}
    changed[4]["label"][:] = np.char.upper(changed[4]["label"])
    prints = [read(a).fingerprint() for a in changed] + [read(arrays(), as_={"text": "laplace"}).fingerprint()]
    assert len({data.fingerprint(), *prints}) == 7
    fresh = [dataclasses.replace(data, refresh=lambda seed, epoch: {}, name=name) for name in ("plain", "distorted")]
    assert len({one.fingerprint() for one in (data, *fresh)}) == 3  # a fit must not go on with other draws


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.booleans())
def test_masking_only_removes_and_leaves_one(seed, rate, keep_one):
    data = read(arrays())
    hidden = data.mask_at_random(rate=rate, keep_one=keep_one, seed=seed)
    names = ["image", "text", "sound"]
    before, after = (torch.stack([d.observed[n] for n in names], -1) for d in (data, hidden))
    assert (after <= before).all()
    if keep_one:
        assert torch.equal(after.any(-1), before.any(-1))
    for name in names:
        seen = hidden.observed[name]
        assert torch.equal(hidden.values[name][seen], data.values[name][seen])
        assert (hidden.values[name][~seen] == 0).all()
    assert torch.equal(hidden.observed["label"], data.observed["label"])
    assert hidden.fingerprint() == data.mask_at_random(rate=rate, keep_one=keep_one, seed=seed).fingerprint()


def test_rates_mask_their_share():
    rng = np.random.default_rng(0)
    data = read({name: rng.normal(size=(8000, 1)) for name in "abc"})
    before = torch.get_rng_state()
    hidden = data.mask_at_random(rate={"a": 0.3, "b": 1.0})
    assert torch.equal(before, torch.get_rng_state())
    share = [1 - float(hidden.observed[name].double().mean()) for name in "abc"]
    assert share[0] == pytest.approx(0.3, abs=0.02) and share[1:] == [1, 0]  # 4 standard errors of 8000 draws
    assert data.mask_at_random(rate=0.3).fingerprint() != data.mask_at_random(rate=0.3, seed=1).fingerprint()
    lone = read({name: rng.normal(size=(8000, 1)) for name in "ab"}).mask_at_random(rate={"a": 0.5, "b": 1.0})
    assert lone.observed["a"].all() and not lone.observed["b"].any()  # the odds of staying choose the survivor
    both = data.mask_at_random(rate=1.0).describe()["patterns"]
    assert set(both) == {"a", "b", "c"} and min(both.values()) > 2400


def test_patterns_are_equally_likely_where_they_fit(data):
    description = data.mask_at_random(patterns=[("image", "text"), ("sound",)], seed=2).describe()
    assert set(description["patterns"]) <= {"image+text", "image", "text", "sound"} and description["empty_rows"] == 1
    assert 10 < description["patterns"]["sound"] < 40  # of 50 whole rows half, and those that have nothing else
    only_image = data.mask_at_random(patterns=["image"])
    assert only_image.describe()["empty_rows"] == 1  # the five that lack an image keep something else
    assert data.mask_at_random(patterns=["image"], keep_one=False).describe()["empty_rows"] == 6


@pytest.mark.parametrize(
    "how, says",
    [
        ({"rate": {"txt": 0.5}}, "Did you mean text?"),
        ({"rate": 1.5}, "1.5"),
        ({"rate": {"text": -0.1}}, "-0.1"),
        ({"patterns": [["label"]]}, "labels are not hidden"),
        ({"patterns": []}, "empty"),
        ({"patterns": ["text"], "rate": 0.1}, "not both"),
    ],
)
def test_masking_what_cannot_be_masked(data, how, says):
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        data.mask_at_random(**how)
    assert says in str(error.value)


def test_masked_values_stay_masked_when_values_are_fresh():
    data = read("digits-two-view:rotate=fresh")
    hidden = data.mask_at_random(rate=0.5)
    fresh, seen = hidden.refresh(0, 1)["rotated"], hidden.observed["rotated"][hidden.rows("train")]
    assert (fresh[~seen] == 0).all() and torch.equal(fresh[seen], data.refresh(0, 1)["rotated"][seen])
    train = hidden.take(hidden.rows("train"))
    assert train.refresh is None
    replaced = train.replaced(data.refresh(0, 1))
    assert torch.equal(replaced.values["rotated"], fresh)
    assert torch.equal(replaced.values["noisy"], train.values["noisy"])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    return path


def test_a_file_and_the_same_arrays_are_the_same_data(file, data):
    read_back = read(str(file))
    assert read_back.name == "mine.npz" and read_back.fingerprint() == data.fingerprint() == read(file).fingerprint()
    assert read(
        {k: torch.from_numpy(v) if v.dtype.kind != "U" else v.tolist() for k, v in arrays().items()}
    ).fingerprint()
    assert read(data) is not None and read(data).fingerprint() == data.fingerprint()


def test_a_file_that_is_cut_or_altered_is_reported(file):
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        inside = archive.getinfo("sound.npy").header_offset
    flipped = bytearray(whole)
    flipped[inside + 400] ^= 1
    header = bytearray(whole)
    header[inside + 60] ^= 0xFF
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-30], bytes(flipped), bytes(header)):
        file.write_bytes(content)
        with pytest.raises(DataError, match="^[^\n]*mine.npz[^\n]*$"):
            read(file)


@pytest.mark.parametrize("place, value", [(6, b"\1"), (8, b"\x61")], ids=["encrypted", "packed in an unknown way"])
def test_a_zip_that_cannot_be_unpacked(file, place, value):
    data = bytearray(file.read_bytes())
    for start, at in ((b"PK\3\4", place), (b"PK\1\2", place + 2)):  # a local header, and its twin in the index
        data[data.find(start) + at : data.find(start) + at + 1] = value
    file.write_bytes(data)
    with pytest.raises(DataError, match="^[^\n]*mine.npz: 'image' cannot be read[^\n]*numpy.savez.$"):
        read(file)


def test_a_zip_without_arrays(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<xml/>")
    with pytest.raises(DataError, match="^[^\n]*mine.npz: a zip file, but 'xl/workbook.xml'[^\n]*numpy.savez.$"):
        read(file)


def test_a_file_that_may_not_be_read(file, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match="^[^\n]*mine.npz: cannot be read .Permission denied.[^\n]*make it readable"):
        read(file)


def test_files_that_are_none(file, tmp_path):
    with pytest.raises(DataError, match=": no .wav file in it; give an .npz file, or"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such file. Did you mean mine.npz?"):
        read(tmp_path / "mne.npz")
    np.savez(file, x=np.array([[1], [1, 2]], dtype=object))
    with pytest.raises(DataError, match="'x' is an array of Python objects"):
        read(file)
    for other in (tmp_path, str(tmp_path), f"{tmp_path}/none"):
        with pytest.raises(DataError, match="npz"):
            read(other)
    with pytest.raises(UsageError, match="list"):
        read([1, 2])


def test_a_frame():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    genes = rng.normal(size=(N, 3))
    genes[4] = np.nan
    frame = pandas.DataFrame({"gene:b": genes[:, 0], "age": rng.normal(size=N), "gene:a": genes[:, 1]})
    frame["gene:c"] = genes[:, 2]
    frame["label"] = pandas.Series([1.0, 2.0, None] * 20)
    frame["sex"] = pandas.Series(["f", "m", None, "f"] * 15)
    frame["stage"] = pandas.array([1, None, 3] * 20, dtype="Int64")
    frame["id"] = [f"p{i}" for i in range(N)]
    frame["split"] = ["train", "train", "test"] * 20
    data = read(frame)
    schema = {m.name: m for m in data.modalities}
    assert list(schema) == ["gene", "age", "label", "sex", "stage"] and data.ids[3] == "p3"
    gene = schema["gene"].value_in_input_units(data.values["gene"].numpy())
    np.testing.assert_allclose(np.delete(gene, 4, 0), np.delete(genes, 4, 0), rtol=1e-5)
    assert [i for i, seen in enumerate(data.observed["gene"]) if not seen] == [4]
    for name, classes, missing in (("label", (1, 2), 20), ("sex", ("f", "m"), 15), ("stage", (1, 3), 20)):
        m = schema[name]
        assert (
            m.classes == classes
            and m.role == ("label" if name == "label" else "modality")
            and int((~data.observed[name]).sum()) == missing
        )
        seen = data.observed[name].numpy()
        assert (np.array(classes)[data.values[name].numpy()][seen] == frame[name][seen].to_numpy()).all()
    assert (data.split[2::3] == 2).all() and (data.split == 1).sum() == 4  # a tenth of 40 train rows

    frame.loc[5, "gene:a"] = np.nan
    assert read(frame).present["gene"][5].tolist() == [True, False, True]
    frame.loc[5, "gene:a"] = np.inf
    with pytest.raises(DataError, match=r"'gene', row 5 \(id 'p5'\), column 1 \(a\): inf"):
        read(frame)
    frame.loc[5, "gene:a"] = np.nan
    with pytest.raises(DataError, match="'gene' is a column and also a group"):
        read(frame.assign(gene=1.0))
    with pytest.raises(DataError, match="'id', row 7 is empty"):
        read(frame.assign(id=[None if i == 7 else f"p{i}" for i in range(N)]))
    with pytest.raises(DataError, match="'age' holds objects"):
        read(frame.assign(age=[{}] * N))
    mixed = read(frame.assign(**{"gene:d": np.where(np.arange(N) % 2, "x", "y")}))
    assert {"gene_numbers", "gene_d"} <= {m.name for m in mixed.modalities if m.group == "gene"}
    with pytest.raises(DataError, match="'age' occurs more than once"):
        read(pandas.concat([frame, frame[["age"]]], axis=1))


def test_a_row_that_lacks_a_group_of_integers_and_floats():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x:a": pandas.array([1, None, 3, 4], dtype="Int64"), "x:b": [0.5, np.nan, 0.25, 7.0]})
    assert read(frame).observed["x"].tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("index", "ids"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        ([7, 3, 5], [7, 3, 5]),
        ([0, 1, 2], [0, 1, 2]),
        ([0.5, 1.5, 2.5], ["0.5", "1.5", "2.5"]),
        (["a", 1, 0.5], ["a", "1", "0.5"]),
        ([("a", 1), ("a", 2), ("b", 1)], ["('a', 1)", "('a', 2)", "('b', 1)"]),
        (
            np.array(["2020-01-01", "2020-01-02", "2020-02-01"], "M8[D]"),
            [f"2020-0{d} 00:00:00" for d in ("1-01", "1-02", "2-01")],
        ),
    ],
)
def test_the_index_of_a_frame_is_the_rows_ids(index, ids):
    pandas = pytest.importorskip("pandas")
    index = pandas.MultiIndex.from_tuples(index) if isinstance(index[0], tuple) else index
    frame = pandas.DataFrame({"x:a": [0.1, 0.2, 5.0], "x:b": [0.3, 0.4, 0.5]}, index=index)
    assert read(frame).ids.tolist() == ids
    assert read(frame.assign(id=["p", "q", "r"])).ids.tolist() == ["p", "q", "r"]


@pytest.mark.parametrize("index", [["a", "b", "b"], [7, 3, 3], [0.5, np.nan, np.nan], ["p", 1, "1"]])
def test_an_index_that_names_two_rows_alike(index):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x:a": [0.1, 0.2, 5.0]}, index=index)
    with pytest.raises(
        DataError, match=r"^DataFrame: the index gives rows 1 and 2 the id [^\n]+;[^\n]+reset_index\(drop=True\)"
    ):
        read(frame)
    assert read(frame.reset_index(drop=True)).ids.tolist() == [0, 1, 2]
    assert read(frame.assign(id=["p", "q", "r"])).ids.tolist() == ["p", "q", "r"]


def test_arrays_in_parts_are_joined(tmp_path):
    """The layout of MNIST-MIX."""
    draw = np.random.default_rng(0)
    arrays = {f"X_{part}": draw.integers(0, 255, (n, 4, 4), np.uint8) for part, n in (("train", 30), ("test", 12))}
    arrays |= {f"y_{part}": (np.arange(len(arrays[f"X_{part}"])) % 3).astype(np.int32) for part in ("test", "train")}
    np.savez(tmp_path / "Latin_train_test.npz", **arrays)
    data = read(tmp_path / "Latin_train_test.npz")
    assert [(m.name, m.likelihood, m.role) for m in data.modalities] == [
        ("X", "bernoulli", "modality"),
        ("y", "categorical", "label"),
    ]
    assert data.has_split and (data.split[30:] == 2).all() and (data.split[:30] < 2).all()
    wanted = np.concatenate([arrays["X_train"], arrays["X_test"]]) / 255
    np.testing.assert_allclose(data.values["X"], wanted, atol=1e-6)
    assert (data.values["y"].numpy() == np.r_[np.arange(30), np.arange(12)] % 3).all()


@pytest.mark.parametrize("drop", [1, 2])
def test_parts_that_do_not_fit_are_not_joined(tmp_path, drop):
    arrays = {"X_train": np.ones((9, 2)), "y_train": np.arange(9 - drop), "X_test": np.ones((4, 2))}
    arrays["y_test"] = np.arange(4 + drop)  # as long in sum
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match="arrays differ in length .X_train 9"):
        read(tmp_path / "a.npz")
