"""A partly paired .h5mu of real data through a fit and a query, and its answers back into MuData."""

import numpy as np
import pytest
import torch

import mmppl

pandas = pytest.importorskip("pandas")
anndata = pytest.importorskip("anndata", reason="pip install mmppl[omics]")
mudata = pytest.importorskip("mudata", reason="pip install mmppl[omics]")


@pytest.fixture
def mice(data_root, tmp_path):
    """40 mice, of which 30 have genes and 28 have lipids, in orders of their own."""
    if not (data_root / "nutrimouse").is_dir():
        pytest.skip("no nutrimouse/ among the data")
    with np.load(data_root / "nutrimouse/nutrimouse.npz") as arrays:
        data = {name: arrays[name] for name in arrays}
    names, rng = np.array([f"mouse{i}" for i in range(40)]), np.random.default_rng(0)
    has = {"gene": rng.permutation(30), "lipid": rng.permutation(np.arange(12, 40))}
    path, blocks = tmp_path / "mice.h5mu", {}
    for name, rows in has.items():
        features = pandas.DataFrame(index=data[f"{name}_names"][:12])
        blocks[name] = anndata.AnnData(data[name][rows, :12], pandas.DataFrame(index=names[rows]), features)
    blocks["lipid"].layers["log"] = np.log1p(blocks["lipid"].X)
    mdata = mudata.MuData(blocks)
    for column in ("genotype", "diet"):
        mdata.obs[column] = pandas.Series(data[column], names)
    mdata.write(path)
    return path, data, names, has


def test_names_and_order_survive(mice, tmp_path):
    path, data, names, has = mice
    spec = f"{path}:layer=log"
    run = mmppl.fit("factors", spec, hyper={"latent_dim": 2}, target="genotype", out=tmp_path / "run")
    mdata = mudata.read_h5mu(path)
    assert run.fitted_on.ids.tolist() == mdata.obs_names.tolist() and len(mdata) == 40
    assert run.fitted_on.annotations["diet"].tolist() == mdata.obs["diet"].tolist()
    assert {m.name: m.role for m in run.modalities} == {"gene": "modality", "lipid": "modality", "genotype": "label"}

    loaded = mmppl.Run.load(tmp_path / "run")
    assert loaded.record.data.spec == spec and loaded.data().fingerprint() == run.fitted_on.fingerprint()
    fitted, same, other = (loaded.dataset(source).values["lipid"] for source in (spec, path, f"{path}:"))
    assert torch.equal(fitted, same) and not torch.equal(fitted, other)  # the layer of the fit, unless told otherwise

    answer = loaded.query(mdata, want="gene,lipid,genotype,z", given="gene,lipid", split="all", rows=range(34, -1, -1))
    assert answer.ids.tolist() == mdata.obs_names[34::-1].tolist()
    answer.to_mudata(mdata)
    row_of = {name: row for row, name in enumerate(answer.ids.tolist())}
    for name, rows in has.items():
        assert mdata[name].obs_names.tolist() == names[rows].tolist()
        expected = [answer[name]["mean"][row_of[n]] if n in row_of else np.full(12, np.nan) for n in names[rows]]
        np.testing.assert_array_equal(mdata[name].layers["mmppl_mean"], expected)
    seen = mdata["lipid"].obs_names.isin(answer.ids)
    error = mdata["lipid"].layers["mmppl_mean"] - mdata["lipid"].layers["log"]
    spread = mdata["lipid"].layers["log"].std(0)
    assert np.sqrt((error[seen] ** 2).mean(0) / spread**2).mean() < 1  # in the units of the layer, better than its mean

    answer.save(tmp_path / "answers.h5mu")
    again = mudata.read_h5mu(tmp_path / "answers.h5mu")
    assert again.obs_names.tolist() == answer.ids.tolist()
    assert again["gene"].var_names.tolist() == data["gene_names"][:12].tolist()
    np.testing.assert_array_equal(again["lipid"].X, answer["lipid"]["mean"])
    np.testing.assert_array_equal(again.obsm["X_mmppl"], answer["z"]["mean"])
