"""The cross-likelihood against a loop over rows and subsets, and who learns from it."""

import dataclasses

import pytest
import torch
from reference.linear_gaussian import World, batch_of

from mmppl import all_subsets, cross_likelihood, load_program, trace
from mmppl.distributions.product import product_of_experts

WORLD = World.make({"a": 4, "b": 2, "c": 3}, 2, orthogonal=False)


@pytest.fixture
def setting(float64):
    """A program near the exact one with learned noise, and rows of which some modalities are missing."""
    data = WORLD.sample(40).mask_at_random(rate=0.3, seed=1)
    modalities = [dataclasses.replace(m, scale="learned") for m in WORLD.modalities()]
    program = load_program("mvae")(modalities, latent_dim=2, layers=0).double()
    with torch.no_grad():
        for p in program.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return program, batch_of(data, program.encoded)


def terms(program, batch, **options):
    seen = batch.under(all_subsets(3), "seen")
    traces = trace(program, seen)
    torch.manual_seed(2)
    return cross_likelihood(program, traces, batch.under(all_subsets(3), "unseen"), **options)


def by_hand(program, batch):
    """Σ over rows, subsets S of what a row has, and what it has beside S, over the number of rows."""
    loc, log_var = program.experts(batch)
    torch.manual_seed(2)
    noise = torch.randn(7, len(batch), 2)
    total = dict.fromkeys(program.encoded, 0.0)
    for s, subset in enumerate(all_subsets(3)):
        for row in range(len(batch)):
            has = torch.stack([batch.observed[n][row] for n in program.encoded])
            if not (has | ~subset).all():
                continue
            at = slice(row, row + 1)
            q = product_of_experts(loc[:, at], log_var[:, at], subset.unsqueeze(0))
            z = q.loc + (0.5 * q.log_var.detach()).exp() * noise[s, at]
            for m, n in zip(program.modalities, program.encoded):
                if has[program.encoded.index(n)] and not subset[program.encoded.index(n)]:
                    out = program.decoders[n](z)
                    total[n] = total[n] - m.family(m, out).log_prob(batch.values[n][at]).sum() / len(batch)
    return total


def gradients(loss, parameters):
    return torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)


def test_it_is_a_loop_over_rows_and_subsets(setting):
    program, batch = setting
    found = terms(program, batch, weights={"b": 3.0}, thaw=1.0)
    wanted = by_hand(program, batch)
    assert list(found) == ["cross.a", "cross.b", "cross.c"] and found["cross.b"][1] == 3.0
    for n, value in wanted.items():
        torch.testing.assert_close(found[f"cross.{n}"][0], value, rtol=1e-10, atol=1e-10)
    everything = list(program.parameters())
    slopes = [
        torch.autograd.grad(loss, everything) for loss in (found.loss, wanted["a"] + 3 * wanted["b"] + wanted["c"])
    ]
    for one, other in zip(*slopes):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_the_model_learns_its_share_and_the_experts_all(setting):
    program, batch = setting
    parts = {"encoders": program.encoders, "model": program.decoders, "noise": program.likelihood_parameters}
    slopes = {}
    for thaw in (0.0, 0.3, 1.0):
        loss = terms(program, batch, thaw=thaw).loss
        for name, part in parts.items():
            slopes[name, thaw] = torch.cat(
                [g.flatten() for g in gradients(loss, list(part.parameters()))]
            )
    for name in ("model", "noise"):
        assert slopes[name, 1.0].norm() > 1 and not slopes[name, 0.0].any()
        torch.testing.assert_close(slopes[name, 0.3], 0.3 * slopes[name, 1.0])
    torch.testing.assert_close(slopes["encoders", 0.3], slopes["encoders", 1.0])
    torch.testing.assert_close(slopes["encoders", 0.0], slopes["encoders", 1.0])
