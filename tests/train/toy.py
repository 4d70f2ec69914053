"""A small program whose training has groups, stages, and terms that are not all minimised; and its data."""

import numpy as np
import pyro
import torch
from torch import nn

from mmppl import Program, Terms, read
from mmppl.core.stages import Group, Stage
from mmppl.distributions.gaussian import Gaussian, standard_normal


def arrays(rows=60):
    """Three numbers and two that depend on them; rows of a seed."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(rows, 3))
    b = a @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(rows, 2))
    return {"a": a, "b": b}


def data(rows=60):
    """The arrays as a data set, with noise that is known: a toy has no parameters but its own."""
    return read(arrays(rows), as_={"a": "normal:scale=1", "b": "normal:scale=1"})


class Toy(Program):
    """z = encoder(a) + noise; decoder(z) is near b, and a critic separates z from noise."""

    training = dict(epochs=4, batch_size=16, lr=1e-2)

    def __init__(self, modalities, *, spread: float = 0.1):
        super().__init__(modalities)
        self.spread = spread
        self.encoder, self.decoder, self.critic = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1, bias=False)
        self.register_buffer("calls", torch.zeros(()))

    def encoded_rows(self, batch):
        loc = self.encoder(batch.input(self.modality("a")))
        return loc + self.spread * torch.randn_like(loc)

    def guide(self, batch):
        loc = self.encoder(batch.input(self.modality("a")))
        with batch.plates():
            pyro.sample("z", Gaussian(loc, torch.zeros_like(loc)))

    def model(self, batch):
        with batch.plates():
            pyro.sample("z", standard_normal(2, like=self.progress))

    def objective(self, batch):
        self.calls += 1
        z = self.encoded_rows(batch)
        error = (self.decoder(z) - batch.value("b")).square().sum(-1).mean()
        told = self.critic(z).mean() - self.critic(torch.randn_like(z)).mean() - 0.1 * self.critic.weight.square().sum()
        return Terms({"error": (error, 1.0), "told": (told, 0.5)})


class Staged(Toy):
    """Two stages and a critic group: the critic ascends what the encoder descends, three steps to one."""

    def parameter_groups(self):
        return [
            Group("critic", self.critic.parameters(), "sgd", lr=0.05, steps=3, maximises=("told",)),
            Group("decoder", self.decoder.parameters(), "adamw", options={"weight_decay": 0.1}),
        ]

    def stages(self):
        return [
            Stage("all", share=0.5),
            Stage("decoder", share=0.5, groups=("decoder",), terms=("error",)),
        ]


def regress(program, batches):
    """The decoder that fits b best, in closed form, from sums over all rows."""
    gram, cross = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64)
    for batch in batches:
        z = program.encoder(batch.input(program.modality("a")))
        z = torch.cat([z, torch.ones(len(z), 1)], 1).double()
        gram, cross = gram + z.T @ z, cross + z.T @ batch.value("b").double()
    solved = torch.linalg.solve(gram, cross).float()
    program.decoder.weight.copy_(solved[:2].T)
    program.decoder.bias.copy_(solved[2])


class Solved(Toy):
    """Gradient steps, then a decoder in closed form, then L-BFGS."""

    def parameter_groups(self):
        return [Group("decoder", self.decoder.parameters())]

    def stages(self):
        return [
            Stage("steps", groups=("program",), terms=("error",)),
            Stage("solve", epochs=1, groups=("decoder",), terms=("error",), update=regress),
            Stage("lbfgs", epochs=2, terms=("error",), update="lbfgs"),
        ]
