""".npy and .safetensors files, sparse matrices, names of columns, masks of steps."""

import json
import struct

import numpy as np
import pytest
import scipy.sparse
import torch
from safetensors.torch import save_file

from mmppl.base import memory
from mmppl.data.read import read
from mmppl.data.readers.parts.named_columns import with_named_columns
from mmppl.data.schema.missing.step_masks import with_lengths_of_masks
from mmppl.errors import DataError

N = 12
ROWS = np.random.default_rng(0).normal(size=(N, 3))
SPARSE = scipy.sparse.random(N, 7, 0.4, format="csr", random_state=0, dtype=np.float32)


@pytest.mark.parametrize("array", [ROWS, np.asfortranarray(ROWS), ROWS.astype(">f4"), np.arange(N) * 3, ROWS > 0])
def test_an_npy_file_is_a_modality(tmp_path, array):
    np.save(tmp_path / "gene.npy", array)
    assert read(tmp_path / "gene.npy").fingerprint() == read({"gene": array}).fingerprint()


def test_safetensors_come_back(tmp_path):
    tensors = {"x": torch.from_numpy(ROWS), "mask_x": torch.arange(N) % 2 == 0, "n": torch.arange(N) * 3}
    tensors |= {"small": torch.randn(N, 2).half(), "brain": torch.randn(N, 2).bfloat16()}
    save_file(tensors, tmp_path / "a.safetensors")
    data = read(tmp_path / "a.safetensors")
    assert data.fingerprint() == read({name: tensors[name] for name in sorted(tensors)}).fingerprint()
    assert data.observed["x"].tolist() == [True, False] * 6
    assert "x" not in read(tmp_path / "a.safetensors", as_={"x": "ignore"}).values


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_matrices_become_dense(tmp_path, form, kind):
    matrix = getattr(scipy.sparse, f"{form}_{kind}")(SPARSE)
    scipy.sparse.save_npz(tmp_path / "rna.npz", matrix)
    wanted = read({"rna": SPARSE.toarray()}).fingerprint()
    assert read(tmp_path / "rna.npz").fingerprint() == wanted
    assert read({"rna": matrix}).fingerprint() == wanted


def test_a_sparse_matrix_must_fit_when_it_is_dense(tmp_path, monkeypatch):
    matrix = scipy.sparse.csr_matrix((200_000, 30_000), dtype=np.float32)
    scipy.sparse.save_npz(tmp_path / "rna.npz", matrix)
    monkeypatch.setattr(memory, "available", lambda: 1_000_000_000)
    for source in ({"rna": matrix}, tmp_path / "rna.npz"):
        with pytest.raises(
            DataError, match="'rna', sparse of 200,000 × 30,000, as a dense array takes 24 GB of memory"
        ):
            read(source)


def test_names_of_columns(tmp_path):
    names = np.array(["BRCA1", "TP53", "EGFR"])
    data = read({"gene": ROWS, "gene_features": names, "n": np.arange(N) * 2})
    assert data.modalities[0].features == tuple(names) and len(data.modalities) == 2
    np.savez(tmp_path / "a.npz", gene=ROWS[:, ::-1], gene_features=names[::-1], n=np.arange(N) * 2)
    again = read(tmp_path / "a.npz", schema=data.modalities)  # columns are found by their names
    assert torch.equal(again.values["gene"], data.values["gene"])
    parts = read({"x_train": ROWS, "x_test": ROWS[:5], "x_features": names})
    assert parts.modalities[0].features == tuple(names) and len(parts) == N + 5


def test_a_text_per_row_is_no_name_of_a_column():
    arrays = {"gene": ROWS, "gene_features": np.array(["a", "b"] * 6), "n_features": np.arange(N)}
    assert with_named_columns(arrays) == (arrays, {})


def test_masks_of_steps_are_lengths():
    steps = np.random.default_rng(1).normal(size=(N, 4, 2))
    lengths = np.arange(N) % 5
    mask = np.arange(4) < lengths[:, None]
    wanted = read({"watch": steps, "length_watch": lengths})
    junk = np.where(mask[..., None], steps, np.nan)
    for given in (mask, mask.astype(np.uint8), mask.astype(float)):
        data = read({"watch": junk, "mask_watch": given})
        assert data.fingerprint() == wanted.fingerprint() and data.modalities[0].sequence
    assert (
        read({"watch": junk, "mask_watch": mask}, schema=wanted.modalities).observed["watch"].sum()
        == (lengths > 0).sum()
    )
    whole = {"image": steps, "mask_image": np.arange(N) > 3}  # one per row masks the row, as ever
    assert with_lengths_of_masks(whole).keys() == whole.keys()


def header(**tensors):
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def npz(path, **arrays):
    np.savez(path, **arrays)


def csr(**changed):
    parts = {"indices": SPARSE.indices, "indptr": SPARSE.indptr, "data": SPARSE.data, "shape": [N, 7], "format": b"csr"}
    return lambda path: np.savez(path, **{**parts, **changed})


def text(content):
    return lambda path: path.write_bytes(content)


BAD = [
    ("a.npy", text(b""), "not a whole .npy file"),
    ("a.npy", text(b"PNG"), "not a whole .npy file"),
    ("a.npy", lambda p: (np.save(p, ROWS), p.write_bytes(p.read_bytes()[:-1])), "bytes, and there are 287"),
    ("a.npy", lambda p: (np.save(p, ROWS), p.write_bytes(p.read_bytes() + b"1")), "bytes, and there are 289"),
    ("a.npy", lambda p: np.save(p, np.array([{}, 1], object), allow_pickle=True), "an array of Python objects"),
    ("a.npy", lambda p: np.save(p, np.zeros(3, "M8[s]")), "store numbers"),
    ("a.npy", lambda p: np.save(p, np.zeros(3, "c8")), "store numbers"),
    ("a.npy", lambda p: np.save(p, np.float64(3)), "'a' is a single value"),
    ("a.npy", lambda p: np.save(p, np.zeros((0, 3))), "'a' has no rows"),
    ("my data.npy", lambda p: np.save(p, ROWS), "cannot be the name of a modality"),
    ("id.npy", lambda p: np.save(p, np.arange(N)), "there is no array besides id"),
    ("a.safetensors", text(b""), "cannot be read"),
    ("a.safetensors", text(b"\xff" * 64), "cannot be read"),
    ("a.safetensors", text(struct.pack("<Q", 2**40) + b"{}"), "cannot be read"),
    ("a.safetensors", text(header(x={"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]})), "cannot be read"),
    ("a.safetensors", text(header(x={"dtype": "F32", "shape": [-3], "data_offsets": [0, 4]}) + bytes(4)), "cannot be"),
    (
        "a.safetensors",
        text(header(x={"dtype": "F9", "shape": [1], "data_offsets": [0, 4]}) + bytes(4)),
        "cannot be read",
    ),
    ("a.safetensors", text(header(x={"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]})), "cannot be read"),
    ("a.safetensors", text(header()), "no tensors in it"),
    ("a.safetensors", lambda p: save_file({"x": torch.zeros(3, dtype=torch.complex64)}, p), "store numbers"),
    ("a.safetensors", lambda p: save_file({"x": torch.zeros(3, 2), "y": torch.zeros(4)}, p), "arrays differ in length"),
    ("a.npz", csr(indices=SPARSE.indices + 5), "'a' is a damaged sparse matrix"),
    ("a.npz", csr(indices=-1 - SPARSE.indices), "'a' is a damaged sparse matrix"),
    ("a.npz", csr(indptr=SPARSE.indptr[::-1].copy()), "'a' is a damaged sparse matrix"),
    ("a.npz", csr(indptr=SPARSE.indptr * 2), "'a' is a damaged sparse matrix"),
    ("a.npz", csr(indices=SPARSE.indices / 2), "indices that are no whole numbers"),
    ("a.npz", csr(data=SPARSE.data[:-2]), "'a' is a damaged sparse matrix"),
    ("a.npz", csr(shape=[-12, 7]), "'a': a sparse matrix of shape [-12, 7]"),
    ("a.npz", csr(shape=[12, 7, 1]), "'a': a sparse matrix of shape [12, 7, 1]"),
    ("a.npz", csr(shape=[2**40, 2**30]), "'a'"),
    ("a.npz", csr(data=np.array([{}] * SPARSE.nnz)), "Python objects"),
    ("a.npz", lambda p: npz(p, x=ROWS, x_features=["a", "b"]), "'x_features' has 2 names, and 'x' has 3 columns"),
    ("a.npz", lambda p: npz(p, x=ROWS, x_features=["a", "b", "a"]), "'x_features': two columns are called 'a'"),
    (
        "a.npz",
        lambda p: npz(p, x=ROWS[..., None], mask_x=np.ones((N, 4))),
        "give one true or false per row, or one per",
    ),
    ("a.npz", lambda p: npz(p, x=ROWS[..., None], mask_x=np.full((N, 3), 2)), "give one true or false per row, or one"),
    (
        "a.npz",
        lambda p: npz(p, x=ROWS[..., None], mask_x=[[1, 0, 1]] * N),
        "row 0: step 2 is there and step 1 is missing",
    ),
    ("a.npz", lambda p: npz(p, x=ROWS[..., None], mask_x=[[1, 0, 0]] * N, length_x=[1] * N), "both say which steps"),
]


@pytest.mark.parametrize("name, make, says", BAD)
def test_files_that_are_refused(tmp_path, name, make, says):
    make(tmp_path / name)
    with pytest.raises(DataError, match="^[^\n]*$") as error:
        read(tmp_path / name)
    assert says in str(error.value)


def test_paths_that_are_no_files(tmp_path):
    for suffix in ("npy", "safetensors", "parquet", "feather"):
        (tmp_path / f"here.{suffix}").write_bytes(b"")
        with pytest.raises(DataError, match=f"her.{suffix}: no such file. Did you mean here.{suffix}"):
            read(tmp_path / f"her.{suffix}")
