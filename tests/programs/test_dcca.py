"""DCCA: its special cases against closed forms, missing views, probes that a run keeps, and what is refused."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

import mmppl
from mmppl import DataError, Modality, UsageError, fit, load_program, read
from mmppl.cli import main
from mmppl.core.calibration import uncalibrated
from mmppl.evaluation.after_fit import after_fit
from mmppl.evaluation.evaluate import metric_names
from mmppl.inference.query import ask

DCCA = load_program("dcca")
SMALL = dict(latent_dim=3, hidden=8, layers=1)


def arrays(rows=240, seed=0):
    """Two views, of which one is a curved map, and labels: of a common cause, a class and a number."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(rows, 3))
    left = np.c_[cause, rng.normal(size=(rows, 2))] @ rng.normal(size=(5, 5)) + 0.3 * rng.normal(size=(rows, 5))
    right = np.c_[cause**3, rng.normal(size=(rows, 1))] @ rng.normal(size=(4, 4)) + 0.3 * rng.normal(size=(rows, 4))
    split = np.arange(rows) % 4
    return dict(
        left=left, right=right, kind=(cause[:, 0] > 0).astype(int), score=cause[:, 1],
        split=np.array(["train", "train", "valid", "test"])[split],
    )  # fmt: skip


AS = {"kind": "categorical:role=label", "score": "normal:role=label", "left": "normal", "right": "normal"}


@pytest.fixture(scope="module")
def data():
    return read(arrays(), as_=AS)


@pytest.fixture(scope="module")
def linear(data):
    return fit("dcca", data, hyper=dict(latent_dim=3, layers=0, reg=0.0))


def columns(data, part="train"):
    rows = data.rows(part)
    return [data.values[name][rows].double().reshape(len(rows), -1) for name in ("left", "right")]


def test_without_layers_it_is_cca_in_closed_form(data, linear):
    x, y = (v - v.mean(0) for v in columns(data))
    q, r = (torch.linalg.qr(v)[0] for v in (x, y))
    rho = torch.linalg.svdvals(q.T @ r)[:3]
    torch.testing.assert_close(linear.program.correlations, rho, rtol=0, atol=1e-8)
    z = [linear.query(given=name, want="z", split="train", draws=1)["z"]["mean"] for name in ("left", "right")]
    for j in range(3):
        assert np.corrcoef(z[0][:, j], z[1][:, j])[0, 1] == pytest.approx(rho[j].item(), abs=1e-6)
        assert [part[:, j].std(ddof=1) for part in z] == pytest.approx([1, 1], abs=1e-5)
    both = linear.query(given=["left", "right"], want="z", split="train", draws=1)["z"]["mean"]
    np.testing.assert_allclose(both, (z[0] + z[1]) / 2, atol=1e-6)


def test_held_out_correlation_is_told_after_the_fit_and_by_evaluate(data, linear):
    found = linear.evaluate(metrics=["correlation"], split="test")["metrics"]
    z = [linear.query(given=name, want="z", split="test", draws=1)["z"]["mean"] for name in ("left", "right")]
    wanted = [np.corrcoef(z[0][:, j], z[1][:, j])[0, 1] for j in range(3)]
    assert found["correlation_each"]["correlation"] == pytest.approx(wanted, abs=1e-6)
    assert found["correlation_total"] == pytest.approx(sum(wanted), abs=1e-6)
    after = after_fit(linear, epochs=1, batch_size=64)["metrics"]
    assert after["correlation_total"] == pytest.approx(found["correlation_total"])
    assert "correlation_total" not in metric_names(load_program("mvae")(data.modalities))


def test_labels_are_read_by_a_penalised_regression_that_the_run_keeps(data, linear, tmp_path):
    """Over the sets of views: the gradient of a logistic regression is 0, and a number has the ridge regression."""
    program, sets = linear.program, (["left", "right"], ["left"], ["right"])
    batch = data.batch(data.rows("train"), program.encoded)
    shown = [batch.seeing(given) for given in sets]
    z = [program.code(one) for one in shown]
    x = torch.cat([mmppl.set_features(u, program._shown(one, u)) for one, u in zip(shown, z)]).detach().double()
    layer = program.probes["kind"][0]
    weight, bias = (p.detach().double().requires_grad_() for p in (layer.weight, layer.bias))
    log_p = (x @ weight.T + bias).log_softmax(-1).gather(-1, batch.value("kind").repeat(3).unsqueeze(-1))
    gradients = torch.autograd.grad(program.ridge / 2 * weight.square().sum() - log_p.sum() / 3, [weight, bias])
    assert max(g.abs().max().item() for g in gradients) < 0.05  # of sums over 120 rows
    layer, score = program.probes["score"][0], program.modality("score")
    with uncalibrated(program):
        variance = score.family(score, torch.zeros(1, 1)).variance.double().item()
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    penalty = torch.diag(torch.tensor([program.ridge] * (x.shape[1] - 1) + [0.0])).double()
    wanted = torch.linalg.solve(
        x.T @ x / 3 / variance + penalty, x.T @ batch.value("score").repeat(3).double() / 3 / variance
    )
    found = torch.cat([layer.weight[0], layer.bias]).double()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)  # where L-BFGS ends
    again = mmppl.Run.load(linear.save(tmp_path / "run").folder)
    for given in ("left", "right", "left,right"):
        own, other = (run.query(data, given=given, want="kind,score", draws=2) for run in (linear, again))
        np.testing.assert_array_equal(own["kind"]["prob"], other["kind"]["prob"])
        truth = data.values["kind"][data.rows("test")].numpy()
        if "left" in given:  # the other view holds the cubes
            assert (own["kind"]["prob"].argmax(-1) == truth).mean() > 0.7, given


def test_networks_find_what_a_linear_map_does_not(data, linear):
    """The right view is the cube of the causes. Held out, with a margin of 0.1 of 3."""
    lines = []
    run = fit(
        "dcca", data, hyper=dict(latent_dim=3, hidden=32, layers=1), steps=80, batch_size=120, lr=1e-2,
        log=lambda line: lines.append(line) if isinstance(line, str) else None,
    )  # fmt: skip
    totals = [one.evaluate(metrics=["correlation_total"])["metrics"]["correlation_total"] for one in (linear, run)]
    assert totals[1] > totals[0] + 0.1
    assert any(line.startswith("correlation of the training rows: ") for line in lines)


def batch_of(data, program, rows=None):
    return data.batch(torch.arange(len(data)) if rows is None else rows, program.encoded)


def test_a_step_ascends_the_singular_values_of_its_batch(data):
    """Value and gradient are those of svdvals; and after the first batch the running covariances are its own."""
    torch.manual_seed(0)
    program = DCCA(data.modalities, **SMALL).train()
    batch = batch_of(data, program)
    value, weight = program.objective(batch)["corr.z"]
    h = [program.encoders[n](batch.input(program.modality(n))).double() for n in ("left", "right")]
    h = [x - x.mean(0) for x in h]
    n = len(batch) - 1
    blocks = [x.T @ x / n for x in h]
    roots = [torch.linalg.cholesky(s + program.reg * s.diagonal().mean() * torch.eye(3, dtype=s.dtype)) for s in blocks]
    half = torch.linalg.solve_triangular(roots[0], h[0].T @ h[1] / n, upper=False)
    wanted = torch.linalg.svdvals(torch.linalg.solve_triangular(roots[1], half.T, upper=False)).sum()
    assert weight == -1.0 and value.item() == pytest.approx(wanted.item(), abs=1e-6)
    parameters = list(program.encoders.parameters())
    ours, theirs = (torch.autograd.grad(of, parameters) for of in (value, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)  # float32 networks
    program.stage = "networks"  # and the codes of a batch that is only looked at are those of running covariances
    with torch.no_grad():
        held = program.eval().objective(batch)["corr.z"][0]
    assert held.item() == pytest.approx(wanted.item(), abs=0.02)  # but for the ridge


def test_rows_that_lack_a_view_count_for_the_other(data):
    holes = data.mask_at_random(rate=0.3, seed=1)
    run = fit("dcca", holes, hyper=dict(latent_dim=3, layers=0, reg=0.0), calibrate=False)
    rows = holes.rows("train")
    x, y = (torch.cat([v, v.new_ones(len(v), 1)], 1)[:, :-1] for v in columns(data))
    seen = torch.stack([holes.observed[n][rows] for n in ("left", "right")], -1)
    blocks = [torch.cov(v[seen[:, i]].T) for i, v in enumerate((x, y))]
    both = seen.all(-1)
    cross = torch.cov(torch.cat([x, y], 1)[both].T)[: x.shape[1], x.shape[1] :]
    roots = [torch.linalg.cholesky(s) for s in blocks]
    half = torch.linalg.solve_triangular(roots[0], cross, upper=False)
    rho = torch.linalg.svdvals(torch.linalg.solve_triangular(roots[1], half.T, upper=False))[:3]
    torch.testing.assert_close(run.program.correlations, rho, rtol=0, atol=1e-6)
    answer = run.query(want=["z", "kind"], draws=1)
    assert np.isfinite(answer["z"]["mean"]).all() and np.isfinite(answer["kind"]["prob"]).all()


@pytest.mark.slow
def test_three_views_with_decoders_generate_each_other():
    own = arrays()
    rng = np.random.default_rng(3)
    third = own["left"][:, :3] @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(len(own["left"]), 6))
    data = read(own | {"third": third}, as_=AS)
    run = fit("dcca", data, hyper=dict(latent_dim=4, layers=0, reconstruct=1.0), steps=150, lr=2e-2, batch_size=120,
              refit=False)  # fmt: skip
    assert not run.program.linear and set(run.program.targets()) == {"left", "right", "third", "kind", "score"}
    r2 = run.evaluate(metrics=["r2.third"], conditioning_sets=["left", "left+right"], draws=1)["metrics"]["r2.third"]
    assert r2["left"] > 0.4 and r2["left+right"] > 0.3
    std = run.query(given="left", want="third", draws=4)["third"]["std"]
    assert (std > 0).all(), "the noise is calibrated"


def test_reconstruction_is_a_squared_error_of_the_own_outputs(data):
    torch.manual_seed(0)
    program = DCCA(data.modalities, **SMALL, reconstruct=0.5).eval()
    batch = batch_of(data, program)
    terms = program.objective(batch)
    for name in ("left", "right"):
        h = program.encoders[name](batch.input(program.modality(name)))
        error = (program.decoders[name][1](h) - batch.value(name)).square().sum(-1).mean()
        size = program.modality(name).size
        value, weight = terms[f"nll.{name}"]
        assert weight == 0.5 and value.item() == pytest.approx(error.item() + size / 2 * np.log(np.pi), rel=1e-5)


def test_codes_have_no_density_and_views_no_decoder(linear):
    for asked, words in (
        (dict(want="evidence"), "DCCA has no evidence: its guide encodes a row as one point"),
        (dict(want="z", method="importance"), "no answer by importance sampling"),
        (dict(given="left", want="right"), "DCCA has no distribution for right; it answers about z, kind, score"),
    ):
        with pytest.raises(UsageError, match=words):
            linear.query(**asked)
    prior = linear.query(given=[], want="z", draws=1)["z"]
    assert (prior["mean"] == 0).all() and (prior["std"] == 1).all()


@pytest.mark.slow
def test_figures_are_of_what_it_predicts(data, tmp_path):
    run = fit("dcca", data, hyper=dict(latent_dim=3, layers=0), out=tmp_path / "run")
    assert {path.stem for path in run.plot()} >= {"generated", "latent", "loss"}


def test_what_it_cannot_take_is_one_line(data):
    one = [m for m in data.modalities if m.name != "right"]
    with pytest.raises(UsageError, match="^DCCA: left: correlation needs two views; give another one, or [^\n]*$"):
        DCCA(one)
    with pytest.raises(UsageError, match="^DCCA: latent_dim=0 has to be at least 1"):
        DCCA(data.modalities, latent_dim=0)
    with pytest.raises(UsageError, match="reg=-1.0 is negative"):
        DCCA(data.modalities, reg=-1.0)
    site = Modality("site", (), "categorical", role="condition", classes=("p", "q"))
    with pytest.raises(UsageError, match="DCCA: site: it takes no conditions"):
        DCCA([*data.modalities, site])
    with pytest.raises(
        UsageError, match="batches of 8 rows for latent_dim=10, .*batch_size of 100 or more, or a smaller latent_dim"
    ):
        fit("dcca", data, hyper=dict(latent_dim=10, hidden=8), steps=40, batch_size=8)
    apart = {n: o.clone() for n, o in data.observed.items()}
    apart["left"][::2], apart["right"][1::2] = False, False
    with pytest.raises(DataError, match="no two training rows have two views"):
        fit("dcca", dataclasses.replace(data, observed=apart), hyper=dict(layers=0))


def test_what_makes_correlations_say_little_is_told():
    own = arrays(rows=80)
    rng = np.random.default_rng(0)
    lines = []
    run = fit(
        "dcca", {**own, "left": np.c_[rng.normal(size=(80, 90)), np.ones(80)]}, hyper=dict(latent_dim=5, layers=0),
        as_=AS, log=lambda line: lines.append(line) if isinstance(line, str) else None, calibrate=False,
    )  # fmt: skip
    told = "\n".join(lines)
    assert "left: 91 columns and 40 training rows, which so are correlated with anything" in told
    assert "1 of 5 components of z are 0: the views share no more." in told  # right has four columns
    assert np.isfinite(run.query(want="z", draws=1)["z"]["mean"]).all()


def test_small_batches_and_views_that_are_hardly_together_are_told(data):
    notes, found = sys.modules[DCCA.__module__].notes_of, mmppl.CanonicalFit
    program = DCCA(data.modalities, **SMALL)
    program.most_rows = 20
    weights = tuple(torch.zeros(3, 2) for _ in range(2))
    lines = notes(program, found(weights, weights, torch.tensor([1.2, 0.5, 0.0]), torch.full((2, 2), 50.0)))
    assert [line.split(":")[0] for line in lines][1:] == [
        "1 of 3 components of z are 0", "a correlation of 1.2",
        "batches of 20 rows whiten 3 dimensions badly; take a batch_size of 30, or a smaller latent_dim.",
    ]  # fmt: skip


def test_weight_decay_is_that_of_a_group_of_its_own(data):
    program = DCCA(data.modalities, **SMALL, weight_decay=0.1)
    groups = {group.name: group for group in program.parameter_groups()}
    assert groups["networks"].options == {"weight_decay": 0.1} and program.stages()[0].groups == ("networks",)
    run = fit("dcca", data, hyper=SMALL | dict(weight_decay=0.1), epochs=2, batch_size=64)
    assert [line["stage"] for line in run.metrics] == ["networks", "projections"]


def test_a_query_is_of_rows_alone(data, linear):
    some = data.take(torch.tensor([5]))
    alone, among = (ask(linear.program, rows, want=["z", "kind"], draws=1) for rows in (some, data))
    np.testing.assert_allclose(alone["z"]["mean"][0], among["z"]["mean"][5], rtol=1e-5, atol=1e-6)


def test_the_command_line_tells_the_figures_of_a_run(tmp_path, capsys):
    np.savez(tmp_path / "views.npz", **arrays())
    source, run = str(tmp_path / "views.npz"), str(tmp_path / "run")
    as_ = ["--as", "kind=ignore", "--as", "score=ignore", "--set", "layers=0", "--set", "latent_dim=2"]
    assert main(["fit", "dcca", "--data", source, *as_, "--out", run]) == 0
    assert main(["evaluate", run]) == 0
    assert "correlation_total" in capsys.readouterr().out
