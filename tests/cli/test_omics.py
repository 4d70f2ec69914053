"""`mmppl data` on files of AnnData: what it tells, and how it refuses."""

import numpy as np
import pytest

h5py = pytest.importorskip("h5py", reason="pip install mmppl[omics]")

from reference.h5ad import write_anndata  # noqa: E402 (h5py is optional)

ROWS = [f"cell{i}" for i in range(20)]


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "cells.h5ad"
    with h5py.File(path, "w") as file:
        obs = {"cell type": np.array(list("BT") * 10), "age": np.where(np.arange(20) > 3, np.arange(20.0), np.nan)}
        write_anndata(file, np.random.default_rng(0).normal(size=(20, 3)), ROWS, ["CD3", "CD4", "CD8"], obs)
    return path


def test_data_tells_names_and_what_is_beside(mmppl, cells):
    result = mmppl("data", f"{cells}:name=prot")
    assert result.code == 0 and result.out.startswith("cells.h5ad: 20 rows")
    text = " ".join(result.out.split())
    for words in ("cell_type text", "'cell type' of obs is called cell_type", "some rows have no value: age"):
        assert words in text
    roles = {m["name"]: m["role"] for m in mmppl("data", cells, "--target", "cell_type", "--json").json["modalities"]}
    assert roles == {"X": "modality", "cell_type": "label"}


def test_data_refuses_in_one_line(mmppl, cells):
    mmppl("data", f"{cells}:layre=x").failed(2, str(cells), "Did you mean layer")
    mmppl("data", f"{cells}:layer=counts").failed(2, str(cells), "no layer 'counts'; there is none")
    mmppl("data", cells.with_name("cell.h5ad")).failed(5, "cell.h5ad", "cannot be read")
    whole = cells.read_bytes()
    cells.write_bytes(whole[: len(whole) // 2])
    mmppl("data", cells).failed(5, str(cells), "not a whole .h5ad file")
    with h5py.File(cells, "w") as file:
        write_anndata(file, np.zeros((20, 3)), ["same"] * 20, ["CD3", "CD4", "CD8"])
    mmppl("data", cells).failed(5, str(cells), "rows 0 and 1 of X are both called 'same'")
