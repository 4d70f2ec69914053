"""Reading .h5ad and .h5mu files: rows by name, layers, obs, names, and that no more than one copy is held."""

import numpy as np
import pytest
import torch
from scipy import sparse

import mmppl
from mmppl import DataError, UsageError
from mmppl.data.readers.omics.observations import Observations, columns_of
from mmppl.data.readers.omics.table import Column
from mmppl.data.recipes.registry import spec_of

h5py = pytest.importorskip("h5py", reason="pip install mmppl[omics]")

from reference.h5ad import write_anndata, write_matrix, write_mudata  # noqa: E402 (h5py is optional)

ROWS = [f"cell{i}" for i in range(12)]
COUNTS = np.random.default_rng(0).poisson(2.0, (10, 4)).astype(np.float32)
PROTEINS = np.random.default_rng(1).normal(size=(8, 3))
HAS_RNA, HAS_PROT = [*range(2, 12)], [11, 0, 1, 4, 3, 2, 9, 8]  # rows of each, in an order of its own


@pytest.fixture
def cells(tmp_path):
    """A partly paired file: 12 rows, of which rna has 10 (sparse) and prot 8."""
    kinds = ("categorical", ["B", "T"], np.arange(10) % 3 - 1)  # -1: no value
    rna = {"cell type": kinds, "depth": COUNTS.sum(1), "site": np.array(list("aabbaabbaa"))}
    prot = {"site": np.array(list("abbbbbab")), "well": ("nullable", np.arange(8), np.arange(8) == 5)}
    path = tmp_path / "cells.h5mu"
    with h5py.File(path, "w") as file:
        blocks = {
            "rna": (sparse.csr_matrix(COUNTS), [ROWS[i] for i in HAS_RNA], [f"G{i}" for i in range(4)], rna),
            "prot": (PROTEINS, [ROWS[i] for i in HAS_PROT], ["CD3", "CD4", "CD3"], prot),
        }
        write_mudata(file, blocks, ROWS, {"donor": np.array([1, 1, 2, 2] * 3), "rna:depth": np.zeros(12)})
        write_matrix(file["mod/rna/layers"], "log", sparse.csc_matrix(np.log1p(COUNTS)))
        write_matrix(file["mod/rna/obsm"], "X_pca", COUNTS[:, :2] / 7)
        write_matrix(file["obsm"], "X_wnn", np.arange(24.0).reshape(12, 2) / 7)
    return path


def in_input_units(data, name):
    modality = next(m for m in data.modalities if m.name == name)
    return modality.value_in_input_units(data.values[name].double().numpy())


def test_rows_are_those_of_the_file_by_name(cells):
    data = mmppl.read(cells)
    assert data.ids.tolist() == ROWS and data.name == "cells.h5mu"
    assert [m.name for m in data.modalities] == ["rna", "prot"]
    assert torch.nonzero(data.observed["rna"]).flatten().tolist() == sorted(HAS_RNA)
    assert torch.nonzero(data.observed["prot"]).flatten().tolist() == sorted(HAS_PROT)
    np.testing.assert_allclose(in_input_units(data, "rna")[HAS_RNA], COUNTS, atol=1e-5)  # float32 in model units
    np.testing.assert_allclose(in_input_units(data, "prot")[HAS_PROT], PROTEINS, atol=1e-5)
    assert data.modalities[0].features == ("G0", "G1", "G2", "G3")
    assert data.modalities[1].features == ("CD3", "CD4", "CD3-1")
    assert any("prot: 1 features have the name of another" in note for note in data.notes)


def test_what_a_row_lacks_does_not_matter(cells):
    before = mmppl.read(cells).fingerprint()
    with h5py.File(cells, "r+") as file:
        file["mod/rna/layers/log/data"][...] = np.nan
        file["uns"] = h5py.ExternalLink("/etc/passwd", "/")
        file["mod/rna/obsp/huge"] = h5py.Empty("f")
    assert mmppl.read(cells).fingerprint() == before


def test_obs_are_annotations_until_somebody_takes_them(cells):
    data = mmppl.read(cells)
    assert data.annotations.keys() == {"donor"} and data.annotations["donor"].tolist() == [1, 1, 2, 2] * 3
    left = next(note for note in data.notes if note.startswith("left out, as some rows have no value"))
    assert all(name in left for name in ("cell_type", "depth", "rna_site", "prot_site", "well"))  # depth: not rna:depth
    assert "'cell type' of obs is called cell_type here" in data.notes

    labelled = mmppl.read(cells, target="cell_type", as_={"depth": "normal", "donor": "group", "well": "ignore"})
    roles = {m.name: m.role for m in labelled.modalities}
    assert roles == {"rna": "modality", "prot": "modality", "depth": "modality", "cell_type": "label"}
    assert labelled.annotations.keys() == {"group"}
    codes = np.arange(10) % 3 - 1
    expected = [None, None, *(["B", "T"][code] if code >= 0 else None for code in codes)]
    label = next(m for m in labelled.modalities if m.name == "cell_type")
    seen = labelled.observed["cell_type"].tolist()
    found = [label.classes[code] if there else None for code, there in zip(labelled.values["cell_type"], seen)]
    assert found == expected
    np.testing.assert_allclose(in_input_units(labelled, "depth")[HAS_RNA], COUNTS.sum(1), rtol=1e-6)


def test_columns_that_agree_are_one():
    first = Observations("a", np.array([0, 1]), {"x": Column(np.array([1.5, 2.5]), np.array([False, True]))})
    second = Observations("b", np.array([1, 2]), {"x": Column(np.array([7.0, 8.0]), np.array([False, False]))})
    arrays, names, notes, _ = columns_of([first, second], 4, [], "F")
    np.testing.assert_array_equal(arrays["x"], [1.5, 7.0, 8.0, np.nan])
    assert names == ["x"] and not notes
    third = Observations("c", np.array([0]), {"x": Column(np.array([9.0]), np.array([False]))})
    assert list(columns_of([first, third], 4, [], "F")[0]) == ["a_x", "c_x"]
    reserved = {name: Column(np.array([1.5]), np.array([False])) for name in ("id", "split", "mask_q", "rna", "a/b")}
    arrays, names, _, _ = columns_of([Observations("", np.array([0]), reserved)], 1, ["rna"], "F")
    assert names == ["obs_id", "obs_split", "obs_mask_q", "obs_rna", "a_b"]
    parts = Observations("", np.array([0, 1]), {"split": Column(np.array(["train", "test"]), np.zeros(2, bool))})
    assert columns_of([parts], 2, [], "F")[0]["split"].tolist() == ["train", "test"]


def test_classes_of_obs_keep_their_order(tmp_path):
    """Both readers take the order of a column over: "low" comes before "high", not behind it."""
    anndata, pd = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    stage = pd.Categorical(["low", "high", "low", "high"] * 5, ["low", "high"], ordered=True)
    obs = pd.DataFrame({"stage": stage}, [f"c{i}" for i in range(20)])
    adata = anndata.AnnData(np.arange(40.0).reshape(20, 2) / 7, obs)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for source in (adata, tmp_path / "a.h5ad"):
        assert mmppl.read(source).annotations.keys() == {"stage"}
        m = mmppl.read(source, as_={"stage": "ordinal"}).modalities[-1]
        assert (m.likelihood, m.classes) == ("ordinal", ("low", "high"))


def test_layers_and_blocks_on_request(cells):
    data = mmppl.read(f"{cells}:layer=log,obsm=X_pca,obsm=X_wnn")
    assert [m.name for m in data.modalities] == ["rna", "rna_X_pca", "prot", "X_wnn"]
    np.testing.assert_allclose(in_input_units(data, "rna")[HAS_RNA], np.log1p(COUNTS), atol=1e-5)
    np.testing.assert_allclose(in_input_units(data, "rna_X_pca")[HAS_RNA], COUNTS[:, :2] / 7, atol=1e-5)
    assert data.observed["X_wnn"].all() and not data.observed["rna_X_pca"].all()
    assert "rna: the layer log in place of X" in data.notes
    for options, words in (
        ("layer=lgo", "no layer 'lgo'; there is rna/log. Did you mean log"),
        ("layer=prot/log", "no layer 'prot/log'"),
        ("obsm=X_umap", "no obsm 'X_umap'; there is rna/X_pca, X_wnn"),
        ("layre=log", "no option 'layre'; it has layer, obsm, name. Did you mean layer"),
        ("layer=", "write layer=NAME"),
    ):
        with pytest.raises(UsageError, match=words):
            mmppl.read(f"{cells}:{options}")


def test_whole_numbers_are_integers_and_other_floats_are_not(tmp_path):
    for name, matrix in (
        ("whole", COUNTS),
        ("broken", COUNTS + np.float32(0.5)),
        ("large", COUNTS + np.float32(2**25)),
    ):
        with h5py.File(tmp_path / f"{name}.h5ad", "w") as file:
            write_anndata(file, matrix, ROWS[:10], list("abcd"))
    read = mmppl.data.readers.omics.h5mu.H5muReader().read
    kinds = {
        name: read(tmp_path / f"{name}.h5ad", mmppl.Request()).arrays["X"] for name in ("whole", "broken", "large")
    }
    assert {name: array.dtype for name, array in kinds.items()} == {"whole": "i4", "broken": "f4", "large": "f4"}
    np.testing.assert_array_equal(kinds["whole"], COUNTS)


def test_the_modality_of_an_anndata_has_the_name_that_one_gives_it(tmp_path):
    with h5py.File(tmp_path / "one.h5ad", "w") as file:
        write_anndata(file, COUNTS + 0.5, ROWS[:10], list("abcd"), {"n": np.arange(10) + 0.5})
    assert [m.name for m in mmppl.read(tmp_path / "one.h5ad").modalities] == ["X"]
    data = mmppl.read(f"{tmp_path / 'one.h5ad'}:name=rna", as_={"n": "normal"})
    assert [m.name for m in data.modalities] == ["rna", "n"]
    assert spec_of(f"{tmp_path / 'one.h5ad'}:name=rna").endswith("/one.h5ad:name=rna")


def test_ignored_matrices_are_not_read(cells):
    with h5py.File(cells, "r+") as file:
        del file["mod/prot/X"]
        file["mod/prot/X"] = np.zeros((3, 3))  # another number of rows
    with pytest.raises(DataError, match=r"'prot' has shape \(3, 3\), and there are 8 names of rows"):
        mmppl.read(cells)
    assert [m.name for m in mmppl.read(cells, as_={"prot": "ignore"}).modalities] == ["rna"]
