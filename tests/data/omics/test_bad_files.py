"""Files of AnnData and MuData that are damaged, hostile or incomplete: one line that names the file and what to do."""

import os

import numpy as np
import pytest
from scipy import sparse

import mmppl
from mmppl.errors import DataError

h5py = pytest.importorskip("h5py", reason="pip install mmppl[omics]")

from reference.h5ad import write_anndata, write_column, write_matrix, write_mudata, write_table  # noqa: E402

ROWS, GENES = [f"c{i}" for i in range(6)], ["A", "B", "C"]
MATRIX = np.arange(18.0).reshape(6, 3) / 7


def replace(file, name, write, *content):
    """Write a member anew."""
    del file[name]
    parent, _, last = name.rpartition("/")
    write(file[parent] if parent else file, last, *content)


def sparse_part(name, values):
    def change(file):
        replace(file, "X", write_matrix, sparse.csr_matrix(MATRIX))
        del file["X"][name]
        file["X"][name] = values

    return change


def linked(name, link):
    def change(file):
        del file[name]
        file[name] = link

    return change


def unknown_code(file):
    write_column(file["obs"], "kind", ("categorical", ["a", "b"], np.array([0, 1, 2, 0, 1, 0])))
    file["obs"].attrs["column-order"] = np.array(["kind"], dtype=h5py.string_dtype())


def lost_column(file):
    file["obs"].attrs["column-order"] = np.array(["age"], dtype=h5py.string_dtype())


def short_column(file):
    write_column(file["obs"], "age", np.arange(4.0))
    lost_column(file)


def bomb(name, dtype="f4"):
    def change(file):
        del file[name]
        file.create_dataset(name, (6, 10**13), dtype, chunks=(1, 4096), compression="gzip")  # some kB in the file

    return change


def virtual(file):
    del file["X"]
    layout = h5py.VirtualLayout(shape=(6, 3), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "X", shape=(6, 3))
    file.create_virtual_dataset("X", layout)


def external(file):
    del file["X"]
    file.create_dataset("X", (6, 3), "u1", external=[("/etc/hostname", 0, 18)])


def compound(file):
    del file["obs"]
    file["obs"] = np.array([(b"c0", 1)], dtype=[("index", "S2"), ("n", "i4")])


ANNDATA = {  # what becomes of a good .h5ad, and what is said of it
    "no rows": (lambda f: [replace(f, "obs", write_table, []), replace(f, "X", write_matrix, MATRIX[:0])], "no rows"),
    "no features": (
        lambda f: [replace(f, "var", write_table, []), replace(f, "X", write_matrix, MATRIX[:, :0])], "no features",
    ),
    "rows of one name": (lambda f: replace(f, "obs", write_table, [*"abcadb"]), "rows 0 and 3 .*'a'.*make_unique"),
    "fewer names of rows": (lambda f: replace(f, "obs", write_table, ROWS[:4]), r"shape \(6, 3\).* 4 names of rows"),
    "fewer names of features": (lambda f: replace(f, "var", write_table, ["A"]), "3 columns and 1 names"),
    "a cube": (lambda f: replace(f, "X", write_matrix, np.zeros((6, 3, 2))), r"shape \(6, 3, 2\)"),
    "texts in X": (lambda f: replace(f, "X", write_column, np.full((6, 3), "a")), "store numbers"),
    "complex numbers": (lambda f: replace(f, "X", write_matrix, MATRIX + 1j), "complex.*store numbers"),
    "no obs": (lambda f: f.__delitem__("obs"), "no obs"),
    "no var": (lambda f: f.__delitem__("var"), "no var"),
    "no X": (lambda f: f.__delitem__("X"), "nothing in it has a matrix X.*layer=NAME"),
    "no index": (lambda f: f["obs"].attrs.__delitem__("_index"), "not a whole .h5ad file"),
    "an index that is not there": (lambda f: f["obs"].__delitem__("_index"), "not a whole .h5ad file"),
    "a column that is not there": (lost_column, "not a whole .h5ad file"),
    "a short column": (short_column, "'age' of obs has shape .4,., and there are 6 rows"),
    "a code without a category": (unknown_code, "not a whole .h5ad file.*category"),
    "sparse indices beyond the columns": (sparse_part("indices", np.full(17, 99)), "sparse matrix is inconsistent"),
    "sparse indices below 0": (sparse_part("indices", np.full(17, -5)), "sparse matrix is inconsistent"),
    "sparse rows that end nowhere": (sparse_part("indptr", [0, 3, 2, 9, 12, 15, 17]), "inconsistent .indptr"),
    "sparse rows beyond the data": (sparse_part("indptr", [0, 3, 6, 9, 12, 15, 99]), "inconsistent .indptr"),
    "sparse rows too few": (sparse_part("indptr", [0, 17]), "inconsistent .indptr"),
    "fewer sparse numbers": (sparse_part("data", np.ones(3)), "inconsistent .indptr"),
    "an unknown kind of matrix": (lambda f: [f.__delitem__("X"), f.create_group("X")], "store it dense"),
    "a link to another file": (linked("X", h5py.ExternalLink("/etc/hostname", "/X")), "link to elsewhere"),
    "a soft link": (linked("obs", h5py.SoftLink("/var")), "link to elsewhere"),
    "rows of another file": (linked("obs/_index", h5py.ExternalLink("/etc/hostname", "/")), "link to elsewhere"),
    "a virtual X": (virtual, "lies in other files"),
    "an external X": (external, "lies in other files"),
    "a bomb": (bomb("X"), "240 TB|takes .* of memory"),
    "a bomb of names": (bomb("obs/_index"), "takes .* of memory"),
    "an old file": (compound, "before 0.7.*write it again"),
    "infinite": (lambda f: f["X"].__setitem__((2, 1), np.inf), r"'X', row 2 \(id 'c2'\), column 1 \(B\): inf"),
    "control characters": (lambda f: replace(f, "var", write_table, ["A", "B\x1b[2J", "C"]), "control characters"),
}  # fmt: skip


@pytest.mark.parametrize("case", ANNDATA)
def test_bad_h5ad(tmp_path, case):
    change, words = ANNDATA[case]
    path = tmp_path / "bad.h5ad"
    with h5py.File(path, "w") as file:
        write_anndata(file, MATRIX, ROWS, GENES)
        change(file)
    refused(path, words)


def twice(file):
    file["mod"].copy("a", "a/b")
    file["mod"].move("a/b", "a b")
    file["mod"].copy("a", "a_b")


MUDATA = {
    "shared features": (lambda f: f.attrs.__setitem__("axis", 1), "share features, not rows"),
    "no modality": (lambda f: [f["mod"].__delitem__("a"), f["mod"].__delitem__("b")], "no modality"),
    "a file in a file": (lambda f: f["mod/a"].create_group("mod"), "a MuData in a MuData"),
    "a modality that is an array": (
        lambda f: replace(f, "mod/a", write_matrix, MATRIX),
        "'a' is an array, not a modality",
    ),
    "names that become one": (twice, "two modalities are called 'a_b'"),
    "rows of one name": (lambda f: replace(f, "mod/b/obs", write_table, [*"xyxyxy"]), "of b are both called 'x'"),
    "no obs of all": (lambda f: f.__delitem__("obs"), "not a whole .h5mu file"),
    "a modality elsewhere": (linked("mod/a", h5py.ExternalLink("/etc/hostname", "/")), "link to elsewhere"),
}


@pytest.mark.parametrize("case", MUDATA)
def test_bad_h5mu(tmp_path, case):
    change, words = MUDATA[case]
    path = tmp_path / "bad.h5mu"
    with h5py.File(path, "w") as file:
        write_mudata(file, {"a": (MATRIX, ROWS, GENES), "b": (MATRIX, ROWS, GENES)}, ROWS)
        change(file)
    refused(path, words)


def test_bytes_that_are_no_file_of_this_kind(tmp_path):
    path = tmp_path / "bad.h5ad"
    with h5py.File(path, "w") as file:
        write_anndata(file, MATRIX, ROWS, GENES)
    good = path.read_bytes()
    cut = [good[:length] for length in range(100, len(good), 2000)]
    for content in (b"", b"PK\3\4", b"\x89HDF\r\n\x1a\n", good[:-1], good[512:], *cut):
        path.write_bytes(content)
        refused(path, "not a whole")
    path.unlink()
    refused(path, "cannot be read .*check the path")
    os.mkfifo(path)
    refused(path, "a pipe or device")


def refused(path, words):
    with pytest.raises(DataError, match=words) as caught:
        mmppl.read(path)
    assert str(path) in str(caught.value) or "inf" in words  # of a number in a row, the row and the column
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
