"""Values that stand for "missing": those that the user names, and those that can mean nothing else."""

import numpy as np
import pandas as pd
import pytest
import torch

import mmppl
from mmppl.data.read import read
from mmppl.errors import DataError, UsageError

N = 60
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 3))
GONE = np.arange(N) % 7 == 3
KINDS = np.array(["B", "T", "NK"])[np.arange(N) % 3]
COUNTS = RNG.integers(-30, 40, (N, 2))


def spoilt(values, code, dtype=None, columns=slice(None)):
    values = np.array(values, dtype=dtype or np.asarray(values).dtype)
    values[GONE] = values[GONE] if values.ndim > 1 else code
    if values.ndim > 1:
        values[np.flatnonzero(GONE)[:, None], np.arange(values.shape[1])[columns]] = code
    return values


def same(data, reference, name):
    return (
        torch.equal(data.values[name], reference.values[name])
        and torch.equal(data.observed[name], reference.observed[name])
        and [m for m in data.modalities if m.name == name] == [m for m in reference.modalities if m.name == name]
    )


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (COUNTS.astype(np.int32), -(2**31)),
        (COUNTS[:, 0].astype(np.int64), -(2**31)),
        (COUNTS.astype(np.float64) / 3, -(2.0**31)),
        (COUNTS.astype(np.int64), -(2**63)),
        (np.arange(N, dtype=np.int32) % 4, -(2**31)),
        (KINDS.astype("U8"), "nan"),
        (KINDS.astype("U8"), "NA"),
        (KINDS.astype("U8"), ""),
        (KINDS.astype("U8"), "<NA>"),
        (KINDS.astype(object), None),
    ],
)
def test_what_can_only_mean_missing_is_missing_and_told(values, code):
    data, masked = read({"x": X, "b": spoilt(values, code)}), read({"x": X, "b": values, "mask_b": ~GONE})
    if code is None:  # objects are read as text
        masked = read({"x": X, "b": values.astype(str), "mask_b": ~GONE})
    assert same(data, masked, "b")
    told = [finding.text for finding in data.findings if finding.kind == "missing"]
    assert len(told) == (code is not None)
    assert code is None or (f"in {GONE.sum()} rows" in told[0] and "--missing b= keeps it" in told[0])


def test_it_is_kept_where_the_user_says_so():
    kept = read({"x": X, "b": spoilt(KINDS.astype("U8"), "NA")}, missing={"b": []})
    assert kept.modalities[1].classes == ("B", "NA", "NK", "T") and kept.observed["b"].all()


def test_numbers_over_the_whole_range_of_their_type_are_numbers():
    wide = RNG.integers(-(2**31), 2**31, N)
    wide[5] = -(2**31)
    data = read({"x": X, "b": wide})
    assert data.observed["b"].all() and not data.findings


def test_a_cell_that_holds_it_is_missing():
    data = read({"x": X, "b": spoilt(COUNTS.astype(np.int32), -(2**31), columns=[1])})
    assert data.observed["b"].all() and data.values["b"].abs().max() < 5
    assert data.present["b"][:, 1].tolist() == (~GONE).tolist() and data.present["b"][:, 0].all()


@pytest.mark.parametrize(
    ("values", "code", "named"),
    [
        (np.abs(COUNTS), -9, [-9]),
        (np.abs(COUNTS).astype(np.uint8), 255, ["255"]),
        (X, 1e20, [1e20]),
        (X[:, 0].astype(np.float32), 9.97e36, ["9.97e36"]),
        (KINDS.astype("U8"), "Unknown", ["Unknown"]),
        (np.arange(N) % 3, -1, ["-1"]),
    ],
)
def test_named_values_are_missing_and_the_run_remembers(values, code, named):
    arrays = {"x": X, "b": spoilt(values, code)}
    data = read(arrays, missing={"b": named})
    masked = read({"x": X, "b": values, "mask_b": ~GONE})
    assert torch.equal(data.values["b"], masked.values["b"]) and torch.equal(data.observed["b"], masked.observed["b"])
    by_as = read(arrays, as_={"b": f"{data.modalities[1].likelihood}:missing={named[0]}"})
    assert torch.equal(by_as.observed["b"], data.observed["b"]) and by_as.modalities == data.modalities
    schema = [mmppl.Modality.from_json(m.to_json()) for m in data.modalities]
    assert tuple(schema) == data.modalities
    assert torch.equal(read(arrays, schema=schema).values["b"], data.values["b"])


def test_what_lies_in_a_missing_row_does_not_matter():
    first = read({"x": X, "b": spoilt(np.abs(COUNTS), -9)}, missing={"b": [-9, -99]})
    other = np.abs(COUNTS)
    other[GONE] = [-99, -9]
    assert same(read({"x": X, "b": other}, missing={"b": [-9, -99]}), first, "b")


def test_rows_of_zeros_are_missing_where_the_user_says_so():
    intensities = np.exp(RNG.normal(15, 1, (N, 6))).astype(np.int64)
    data = read({"x": X, "b": spoilt(intensities, 0)}, missing={"b": ["zero-rows"]})
    assert same(data, read({"x": X, "b": intensities, "mask_b": ~GONE}, missing={"b": ["zero-rows"]}), "b")


def test_a_gap_and_a_sentinel_in_a_frame():
    frame = pd.DataFrame({"x": X[:, 0], "lab": np.where(GONE, -9, np.arange(N) % 30), "sex": KINDS})
    frame.loc[0, "sex"] = "NA"
    data = read(frame, missing={"lab": ["-9"]})
    assert data.observed["lab"].tolist() == (~GONE).tolist() and not data.observed["sex"][0]


@pytest.mark.parametrize(
    ("missing", "says"),
    [({"bb": [-9]}, "Did you mean b?"), ({"b": ["minus nine"]}, "'minus nine' is no number")],
)
def test_wrong_names_and_values_are_reported(missing, says):
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        read({"x": X, "b": COUNTS}, missing=missing)
    assert says in str(error.value)
    with pytest.raises(UsageError, match="in the units of the model already"):
        read("digits-three", missing={"image": [0]})


def test_nothing_is_left():
    with pytest.raises(DataError, match="observed in no row"):
        read({"x": X, "b": np.full(N, -9)}, missing={"b": [-9]})


def test_a_run_reads_its_data_again(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, b=spoilt(np.abs(COUNTS), -9), outcome=np.arange(N) % 2)
    small = {"hidden": 4, "layers": 1}
    how = {"missing": {"b": [-9]}, "target": "outcome"}
    run = mmppl.fit("mvae", tmp_path / "d.npz", hyper=small, epochs=1, out=tmp_path / "run", **how)
    again = mmppl.Run.load(tmp_path / "run")
    assert again.data().fingerprint() == run.data().fingerprint()
    new = again.dataset({"x": X[:2], "b": np.array([[-9, 5], [3, 4]])})
    assert new.observed["b"].all() and new.present["b"].tolist() == [[False, True], [True, True]]


def test_a_dataset_that_was_read_without_the_values_of_a_run_is_told():
    given, how = {"x": X, "b": spoilt(COUNTS + 0.5, -9)}, {"missing": {"b": [-9]}}
    schema = read(given, **how).modalities
    told = read(read(given), schema=schema).findings
    assert [(f.kind, f.text) for f in told if "for missing" in f.text] == [
        ("told", "b: the run takes -9 for missing, and arrays was read without that; read it with missing, or give "
                 "the run the source.")
    ]  # fmt: skip
    assert not [f for f in read(read(given, **how), schema=schema).findings if f.kind == "told"]
