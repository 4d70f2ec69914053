"""Groups with optimisers of their own, stages, updates on all rows; killed and resumed, recorded and eager."""

import inspect
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmppl import DataError, Run, UsageError, fit
from mmppl.core.stages import Group, Stage
from mmppl.train.callbacks import Callback
from mmppl.train.loop import Training
from mmppl.train.settings import FitSettings
from mmppl.train.stages.plan import groups_of, plan_stages

sys.path.insert(0, str(Path(__file__).parent))
import toy


@pytest.fixture(scope="module")
def data():
    return toy.data()


@pytest.fixture(autouse=True)
def a_state_at_every_epoch_and_every_step_recorded(monkeypatch):
    monkeypatch.setattr("mmppl.train.callbacks.CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr("mmppl.train.stages.gradient.RECORD_FROM", 0)


def trained(cls, data, replay=True, callbacks=(), **settings):
    """(lines, weights, training) of a fit without a folder."""
    torch.manual_seed(0)
    program = cls(data.modalities)
    training = Training(program, data, FitSettings(**{**cls.training, **settings}), callbacks=callbacks)
    if not replay:
        make = training.stage_at

        def eager(epoch):
            stage = make(epoch)
            for evaluation in getattr(stage, "evaluations", []):
                evaluation.step.replay = False
            return stage

        training.stage_at = eager
    training.run()
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in training.lines]
    return lines, {n: p.detach().clone() for n, p in program.state_dict().items()}, training


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Steps(Callback):
    """The parameters before the first step and after each one."""

    def __init__(self):
        self.seen = []

    def on_start(self, fit):
        self.on_step(fit, None)

    def on_step(self, fit, progress):
        self.seen.append({n: p.detach().clone() for n, p in fit.program.named_parameters()})


@pytest.mark.parametrize("cls", [toy.Staged, toy.Solved])
def test_recorded_steps_of_several_optimisers_have_the_bits_of_eager_ones(data, cls):
    lines, weights, training = trained(cls, data, epochs=6)
    assert (lines, True) == (trained(cls, data, replay=False, epochs=6)[0], True)
    assert equal(weights, trained(cls, data, replay=False, epochs=6)[1])
    first = trained(cls, data, epochs=6)[2].stage_at(1)
    assert first.evaluations[0].step.recorded is None  # not before it has run
    assert [line["stage"] for line in lines] == [p.stage.name for p in training.plan for _ in range(p.epochs)]


def test_each_evaluation_of_a_stage_is_recorded(data):
    steps = []

    class Watch(Callback):
        def on_epoch(self, fit, line):
            steps.append([e.step.recorded is not None for e in dict.fromkeys(fit.stage.evaluations)])

    trained(toy.Staged, data, callbacks=[Watch()])
    assert steps == [[True, True], [True, True], [True], [True]]


def test_a_short_stage_is_not_recorded_and_has_the_same_bits(data, monkeypatch):
    recorded = trained(toy.Staged, data)
    monkeypatch.setattr("mmppl.train.stages.gradient.RECORD_FROM", 19)  # the first stage has 18 evaluations
    lines, weights, training = trained(toy.Staged, data)
    assert [evaluation.step.recorded for evaluation in training.stage_at(1).evaluations] == [None] * 3
    assert not training.stage_at(1).records and training.stage_at(1).schedule.steps == 6
    assert lines == recorded[0] and equal(weights, recorded[1])


def test_what_is_frozen_keeps_its_bits_and_what_moves_does_not(data):
    steps = Steps()
    _, _, training = trained(toy.Staged, data, callbacks=[steps])
    half = 2 * training.rows.per_epoch
    begin, middle, end = steps.seen[0], steps.seen[half], steps.seen[-1]
    for name in begin:
        moved = [not torch.equal(a[name], b[name]) for a, b in ((begin, middle), (middle, end))]
        assert moved == [True, name.startswith("decoder")], name


def test_a_group_ascends_what_it_maximises_while_the_others_descend_it(data):
    """By hand: three evaluations per batch, the critic's step at each, the others' at the last."""

    class Plain(toy.Staged):
        training = dict(epochs=1, batch_size=100, lr=1e-2)

        def parameter_groups(self):
            critic = Group("critic", self.critic.parameters(), "sgd", lr=0.05, steps=3, maximises=("told",))
            return [critic, Group("rest", [*self.encoder.parameters(), *self.decoder.parameters()], "sgd", lr=0.01)]

        def stages(self):
            return [Stage()]

    _, weights, training = trained(Plain, data, schedule="constant")
    torch.manual_seed(0)
    program = Plain(data.modalities).train()
    (batch,) = training.rows.shuffled(0, 1)
    critic = list(program.critic.parameters())
    rest = [*program.encoder.parameters(), *program.decoder.parameters()]
    for evaluation in range(3):
        terms = program.objective(batch)
        error, told = terms["error"][0], 0.5 * terms["told"][0]
        up = torch.autograd.grad(told, critic, retain_graph=True)
        down = torch.autograd.grad(error + told, rest)
        with torch.no_grad():
            for p, g in zip(critic, up):
                p += 0.05 * g
            for p, g in zip(rest, down):
                p -= 0.01 * g * (evaluation == 2)
    for name, parameter in program.named_parameters():
        torch.testing.assert_close(weights[name], parameter.detach(), rtol=1e-5, atol=1e-6)


def test_terms_that_do_not_count_have_weight_0(data):
    lines = trained(toy.Staged, data)[0]
    assert [line["weights"] for line in lines] == [{"error": 1.0, "told": 0.5}] * 2 + [{"error": 1.0, "told": 0.0}] * 2
    assert lines[-1]["loss"]["train"] == lines[-1]["train"]["error"]


def test_the_clock_runs_over_the_fit_and_the_rates_over_each_stage(data):
    found = []

    class Watch(Callback):
        def on_step(self, fit, progress):
            rates = {g.name: o.param_groups[0]["lr"] for g, o in fit.stage.optimisers}
            found.append((float(fit.program.progress), rates["decoder"]))

    _, _, training = trained(toy.Staged, data, callbacks=[Watch()])
    clock, rates = zip(*found)
    assert clock == pytest.approx([n / training.steps for n in range(training.steps)])
    half = training.steps // 2
    assert rates[0] == rates[half] == 1e-2 and rates[:half] == rates[half:] and rates[1] < rates[0]


def test_a_closed_form_stage_solves_and_lbfgs_only_improves(data):
    lines, _, training = trained(toy.Solved, data, epochs=6)
    assert [line["stage"] for line in lines] == ["steps"] * 3 + ["solve"] + ["lbfgs"] * 2
    errors = [line["train"]["error"] for line in lines]
    assert errors[3] < 0.8 * errors[2] and errors[5] <= errors[4] < errors[3]


def test_a_closed_form_is_the_least_squares_solution(data):
    class Alone(toy.Solved):
        def stages(self):
            return [Stage("solve", epochs=1, groups=("decoder",), update=toy.regress)]

    training = trained(Alone, data, epochs=1)[2]
    program = training.program
    rows = training.rows.train
    with torch.no_grad():
        z = program.encoder(rows.values["a"]).double()
    z = torch.cat([z, torch.ones(len(z), 1)], 1)
    wanted = torch.linalg.lstsq(z, rows.values["b"].double()).solution
    torch.testing.assert_close(program.decoder.weight.double(), wanted[:2].T, rtol=1e-4, atol=1e-5)


STOPS = [(cls, epoch) for cls, last in ((toy.Staged, 4), (toy.Solved, 6)) for epoch in range(2, last + 1)]


@pytest.mark.parametrize(("cls", "epoch"), STOPS, ids=lambda v: getattr(v, "__name__", v))
def test_killed_within_a_stage_or_between_two_and_resumed_to_the_same_bits(data, cls, epoch, tmp_path):
    """Stopped in the second batch of an epoch (of its first, where the epoch is one update)."""
    given = dict(epochs=6 if cls is toy.Solved else 4)
    whole = fit(cls, data, out=tmp_path / "whole", **given)

    def stop(progress):
        if progress.epoch == epoch and progress.step >= progress.epoch * 3 - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(cls, data, out=tmp_path / "b", on_step=stop, **given)
    assert len((tmp_path / "b" / "metrics.jsonl").read_text().splitlines()) == epoch - 1
    again = fit(cls, data, out=tmp_path / "b", resume=True, **given)
    without = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (again, whole)]
    assert without[0] == without[1]
    loaded = Run.load(tmp_path / "b", program=cls).program
    assert equal(dict(loaded.state_dict()), dict(whole.program.state_dict()))
    assert equal(dict(loaded.state_dict()), dict(again.program.state_dict()))


def test_a_state_of_another_stage_is_refused(data, tmp_path):
    def stop(progress):
        if progress.epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(toy.Staged, data, out=tmp_path / "a", on_step=stop)

    class Longer(toy.Staged):
        def stages(self):
            return [Stage("all", share=0.9), *super().stages()[1:]]

    Longer.__module__ = toy.Staged.__module__  # the same source
    Longer.__name__ = "Staged"
    with pytest.raises(
        DataError, match="^[^\n]*epoch 3 is not one of stage 2[^\n]*Remove [^\n]*LATEST to start anew.$"
    ):
        fit(Longer, data, out=tmp_path / "a", resume=True)


def test_patience_watches_the_last_stage(data):
    """The first stage stops improving at once, and the second begins all the same."""

    class Idle(toy.Toy):
        def parameter_groups(self):
            return [Group("critic", self.critic.parameters()), Group("decoder", self.decoder.parameters(), lr=1e-9)]

        def stages(self):
            return [Stage("critic", epochs=3, groups=("critic",)), Stage("idle", groups=("decoder",), terms=("error",))]

    lines, _, training = trained(Idle, data, epochs=20, patience=2)
    assert {line["stage"] for line in lines[:3]} == {"critic"} and lines[3]["stage"] == "idle"
    assert len(lines) < 20 and len(lines) - training.counters.best_epoch == 2 and training.counters.best_epoch > 3


def changed(**methods):
    """Toy with other methods."""
    return type("Toy", (toy.Toy,), {name: (lambda self, f=f: f(self)) for name, f in methods.items()})


def critic(self, **options):
    return Group("critic", self.critic.parameters(), **options)


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        (
            dict(parameter_groups=lambda p: [critic(p), Group("more", [p.critic.weight])]),
            "critic.weight is in the groups 'critic' and 'more', and cannot have two optimisers",
        ),
        (dict(parameter_groups=lambda p: [critic(p), critic(p)]), "two groups are called 'critic'"),
        (dict(parameter_groups=lambda p: [Group("none", [])]), "group 'none' names no parameter that can move"),
        (dict(parameter_groups=lambda p: [Group("x", [nn.Parameter(torch.ones(1))])]), "none of the program's"),
        (dict(parameter_groups=lambda p: [critic(p, optimiser="adm")]), "no optimiser 'adm'.* Did you mean adam"),
        (dict(parameter_groups=lambda p: [critic(p, steps=0)]), "0 steps per batch"),
        (dict(parameter_groups=lambda p: [critic(p, lr=-1.0)]), "lr -1.0 is not positive"),
        (dict(parameter_groups=lambda p: [critic(p, options={"beta": 1})]), "adam has no option 'beta'.*betas"),
        (dict(parameter_groups=lambda p: [critic(p, maximises="tolt")]), "group 'critic' names no term .*Did you mean"),
        (dict(stages=lambda p: []), "stages\\(\\) gives none"),
        (dict(stages=lambda p: [Stage("one", groups=())]), "stage 'one' names no parameter"),
        (dict(stages=lambda p: [Stage("one", groups=("critc",))]), "stage 'one' names no group .* by 'critc'"),
        (dict(stages=lambda p: [Stage("one", terms=("eror",))]), "stage 'one' names no term .*Did you mean error"),
        (dict(stages=lambda p: [Stage("one", terms=())]), "in stage 'one' no term counts"),
        (dict(stages=lambda p: [Stage("a"), Stage("b", terms=("tolt",))]), "stage 'b' names no term"),
        (dict(stages=lambda p: [Stage("one", update="newton")]), "update 'newton' is neither"),
        (dict(stages=lambda p: [Stage("one", share=0.0)]), "share 0.0 is not positive"),
        (dict(stages=lambda p: [Stage("one", epochs=9)]), "epochs 4 do not fit its 1 stages; they need exactly 9"),
        (dict(stages=lambda p: [Stage("a", epochs=4), Stage("b")]), "epochs 4 do not fit its 2 stages; .* at least 5"),
        (
            dict(
                parameter_groups=lambda p: [critic(p)],
                stages=lambda p: [Stage("one", groups=("critic",), terms=("error",))],
            ),
            "no term that counts depends on the parameters of group 'critic'",
        ),
        (
            dict(
                parameter_groups=lambda p: [critic(p, maximises=("told",))],
                stages=lambda p: [Stage("one", update="lbfgs")],
            ),
            "L-BFGS neither maximises a term nor follows a rule",
        ),
        (
            dict(
                parameter_groups=lambda p: [critic(p)],
                stages=lambda p: [Stage("one", epochs=4, groups=("critic",), update=toy.regress)],
            ),
            "stage 'one' changed decoder.weight, which is in none of its groups",
        ),
    ],
)
def test_groups_and_stages_that_are_not_sound(data, methods, says, tmp_path):
    with pytest.raises(UsageError, match=f"^[^\n]*{says}[^\n]*$"):
        fit(changed(**methods), data, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_epochs_are_divided_by_shares(data):
    def epochs(total, *stages):
        program = changed(stages=lambda p: stages)(data.modalities)
        return [(planned.first, planned.epochs) for planned in plan_stages(program, total)]

    assert epochs(10, Stage("a", share=0.8), Stage("b", share=0.2)) == [(1, 8), (9, 2)]
    assert epochs(10, Stage("a", share=2), Stage("b", epochs=4), Stage("c", share=1)) == [(1, 4), (5, 4), (9, 2)]
    assert epochs(3, Stage("a", share=100), Stage("b"), Stage("c")) == [(1, 1), (2, 1), (3, 1)]
    assert epochs(3, Stage("a"), Stage("b"), Stage("c", share=100)) == [(1, 1), (2, 1), (3, 1)]


def test_a_part_of_a_program_declares_its_own_group(data):
    class Critic(nn.Linear):
        def parameter_groups(self):
            return [Group("critic", self.parameters(), steps=2)]

    class With(toy.Toy):
        def __init__(self, modalities):
            super().__init__(modalities)
            self.critic = Critic(2, 1)

    groups = groups_of(With(data.modalities))
    assert list(groups) == ["program", "critic"] and groups["critic"].steps == 2
    assert len(groups["program"].parameters) == 4


def test_the_program_is_built_once_and_what_is_answered_from_is_what_was_trained(data, tmp_path):
    built = []

    class Counted(toy.Toy):
        def __init__(self, modalities):
            built.append(1)
            super().__init__(modalities)

    run = fit(Counted, data, epochs=1, out=tmp_path / "a")
    assert built == [1] and not run.program.training and run.program is run.program
    assert equal(dict(run.program.state_dict()), dict(Run.load(tmp_path / "a", program=Counted).program.state_dict()))
    assert all(p.grad is None for p in run.program.parameters())


def test_with_patience_the_run_answers_with_the_best_weights(data, tmp_path):
    cls = changed(stages=lambda p: [Stage(terms=("error",))])
    run = fit(cls, data, epochs=40, lr=0.5, patience=1, out=tmp_path / "a")
    assert 1 < len(run.metrics) < 40
    assert equal(dict(run.program.state_dict()), dict(Run.load(tmp_path / "a", program=cls).program.state_dict()))


def test_a_program_is_told_how_to_declare_groups_and_stages():
    from mmppl import Program

    assert "Group(" in inspect.getdoc(Program.stages) and "Stage(" in inspect.getdoc(Program.stages)


def test_a_program_knows_the_stage_of_its_fit(data):
    """In every step and validation of it, recorded or not, and not beyond."""

    class Knowing(toy.Solved):
        def objective(self, batch):
            seen.append(self.stage)
            return super().objective(batch)

    seen: list[str] = []
    _, _, training = trained(Knowing, data, epochs=6)
    assert list(dict.fromkeys(seen)) == ["steps", "solve", "lbfgs"] and training.program.stage == ""
