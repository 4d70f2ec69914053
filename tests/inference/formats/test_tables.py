"""Answers as DataFrames, AnnData, MuData and InferenceData: by the names of rows and features."""

import numpy as np
import pytest

from mmppl import Answer, UsageError

IDS = ["c", "a", "x"]


def answer() -> Answer:
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(2), 3)
    want = {
        "z": {"mean": rng.normal(size=(3, 2)), "std": rng.random((3, 2)), "draws": rng.normal(size=(3, 5, 2))},
        "rna": {"mean": rng.normal(size=(3, 3)).astype("f4"), "std": rng.random((3, 3))},
        "prot": {"mean": rng.normal(size=(3, 2)), "std": rng.random((3, 2))},
        "age": {"mean": rng.normal(size=3), "std": rng.random(3)},
        "label": {"prob": prob, "predicted": np.array(["B", "T"])[prob.argmax(1)], "classes": ["B", "T"]},
    }
    return Answer("model", None, np.array(IDS), want, features={"rna": ("G1", "G2", "G3"), "prot": ("P1", "P2")})


def test_frames_have_the_columns_of_csv_and_the_ids():
    pytest.importorskip("pandas")
    given = answer()
    frame = given.to_frame()
    assert frame.index.tolist() == IDS and frame.index.name == "id" and "rna.mean.G2" in frame
    np.testing.assert_array_equal(frame["rna.mean.G2"], given["rna"]["mean"][:, 1])
    assert frame["label.predicted"].tolist() == given["label"]["predicted"].tolist()
    with pytest.raises(UsageError, match="backend padnas.*Did you mean pandas"):
        given.to_frame("padnas")


@pytest.mark.parametrize("backend", ["polars", "pyarrow"])
def test_frames_of_other_libraries(backend):
    pytest.importorskip(backend)
    given = answer()
    table = given.to_frame(backend)
    rows = table.to_dicts() if backend == "polars" else table.to_pylist()
    assert [row["id"] for row in rows] == IDS
    assert [row["prot.mean.P2"] for row in rows] == given["prot"]["mean"][:, 1].tolist()
    np.testing.assert_array_equal([row["z.draws"] for row in rows], given["z"]["draws"])


def test_draws_without_and_with_arviz():
    given = answer()
    del given.want["z"]["draws"]
    with pytest.raises(UsageError, match="keep_draws=True"):
        given.to_arviz()
    pytest.importorskip("arviz")
    given = answer()
    posterior = given.to_arviz().posterior
    assert posterior["z"].dims == ("chain", "draw", "row", "z_axis0") and posterior["row"].values.tolist() == IDS
    np.testing.assert_array_equal(posterior["z"].sel(row="a")[0], given["z"]["draws"][1])


def test_an_anndata_gets_what_was_answered_about_its_rows():
    anndata = pytest.importorskip("anndata", reason="pip install mmppl[omics]")
    pandas = pytest.importorskip("pandas")
    names = {"obs": pandas.DataFrame(index=list("abcd")), "var": pandas.DataFrame(index=["G3", "G0", "G1", "G2"])}
    adata = anndata.AnnData(np.zeros((4, 4)), **names)
    given = answer()
    assert given.to_anndata(adata) is adata
    at = [1, None, 0, None]  # of a, b, c, d in the answer
    for number, row in enumerate(at):
        for key, part in (("mmppl_mean", "mean"), ("mmppl_sd", "std")):
            expected = (
                [np.nan] * 4 if row is None else [*(given["rna"][part][row][[2]]), np.nan, *given["rna"][part][row][:2]]
            )
            np.testing.assert_array_equal(adata.layers[key][number], expected)
        for key, name, part in (
            ("X_mmppl", "z", "mean"), ("X_mmppl_sd", "z", "std"), ("mmppl_prot", "prot", "mean"),
            ("mmppl_label_prob", "label", "prob"),
        ):  # fmt: skip
            np.testing.assert_array_equal(
                np.asarray(adata.obsm[key])[number], given[name][part][row] if row is not None else np.nan
            )
    assert adata.obs["mmppl_label"].tolist()[::2] == given["label"]["predicted"][[1, 0]].tolist()
    assert adata.obs["mmppl_label"].isna().tolist() == [False, True, False, True]
    np.testing.assert_array_equal(
        adata.obs["mmppl_age"], [given["age"]["mean"][1], np.nan, given["age"]["mean"][0], np.nan]
    )
    assert list(adata.obsm["mmppl_prot"].columns) == ["P1", "P2"]
    with pytest.raises(UsageError, match="no row of the answer is there, such as 'c'"):
        given.to_anndata(adata[[1, 3]].copy())


def test_a_mudata_gets_layers_and_what_its_modalities_lack(tmp_path):
    anndata = pytest.importorskip("anndata", reason="pip install mmppl[omics]")
    mudata = pytest.importorskip("mudata", reason="pip install mmppl[omics]")
    pandas = pytest.importorskip("pandas")

    def block(rows, columns):
        return anndata.AnnData(
            np.zeros((len(rows), len(columns))), pandas.DataFrame(index=rows), pandas.DataFrame(index=columns)
        )

    blocks = {"rna": block(list("xac"), ["G1", "G2", "G3"]), "prot": block(list("ab"), ["P2", "P1"])}
    mudata.set_options(pull_on_update=False)
    mdata, given = mudata.MuData(blocks), answer()
    given.to_mudata(mdata)
    np.testing.assert_array_equal(mdata["rna"].layers["mmppl_mean"], given["rna"]["mean"][[2, 1, 0]])
    np.testing.assert_array_equal(mdata["prot"].layers["mmppl_mean"][0], given["prot"]["mean"][1][::-1])
    assert np.isnan(mdata["prot"].layers["mmppl_mean"][1]).all() and "mmppl_rna" not in mdata.obsm
    rows = [IDS.index(name) if name in IDS else -1 for name in mdata.obs_names]
    for row, found in zip(rows, np.asarray(mdata.obsm["mmppl_prot"])):  # x and c have no prot
        np.testing.assert_array_equal(found, given["prot"]["mean"][row] if row >= 0 else np.nan)
    mdata.write(tmp_path / "with_answers.h5mu")
    given.save(tmp_path / "a.h5mu")
    again = mudata.read_h5mu(tmp_path / "a.h5mu")
    assert again.obs_names.tolist() == IDS and again["rna"].var_names.tolist() == ["G1", "G2", "G3"]
    np.testing.assert_array_equal(again["prot"].X, given["prot"]["mean"])
    np.testing.assert_array_equal(again.obsm["X_mmppl"], given["z"]["mean"])
    given.save(tmp_path / "a.h5ad")
    alone = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert alone.obs_names.tolist() == IDS and alone.obs["mmppl_label"].tolist() == given["label"]["predicted"].tolist()
    np.testing.assert_array_equal(alone.obsm["mmppl_rna"].to_numpy(), given["rna"]["mean"])
