"""A tidied recording computes the bits of the untidied one, with fewer calls."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from mmppl.train.fx_graph import simplify

PARAMETER = torch.nn.Parameter(torch.randn(4, generator=torch.Generator().manual_seed(0)))


def calls(module):
    return sum(node.op == "call_function" for node in module.graph.nodes)


def results(module, *inputs):
    inputs = [x.clone() for x in inputs]
    torch.manual_seed(0)
    with torch.no_grad():
        return [*module(*inputs), *inputs, torch.get_rng_state()]


def check(function, *inputs, whole=()):
    recorded = make_fx(function)(*(x.clone() for x in inputs))
    better = simplify(recorded, whole)
    assert all(torch.equal(a, b) for a, b in zip(results(better, *inputs), results(recorded, *inputs), strict=True))
    return calls(recorded), calls(better), better


def test_equal_calls_happen_once():
    before, after, _ = check(lambda x: (x.exp() + x.exp() * x.detach().exp(),), torch.randn(3))
    assert (before, after) == (6, 3)


def test_noise_is_drawn_as_often_as_before():
    check(lambda x: (torch.randn(3) + torch.randn(3) * x, torch.rand(2)), torch.randn(3))

    def unused(x):
        torch.randn(3)
        return (x + torch.randn(3),)

    check(unused, torch.randn(3))


def test_what_is_written_in_place_is_read_again():
    def step(x):
        early = x.exp()
        x.view(-1).mul_(2)
        return early, x.exp(), x.detach() + 1

    check(step, torch.randn(3))


def test_results_share_no_memory():
    _, _, better = check(lambda x: (x.exp(), x.exp()), torch.randn(3))
    one, other = better(torch.randn(3))
    assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("view", [torch.detach, torch.t, lambda x: x.view(-1)], ids=["detach", "t", "view"])
def test_views_as_results_share_no_memory_that_they_did_not_share(view):
    def step(x, mask):
        always = torch.arange(4.0).view(2, 2)
        twice = view(x.exp()), view(x.exp())
        return *twice, view(torch.cat([x])), view(torch.where(mask, always, 0.0)), view(torch.where(mask, x, 0.0))

    x, mask = torch.randn(2, 2), torch.ones(2, 2, dtype=torch.bool)
    _, _, better = check(step, x, mask, whole=[1])
    found = better(x, mask)
    assert len({t.data_ptr() for t in (*found, x)}) == 6
    kept = [t.clone() for t in found]
    for t in found:
        t.mul_(5)  # as clipping does
    assert all(torch.equal(a, b) for a, b in zip(better(x, mask), kept, strict=True))


def test_masks_known_to_be_true_are_not_read():
    def step(x, mask):
        kept = torch.where(mask.unsqueeze(-1), x, 0.0)
        return (kept + torch.where(torch.stack([mask, mask]).all(0).unsqueeze(-1), x, 0.0),)

    x, mask = torch.randn(3, 2), torch.ones(3, dtype=torch.bool)
    _, after, _ = check(step, x, mask, whole=[1])
    assert after == 1
    _, after, better = check(step, x, mask)
    assert after > 1
    assert torch.equal(better(x, ~mask)[0], torch.zeros(3, 2))


def test_parameters_are_shared():
    recorded = make_fx(lambda x: (x * PARAMETER,))(torch.ones(4))
    better = simplify(recorded)
    with torch.no_grad():
        PARAMETER.add_(1)
        assert torch.equal(better(torch.ones(4))[0], PARAMETER)


def test_what_is_the_same_in_every_step_is_computed_once():
    def step(x):
        pair = torch.eye(2, dtype=torch.bool).unsqueeze(-1) & torch.ones(2, 3, dtype=torch.bool).any(0)
        return (torch.where(pair, x, torch.arange(3.0) * 2).sum(),)

    before, after, _ = check(step, torch.randn(3))
    assert before > 6 and after == 2  # where and sum


def test_a_result_that_never_changes_is_made_anew():
    def step(x):
        always = torch.arange(3.0) + 1
        return x + always, always.view(1, 3).detach()

    _, _, better = check(step, torch.randn(3))
    better(torch.zeros(3))[1].mul_(5)  # as clipping does
    assert better(torch.zeros(3))[1].tolist() == [[1.0, 2.0, 3.0]]


def test_memory_that_is_filled_later_is_not_what_it_was():
    def step(x):
        room = torch.empty(3)
        room.fill_(2.0)
        room[1].add_(x[0])
        return (room * x, torch.empty_like(torch.arange(3.0)).copy_(x) + 1)

    _, _, better = check(step, torch.randn(3))
    for x in (torch.ones(3), torch.zeros(3)):
        assert all(torch.equal(a, b) for a, b in zip(better(x), step(x), strict=True))


def test_a_transpose_of_a_transpose_is_left_out():
    _, after, _ = check(lambda x: ((x.t() * 2).t().t(), x.t().t() + 1), torch.randn(3, 2))
    assert after == 3  # t, mul, add
