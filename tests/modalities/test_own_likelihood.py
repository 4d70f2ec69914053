"""A likelihood that a user's program file defines, from the command line: fit, query, evaluate and plot."""

import io
import json
import math
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
import scipy.stats
import torch

import mmppl
from mmppl.cli import main
from mmppl.core.batch import Batch
from mmppl.modalities.likelihoods.registry import LIKELIHOODS

PROGRAM = '''
"""Factors of counts and numbers, with a Poisson of its own."""
import torch
from pyro.distributions import constraints

import mmppl
from mmppl.core.loading import load_program


@mmppl.likelihood("tally")
class Poisson(mmppl.Likelihood):
    """Counts x with the rate e^output; an encoder sees ln(1 + x), standardised."""

    values = "counts"
    density = False
    input_transform = "log1p"
    anchors = ("nll_global", "nll_class")
    support = constraints.nonnegative_integer

    @property
    def rate(self):
        return self.output.exp()

    def log_prob(self, value):
        x = self._features(value)
        return (x * self.output - self.rate - torch.lgamma(x + 1)).sum(-1)

    def from_uniform(self, u):
        """The smallest count whose distribution function reaches u."""
        rate = self.rate.double()
        count, term = torch.zeros_like(rate), (-rate).exp()
        below = term.clone()
        for k in range(1, int(rate.max() + 12 * rate.max().sqrt() + 20)):
            more = below < u
            count[more] = k
            term = term * rate / k
            below = below + term
        return self._event(count.to(self.output.dtype))

    @property
    def mean(self):
        return self._event(self.rate)

    variance = mean

    @classmethod
    def baseline_parameters(cls, modality, value):
        return (value.flatten(1).sum(0, dtype=torch.float64) + 0.5) / (len(value) + 0.5)

    @classmethod
    def negative_log_likelihood(cls, modality, value, parameters):
        x = value.flatten(1).double()
        return (parameters - x * parameters.log() + torch.lgamma(x + 1)).sum(1)


class Counting(load_program("mvae")):
    """MVAE. Its likelihoods are this file's."""

    def __init__(self, modalities, *, latent_dim: int = 2, hidden: int = 16):
        super().__init__(modalities, latent_dim=latent_dim, hidden=hidden)
'''
N, D = 240, 4


def alone(*words):
    """What a command prints that runs in a process of its own, where nothing is registered before."""
    done = subprocess.run([sys.executable, "-m", "mmppl", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cli(*words, code=0):
    """The same of a command in this process, which is faster."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert main([str(word) for word in words]) == code, err.getvalue()
    return (err if code else out).getvalue()


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """(folder, counts, run as the command line made it, where nothing was registered before). Rates differ by class."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    z, label = rng.normal(size=N), np.arange(N) % 2
    rate = np.exp(np.array([0.0, 0.7, 1.5, 2.5]) + 0.6 * z[:, None] + 0.5 * label[:, None])
    counts = rng.poisson(rate)
    numbers = np.stack([z, -z, z + label], 1) + 0.3 * rng.normal(size=(N, 3))
    np.savez(folder / "data.npz", counts=counts, numbers=numbers, label=label, mask_counts=rng.random(N) > 0.1)
    (folder / "counting.py").write_text(PROGRAM)
    found = cli(
        "fit", folder / "counting.py", "--data", folder / "data.npz", "--as", "counts=tally",
        "--epochs", 8, "--lr", 0.02, "--batch-size", 32, "--out", folder / "run", "--json",
    )  # fmt: skip
    yield folder, counts, json.loads(found)
    LIKELIHOODS.forget("tally")


@pytest.fixture(scope="module")
def run(counted):
    return mmppl.Run.load(counted[0] / "run", program=counted[0] / "counting.py")


def test_a_fit_scores_the_counts_themselves(counted, run):
    folder, counts, found = counted
    m = run.program.modality("counts")
    data = run.data()
    assert (m.likelihood, m.transform, m.shift, m.spread) == ("tally", "none", None, None)
    seen = data.observed["counts"].numpy()
    assert np.array_equal(data.values["counts"].numpy()[seen], counts[seen])
    assert found["terms"]["nll.counts"] < 60 and {"rmse.counts", "r2.counts"} <= {*found["metrics"]}
    stored = json.loads((folder / "run" / "run.json").read_text())["modalities"][0]
    used = np.log1p(counts[seen & (data.split == 0)])
    assert stored["input_scaling"]["transform"] == "log1p" and "input_scaling" not in run.modalities[1].to_json()
    np.testing.assert_allclose(stored["input_scaling"]["shift"], used.mean(0))
    np.testing.assert_allclose(stored["input_scaling"]["spread"], used.std(0))
    batch = data.batch(torch.arange(N), run.program.encoded)
    want = np.where(seen[:, None], (np.log1p(counts) - used.mean(0)) / used.std(0), 0)
    np.testing.assert_allclose(batch.input(m).numpy(), want, atol=1e-5)
    output = torch.randn(N, D)
    got = m.family(m, output).log_prob(batch.value("counts"))[torch.from_numpy(seen)]
    want = scipy.stats.poisson.logpmf(counts[seen], output.exp().numpy()[seen]).sum(-1)
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_a_query_answers_in_counts(counted, run):
    folder, _, _ = counted
    words = ("query", folder / "run", "--program", folder / "counting.py", "--split", "all", "--json")
    found = json.loads(cli(*words, "--given", "numbers", "--want", "counts", "--draws", 200, "--rows", "0:30"))
    answer = {key: np.array(value) for key, value in found["want"]["counts"].items()}
    assert answer["mean"].shape == (30, D) and (answer["std"] ** 2 >= answer["mean"] * 0.999).all()  # E λ + Var λ
    for key in ("q05", "q50", "q95"):
        assert (answer[key] == np.rint(answer[key])).all() and (answer[key] >= 0).all()
    assert (answer["q05"] <= answer["q50"]).all() and (answer["q50"] <= answer["q95"]).all()
    draws = run.query(
        given=["numbers"], want=["counts", "z"], draws=200, rows=slice(0, 30), split="all", keep_draws=True
    )
    z = torch.from_numpy(draws["z"]["draws"])
    with torch.no_grad():
        rate = run.program.decoders["counts"](z).exp().double().numpy()
    np.testing.assert_allclose(answer["mean"], rate.mean(1), rtol=1e-4)
    np.testing.assert_allclose(answer["std"], np.sqrt(rate.mean(1) + rate.var(1)), rtol=1e-4)
    assert (draws["counts"]["draws"] == np.rint(draws["counts"]["draws"])).all()


def test_intervals_of_a_known_rate_are_exact(run):
    """Of a decoder that ignores the latent the quantiles are those of one Poisson."""
    decoder = run.program.decoders["counts"]
    kept = {name: value.clone() for name, value in decoder.state_dict().items()}
    last = decoder.network[-1]
    with torch.no_grad():
        for layer in (last, decoder.linear):
            layer.weight.zero_()
        decoder.linear.bias.zero_()
    try:
        found = run.query(want=["counts"], given=["numbers"], rows=slice(0, 3), draws=16)["counts"]
        rate = last.bias.detach().exp().double().numpy()
        for key, p in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
            assert np.array_equal(found[key], np.broadcast_to(scipy.stats.poisson.ppf(p, rate), (3, D)))
    finally:
        decoder.load_state_dict(kept)


def test_evidence_is_of_counts(counted, run):
    """ln p(counts | numbers) from the command line, against an importance sum written here with scipy's Poisson and
    draws from the guide's Gaussian."""
    folder, counts, _ = counted
    words = ("query", folder / "run", "--program", folder / "counting.py", "--split", "all", "--rows", "0:20")
    found = json.loads(alone(*words, "--given", "counts", "--want", "evidence", "--draws", 4000, "--json"))
    got = np.array(found["want"]["evidence"]["nats"])
    program, data = run.program, run.data()
    batch = data.batch(torch.arange(20), program.encoded).seeing(["counts"])
    with torch.no_grad():
        mean, log_var = (part.double().numpy() for part in _posterior(program, batch))
        rng = np.random.default_rng(1)
        z = mean + np.exp(log_var / 2) * rng.normal(size=(4000, *mean.shape))
        rate = program.decoders["counts"](torch.from_numpy(z).float()).exp().double().numpy()
    log_weights = (
        scipy.stats.poisson.logpmf(counts[:20], rate).sum(-1)
        + scipy.stats.norm.logpdf(z).sum(-1)
        - scipy.stats.norm.logpdf(z, mean, np.exp(log_var / 2)).sum(-1)
    )
    want = scipy.special.logsumexp(log_weights, 0) - math.log(len(z))
    seen = data.observed["counts"][:20].numpy()
    weights = np.exp(log_weights - want)
    error = np.sqrt(weights.var(0) / len(z))  # of either estimate
    assert (np.abs(got - want) < 6 * error + 1e-3)[seen].all(), (got - want, error)
    assert (got[~seen] == 0).all() and (np.array(found["want"]["evidence"]["ess"])[seen] > 40).all()


def _posterior(program, batch: Batch):
    """The guide's Gaussian."""
    import pyro

    node = pyro.poutine.trace(program.query_guide).get_trace(batch).nodes["z"]["fn"]
    return node.mean, node.variance.log()


def test_a_run_is_evaluated_and_drawn(counted):
    folder, counts, _ = counted
    words = (folder / "run", "--program", folder / "counting.py")
    metrics = ("rmse.counts", "coverage90.counts", "nll.counts", "nll_global", "nll_class", "rmse_global", "r2")
    chosen = [word for name in metrics for word in ("--metric", name)]
    found = json.loads(cli("evaluate", *words, *chosen, "--json"))["metrics"]
    assert found["rmse.counts"]["numbers"] < found["rmse_global.counts"]["numbers"]
    assert found["r2.counts"]["numbers"] > 0
    assert 0.5 < found["coverage90.counts"]["numbers"] <= 1
    assert (
        found["nll.counts"]["counts+numbers"]
        < found["nll_class.counts"]["counts+numbers"]
        < found["nll_global.counts"]["counts+numbers"]
    )
    data = mmppl.Run.load(folder / "run", program=folder / "counting.py").data()
    test, train = ((data.split == part) & data.observed["counts"].numpy() for part in (2, 0))
    rate = (counts[train].sum(0) + 0.5) / (train.sum() + 0.5)
    want = -scipy.stats.poisson.logpmf(counts[test], rate).sum(1).mean()
    assert found["nll_global.counts"]["counts"] == pytest.approx(want, rel=1e-6)
    cli("plot", *words)
    assert (folder / "run" / "figures" / "generated.png").stat().st_size > 1000


def test_what_is_no_count_is_named(counted, tmp_path, monkeypatch):
    folder, counts, _ = counted
    for value, says in ((-2.0, "-2.0 is no count, a whole number from 0 on"), (2.5, "2.5 is no count")):
        wrong = counts.astype(float)
        wrong[7, 2] = value
        np.savez(tmp_path / "wrong.npz", counts=wrong, numbers=np.zeros((N, 2)) + np.arange(N)[:, None])
        line = cli("fit", folder / "counting.py", "--data", tmp_path / "wrong.npz", "--as", "counts=tally", code=5)
        assert f"'counts', row 7, column 2: {says}" in line
    line = cli(
        "fit", folder / "counting.py", "--data", folder / "data.npz", "--as", "counts=tally:transform=log1p", code=2
    )
    assert "--as counts: a tally has no transform log1p; leave it out." in line
    monkeypatch.delitem(LIKELIHOODS._found, "tally")  # as in a new process
    assert "no likelihood 'tally'" in cli("data", folder / "data.npz", "--as", "counts=tally", code=2)


def test_data_in_other_units_come_back_to_counts(counted, run):
    """A data set that was read as logarithms is asked about in the units of the run."""
    folder, counts, _ = counted
    other = mmppl.read(folder / "data.npz")
    assert other.modalities[0].transform == "log1p"
    ours = run.dataset(other)
    seen = ours.observed["counts"].numpy()
    assert np.array_equal(ours.values["counts"].numpy()[seen], counts[seen])
    with pytest.raises(mmppl.UsageError, match="is no count"):
        mmppl.read(other, as_={"counts": "tally"})


def test_a_program_file_may_be_executed_again(counted):
    """Its likelihood is then the newer one: edited, or as the run's copy has it; another file's is refused."""
    folder, _, _ = counted
    first = mmppl.Run.load(folder / "run", program=folder / "counting.py").program.modality("counts").family
    again = mmppl.Run.load(folder / "run", trust=True).program.modality("counts").family
    assert first is not again and first.__qualname__ == again.__qualname__ == "Poisson"
    other = folder / "other.py"
    other.write_text(PROGRAM + "\n# another\n")
    with pytest.raises(mmppl.UsageError, match="other.py:.*likelihood 'tally' is registered already; choose another"):
        mmppl.load_program(other)
    broken = folder / "broken.py"
    broken.write_text(PROGRAM.replace('"tally"', '"tally-2"') + "\n1 / 0\n")
    for _ in range(2):  # what an aborted execution has registered does not stand in the way of the next
        with pytest.raises(mmppl.UsageError, match="broken.py:.*ZeroDivisionError"):
            mmppl.load_program(broken)
    LIKELIHOODS.forget("tally-2")
