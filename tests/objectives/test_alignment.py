"""W2² against the trace formula on full covariances and tabulated values; pairs against the barycentre, with anything
missing; what is under a mask; and what it costs."""

import pytest
import torch
from scipy.linalg import sqrtm
from torch.utils._python_dispatch import TorchDispatchMode

from mmppl import Batch, Modality, all_subsets, load_program, trace
from mmppl.distributions.barycentre import barycentre
from mmppl.objectives.alignment import alignment, pairwise, to_barycentre, wasserstein2

pytestmark = pytest.mark.usefixtures("float64")


def experts(modalities, rows, dim, seed=0):
    rng = torch.Generator().manual_seed(seed)
    loc, log_var = torch.randn(2, modalities, rows, dim, generator=rng)
    return loc, log_var, torch.rand(rows, modalities, generator=rng) < 0.6


def by_trace(m1, s1, m2, s2):
    """‖m1 − m2‖² + Tr(S1 + S2 − 2 (S1^½ S2 S1^½)^½)."""
    root = sqrtm(s1.numpy())
    return ((m1 - m2).square().sum() + torch.trace(s1 + s2) - 2 * sqrtm(root @ s2.numpy() @ root).trace().real).item()


def test_it_is_the_tabulated_one_and_not_the_printed_formula():
    m1, v1 = torch.tensor([0.5, -1, 2]), torch.tensor([0.64, 0.25, 2.25])
    m2, v2 = torch.tensor([-0.25, 0, 1]), torch.tensor([1.44, 1, 0.5])
    found = wasserstein2(m1, v1.log(), m2, v2.log()).item()
    assert found == pytest.approx(3.601179656, abs=5e-10)
    assert (m1 - m2).norm() + (v1.sqrt() - v2.sqrt()).square().sum() == pytest.approx(2.639460716, abs=5e-10)


def test_it_is_the_trace_formula_on_full_matrices():
    loc, log_var, _ = experts(2, 6, 4)
    for row in range(6):
        matrices = [torch.diag(v) for v in log_var[:, row].exp()]
        wanted = by_trace(loc[0, row], matrices[0], loc[1, row], matrices[1])
        found = wasserstein2(loc[0, row], log_var[0, row], loc[1, row], log_var[1, row])
        assert found.item() == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("distance", [pairwise, to_barycentre])
def test_each_row_counts_the_pairs_that_it_has(distance):
    loc, log_var, observed = experts(5, 40, 3)
    observed[:3] = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    found = distance(loc, log_var, observed)
    for row in range(40):
        has = observed[row].nonzero().flatten().tolist()
        matrices = {m: torch.diag(log_var[m, row].exp()) for m in has}
        pairs = [(i, j) for i in has for j in has if i < j]
        wanted = sum(by_trace(loc[i, row], matrices[i], loc[j, row], matrices[j]) for i, j in pairs)
        assert found[row].item() == pytest.approx(wanted, abs=1e-9)
    assert (found[:2] == 0).all()


def test_pairs_and_barycentre_are_one_number_and_one_gradient():
    """The identity Σ_{i<j} W2² = n Σ_k W2²(q_k, barycentre) with the n that a row has, for five modalities."""
    loc, log_var, observed = experts(5, 200, 7)
    leaves = [loc.requires_grad_(), log_var.requires_grad_()]
    both = [distance(loc, log_var, observed) for distance in (pairwise, to_barycentre)]
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-10)
    weights = torch.linspace(-1, 1, 200)
    slopes = [torch.autograd.grad(weights @ rows, leaves) for rows in both]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-10)
    centre = barycentre(loc, log_var, observed)
    apart = wasserstein2(loc, log_var, centre.loc, centre.log_var)
    count = observed.sum(-1)
    by_centre = count * torch.where(observed.mT, apart, 0.0).sum(0)
    torch.testing.assert_close(both[0], by_centre, rtol=0, atol=1e-10)


@pytest.mark.parametrize("distance", [pairwise, to_barycentre])
def test_gradients(distance):
    loc, log_var, observed = experts(3, 4, 2)
    leaves = (loc.requires_grad_(), log_var.requires_grad_())
    assert torch.autograd.gradcheck(lambda *at: distance(*at, observed), leaves)
    same = [t[:1].detach().expand(3, 4, 2).clone().requires_grad_() for t in leaves]
    at_equality = torch.autograd.grad(distance(*same, observed).sum(), same)
    assert all(slope.abs().max() < 1e-15 for slope in at_equality)  # the centre is a rounding away


def test_gradient_of_one_distance_at_equality_is_zero():
    loc, log_var = torch.randn(2, 5, requires_grad=True)
    other = loc.detach().clone(), log_var.detach().clone()
    slopes = torch.autograd.grad(wasserstein2(loc, log_var, *other), [loc, log_var])
    assert all((slope == 0).all() for slope in slopes)


@pytest.mark.parametrize("filler", [1000.0, float("nan"), float("inf")])
@pytest.mark.parametrize("by", ["pairwise", "barycentre"])
def test_what_lies_under_the_mask_changes_no_bit(by, filler):
    loc, log_var, observed = experts(4, 30, 3)

    def outcome(fill):
        under = (~observed).mT.unsqueeze(-1).expand_as(loc)
        leaves = [t.clone().masked_fill_(under, fill).requires_grad_() for t in (loc, log_var)]
        value, weight = alignment(*leaves, observed, 3.0, by=by)["w2"]
        assert weight == 3.0
        return [value, *torch.autograd.grad(value, leaves)]

    assert all(torch.equal(a, b) for a, b in zip(outcome(0.0), outcome(filler)))


@pytest.mark.parametrize("by", ["pairwise", "barycentre"])
def test_half_precision_experts_are_compared_in_full(by):
    loc, log_var, observed = experts(3, 20, 8)
    narrow = [t.bfloat16() for t in (loc, log_var)]
    value, _ = alignment(*narrow, observed, by=by)["w2"]
    wanted, _ = alignment(*(t.float() for t in narrow), observed, by=by)["w2"]
    assert value.dtype == torch.float32 and torch.equal(value, wanted)


@pytest.mark.parametrize("name", ["mvae", "jmvae", "mmjsd", "mmvae", "mopoe", "mvtcae"])
def test_any_program_takes_the_term(name):
    """From its experts, or without another run of the encoders from what a product was made of."""
    modalities = [Modality(n, (4,), "normal") for n in "abc"]
    program = load_program(name)(modalities, hidden=8, latent_dim=3).double()
    draw = torch.Generator().manual_seed(0)
    values = {n: torch.randn(20, 4, generator=draw) for n in "abc"}
    observed = {n: torch.rand(20, generator=draw) < 0.7 for n in "abc"}
    batch = Batch(values, observed, torch.arange(20), 20, program.encoded)
    loc, log_var = program.experts(batch)
    terms = program.objective(batch) | alignment(loc, log_var, batch.seen, 0.5)
    terms.loss.backward()
    assert terms["w2"][0] > 0 and all(p.grad.isfinite().all() for p in program.encoders["a"].parameters())
    if name == "mvae":
        fused = trace(program, batch.under(all_subsets(3))).guide.nodes["z"]["fn"].experts
        again, _ = alignment(*fused[:2], batch.seen)["w2"]
        torch.testing.assert_close(again, terms["w2"][0])


class Made(TorchDispatchMode):
    """Counts the numbers that operations put out."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else [out]:
            aliases = any(t is a or (isinstance(a, torch.Tensor) and t._base is not None) for a in args)
            self.numbers += t.numel() if isinstance(t, torch.Tensor) and not aliases else 0
        return out


def test_the_barycentre_costs_in_proportion_to_the_modalities():
    """Numbers that are computed, gradients included: 4 times as many for 4 times the modalities, and 19 times for pairs
    (190 of 20, 10 of 5)."""

    def cost(distance, modalities):
        loc, log_var, observed = experts(modalities, 16, 8)
        leaves = [loc.requires_grad_(), log_var.requires_grad_()]
        with Made() as made:
            torch.autograd.grad(distance(*leaves, observed).sum(), leaves)
        return made.numbers

    assert 3.5 < cost(to_barycentre, 20) / cost(to_barycentre, 5) < 4.2
    assert cost(pairwise, 20) / cost(pairwise, 5) > 10


def test_shapes_that_disagree_are_named():
    loc, log_var, observed = experts(3, 4, 2)
    with pytest.raises(ValueError, match="observed \\(B, M\\)"):
        pairwise(loc, log_var, observed.T)


LOC = torch.tensor([[1, -0.5], [2, 0.3], [-1, 0.8]], dtype=torch.float64).unsqueeze(1)
LOG_VAR = 2 * torch.tensor([[1, 0.6], [0.5, 1.3], [1.6, 0.9]], dtype=torch.float64).log().unsqueeze(1)


def test_the_barycentre_is_the_tabulated_one():
    every = torch.ones(1, 3, dtype=torch.bool)
    q = barycentre(LOC, LOG_VAR, every)
    sd = torch.exp(0.5 * q.log_var)
    torch.testing.assert_close(
        torch.cat([q.loc, sd], -1)[0],
        torch.tensor([0.6666666667, 0.2, 1.033333333, 0.9333333333]), rtol=0, atol=5e-10,
    )  # fmt: skip
    assert wasserstein2(LOC, LOG_VAR, q.loc, q.log_var).mean().item() == pytest.approx(2.126666667, abs=5e-10)
    assert to_barycentre(LOC, LOG_VAR, every).item() == pytest.approx(9 * 2.126666667, abs=5e-9)
    weighted = barycentre(LOC, LOG_VAR, every, weights=torch.tensor([0.2, 0.5, 0.3]))
    torch.testing.assert_close(
        torch.cat([weighted.loc, torch.exp(0.5 * weighted.log_var)], -1)[0],
        torch.tensor([0.9, 0.29, 0.93, 1.04]), rtol=0, atol=1e-12,
    )  # fmt: skip


def test_no_other_gaussian_is_nearer_to_the_experts():
    loc, log_var, _ = experts(4, 1, 3)
    at = [t.requires_grad_() for t in torch.zeros(2, 1, 3)]
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    optimiser = torch.optim.LBFGS(at, max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def loss():
        optimiser.zero_grad()
        value = weights @ wasserstein2(loc, log_var, *at).squeeze(-1)
        value.backward()
        return value

    optimiser.step(loss)
    q = barycentre(loc, log_var, torch.ones(1, 4, dtype=torch.bool), weights=weights)
    torch.testing.assert_close(q.loc, at[0].detach(), rtol=0, atol=1e-7)
    torch.testing.assert_close(q.log_var, at[1].detach(), rtol=0, atol=1e-7)


def test_a_barycentre_of_very_wide_and_very_narrow_experts():
    """float32 against float64: a mean of sds, whose log is off by a few roundings (6e-8 each) at any size."""
    log_var = torch.tensor([[[-80.0, 80.0, -80.0, 12.0]], [[-79.0, 79.0, 80.0, -12.0]]])
    loc, seen = torch.tensor([[[1.0, -2.0, 3.0, 0.0]], [[2.0, 2.0, -3.0, 1.0]]]), torch.ones(1, 2, dtype=torch.bool)
    q = barycentre(loc, log_var, seen)
    sd = (0.5 * log_var.double()).exp().mean(0)
    torch.testing.assert_close(q.log_var.double(), 2 * sd.log(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(q.loc, loc.mean(0))


def test_one_expert_is_itself_and_none_is_the_prior():
    loc, log_var, _ = experts(3, 4, 2)
    seen = torch.tensor([[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]]).bool()
    q = barycentre(loc, log_var, torch.stack([seen, seen.flip(0)]), weights=torch.tensor([0.2, 5.0, 1.0]))
    assert q.batch_shape == (2, 4)
    assert (q.loc[0, 0] == 0).all() and (q.log_var[0, 0] == 0).all()
    for row, expert in ((1, 1), (2, 0)):
        assert torch.equal(q.loc[0, row], loc[expert, row]) and torch.equal(q.log_var[0, row], log_var[expert, row])


@pytest.mark.parametrize("filler", [1000.0, float("nan")])
def test_experts_that_are_not_seen_change_no_bit_of_the_barycentre(filler):
    loc, log_var, seen = experts(4, 30, 3)

    def outcome(fill):
        under = (~seen).mT.unsqueeze(-1).expand_as(loc)
        leaves = [t.clone().masked_fill_(under, fill).requires_grad_() for t in (loc, log_var)]
        q = barycentre(*leaves, seen)
        value = (q.loc.square() + q.log_var * torch.linspace(-1, 1, 3)).sum()
        return [q.loc, q.log_var, *torch.autograd.grad(value, leaves)]

    assert all(torch.equal(a, b) for a, b in zip(outcome(0.0), outcome(filler)))
