"""Gradients of decoders that share a latent are combined there, and nothing else changes."""

import dataclasses
import json

import pyro
import pytest
import torch
from torch import nn

from mmppl import Program, Stage, UsageError, combine_gradients, elbo, fit, load_program, observe, read
from mmppl.base.choices import GRADIENTS
from mmppl.distributions.fan_out import FanOuts, branch, combining, for_each
from mmppl.distributions.gaussian import Gaussian, gaussian_head
from mmppl.distributions.mixture import mixture_of_experts
from mmppl.objectives.impartial.rules import combiner
from mmppl.train.step import Step

SMALL = dict(hidden=8, layers=1, latent_dim=3)


@pytest.fixture(scope="module")
def data():
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(60, 4, generator=rng)
    b = a[:, :3] + 0.3 * torch.randn(60, 3, generator=rng)
    y = (a[:, 0] > 0).long()
    arrays = {"a": a.numpy(), "b": b.numpy(), "c": -b[:, :2].numpy(), "y": y.numpy()}
    return read(arrays, target="y", as_=dict.fromkeys("abc", "normal:scale=1")).mask_at_random(rate=0.3, seed=1)


class Plain(Program):
    """q(z | a) and one linear decoder for each modality: a user's own program, which knows nothing of rules."""

    def __init__(self, modalities, *, shared: bool = True):
        super().__init__(modalities)
        self.shared = shared
        self.encoder = nn.Linear(4, 6)
        self.decoders = nn.ModuleDict({m.name: nn.Linear(3, m.output_size) for m in modalities})

    def guide(self, batch):
        loc, log_var = gaussian_head(self.encoder(batch.input(self.modality("a"))))
        with batch.plates():
            pyro.sample("z", Gaussian(loc, log_var))

    def model(self, batch):
        with batch.plates():
            z = pyro.sample("z", self.standard_normal(3))
            for m in self.each_modality():
                observe(m, self.decoders[m.name], z if self.shared else z + 0.0, batch)

    def objective(self, batch):
        return elbo(self, batch, beta=0.5, weights={"b": 3.0})


def slopes(program, batch, rule=None, replay=False, steps=1, seed=1):
    """Gradients by name after so many steps on one batch, with the same noise in each."""
    step = Step(program.train(), combine=combiner(rule), replay=replay)
    for _ in range(steps):
        torch.manual_seed(seed)
        step(batch)
    assert (step.recorded is not None) == replay
    return {name: p.grad.clone() for name, p in program.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("rule", ["norm", "imtl", "mgda", "cagrad"])
def test_the_encoder_gets_the_combination_and_decoders_their_own(data, rule):
    """Against gradients at z by hand: of each weighted −ln p(x_m | z) alone, of the KL added as ever."""
    torch.manual_seed(0)
    program = Plain(data.modalities)
    batch = data.batch(torch.arange(30), program.encoded)
    plain, got = slopes(program, batch), slopes(program, batch, rule)
    torch.manual_seed(1)
    loc, log_var = gaussian_head(program.encoder(batch.input(program.modality("a"))))
    z = loc + (log_var / 2).exp() * torch.randn_like(loc)
    at = z.detach().requires_grad_()
    of_each = []
    for m in program.modalities:
        log_p = m.family(m, program.decoders[m.name](at)).log_prob(batch.value(m.name))
        value = -(3.0 if m.name == "b" else 1.0) * torch.where(batch.observed[m.name], log_p, 0.0).mean()
        of_each.append(torch.autograd.grad(value, at)[0].flatten())
    combined = combine_gradients(torch.stack(of_each), rule).view_as(z)
    kl = 0.5 * (log_var.exp() + loc**2 - 1 - log_var).sum(-1).mean()
    weight, bias = program.encoder.weight, program.encoder.bias
    want = torch.autograd.grad((z * combined).sum() + 0.5 * kl, [weight, bias])
    for name, expected in zip(("encoder.weight", "encoder.bias"), want):
        torch.testing.assert_close(got[name], expected, rtol=1e-4, atol=1e-6)  # float32 in another order
        assert not torch.allclose(got[name], plain[name], rtol=1e-2)
    for name in plain:
        assert name.startswith("encoder.") or torch.equal(got[name], plain[name])


def test_a_sum_as_the_rule_gives_the_ordinary_gradient(data):
    """Through subsets, labels, cross likelihoods, and a mixture's density."""
    for name in ("mvae", "mmvae", "fmwvae"):
        torch.manual_seed(0)
        program = load_program(name)(data.modalities, **SMALL)
        batch = data.batch(torch.arange(30), program.encoded)
        plain = slopes(program, batch)
        step = Step(program, combine=lambda gradients: gradients.sum(-2), replay=False)
        torch.manual_seed(1)
        step(batch)
        for key, p in program.named_parameters():
            if p.grad is not None:
                torch.testing.assert_close(p.grad, plain[key], rtol=2e-4, atol=1e-6)


def test_each_subset_is_combined_by_itself_over_its_rows():
    """z (S, B, D) of three readers, of which one has nothing to say in the first subset, and one not in the second."""
    z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    slope = torch.randn(3, 2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    slope[0, 0], slope[1, 1] = 0.0, 0.0
    with combining(combiner("imtl")):
        branches = [branch(z, name, ("a", "b", "c", "unused")) for name in "abc"]
    got = torch.autograd.grad(sum((x * s).sum() for x, s in zip(branches, slope)), z)[0]
    for subset, there in enumerate(([1, 2], [0, 2])):
        want = combine_gradients(slope[there, subset].flatten(1), "imtl")
        torch.testing.assert_close(got[subset].flatten(), want, rtol=1e-9, atol=1e-12)


def test_the_experts_of_a_mixtures_density_are_readers_too():
    """ln q(z) = ln Σ_s q_s(z) / S: what component s sends to z is its responsibility times ∂ ln q_s(z) / ∂z."""
    rng = torch.Generator().manual_seed(0)
    loc, log_var = (torch.randn(2, 6, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    prior = Gaussian(torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    z = torch.randn(6, 3, generator=rng, dtype=torch.float64).requires_grad_()
    q = mixture_of_experts(Gaussian(loc, log_var), torch.ones(6, 2, dtype=torch.bool), prior)
    log_q = Gaussian(loc, log_var).log_prob(z)
    share = log_q.softmax(0).detach()
    of_each = torch.stack([torch.autograd.grad((w * lq).sum(), z, retain_graph=True)[0] for w, lq in zip(share, log_q)])
    with combining(combiner("norm")):
        value = q.log_prob(z)
    torch.testing.assert_close(value, q.log_prob(z), rtol=0, atol=0)
    got = torch.autograd.grad(value.sum(), z)[0]
    want = combine_gradients(of_each.flatten(1), "norm").view_as(z)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(want, of_each.sum(0), rtol=1e-2)


def test_without_a_rule_nothing_is_there():
    z = torch.zeros(2, 3, requires_grad=True)
    with combining(None) as found:
        assert found is None and branch(z, "a", ("a", "b")) is z and for_each(z, 4).shape == (1, 2, 3)
    fan_outs = FanOuts(combiner("norm"))
    with combining(fan_outs.combine):
        assert branch(z.detach(), "a", ("a",)).requires_grad is False  # nothing flows back: nothing to combine
    assert branch(z, "a", ("a", "b")) is z


def mmvae(modalities):
    return load_program("mmvae")(modalities, **SMALL)


RECORDED = [pytest.param(Plain, "pcgrad"), *(pytest.param(mmvae, r, marks=pytest.mark.slow) for r in GRADIENTS)]


@pytest.mark.parametrize(("cls", "rule"), RECORDED)
def test_recorded_it_has_the_same_bits(data, cls, rule):
    """MMVAE has both kinds of fan-out; rules that draw draw the same."""
    torch.manual_seed(0)
    program = cls(data.modalities)
    batch = data.batch(torch.arange(30), program.encoded)
    eager, recorded = slopes(program, batch, rule, steps=4), slopes(program, batch, rule, replay=True, steps=4)
    assert eager.keys() == recorded.keys()
    assert all(torch.equal(eager[name], recorded[name]) for name in eager)


@pytest.mark.parametrize("filler", [torch.nan, 1e30])
def test_what_lies_under_a_mask_does_not_matter(data, filler):
    torch.manual_seed(0)
    program = load_program("mvae")(data.modalities, **SMALL)
    batch = data.batch(torch.arange(30), program.encoded)
    values = dict(batch.values)
    for name in "abc":
        values[name] = torch.where(batch.observed[name].unsqueeze(-1), values[name], filler)
    want = slopes(program, batch, "imtl")
    got = slopes(program, dataclasses.replace(batch, values=values), "imtl")
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_fit_follows_the_rule_and_goes_on_to_the_bit(data, tmp_path):
    how = dict(hyper=SMALL, epochs=2, batch_size=20, validation=0.0, calibrate=False)

    def interrupt(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    whole = fit("mvae", data, gradients="pcgrad", **how)
    with pytest.raises(KeyboardInterrupt):
        fit("mvae", data, gradients="pcgrad", out=tmp_path / "a", on_step=interrupt, **how)
    with pytest.raises(UsageError, match="gradients imtl, the run has pcgrad"):
        fit("mvae", data, gradients="imtl", out=tmp_path / "a", resume=True, **how)
    again = fit("mvae", data, gradients="pcgrad", out=tmp_path / "a", resume=True, **how)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["training"]["gradients"] == "pcgrad"
    state = whole.program.state_dict()
    assert all(torch.equal(again.program.state_dict()[n], value) for n, value in state.items())


class Solved(Plain):
    """No gradient steps."""

    def stages(self):
        return [Stage(epochs=1, update="lbfgs")]


def test_what_is_refused_before_there_is_a_folder(data, tmp_path):
    refused = lambda match: pytest.raises(UsageError, match=match)  # noqa: E731
    how = dict(epochs=1, gradients="pcgrad", out=tmp_path / "a")
    one = read({"a": data.values["a"].numpy()}, as_={"a": "normal:scale=1"})
    with refused(r"MVAE has one decoder \(a\); --gradients needs two that share a latent"):
        fit("mvae", one, hyper=SMALL, **how)
    with refused("Plain has no two decoders that read the same latent; --gradients needs two that share a latent"):
        fit(Plain, data, hyper={"shared": False}, **how)
    with refused("Solved is not fitted by gradient steps alone, which --gradients needs"):
        fit(Solved, data, **how)
    with refused("a rule over the gradients of terms leaves --gradients nothing to combine"):
        fit(Plain, data, gradient_rule=lambda g: sum(g.values()), **how)
    with refused("gradients pcgrd: choose from norm, pcgrad"):
        fit(Plain, data, epochs=1, gradients="pcgrd")
    assert not (tmp_path / "a").exists()
