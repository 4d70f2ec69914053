"""Our Adam has the bits of PyTorch's."""

import pytest
import torch
from torch import nn

from mmppl import Modality, load_program
from mmppl.nn.mlp import FASTEST
from mmppl.train.fused_adam import FusedAdam
from mmppl.train.optimiser import DECAY, optimiser_of
from mmppl.train.stages.plan import groups_of


def parameters():
    torch.manual_seed(0)
    shapes = [(3, 5), (7,), (), (2, 3, 4)]
    made = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    return [*made, nn.Parameter(torch.randn(4, dtype=torch.float64))]


def test_some_parameters_decay_by_themselves():
    """Those have AdamW's bits, the others Adam's."""
    ours, plain, decayed = parameters(), parameters(), parameters()
    apart = (0, 3, 4)
    optimisers = [
        FusedAdam(ours, lr=0.1, decayed=[ours[i] for i in apart], decay=0.5),
        torch.optim.Adam(plain, lr=0.1, fused=True),
        torch.optim.AdamW(decayed, lr=0.1, weight_decay=0.5, fused=True),
    ]
    for _ in range(3):
        for a, b, c in zip(ours, plain, decayed):
            a.grad = torch.randn(a.shape, dtype=a.dtype)
            b.grad, c.grad = a.grad.clone(), a.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for number, (a, b, c) in enumerate(zip(ours, plain, decayed)):
        assert torch.equal(a, c if number in apart else b) and not torch.equal(b, c)


@pytest.mark.parametrize(("decoupled", "decay"), [(False, 0.0), (False, 0.1), (True, 0.1)])
def test_it_has_the_bits_of_pytorchs(decoupled, decay):
    ours, theirs = parameters(), parameters()
    options = dict(lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=decay)
    mine = FusedAdam(ours, decoupled=decoupled, **options)
    cls = torch.optim.AdamW if decoupled else torch.optim.Adam
    other = cls(theirs, fused=True, **options)
    for step in range(5):
        mine.param_groups[0]["lr"] = other.param_groups[0]["lr"] = 0.1 / (step + 1)
        for number, (a, b) in enumerate(zip(ours, theirs)):
            gradient = torch.randn(a.shape, dtype=a.dtype)
            absent = number == 1 and step in (0, 3)  # begins later than the others, and misses a step
            a.grad, b.grad = (None, None) if absent else (gradient, gradient.clone())
        mine.step()
        other.step()
    for a, b in zip(ours, theirs):
        assert torch.equal(a, b)
        for key, value in other.state[b].items():
            assert torch.equal(mine.state[a][key], value), key


def test_a_fit_decays_the_matrices_of_networks_beside_a_linear_path():
    program = load_program("mvae")([Modality("x", (3,))], hidden=4, latent_dim=2)
    (group,) = groups_of(program).values()
    names = {parameter: name for name, parameter in program.named_parameters()}
    decayed = {names[p].split(".", 2)[2] for p in group.decayed}
    assert decayed == {"network.0.weight", "network.3.weight", "network.6.weight"} and len(group.decayed) == 2 * 3
    optimiser = optimiser_of(group, 1e-3, torch.device("cpu"))
    sizes = {(decay, speed): len(part) for _, decay, speed, part in optimiser.parts}
    assert sizes == {(DECAY, 1.0): 6, (0.0, 1.0): len(names) - 10, (0.0, FASTEST): 4}


def test_a_speed_is_a_factor_of_the_learning_rate():
    """A parameter with a speed moves as one of its own optimiser at that rate, bit by bit, under a schedule too."""
    torch.manual_seed(0)
    start = torch.randn(2, 5)
    both, alone = (nn.Parameter(start[0].clone()), nn.Parameter(start[1].clone())), nn.Parameter(start[1].clone())
    one, other = FusedAdam(both, lr=1e-2, speeds={both[1]: 3.0}), FusedAdam([alone], lr=3e-2)
    for _ in range(4):
        both[0].grad, both[1].grad = torch.randn(5), torch.randn(5)
        alone.grad = both[1].grad.clone()
        one.step(), other.step()
        one.param_groups[0]["lr"] *= 0.5
        other.param_groups[0]["lr"] *= 0.5
    assert torch.equal(both[1], alone) and not torch.equal(both[0], start[0])


@pytest.mark.parametrize(("features", "speed"), [(3, 5.0), (50, 2.0), (100, 1.0), (784, 1.0)])
def test_linear_maps_of_few_inputs_move_faster(features, speed):
    """Both those beside hidden layers and those that stand alone."""
    for layers in (0, 2):
        program = load_program("mvae")([Modality("x", (features,))], hidden=4, layers=layers, latent_dim=200)
        (group,) = groups_of(program).values()
        own = program.encoders["x"][0] if layers == 0 else program.encoders["x"].linear
        assert group.speeds.get(own.weight, 1.0) == speed and group.speeds[own.bias] == FASTEST
