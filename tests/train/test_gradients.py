"""Rules that combine the gradients of single terms, and terms that some groups maximise."""

import sys
from pathlib import Path

import pytest
import torch

from mmppl import Terms, UsageError, fit
from mmppl.core.stages import Group
from mmppl.train.gradients import gradients_of
from mmppl.train.step import Step

sys.path.insert(0, str(Path(__file__).parent))
import toy


@pytest.fixture(scope="module")
def data():
    return toy.data()


def summed(gradients):
    return torch.stack(list(gradients.values())).sum(0)


def without_told(gradients):
    return gradients["error"]


def gradients(data, rule=None, maximises=(), replay=False, terms=None):
    """Gradients by name of one step on 20 rows, the third of three where it is recorded."""
    torch.manual_seed(0)
    program = toy.Toy(data.modalities).train()
    group = Group("program", [p for p in program.parameters() if p.requires_grad], rule=rule, maximises=maximises)
    step = Step(program, groups=[group], terms=terms, replay=replay)
    for _ in range(4):
        torch.manual_seed(1)
        step(data.batch(torch.arange(20), program.encoded))
    assert (step.recorded is not None) == replay
    return {n: p.grad for n, p in program.named_parameters() if p.grad is not None}


def test_a_plain_sum_is_the_ordinary_gradient(data):
    want, got = gradients(data), gradients(data, summed)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-7)  # float32 sums in another order


def test_a_rule_that_drops_a_term_gives_the_gradient_of_the_others(data):
    want, got = gradients(data, terms=("error",)), gradients(data, without_told)
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-6, atol=1e-8)
    assert not got["critic.weight"].any()


RULES = {"sum": dict(rule=summed), "without": dict(rule=without_told), "maximised": dict(maximises=("told",))}


@pytest.mark.parametrize("options", RULES.values(), ids=list(RULES))
def test_recorded_it_has_the_same_bits(data, options):
    eager, recorded = gradients(data, **options), gradients(data, replay=True, **options)
    assert all(torch.equal(eager[name], recorded[name]) for name in eager)


def test_groups_that_want_other_signs_get_their_own():
    """Of x y and x + 2 y: one group descends both, one ascends the first, one follows a rule."""
    x, y, z = (torch.nn.Parameter(torch.tensor([v])) for v in (2.0, 3.0, 5.0))
    terms = Terms({"xyz": ((x * y * z).sum(), 2.0), "sum": ((x + 2 * y + 3 * z).sum(), 1.0)})
    groups = [
        Group("x", [x]),
        Group("y", [y], maximises=("xyz", "other")),
        Group("z", [z], rule=lambda g: 10 * g["xyz"]),
    ]
    got = gradients_of(terms, terms.loss, groups)
    assert [float(g) for g in got] == [2 * 15 + 1, -2 * 10 + 2, 10 * 2 * 6]


def test_what_no_term_depends_on_gets_none():
    x, y = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    terms = Terms({"x": (x.sum(), 1.0)})
    assert gradients_of(terms, terms.loss, [Group("x", [x]), Group("y", [y])])[1] is None
    assert gradients_of(terms, terms.loss, [Group("y", [y], rule=summed)])[0].tolist() == [0.0]


def test_a_fit_follows_a_rule_and_a_resume_wants_the_same(data, tmp_path):
    plain = fit(toy.Toy, data, epochs=2)
    same = fit(toy.Toy, data, epochs=2, gradient_rule=summed)
    other = fit(toy.Toy, data, epochs=2, gradient_rule=without_told, out=tmp_path / "a")
    for name, weight in plain.program.state_dict().items():
        torch.testing.assert_close(same.program.state_dict()[name], weight, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    assert torch.equal(other.program.critic.weight, toy.Toy(data.modalities).critic.weight)  # nothing moved it
    assert other.record.training["gradient_rule"].endswith("without_told")
    with pytest.raises(UsageError, match="gradient_rule None, the run has .*without_told"):
        fit(toy.Toy, data, epochs=2, out=tmp_path / "a", resume=True)
