"""A plain Pyro model and guide, fitted and asked like any program."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal
from pyro.nn import PyroModule
from torch import nn

from mmppl import Modality, Run, UsageError, fit, from_pyro, read

TRUE = torch.tensor([1.5, -2.0])


def rows(number=400):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(number, 2, generator=rng)
    y = x @ TRUE + 0.5 * torch.randn(number, generator=rng)
    return {"x": x.numpy(), "height": y.numpy()}


def regression(batch):
    """A slope and a noise that all rows share, and a mean that is learned."""
    w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    sd = pyro.sample("sd", dist.LogNormal(0.0, 1.0))
    start = pyro.param("start", torch.tensor(0.0))
    with batch.plates():
        mean = start + (batch.value("x") * w).sum(-1)
        pyro.sample("height", dist.Normal(mean, sd), obs=batch.value("height"))


@pytest.fixture(scope="module")
def data():
    return read(rows())


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    pyro.clear_param_store()
    cls = from_pyro(regression, AutoNormal(regression), training=dict(epochs=120, batch_size=50, lr=0.05))
    return fit(cls, data, out=tmp_path_factory.mktemp("pyro") / "run")


def exact(data, sd):
    """Mean and covariance of the slope given the training rows, for a noise of this size and no mean."""
    train = data.rows("train")
    x, y = data.values["x"][train].double(), data.values["height"][train].double()
    precision = torch.eye(2) + x.T @ x / sd**2
    return torch.linalg.solve(precision, x.T @ y / sd**2), torch.linalg.inv(precision)


def test_auto_normal_finds_the_posterior(run, data):
    """Model units: both standardised. Its slope is within 3 posterior sds, whose size it finds within a third (two
    latents are nearly independent); nothing is left in Pyro's store."""
    answer = run.query(data, given=["x"], want=["w", "sd", "height"], split="test")
    sd = float(answer["sd"]["mean"].mean())
    mean, covariance = exact(data, sd)
    found = torch.from_numpy(answer["w"]["mean"]).double()
    assert ((found - mean).abs() < 3 * covariance.diagonal().sqrt()).all()
    spread = torch.from_numpy(answer["w"]["std"]).double() / covariance.diagonal().sqrt()
    assert ((spread > 0.66) & (spread < 1.5)).all()
    assert not list(pyro.get_param_store().keys())


def test_it_answers_about_a_modality(run, data):
    """In the units of the input, with the noise that was put in."""
    test = data.rows("test")
    answer = run.query(data, given=["x"], want=["height"], split="test")["height"]
    truth = torch.from_numpy(rows()["x"])[test] @ TRUE
    assert (torch.from_numpy(answer["mean"]) - truth).abs().mean() < 0.1
    assert abs(answer["std"].mean() - 0.5) < 0.06


def test_it_is_loaded_with_the_class(run, data):
    again = Run.load(run.folder, program=from_pyro(regression, AutoNormal(regression)))
    asked = dict(given=["x"], want=["height"], split="test")
    assert (again.query(data, **asked)["height"]["mean"] == run.query(data, **asked)["height"]["mean"]).all()


class Factor(PyroModule):
    """z ~ N(0, I) of each row, decoded by a network."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Linear(2, 5)

    def forward(self, batch):
        with batch.plates():
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("a", dist.Normal(self.decoder(z), 0.3).to_event(1), obs=batch.value("a"))


class Encoder(PyroModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(5, 4)

    def forward(self, batch):
        loc, log_sd = self.encoder(batch.value("a")).chunk(2, -1)
        with batch.plates():
            pyro.sample("z", dist.Normal(loc, log_sd.exp()).to_event(1))


def test_modules_are_copied_and_learn(tmp_path):
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(200, 2, generator=rng) @ torch.randn(2, 5, generator=rng)
    observed = torch.rand(200, generator=rng) < 0.8
    data = {"a": (a + 0.1 * torch.randn(200, 5, generator=rng)).numpy(), "mask_a": observed.numpy()}
    model, guide = Factor(), Encoder()
    before = [p.clone() for p in (*model.parameters(), *guide.parameters())]
    run = fit(from_pyro(model, guide), data, epochs=20, lr=1e-2, batch_size=40, out=tmp_path / "run")
    losses = [line["loss"]["train"] for line in run.metrics]
    assert losses[-1] < losses[0] - 1 and run.program.conditions == ()
    assert all(torch.equal(p, q) for p, q in zip(before, (*model.parameters(), *guide.parameters())))
    answer = run.query(data, given=["a"], want=["z", "a", "evidence"], draws=20, split="test")
    assert answer["z"]["mean"].shape[1:] == (2,) and torch.from_numpy(answer["evidence"]["nats"]).isfinite().all()
    assert not list(pyro.get_param_store().keys())


def test_what_cannot_be_a_program_is_told(tmp_path):
    modalities = [Modality("x", (2,), "normal"), Modality("height", (), "normal")]
    net = nn.Linear(2, 1)

    def local(batch):
        with batch.plates():
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("height", dist.Normal(0.0, 1.0), obs=batch.value("height"))

    def outside(batch):
        pyro.module("net", net)
        with batch.plates():
            pyro.sample("height", dist.Normal(net(batch.value("x"))[..., 0], 1.0), obs=batch.value("height"))

    def nameless(batch):
        with batch.plates():
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=batch.value("height"))

    def discrete(batch):
        with batch.plates():
            pyro.sample("z", dist.Bernoulli(0.5))

    nothing = lambda batch: None  # noqa: E731
    for model, guide, words in (
        (local, AutoNormal(local), "local .*AutoNormal knows z of the rows that it has seen only"),
        (regression, AutoDiagonalNormal(regression), "only AutoNormal; AutoDiagonalNormal is another"),
        (outside, nothing, r"net\$\$\$weight belongs to a network outside; hold the network in a PyroModule"),
        (nameless, nothing, r"no observed site is called as a modality \(x, height\)"),
        (local, discrete, "z has no reparametrised draws; train it with pyro.infer.SVI"),
    ):
        with pytest.raises(UsageError, match=words) as told:
            from_pyro(model, guide)(modalities)
        assert "\n" not in str(told.value)
    for plain in (regression, Factor(), Factor):
        with pytest.raises(UsageError, match=r"is no program: .* by mmppl.from_pyro\(model, guide\)\.$"):
            fit(plain, rows(), out=tmp_path / "none")
