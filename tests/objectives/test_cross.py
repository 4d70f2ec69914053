"""The cross-likelihood against a loop over rows and subsets, and who learns from it."""

import dataclasses
import math

import pytest
import torch
from reference.linear_gaussian import World, batch_of, exact_mvae

from mmppl import Terms, all_subsets, cross_likelihood, load_program, nll, trace
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


def by_hand(program, batch, spread=1.0):
    """Σ over rows, subsets S of what a row has, and what it has beside S, over the number of rows."""
    loc, log_var = program.experts(batch)
    torch.manual_seed(2)
    noise = spread * torch.randn(7, len(batch), program.latent_dim)
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
    found = terms(program, batch, weights={"b": 3.0})
    wanted = by_hand(program, batch)
    assert list(found) == ["cross.a", "cross.b", "cross.c"] and found["cross.b"][1] == 3.0
    for n, value in wanted.items():
        torch.testing.assert_close(found[f"cross.{n}"][0], value, rtol=1e-10, atol=1e-10)
    slopes = [
        torch.autograd.grad(loss, [*program.encoders.parameters(), *program.decoders.parameters()])
        for loss in (found.loss, wanted["a"] + 3 * wanted["b"] + wanted["c"])
    ]
    for one, other in zip(*slopes):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_a_dimension_of_which_posteriors_know_nothing_is_drawn_as_from_the_prior(setting):
    """Of three dimensions the last is known to no expert: without spread it alone is drawn."""
    _, batch = setting
    modalities = [dataclasses.replace(m, scale="learned") for m in WORLD.modalities()]
    program = load_program("mvae")(modalities, latent_dim=3, layers=0).double()
    with torch.no_grad():
        for encoder in program.encoders.values():
            encoder[-1].weight[:2].normal_(generator=torch.Generator().manual_seed(0))
            encoder[-1].weight[2:].zero_()
            encoder[-1].bias[2:].zero_()
            encoder[-1].weight[2].fill_(1e-3)  # a little is nothing
    found = terms(program, batch, spread=0.0)
    for n, value in by_hand(program, batch, torch.tensor([0.0, 0.0, 1.0])).items():
        torch.testing.assert_close(found[f"cross.{n}"][0], value, rtol=1e-10, atol=1e-10)


def test_the_experts_means_and_the_decoders_learn_and_noise_and_variances_do_not(setting):
    program, batch = setting
    for spread in (0.0, 0.5, 1.0):
        loss = terms(program, batch, spread=spread).loss
        assert not any(g.any() for g in gradients(loss, list(program.likelihood_parameters.parameters())))
        for layers in (program.encoders, program.decoders):
            slopes = [g for g in gradients(loss, list(layers.parameters())) if g.ndim == 2]
            assert all(slope.norm() > 0.1 for slope in slopes)
        means, log_vars = zip(*(g.chunk(2) for g in gradients(loss, [e[-1].bias for e in program.encoders.values()])))
        assert all(slope.any() for slope in means)  # a variance moves the mean of a product of experts, and so learns


def test_without_spread_the_exact_model_is_its_optimum(float64):
    """E[x_m | μ_S] = W_m μ_S + b_m: of the exact program the gradient of the decoders is 0, within 5 standard errors
    of the sum over 20,000 rows; with spread it is far from it."""
    world = World.make({"a": 4, "b": 2, "c": 3}, 2, orthogonal=True)
    program, data = exact_mvae(world), world.sample(20_000)
    found = {}
    for spread in (0.0, 1.0):
        parts = []
        for rows in torch.arange(len(data)).chunk(50):
            loss = terms(program, batch_of(data.take(rows), program.encoded), spread=spread).loss
            parts.append(torch.cat([g.flatten() for g in gradients(loss, list(program.decoders.parameters()))]))
        slopes = torch.stack(parts)
        found[spread] = (slopes.mean(0) / (slopes.std(0) / len(slopes) ** 0.5)).abs().max()
    assert found[0.0] < 5 < 20 < found[1.0]


def test_beside_what_is_seen_a_density_is_that_of_its_own_noise(setting):
    """a + h ln(1 + e / h), whose gradient is that of e, divided by 1 + e / h; and that holds whatever the noise is."""
    program, batch = setting
    traces = trace(program, batch.under(all_subsets(3), "seen"))
    seen, plain = nll(traces), terms(program, batch)
    under = {kind: batch.under(all_subsets(3), kind) for kind in ("seen", "unseen")}
    parameters = list(program.encoders.parameters())
    torch.manual_seed(2)
    found = cross_likelihood(program, traces, under["unseen"], seen=seen)
    for m in program.modalities:
        count = {kind: (b.scored[m.name] & b.active).sum() / len(batch) for kind, b in under.items()}
        before, after = seen[f"nll.{m.name}"][0] / count["seen"], plain[f"cross.{m.name}"][0] / count["unseen"]
        excess, half = (after - before).item(), m.size / 2
        assert excess > 0
        value = found[f"cross.{m.name}"][0] / count["unseen"]
        torch.testing.assert_close(value.item(), before.item() + half * math.log1p(excess / half), rtol=1e-9, atol=0)
        share = 1 / (1 + excess / half)
        for ours, theirs in zip(gradients(value, parameters), gradients(after, parameters)):
            torch.testing.assert_close(ours, share * theirs, rtol=1e-9, atol=1e-12)


def test_what_the_unseen_cost_does_not_depend_on_a_noise_that_is_right(setting):
    """h + h ln(2π/d Σ (x − x̂)²), where the seen cost h + h ln 2πσ²: σ is in none of it."""
    program, batch = setting
    traces, values = trace(program, batch.under(all_subsets(3), "seen")), []
    for log_scale in (-1.0, -4.0):
        seen = {}
        for m in program.modalities:
            with torch.no_grad():
                for parameter in program.likelihood_parameters[m.name].parameters():
                    parameter.fill_(log_scale / 10)
            (variance,) = m.family(m, torch.zeros(1, m.output_size)).variance.detach()
            nats = 0.5 * (m.size + (2 * math.pi * variance).log().sum())
            seen[f"nll.{m.name}"] = (nats * (traces.batch.scored[m.name] & traces.batch.active).sum() / len(batch), 1.0)
        torch.manual_seed(2)
        found = cross_likelihood(program, traces, batch.under(all_subsets(3), "unseen"), seen=Terms(seen))
        values.append((found.loss, terms(program, batch).loss))
    (one, one_plain), (other, other_plain) = values
    torch.testing.assert_close(one, other, rtol=1e-9, atol=0)
    assert other_plain > 100 * one_plain


def test_where_nothing_is_unseen_nothing_is_counted(setting):
    """Rows that have "a" alone: whatever the seen cost is, no cross term has a value or teaches anything."""
    program, batch = setting
    alone = {n: torch.full_like(observed, n == "a") for n, observed in batch.observed.items()}
    batch = dataclasses.replace(batch, observed=alone, seen=None, patterns=None)
    traces = trace(program, batch.under(all_subsets(3), "seen"))
    likely = Terms({name: (value - 100.0, weight) for name, (value, weight) in nll(traces).items()})  # nats below 0
    found = terms(program, batch, seen=likely)
    assert all(value == 0 for value, _ in found.values())
    assert not any(slope.any() for slope in gradients(found.loss, list(program.parameters())))
