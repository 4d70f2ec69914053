"""DataFrames and Series in a dict are joined by their index."""

import numpy as np
import pandas as pd
import pytest
import torch

from mmppl.data.read import read
from mmppl.errors import DataError

RNG = np.random.default_rng(1)
IDS = [f"P{i:02d}" for i in range(40)]
RNA = pd.DataFrame(RNG.normal(size=(40, 3)), index=IDS, columns=["a", "b", "c"])
PROT = pd.DataFrame(RNG.normal(size=(40, 2)), index=IDS, columns=["u", "v"])
LABEL = pd.Series(np.array(["case", "control"])[np.arange(40) % 2], index=IDS)


def by_name(data, name):
    """id → value in input units, of the rows that are observed."""
    m = next(m for m in data.modalities if m.name == name)
    value = data.values[name].numpy()
    value = np.asarray(m.classes)[value] if m.classes else m.value_in_input_units(value)
    return {i: v.tolist() for i, v, seen in zip(data.ids.tolist(), value, data.observed[name].tolist()) if seen}


@pytest.mark.parametrize(
    "order", [slice(None, None, -1), np.roll(np.arange(40), 7), np.random.default_rng(5).permutation(40)], ids=str
)
def test_rows_meet_by_name_in_any_order(order):
    plain = read({"rna": RNA, "prot": PROT, "label": LABEL})
    turned = read({"rna": RNA, "prot": PROT.iloc[order], "label": LABEL.sort_values()})
    assert turned.fingerprint() == plain.fingerprint() and plain.ids.tolist() == IDS
    assert [m.features for m in plain.modalities] == [("a", "b", "c"), ("u", "v"), None]
    for name, frame in (("rna", RNA), ("prot", PROT)):
        found = by_name(turned, name)
        np.testing.assert_allclose([found[i] for i in IDS], frame.to_numpy(), rtol=1e-5, atol=1e-6)


def test_rows_that_one_lacks_are_missing_there():
    data = read({"rna": RNA.iloc[:30], "prot": PROT.iloc[20:], "label": LABEL.iloc[:20]})
    assert data.ids.tolist() == IDS
    for name, have in (("rna", range(30)), ("prot", range(20, 40)), ("label", range(20))):
        assert data.observed[name].tolist() == [i in have for i in range(40)]
    assert by_name(data, "label") == LABEL.iloc[:20].to_dict()


def test_integers_and_their_gaps_stay_integers():
    stage = pd.Series(np.arange(20) % 4, index=IDS[10:30])
    seen = pd.DataFrame({"p": [True, False] * 20, "q": True}, index=IDS[::-1])
    data = read({"rna": RNA, "stage": stage, "seen": seen})
    assert [m.likelihood for m in data.modalities] == ["normal", "categorical", "bernoulli"]
    assert data.observed["stage"].sum() == 20


def test_whole_numbers_name_rows_unless_they_are_row_numbers():
    shuffled = PROT.reset_index(drop=True).sample(frac=1, random_state=0)
    numbered = RNA.reset_index(drop=True)
    data = read({"rna": numbered, "prot": shuffled})
    assert data.ids.tolist() == list(range(40))
    found = by_name(data, "prot")
    np.testing.assert_allclose([found[i] for i in range(40)], PROT.to_numpy(), rtol=1e-5, atol=1e-6)
    placed = read({"rna": numbered, "prot": PROT.reset_index(drop=True), "kind": LABEL.to_numpy()})
    assert torch.equal(placed.values["prot"], data.values["prot"])


def test_arrays_beside_frames_of_one_order():
    split = np.arange(40) % 3
    data = read({"rna": RNA.iloc[::-1], "prot": PROT.iloc[::-1], "split": split})
    assert data.split.tolist() == split.tolist() and data.ids.tolist() == IDS[::-1]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"rna": RNA, "prot": pd.concat([PROT, PROT.iloc[3:4]])}, "gives rows 3 and 40 the id 'P03'"),
        ({"rna": RNA, "prot": PROT.reset_index(drop=True)}, "'rna' by text, 'prot' by numbers"),
        ({"rna": RNA, "prot": PROT.iloc[::-1], "split": np.zeros(40, int)}, "'split' has no index"),
        ({"rna": RNA, "prot": PROT.set_axis(["u", "u"], axis=1)}, "columns of the same name"),
    ],
)
def test_what_cannot_be_joined_is_one_line(arrays, says):
    with pytest.raises(DataError, match="^[^\n]+$") as error:
        read(arrays)
    assert says in str(error.value)


def numbered(frame):
    return frame.reset_index(drop=True)


def test_frames_by_row_numbers_keep_the_names_of_their_columns():
    fitted = read({"rna": numbered(RNA), "label": LABEL.to_numpy()})
    assert fitted.modalities[0].features == ("a", "b", "c") and fitted.ids.tolist() == list(range(40))
    turned = read({"rna": numbered(RNA)[["c", "a", "b"]], "label": LABEL.to_numpy()}, schema=fitted.modalities)
    assert torch.equal(turned.values["rna"], fitted.values["rna"])
    with pytest.raises(DataError, match="'rna:z' is not in it"):
        read({"rna": numbered(RNA).rename(columns={"a": "z"})}, schema=fitted.modalities)
    with pytest.raises(DataError, match="arrays differ in length"):
        read({"rna": numbered(RNA), "prot": numbered(PROT).iloc[:30]})


def test_parts_that_are_frames_by_row_numbers_agree_in_their_columns():
    parts = {"x_train": numbered(RNA), "x_test": numbered(RNA.iloc[:9]), "y_train": PROT.u.to_numpy()}
    parts["y_test"] = parts["y_train"][:9]
    joined = read(parts)
    assert joined.modalities[0].features == ("a", "b", "c") and (joined.split == 2).sum() == 9
    with pytest.raises(DataError, match="'x_train' and 'x_test' differ in their columns"):
        read(parts | {"x_test": parts["x_test"][["b", "a", "c"]]})


def test_a_frame_that_mixes_numbers_and_texts_is_taken_apart_as_in_one_frame():
    clin = pd.DataFrame({"age": np.arange(40.0), "sex": ["f", "m"] * 20}, index=IDS)
    apart = read({"clin": clin, "rna": RNA.set_axis(IDS).iloc[::-1]})
    whole = read(pd.concat({"clin": clin, "rna": RNA.set_axis(IDS)}, axis=1))
    assert [m.name for m in apart.modalities] == [m.name for m in whole.modalities]
    for name, values in whole.values.items():
        assert torch.equal(apart.values[name], values)


@pytest.mark.parametrize("index", [range(40), IDS], ids=["row numbers", "names"])
def test_empty_cells_and_a_mask_are_both_missing(index):
    words = pd.Series(["u", "v"] * 19 + ["u", None], index=index)
    mask = np.arange(40) > 0
    seen = read({"word": words, "rna": RNA.set_axis(index), "mask_word": mask}).observed["word"]
    assert seen.tolist() == (mask & words.notna().to_numpy()).tolist()
