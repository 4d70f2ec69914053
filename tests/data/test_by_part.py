"""Arrays in parts: nested mappings, and names that say the part first or last."""

import numpy as np
import pytest

from mmppl import read
from mmppl.data.readers.parts.by_part import joined_parts

SIZES = {"train": 20, "val": 20, "test": 20}  # alike: nothing but the names says that they are parts


def rows(count, seed):
    r = np.random.default_rng(seed)
    return {"x": r.normal(size=(count, 3)), "label": np.arange(count) % 3}


PARTS = {part: rows(count, seed) for seed, (part, count) in enumerate(SIZES.items())}


@pytest.mark.parametrize(
    "name", [None, "{part}_{name}", "{name}_{part}"], ids=["nested", "the part first", "the part last"]
)
@pytest.mark.parametrize("valid", ["val", "dev", "valid", "validation"])
def test_parts_are_joined(name, valid):
    named = {(valid if part == "val" else part): found for part, found in PARTS.items()}
    data = named if name is None else {
        name.format(part=part, name=key): array for part, found in named.items() for key, array in found.items()
    }  # fmt: skip
    found = read(data)
    assert [(m.name, m.role) for m in found.modalities] == [("x", "modality"), ("label", "label")]
    assert found.has_split and found.split.tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_rows_stay_in_their_part():
    found = read(PARTS)
    m = found.modalities[0]
    wanted = np.concatenate([part["x"] for part in PARTS.values()])
    np.testing.assert_allclose(m.value_in_input_units(found.values["x"].numpy()), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": np.ones(3), "x_test": np.ones(3), "y": np.ones(3)},
        {"x_train": np.ones(3), "x_val": np.ones(3), "x_dev": np.ones(3)},
        {"x_train": np.ones((3, 2)), "x_test": np.ones((3, 4))},
        {"x_train": np.ones(3), "y_train": np.ones(3), "x_test": np.ones(3)},
        {"x_valid": np.ones(3), "x_test": np.ones(3)},
        {"x_train": np.ones(3), "train_x": np.ones(3), "x_test": np.ones(3)},
    ],
    ids=lambda arrays: "+".join(arrays),
)
def test_what_is_no_parts_stays_as_it_is(arrays):
    assert joined_parts(arrays) is arrays


@pytest.mark.parametrize("suffix", ["", ".npz"], ids=["dict", "npz"])
def test_labels_that_test_rows_lack_are_missing(tmp_path, suffix):
    """As competitions hand them out: X of both parts, y of the training rows."""
    train, test = rows(30, 0), rows(12, 1)
    data = {"X_train": train["x"], "y_train": train["label"], "X_test": test["x"]}
    if suffix:
        np.savez(tmp_path / f"competition{suffix}", **data)
        data = tmp_path / f"competition{suffix}"
    found = read(data)
    assert [(m.name, m.role) for m in found.modalities] == [("X", "modality"), ("y", "label")]
    assert (found.split[:30] < 2).all() and (found.split[30:] == 2).all()  # some rows are held out
    assert found.observed["y"].tolist() == [True] * 30 + [False] * 12 and found.observed["X"].all()
    assert found.modalities[1].classes == (0, 1, 2)  # the filler is no class


@pytest.mark.parametrize(
    "more",
    [
        {"id_train": np.arange(3)},
        {"y_train": np.ones(2)},
        {"y_test": np.ones(4)},
        {"mask_y_train": np.ones(3, bool), "y_train": np.ones(3)},
    ],
    ids=lambda more: "+".join(more),
)
def test_what_cannot_be_filled_stays_as_it_is(more):
    arrays = {"x_train": np.ones(3), "x_test": np.ones(4), **more}
    assert joined_parts(arrays) is arrays
