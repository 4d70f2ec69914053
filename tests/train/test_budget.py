"""Fits in steps: the number is chosen on held-out rows, then all rows are fitted; killed and resumed to the bit."""

import math
from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch

from mmppl import Callback, Run, UsageError, fit, read
from mmppl.core.observe import observe
from mmppl.core.stages import Stage
from mmppl.core.terms import Terms
from mmppl.distributions.gaussian import Gaussian, standard_normal
from mmppl.objectives.weights import warmup
from mmppl.train.budget.held_out import hold_out
from mmppl.train.budget.rule import annealed, resolve
from mmppl.train.loop import Training
from mmppl.train.optimiser import LRSchedule, adam
from mmppl.train.settings import FitSettings, settings_for

from . import toy


class InSteps(toy.Toy):
    """Without the critic's term: no step draws noise that counts."""

    training = dict(lr=1e-2)

    def __init__(self, modalities, *, spread: float = 0.0):
        super().__init__(modalities, spread=spread)

    def stages(self):
        return [Stage(terms=("error",))]


class Scored(InSteps):
    """Its model scores b, whose noise is calibrated."""

    def guide(self, batch):
        loc = self.encoder(batch.input(self.modality("a")))
        with batch.plates():
            pyro.sample("z", Gaussian(loc, torch.full_like(loc, -8.0)))

    def model(self, batch):
        with batch.plates():
            observe(self.modality("b"), self.decoder, pyro.sample("z", standard_normal(2, like=self.progress)), batch)


class Noisy(toy.Staged):
    """Groups and stages, with noise."""

    training = dict(lr=1e-2)


@pytest.fixture(autouse=True)
def a_state_at_every_epoch(monkeypatch):
    monkeypatch.setattr("mmppl.train.callbacks.CHECKPOINT_SHARE", 1e9)


@pytest.fixture(scope="module")
def data():
    return toy.data(60)  # 48 rows are no test rows


def state(run):
    return {name: value.clone() for name, value in run.program.state_dict().items()}


def lines(run):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class StopAt(Callback):
    """Ctrl-C after so many batches of all phases and folds."""

    def __init__(self, step):
        self.step = step

    def on_step(self, fit, progress):
        if fit.counters.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("options", [dict(), dict(folds=1), dict(refit=False)], ids=["folds", "held-out", "no-refit"])
@pytest.mark.parametrize("cls", [Scored, pytest.param(Noisy, marks=pytest.mark.slow)])
def test_killed_at_any_point_and_resumed_to_the_same_bits(data, cls, options, tmp_path):
    # In the short run so few that no step is recorded, which takes as long as all else.
    given = dict(steps=28 if cls is Scored else 60, seed=3, **options)
    data = read(toy.arrays()) if cls is Scored else data
    whole = fit(cls, data, out=tmp_path / "whole", **given)
    result = whole.record.result
    assert set(result.calibration.noise) == ({"b"} if cls is Scored else set())
    last = result.steps_taken
    trained_in_folds = 5 if not options else 1
    first = [line["step"] for line in whole.metrics if line["phase"] == "select"][-1] * trained_in_folds
    for number, at in enumerate({20, first // 2 + 1, first, min(first + 1, last), (first + last) // 2, last}):
        folder = tmp_path / str(number)
        with pytest.raises(KeyboardInterrupt):
            fit(cls, data, out=folder, callbacks=[StopAt(at)], **given)
        again = fit(cls, data, out=folder, resume=True, **given)
        assert equal(state(again), state(whole)) and lines(again) == lines(whole), at
        assert replace(again.record.result, seconds=0.0) == replace(result, seconds=0.0)
        assert equal(state(Run.load(folder, program=cls)), state(whole))


def test_a_fit_in_memory_has_the_bits_of_one_in_a_folder(data, tmp_path):
    for options in (dict(), dict(folds=1), dict(refit=False)):
        kept = fit(Noisy, data, steps=60, out=tmp_path / str(options), **options)
        assert equal(state(fit(Noisy, data, steps=60, **options)), state(kept))


def test_the_step_with_the_best_held_out_loss_is_taken_again_on_all_rows(data):
    heard = []
    run = fit(InSteps, data, steps=400, lr=0.3, log=lambda line: heard.append(line) if isinstance(line, str) else None)
    select = [line for line in run.metrics if line["phase"] == "select"]
    losses = [line["loss"]["valid"] for line in select]
    best, result = int(np.argmin(losses)), run.record.result
    assert result.selected_step == select[best]["step"] and result.loss == losses[best]
    assert result.steps == run.metrics[-1]["step"] == annealed(result.selected_step, 400, "cosine")
    assert result.steps_taken == 5 * select[-1]["step"] + result.steps
    for line in select:  # every row that is no test row is held out once, and counts once
        assert line["loss"]["valid"] == pytest.approx(np.average(line["folds"], weights=[10, 10, 10, 9, 9]), rel=1e-6)
    assert heard[1:] == [
        "Takes up to 400 steps of 8 rows, as many as serve 5 folds of 48 rows best; then fits all rows.",
        f"Selected step {result.selected_step:,} of {select[-1]['step']:,}, "
        f"held-out loss {result.loss:.4g} nats per row.",
        "48 held-out rows are too few or tell nothing to calibrate: noise and temperatures stay",
        f"Fits all 48 rows that are no test rows for {result.steps:,} steps of 8 rows.",
    ]


def test_a_fold_has_the_weights_that_it_would_have_alone(data):
    """Its rows in the same order, without the other four: the program passes from one to another, and keeps nothing."""

    def trained(folds):
        torch.manual_seed(0)
        program = InSteps(data.modalities)
        training = Training(program, data, FitSettings(steps=60, lr=1e-2, folds=5, refit=True))
        training.trainees = training.trainees[folds]
        training.rows = training.trainees[0].rows
        for _ in range(3):
            training._epoch(0.0)
        return training.trainees, {name: value.clone() for name, value in program.state_dict().items()}

    together, _ = trained(slice(0, 5))
    for i in (0, 3):
        assert equal(trained(slice(i, i + 1))[1], together[i].weights)
    assert len({tuple(trainee.weights["decoder.weight"].flatten().tolist()) for trainee in together}) == 5


def test_what_the_test_rows_hold_changes_nothing(data):
    values = {name: value.clone() for name, value in data.values.items()}
    for value in values.values():
        value[data.rows("test")] = 1e6
    assert equal(state(fit(Noisy, replace(data, values=values), steps=40)), state(fit(Noisy, data, steps=40)))


def test_a_refit_learns_from_the_rows_that_were_held_out(data):
    values = {name: value.clone() for name, value in data.values.items()}
    values["b"][data.rows("valid")] += 5
    other = replace(data, values=values)
    for refit in (True, False):
        given = dict(steps=40, folds=1, refit=refit)
        program, of_other = (fit(InSteps, one, **given).program.decoder.bias for one in (data, other))
        assert torch.equal(program, of_other) != refit


@pytest.mark.parametrize("best", [1, 130, 700, 1000])
def test_the_refit_has_the_sum_of_learning_rates_of_the_selected_steps(data, best):
    program = InSteps(data.modalities)

    def total(steps, of):
        optimiser = adam(program, 1.0, torch.device("cpu"))
        schedule, found = LRSchedule([optimiser], FitSettings(steps=of), of), 0.0
        for step in range(steps):
            schedule.set(step)
            found += optimiser.param_groups[0]["lr"]
        return found

    steps = annealed(best, 1000, "cosine")
    assert total(steps, steps) == pytest.approx(total(best, 1000), abs=1.0)  # both sums are of whole steps


class Warmed(InSteps):
    """The term "told" rises over the first half, and is large."""

    def objective(self, batch):
        terms = super().objective(batch)
        size = self.decoder.weight.square().sum()
        return Terms({"error": terms["error"], "size": (size, warmup(10.0, self.progress, 0.5))})

    def stages(self):
        return [Stage()]


def test_warm_ups_do_not_confuse_the_choice(data):
    """Losses are those of the objective at its end, and are watched from the end of the warm-up on."""
    run = fit(Warmed, data, steps=200, folds=1)
    warm = [line for line in run.metrics if "weights_at_end" in line and line["phase"] == "select"]
    assert 0 < len(warm) <= 5  # of 10 epochs
    for line in run.metrics[:10]:
        if line["phase"] == "select":
            assert line["loss"]["valid"] == pytest.approx(line["valid"]["error"] + 10 * line["valid"]["size"])
    assert run.record.result.selected_step > warm[-1]["step"]


def arrays(rows=40):
    rng = np.random.default_rng(0)
    found = {"a": rng.normal(size=(rows, 3)), "b": rng.normal(size=(rows, 2)), "label": np.arange(rows) % 2}
    return found | {"split": np.repeat([0, 2], [rows - 10, 10])}


def folds_of(content, said=None, **settings):
    dataset = read(content)
    program = InSteps(dataset.modalities)
    resolved = resolve(FitSettings(**settings), program, dataset)
    return dataset, hold_out(program, dataset, resolved, (said if said is not None else []).append)


def test_what_a_row_alone_has_is_never_held_out():
    content, said = arrays(), []
    content["label"][3] = 2
    content["b"][np.arange(40) != 7] = np.nan
    dataset, folds = folds_of(content, said)
    held = torch.cat([fold.valid for fold in folds])
    assert len(folds) == 5 and sorted(held.tolist()) == [i for i in range(30) if i not in (3, 7)]
    assert all({3, 7} <= set(fold.train.tolist()) for fold in folds)
    assert said == [
        "2 rows are never held out: each alone has a class or a modality.",
        "No held-out row has b: what is held out says nothing of it.",
    ]


def test_fewer_rows_than_folds_are_so_many_folds():
    content = {name: array[[0, 1, 2, 30, 31]] for name, array in arrays().items() if name != "label"}
    _, folds = folds_of(content)
    assert [len(fold.valid) for fold in folds] == [1, 1, 1]
    content = {name: array[[0, 30, 31]] for name, array in arrays().items()}
    content.pop("label")  # of which the toy has no model
    run = fit(InSteps, content, steps=20)
    assert run.record.result.selected_step is None and run.record.result.steps == 20


def test_folds_and_shares_are_stratified():
    content = arrays(60) | {"label": np.repeat([0, 1], [40, 20]), "split": np.zeros(60, int)}
    content["split"][55:] = 2
    for settings in (dict(), dict(validation=0.2)):
        dataset, folds = folds_of(content, **settings)
        for fold in folds:
            held = dataset.values["label"][fold.valid]
            assert len(held) == 11 and abs(int((held == 0).sum()) - 8) <= 1
            assert sorted([*fold.train.tolist(), *fold.valid.tolist()]) == list(range(55))


def test_nothing_held_out_takes_all_steps():
    said = []
    content = arrays()
    content.pop("label")
    run = fit(InSteps, content, steps=50, validation=0, log=said.append)
    result = run.record.result
    assert (result.steps, result.steps_taken, result.selected_step) == (50, 50, None)
    assert "Takes 50 steps of 8 rows: no row is held out that could tell when to stop." in said
    assert {line["loss"]["valid"] for line in run.metrics} == {None}


def test_validation_rows_of_the_data_stay_held_out_unless_a_refit_is_asked_for():
    content = arrays()
    content["split"][:6] = 1
    content.pop("label")
    run = fit(InSteps, content, steps=60)
    assert not run.record.training["refit"] and {line["phase"] for line in run.metrics} == {"select"}
    assert run.record.result.steps == run.record.result.selected_step
    again = fit(InSteps, content, steps=60, refit=True)
    assert run.record.result.selected_step == again.record.result.selected_step
    assert [line["phase"] for line in again.metrics][-1] == "refit"
    with pytest.raises(UsageError, match="^validation 0.2: arrays brings 6 validation rows; leave it out"):
        fit(InSteps, content, steps=60, validation=0.2)


def test_epochs_keep_the_last_weights_unless_a_refit_is_asked_for(data):
    run = fit(InSteps, data, epochs=4)
    result = run.record.result
    assert result.selected_step is None and {line["phase"] for line in run.metrics} == {"fit"}
    assert result.steps == result.steps_taken == 4  # of 128 rows at most
    again = fit(InSteps, data, epochs=4, refit=True)
    assert [line["phase"] for line in again.metrics] == ["select"] * 4 + ["refit"] * 4
    assert again.record.result.steps_taken == 8


def test_epochs_replace_steps_and_steps_epochs():
    class Named(InSteps):
        training = dict(epochs=3)
        presets = {"long": dict(steps=700)}

    assert settings_for(Named, {}, None)[1].epochs == 3
    assert settings_for(Named, {}, "long")[1].steps == 700 and settings_for(Named, {}, "long")[1].epochs is None
    assert settings_for(Named, {}, "long", epochs=5)[1].steps is None
    with pytest.raises(UsageError, match="epochs 3 and steps 5: one of them says how long"):
        settings_for(Named, {}, None, epochs=3, steps=5)
    for wrong in (dict(steps=0), dict(folds=0), dict(validation=1.0), dict(validation=-0.1), dict(validation=math.nan)):
        with pytest.raises(UsageError):
            FitSettings(**wrong)


class Hooked(Callback):
    """Sets the decoder's bias after the selection, to the mean of what was held out."""

    def __init__(self):
        self.rows = []

    def __call__(self, program, valid):
        self.rows.append(len(valid))
        with torch.no_grad():
            program.decoder.bias.copy_(valid.values["b"].mean(0) + 7)
        return ["decoder.bias"]

    def report(self, program):
        return None


@pytest.mark.parametrize(("options", "rows"), [(dict(folds=1), [6]), (dict(), [10, 10, 10, 9, 9])])
def test_what_is_found_after_the_selection_stays_in_the_refit(data, options, rows):
    torch.manual_seed(0)
    hook, program = Hooked(), InSteps(data.modalities)
    settings = FitSettings(steps=60, lr=1e-2, **options)
    training = Training(program, data, settings, after_selection=hook)
    before = program.decoder.weight.detach().clone()
    training.run()
    assert hook.rows == rows and training.counters.frozen == ["decoder.bias"]
    held = torch.cat([trainee.rows.valid.values["b"] for trainee in training.first.trainees])
    torch.testing.assert_close(program.decoder.bias.detach(), held.mean(0) + 7)
    assert not torch.equal(program.decoder.weight, before)
