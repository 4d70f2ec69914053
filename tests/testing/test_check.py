"""`check_program` passes what obeys the laws, and says in one line what does not."""

import pyro
import pytest
import torch
from torch import nn

from mmppl import Gaussian, Program, all_subsets, elbo, gaussian_head, load_program, mlp, product_of_experts
from mmppl.testing import BrokenLaw, World, check_program, exact

TEMPERED = load_program("examples/tempered.py")


class Plain(Program):
    """The smallest program; the faulty ones below differ in one thing each."""

    def __init__(self, modalities, *, latent_dim: int = 4):
        super().__init__(modalities)
        self.latent_dim = latent_dim
        sizes = {n: self.modality(n).input_size for n in self.encoded}
        self.encoders = nn.ModuleDict({n: mlp(size, 16, 2 * latent_dim) for n, size in sizes.items()})
        self.decoders = nn.ModuleDict({m.name: mlp(latent_dim, 16, m.output_size) for m in modalities})

    def model(self, batch):
        with batch.plates():
            self.observe_each(pyro.sample("z", self.standard_normal(self.latent_dim)), batch)

    def guide(self, batch):
        loc, log_var = self.experts(batch)
        with batch.plates():
            pyro.sample("z", product_of_experts(loc, log_var, batch.seen))

    def objective(self, batch):
        return elbo(self, batch.under(all_subsets(len(self.encoded))))


class Normed(Plain):
    """Its encoders normalise over the batch, as it is, or where there is more than a row."""

    least = 2

    def __init__(self, modalities, *, latent_dim: int = 4):
        super().__init__(modalities, latent_dim=latent_dim)
        self.norm = nn.BatchNorm1d(16)

    def experts(self, batch, head=gaussian_head):
        normed = len(batch) >= self.least
        outputs = []
        for n, (first, *rest) in self.encoders.items():
            hidden = first(batch.input(self.modality(n)))
            outputs.append(nn.Sequential(*rest)(self.norm(hidden) if normed else hidden))
        return head(torch.stack(outputs))


class NormedAlways(Normed):
    least = 1


class NormedDecoder(Plain):
    def __init__(self, modalities, *, latent_dim: int = 4):
        super().__init__(modalities, latent_dim=latent_dim)
        size = self.modality("signal").output_size
        self.decoders["signal"] = nn.Sequential(nn.Linear(latent_dim, 16), Rows(), nn.Linear(16, size))


class Rows(nn.Module):
    """Subtracts the mean over the batch."""

    def forward(self, x):
        return x - x.mean(-2, keepdim=True) if self.training else x


class Peeking(Plain):
    """Its encoders take values as they lie."""

    def experts(self, batch, head=gaussian_head):
        raw = {n: self.modality(n).as_input(batch.values[n].clamp_max(3)) for n in self.encoded}
        return head(torch.stack([self.encoders[n](raw[n]) for n in self.encoded]))

    def guide(self, batch):
        loc, log_var = self.experts(batch)
        with batch.plates():
            pyro.sample("z", Gaussian(loc.mean(0), log_var.mean(0)))


class Ordered(Plain):
    """The first modality counts twice."""

    def guide(self, batch):
        loc, log_var = self.experts(batch)
        twice = torch.tensor([2.0] + [1.0] * (len(loc) - 1))
        with batch.plates():
            pyro.sample("z", product_of_experts(loc, log_var, batch.seen, exponents=twice))


class Neighbours(Plain):
    """Each row's mean leans on the row before it, outside training."""

    def guide(self, batch):
        q = product_of_experts(*self.experts(batch), batch.seen)
        loc = q.loc if self.training else q.loc + q.loc.roll(1, 0)
        with batch.plates():
            pyro.sample("z", Gaussian(loc, q.log_var))


class NoPrior(Plain):
    """Nothing seen leaves the first dimension narrow."""

    def guide(self, batch):
        q = product_of_experts(*self.experts(batch), batch.seen)
        with batch.plates():
            pyro.sample("z", Gaussian(q.loc, q.log_var - torch.eye(self.latent_dim)[0]))


class Roots(Plain):
    """√0 has no finite slope."""

    def objective(self, batch):
        seen = self.encoders["signal"](batch.input(self.modality("signal"))).sum(-1)
        return super().objective(batch) | {"root": ((seen * batch.observed["signal"]).square().sum().sqrt(), 1.0)}


class Shifted(Plain):
    """Its densities of everything it decodes are those of another z."""

    def __init__(self, modalities, *, latent_dim: int = 4, layers: int = 1):
        super().__init__(modalities, latent_dim=latent_dim)
        sizes = {n: self.modality(n).input_size for n in self.encoded}
        self.encoders = nn.ModuleDict({n: mlp(s, 16, 2 * latent_dim, layers=layers) for n, s in sizes.items()})
        self.decoders = nn.ModuleDict({m.name: mlp(latent_dim, 16, m.output_size, layers=layers) for m in modalities})

    def model(self, batch):
        with batch.plates():
            self.observe_each(pyro.sample("z", self.standard_normal(self.latent_dim)) + self.shift, batch)

    shift = 0.5


def test_a_plain_program_obeys_all_laws():
    laws = ["finite_gradients", "fillers", "rows_alone", "order_of_rows", "order_of_modalities", "nothing_is_the_prior"]
    assert check_program(Plain) == laws


def test_the_tutorials_program_obeys_all_laws():
    assert len(check_program(TEMPERED)) == 6
    assert len(check_program(TEMPERED, latent_dim=2, hidden=3)) == 6


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Normed, "in training, the density of a row's z in the guide depends on the rows beside it; .*BatchNorm"),
        (NormedAlways, r"the objective fails for one row \(ValueError: Expected more than 1 value per channel"),
        (NormedDecoder, "in training, the density of a row's signal in the model depends on the rows beside it"),
        (Peeking, "the loss changes with what lies where nothing was observed; read values by batch.value or"),
        (Ordered, "the density of z in the guide depends on the order of the modalities"),
        (Neighbours, "the answer about z .* depends on the order of the rows"),
        (NoPrior, "z of a row of which nothing is seen is not the prior"),
        (Roots, "the gradient of .* is not finite for"),
        (Shifted, "in a linear-Gaussian world (z given|the evidence of)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_breaks_a_law_is_told_in_one_line(cls, words):
    with pytest.raises(BrokenLaw, match=f"^{cls.__name__}: {words}") as told:
        check_program(cls)
    assert "\n" not in str(told.value)


def test_the_same_without_its_fault_is_exact(monkeypatch):
    monkeypatch.setattr(Shifted, "shift", 0.0)
    assert check_program(Shifted)[-1] == "exactness"


def test_networks_that_hang_on_the_order_are_told():
    with pytest.raises(BrokenLaw, match="CMMD: its networks have other names or sizes when the modalities come in"):
        check_program(load_program("cmmd"))
    assert len(check_program(load_program("cmmd"), observed=("image",))) == 6


def test_a_program_of_another_build_cannot_be_made_exact():
    with pytest.raises(ValueError, match="FMWVAE has not one layer from each modality to a latent"):
        exact(load_program("fmwvae"), World.make({"a": 3, "b": 2}, 2, orthogonal=True))


def test_the_callers_generator_is_left_as_it_was():
    state = torch.get_rng_state()
    check_program(Plain)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_default_dtype() is torch.float32
