"""Single missing cells at the door: however they are marked, they are masked, learnt nothing from, and counted."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from mmppl import DataError, UsageError, read
from mmppl.data.examine.report import TOLD, UNSEEN

N, D = 60, 4


def table(seed=0, share=0.2):
    """Numbers, and which of them are there; the first row has all, the second none, the third one."""
    rng = np.random.default_rng(seed)
    values, there = rng.normal(5, 2, (N, D)), rng.random((N, D)) >= share
    there[0], there[1], there[2] = True, False, [True, False, False, False]
    return values, there


def beside(**arrays):
    return arrays | {"other": np.random.default_rng(1).normal(size=(N, 2))}


def ways():
    """The same gaps as NaN in a file, as masks of three kinds, as a sentinel, and as empty cells of DataFrames."""
    values, there = table()
    nan = np.where(there, values, np.nan)
    wild = np.where(there, values, 1e30)
    frame = pd.DataFrame(
        {f"lab:{i}": nan[:, i] for i in range(D)} | {f"other:{i}": beside()["other"][:, i] for i in (0, 1)}
    )
    return {
        "nan": (beside(lab=nan), {}),
        "mask": (beside(lab=wild, mask_lab=there), {}),
        "observed": (beside(lab=wild, lab_observed=there), {}),
        "numpy": (beside(lab=np.ma.masked_array(wild, ~there)), {}),
        "mask and nan": (
            beside(
                lab=np.where(np.arange(N)[:, None] % 2, nan, wild), mask_lab=there | (np.arange(N)[:, None] % 2 == 1)
            ),
            {},
        ),
        "sentinel": (beside(lab=np.where(there, values, -99)), {"missing": {"lab": [-99]}}),
        "frame": (frame, {}),
        "frames": ({"lab": pd.DataFrame(nan), "other": pd.DataFrame(beside()["other"])}, {}),
    }


@pytest.mark.parametrize("way", ways())
def test_every_way_to_mark_a_gap_is_the_same(way, tmp_path):
    values, there = table()
    source, options = ways()[way]
    if way == "nan":
        np.savez(tmp_path / "a.npz", **source)
        source = tmp_path / "a.npz"
    data = read(source, **options)
    m = data.modalities[0]
    assert torch.equal(data.present["lab"], torch.from_numpy(there)) and m.gaps and m.input_size == 2 * D
    assert torch.equal(data.observed["lab"], torch.from_numpy(there.any(1)))
    assert data.values["lab"][~data.present["lab"]].eq(0).all() and not data.modalities[1].gaps
    train = there & (data.split == 0)[:, None]
    mean = np.where(train, values, 0).sum(0) / train.sum(0)
    sd = np.sqrt(np.where(train, (values - mean) ** 2, 0).sum(0) / train.sum(0))
    np.testing.assert_allclose((m.shift, m.spread), (mean, sd), rtol=1e-9)
    np.testing.assert_allclose(data.values["lab"].numpy()[there], ((values - mean) / sd)[there], atol=1e-5)
    (found,) = (finding.text for finding in data.findings if finding.kind == "gaps")
    count = int((~there[there.any(1)]).sum())
    assert found.startswith(f"lab: {count} of {4 * (N - 1)} cells (") and data.describe()["modalities"][0]["cells"] < 1


def test_gaps_change_no_type():
    """Counts, bits, whole numbers and texts are what they are without gaps; with them NaN makes floats of them."""
    rng = np.random.default_rng(0)
    hole = rng.random((N, 3)) < 0.1
    counts, bits = rng.integers(0, 90, (N, 3)), rng.integers(0, 2, (N, 3))
    text = np.array(["low", "high"])[bits]
    frame = {}
    for name, values in {"counts": counts, "bits": bits, "text": text}.items():
        for i in range(3):
            column = pd.Series(values[:, i], dtype="string" if name == "text" else "Int64")
            column[hole[:, i]] = pd.NA
            frame[f"{name}:{i}"] = column
    whole, gapped = read({"counts": counts, "bits": bits, "text": text}), read(pd.DataFrame(frame))
    nan = read({"counts": np.where(hole, np.nan, counts), "bits": np.where(hole, np.nan, bits), "text": text})
    for data in (gapped, nan):
        for one, other in zip(whole.modalities, data.modalities):
            assert (one.likelihood, one.transform, one.classes) == (other.likelihood, other.transform, other.classes)
    assert torch.equal(gapped.present["text"], torch.from_numpy(~hole)) and gapped.modalities[2].gaps
    assert torch.equal(gapped.values["counts"], nan.values["counts"])


def test_complete_data_are_as_ever():
    data = read(beside(lab=table()[0]))
    assert not data.present and "gaps" not in data.modalities[0].to_json() and data.modalities[0].input_size == D
    masked = read(beside(lab=table()[0], mask_lab=np.ones((N, D))))
    assert masked.fingerprint() == data.fingerprint()


def test_what_is_no_gap_is_refused():
    values, there = table()
    values[5, 1] = np.inf
    there[5] = [True, True, False, True]
    with pytest.raises(DataError, match=r"^'lab', row 5, column 1: inf is in an observed row"):
        read(beside(lab=np.where(there, values, np.nan)))
    with pytest.raises(DataError, match=r"^'mask_lab' is bool of shape \(60, 3\); give one .* shape \(60, 4\)"):
        read(beside(lab=table()[0], mask_lab=there[:, :3]))
    with pytest.raises(DataError, match="has two masks"):
        read(beside(lab=table()[0], mask_lab=there, lab_observed=there))
    with pytest.raises(DataError, match="is in an observed row"):  # a sequence lacks whole steps only
        series = np.zeros((N, 3, 2))
        series[4, 1, 0] = np.nan
        read(beside(watch=series, length_watch=np.full(N, 3)))


def test_examinations_look_at_present_cells():
    """Sentinels are counted where they are; a column is constant by what is there."""
    rng = np.random.default_rng(0)
    lab, there = rng.normal(50, 5, (N, 3)), rng.random((N, 3)) >= 0.3
    lab[:4, 0], there[:4, 0] = -999, True
    lab[:, 2] = 7.0
    found = {f.kind: f.text for f in read(beside(lab=np.where(there, lab, np.nan))).findings}
    assert "lab, column 0: -999 in 4 cells stands apart" in found["sentinels"]
    assert "lab, column 2" in found["constant"]


def test_other_data_of_a_run():
    """Gaps in data of a run without any are told; complete data of a run with gaps, other columns and orders work."""
    values, there = table()
    nan = np.where(there, values, np.nan)
    whole, gapped = read(beside(lab=values)), read(beside(lab=nan))
    asked = read(beside(lab=nan), schema=whole.modalities)
    assert asked.modalities == whole.modalities and torch.equal(asked.present["lab"], torch.from_numpy(there))
    (told,) = (f.text for f in asked.findings if f.name == "lab")
    assert "cells are missing in" in told and "the training mean" in told
    assert not read(beside(lab=values), schema=gapped.modalities).findings
    again = read(gapped, schema=whole.modalities)
    assert torch.equal(again.present["lab"], gapped.present["lab"]) and again.findings
    frame = pd.DataFrame({f"lab:{i}": nan[:, i] for i in range(D)})
    turned = read(frame[["lab:2", "lab:0", "lab:3", "lab:1"]], schema=read(frame).modalities)
    assert torch.equal(turned.present["lab"], torch.from_numpy(there))


@pytest.mark.parametrize("form", ["dict", "frame", "csv"])
def test_an_odd_cell_of_other_data_is_missing_and_its_row_is_not(form, tmp_path):
    """A count below 0, or a text among numbers: the run's encoders see gaps, so the rest of the row counts."""
    _, there = table()
    counts = np.random.default_rng(2).poisson(4, (N, D)).astype(float)
    run = read(beside(lab=np.where(there, counts, np.nan)) | {"lab_features": [*"abcd"]}, as_={"lab": "poisson"})
    odd: object = -1.0 if form == "dict" else "see file"
    cells = counts.astype(object)
    cells[3, 2] = odd
    if form == "dict":
        later: object = beside(lab=cells.astype(float)) | {"lab_features": [*"abcd"]}
    else:
        later = pd.DataFrame({f"lab:{name}": cells[:, i] for i, name in enumerate("abcd")})
        later = later.assign(**{f"other:{i}": beside()["other"][:, i] for i in (0, 1)})
        if form == "csv":
            later.to_csv(tmp_path / "later.csv", index=False)
            later = tmp_path / "later.csv"
    found = read(later, schema=run.modalities)
    assert found.observed["lab"].all() and (~found.present["lab"]).nonzero().tolist() == [[3, 2]]
    assert found.values["lab"][3].tolist() == [*counts[3, :2], 0, counts[3, 3]]
    (told,) = (f for f in found.findings if f.kind == TOLD and f.name == "lab")
    assert "row 3" in told.text and "missing in 1 such row" in told.text
    assert not [f for f in found.findings if f.kind == UNSEEN]
    if form == "dict":  # a row whose only cell is odd lacks the modality
        alone = np.where(np.arange(D) == 2, cells.astype(float), np.nan)
        assert not read(beside(lab=alone) | {"lab_features": [*"abcd"]}, schema=run.modalities).observed["lab"][3]


def test_hidden_cells():
    """They are gaps, influence no scaling, and are kept aside; every row keeps a cell, and labels all."""
    values, there = table()
    source = beside(lab=np.where(there, values, np.nan), label=np.arange(N) % 3)
    data = read(source, hide_cells=0.5)
    whole, left = data.whole, data.present
    assert whole is not None and [m.gaps for m in data.modalities] == [True, False, True]
    assert set(left) == {"lab", "other"}
    assert torch.equal(data.observed["lab"], whole.observed["lab"]) and not (left["lab"] & ~whole.present["lab"]).any()
    assert 0.3 < 1 - left["other"].float().mean() < 0.45 and left["other"].any(1).all()
    blind = dict(source, other=np.where(left["other"], source["other"], 1e6), mask_other=left["other"].numpy())
    assert read(blind).modalities[2] == data.modalities[2]
    assert (
        read(source, hide_cells=0.5).fingerprint() == data.fingerprint() != read(source, hide_cells=0.4).fingerprint()
    )
    assert data.fingerprints()["as_read"] == read(source).fingerprints()["as_read"]
    with pytest.raises(UsageError, match="hide_cells: 1.5 is no share"):
        read(source, hide_cells=1.5)
    with pytest.raises(UsageError, match="no modality has several cells"):
        read({"age": values[:, 0]}, hide_cells=0.1)


def test_gaps_need_a_likelihood_of_single_cells():
    m = read(beside(lab=np.where(table()[1], table()[0], np.nan))).modalities[0]
    with pytest.raises(UsageError, match="gaps are of vectors"):
        dataclasses.replace(m, shape=(), shift=None, spread=None, transform="none")
