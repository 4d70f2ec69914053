"""Single missing cells in programs: what is not there matters nowhere, and what is there is all used."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

import mmppl
from mmppl import Batch, Modality, UsageError, fit, load_program
from mmppl.core.loading import installed_programs
from mmppl.inference.formats.columns import columns_of
from mmppl.testing import check_program, laws
from mmppl.testing.samples import small_gaps

SLOW = {"mwvae", "fmwvae", "jmvae", "mopoe", "mdm", "ima", "mmvae", "mmjsd", "mvtcae", "vcca", "dcca"}
QUICK = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in sorted(installed_programs())]


def small(name):
    return (
        {"hidden": 8, "latent_dim": 2}
        if name not in ("factors", "mdm")
        else {"latent_dim": 2}
        if name == "factors"
        else {}
    )


@pytest.mark.parametrize("name", QUICK)
def test_no_program_sees_what_is_missing(name):
    """Where NaN and 1e30 stand in gaps, no bit of loss, gradients and answers differs."""
    torch.manual_seed(0)
    data = small_gaps(rows=8)
    program = load_program(name)(data.modalities, **small(name))
    usable = data.take(program.usable(data.observed).nonzero().squeeze(-1))
    laws.fillers(program.eval(), usable)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*installed_programs()} - {"cmmd", "mdm"}))
def test_programs_keep_their_promises(name):
    own = {"views": ("image",)} if name == "vcca" else {}
    assert "fillers" in check_program(load_program(name), data=small_gaps(), **own)


def test_encoders_see_the_values_and_the_mask():
    there = torch.tensor([[True, False, True], [True, True, True]])
    values = torch.tensor([[1.0, torch.nan, 3.0], [4.0, 5.0, 6.0]])
    batch = Batch({"x": values}, {"x": torch.ones(2).bool()}, torch.arange(2), 2, ("x",), present={"x": there})
    gaps, whole = Modality("x", (3,), "normal", gaps=True), Modality("x", (3,), "normal")
    assert batch.input(gaps).tolist() == [[1, 0, 3, 1, 0, 1], [4, 5, 6, 1, 1, 1]]
    assert batch.input(whole).tolist() == [[1, 0, 3], [4, 5, 6]]  # of a run that had no gaps
    assert gaps.as_input(torch.zeros(1, 3)).tolist() == [[0, 0, 0, 1, 1, 1]]


def test_what_takes_no_gaps_says_so():
    data = small_gaps()
    with pytest.raises(UsageError, match="image: networks=conv1d take no missing cells"):
        load_program("mvae")(data.modalities, networks="conv1d", latent_dim=2, hidden=8)

    class Whole(load_program("mvae")):
        takes_gaps = False

    with pytest.raises(UsageError, match="Whole: image, signal, word: it takes no single missing cells"):
        Whole(data.modalities)
    whole = [replace(m, gaps=False) for m in data.modalities]
    with pytest.raises(UsageError, match="^Whole: image: .* rows lack some of its cells, and it takes no gaps; fill"):
        mmppl.FittedModel(Whole(whole, latent_dim=2, hidden=8), data=replace(data, modalities=tuple(whole))).query(
            want="z", split="all"
        )


@pytest.fixture(scope="module")
def imputed():
    """A linear world with a fifth of the cells missing, whose factors are fitted; and what is missing."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(200, 2))
    lab, other = (u @ rng.normal(size=(2, d)) + 0.3 * rng.normal(size=(200, d)) for d in (8, 5))
    hole = rng.random(lab.shape) < 0.2
    arrays = {"lab": np.where(hole, np.nan, lab), "other": other}
    return fit("factors", arrays, hyper=dict(latent_dim=4)), arrays, lab, hole


def test_the_posterior_is_that_of_the_cells_there_are(imputed):
    """Against the Gaussian over all cells, conditioned row by row in float64; of a Normal, all of it is exact."""
    run, arrays, _, hole = imputed
    program, data = run.program, run.data()
    found = run.query(want=["lab"], split="all", only_missing=True, rows=slice(20))["lab"]
    w = torch.cat([program.linear(n).weight for n in ("lab", "other")]).double()
    b = torch.cat([program.linear(n).bias for n in ("lab", "other")]).double()
    noise = torch.cat([program._variance(n) for n in ("lab", "other")])
    whole = w @ w.T + noise.diag()
    values = torch.cat([data.values[n] for n in ("lab", "other")], -1).double()
    m = data.modalities[0]
    for row in range(20):
        known = torch.cat([data.present["lab"][row], torch.ones(5).bool()])
        gain = whole[:, known] @ torch.linalg.inv(whole[known][:, known])
        mean = (b + gain @ (values[row, known] - b[known]))[:8]
        sd = (whole - gain @ whole[known]).diagonal().sqrt()[:8]
        at = hole[row]
        spread = np.array(m.spread)
        np.testing.assert_allclose(
            found["mean"][row][at], (mean.detach().numpy() * spread + m.shift)[at], rtol=1e-3, atol=1e-4
        )
        np.testing.assert_allclose(found["std"][row][at], (sd.detach().numpy() * spread)[at], rtol=1e-3)
    assert len(arrays) == 2


def test_the_evidence_is_that_of_the_cells_there_are(imputed):
    """−½ (d ln 2π + ln |Σ| + Mahalanobis) of what a row has, in the units of the input; the guide is the posterior."""
    run, arrays, _, _ = imputed
    program, data = run.program, run.data()
    nats = run.query(want=["evidence"], split="all", rows=slice(5), draws=4)["evidence"]["nats"]
    weight, bias = (
        torch.cat([getattr(program.linear(n), part) for n in ("lab", "other")]) for part in ("weight", "bias")
    )
    noise = torch.cat([program._variance(n) for n in ("lab", "other")])
    spread = torch.tensor([*data.modalities[0].spread, *data.modalities[1].spread]).double()
    shift = torch.tensor([*data.modalities[0].shift, *data.modalities[1].shift]).double()
    values = torch.from_numpy(np.concatenate([arrays["lab"], arrays["other"]], 1))
    for row in range(5):
        known = ~values[row].isnan()
        w = (weight.double() * spread[:, None])[known].detach()
        law = torch.distributions.MultivariateNormal(
            (shift + spread * bias.double())[known].detach(), w @ w.T + (noise * spread**2)[known].detach().diag()
        )
        assert nats[row] == pytest.approx(float(law.log_prob(values[row][known])), abs=2e-3)


def test_only_missing_cells_are_answered(imputed):
    run, arrays, lab, hole = imputed
    answer = run.query(arrays, want=["lab"], split="all", only_missing=True, keep_draws=True, draws=8)
    found = answer["lab"]
    assert np.array_equal(found["imputed"], hole)
    for key in ("mean", "q05", "q50", "q95"):
        np.testing.assert_array_equal(found[key][~hole], lab[~hole])  # to the last bit
    assert (found["draws"] == lab[:, None])[np.broadcast_to(~hole[:, None], found["draws"].shape)].all()
    assert (found["std"][~hole] == 0).all() and (found["std"][hole] > 0).all()
    assert np.sqrt(((found["mean"] - lab)[hole] ** 2).mean()) < 0.45  # 0.3 is noise; the column means have 1.4
    assert " of 8 missing: " in answer.table() and "lab.imputed.0" in columns_of(answer)
    given = run.query(arrays, given=["other"], want=["lab"], split="all", only_missing=True)["lab"]
    np.testing.assert_allclose(
        given["mean"], found["mean"], rtol=1e-5, atol=1e-6
    )  # what a row has of lab is given, too
    with pytest.raises(UsageError, match="nothing wanted can be missing"):
        run.query(arrays, want=["z"], only_missing=True)


def test_what_was_observed_is_written_as_it_was_read(imputed, tmp_path):
    """Decimal numbers, of which some rows are asked in another order and in blocks: 15.7 stays 15.7."""
    run, arrays, lab, hole = imputed
    values = np.round(lab, 1)
    frame = {"lab": np.where(hole, np.nan, values), "other": arrays["other"]}
    rows = [7, 3, 11]
    mmppl.write_blocks(
        tmp_path / "a.csv", run.query_blocks(frame, want=["lab"], split="all", rows=rows, only_missing=True, draws=2)
    )
    with open(tmp_path / "a.csv", newline="") as file:
        written = [[row[f"lab.mean.{i}"] for i in range(8)] for row in csv.DictReader(file)]
    for at, row in enumerate(rows):
        assert [written[at][i] for i in range(8) if not hole[row, i]] == [str(v) for v in values[row][~hole[row]]]


def test_gaps_in_data_of_a_complete_run(imputed):
    """Answered and told; the other way round, too."""
    _, arrays, lab, hole = imputed
    data = mmppl.read({"lab": lab, "other": arrays["other"]})
    run = mmppl.FittedModel(load_program("mvae")(data.modalities, latent_dim=2, hidden=4, layers=1), data=data)
    answer = run.query(arrays, want=["lab"], only_missing=True, split="all", draws=2)
    assert np.isfinite(answer["lab"]["mean"]).all() and "cells are missing in" in answer.warnings[0]
    filled = run.query(
        {**arrays, "lab": np.where(hole, lab[run.data().split == 0].mean(0), lab)}, want=["z"], split="all"
    )
    np.testing.assert_allclose(run.query(arrays, want=["z"], split="all")["z"]["mean"], filled["z"]["mean"], atol=1e-4)


@pytest.mark.slow
def test_classes_and_bits_are_imputed():
    data = small_gaps(rows=40)
    run = fit("factors", data, hyper=dict(latent_dim=3))
    found = run.query(data, want=["word", "image", "label"], only_missing=True, split="all", draws=2)
    word, known = found["word"], data.present["word"].numpy()
    codes = data.values["word"].numpy()
    assert np.array_equal(word["prob"].argmax(-1)[known], codes[known]) and (word["prob"].max(-1)[known] == 1).all()
    assert np.array_equal(word["predicted"][known], np.array(["a", "b", "c", "d"])[codes[known]])
    np.testing.assert_array_equal(
        found["image"]["mean"][data.present["image"].numpy()], data.values["image"][data.present["image"]]
    )
    assert np.array_equal(found["label"]["imputed"], ~data.observed["label"].numpy())


def test_noise_is_calibrated_by_the_cells_that_are_there():
    """Twice the noise in every cell: the factor is 2, whatever stands in gaps."""
    from mmppl.train.calibration.noise import Residuals, noise_factors
    from mmppl.train.calibration.questions import cells

    m = Modality("x", (3,), "normal", 1.0, gaps=True)
    torch.manual_seed(0)
    there = torch.rand(800, 3) < 0.6
    fn = m.family(m, torch.zeros(3, 800, 3)).of_elements(there)
    rows = torch.arange(800) < 700
    truth = torch.where(there, 2 * torch.randn(800, 3), 1e6)
    known = cells(fn, rows)
    assert torch.equal(known, there[:700])
    residuals = Residuals.of(fn.mean[:, rows], fn.variance[:, rows], truth[rows], known)
    factors = noise_factors([residuals], shared=False)
    assert factors.shape == (3,) and factors.exp().sub(2).abs().max() < 0.2
    present = residuals.log_density()[known].double().mean()
    assert residuals.mean_log_density() == pytest.approx(float(present), rel=1e-6)


def test_a_default_is_chosen():
    assert mmppl.load_program("factors").takes_gaps and not mmppl.load_program("factors").takes_elements
