"""The search as such: what is tried first, what is kept, what goes on, and what a failed trial comes to.

A trial's score is a function of its settings here; what it is of real fits, `test_held_out.py` asks.
"""

import csv
import json

import numpy as np
import pytest

import mmppl
from mmppl import DataError, FitError, LockedError, UsageError
from mmppl.runs.storage import locked
from mmppl.train.settings import settings_for
from mmppl.train.tuning import runner, trials

optuna = pytest.importorskip("optuna")

RNG = np.random.default_rng(0)
N = 40
ARRAYS = {
    "x": RNG.normal(size=(N, 2)),
    "y": RNG.normal(size=(N, 2)),
    "label": np.arange(N) % 2,
    "split": np.array(["train"] * 24 + ["valid"] * 8 + ["test"] * 8),
}
CMMD = mmppl.load_program("cmmd")
SEARCH = "omega=0..1,latent_dim=4..32:log"


class World:
    """A score of settings in place of fits.

    Attributes:
        asked: the settings of the trials so far.
        raises: number of the trial → what its fit raises.
        curve: settings → scores on the way.
    """

    def __init__(self):
        self.asked, self.raises, self.curve = [], {}, lambda settings: []

    def score(self, cls, held_out, objective, settings, *, seed, report, **how):
        self.asked.append(settings)
        error = self.raises.pop(len(self.asked), None)
        if error is not None:
            raise error
        for step, value in enumerate(self.curve(settings), 1):
            report(step, value)
        return self.of(settings.hyper)

    @staticmethod
    def of(hyper):
        size = hyper.get("latent_dim", 20)
        return (hyper.get("omega", 0.4) - 0.7) ** 2 + 0.01 * np.log(size / 8) ** 2


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(runner, "score_settings", world.score)
    return world


def tune(trials=8, search=SEARCH, **options):
    return mmppl.tune("cmmd", ARRAYS, search=search, trials=trials, test=False, **options)


def ended(found):
    """What the trials came to, but for those that were killed and run again."""
    kept = ("state", "value", "default", "settings", "reason")
    return [{name: row[name] for name in kept} for row in found["trials"] if row["state"] != "killed"]


def test_the_default_is_tried_first_and_the_best_is_written(world, tmp_path):
    lines = []
    found = tune(12, hyper={"hidden": 16}, lr=0.5, out=tmp_path / "study", log=lines.append)
    assert world.asked[0].hyper == {"hidden": 16, "omega": 0.4, "latent_dim": 20}
    assert found["trials"][0]["default"] and found["default"]["value"] == pytest.approx(World.of({}))
    values = [row["value"] for row in found["trials"]]
    assert found["best"]["value"] == min(values) <= values[0] and len(set(values)) == 12
    assert found["best"]["hyper"] == world.asked[int(np.argmin(values))].hyper
    assert all(0 <= s.hyper["omega"] <= 1 and 4 <= s.hyper["latent_dim"] <= 32 for s in world.asked)
    assert {type(s.hyper["latent_dim"]) for s in world.asked} == {int}
    hyper, training = settings_for(CMMD, {}, found["preset"])
    assert hyper == found["best"]["hyper"] and training.lr == 0.5
    text = (tmp_path / "study" / "best.toml").read_text()
    assert "log_loss.label" in text and mmppl.read(ARRAYS).fingerprint() in text and "8 validation rows" in text
    table = list(csv.DictReader((tmp_path / "study" / "trials.csv").open()))
    assert [float(row["value"]) for row in table] == pytest.approx(values)
    assert [float(row["omega"]) for row in table] == [s.hyper["omega"] for s in world.asked]
    assert json.loads((tmp_path / "study" / "tune.json").read_text())["best"] == found["best"]
    assert "smaller is better" in lines[0] and "trial 0 (1 of 12): omega 0.4, latent_dim 20" in lines[1]
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert found["importance"]["omega"] > found["importance"]["latent_dim"]


def test_one_seed_one_search(world):
    first, again, other = tune(seed=1), tune(seed=1), tune(seed=2)
    assert ended(first) == ended(again) != ended(other)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_what_was_interrupted_goes_on_as_if_it_had_not_been(world, tmp_path, error):
    whole = tune(9)
    for number in (1, 6):  # the default, and then, after it and four others, the fifth
        world.asked.clear()
        world.raises = {number: error}
        with pytest.raises(type(error)):
            tune(9, out=tmp_path / "study")
    lines = []
    found = tune(9, out=tmp_path / "study", log=lines.append)
    assert "goes on after 5 trials" in lines[0]
    assert ended(found) == ended(whole) and sum(found["counts"].values()) == 9
    assert [row["state"] for row in found["trials"]].count("killed") == 2
    assert ended(tune(9, out=tmp_path / "study")) == ended(whole), "nothing is left to do"


def test_a_trial_of_a_dead_process_is_run_again_but_not_for_ever(world, tmp_path, monkeypatch):
    whole = tune(5)
    with monkeypatch.context() as patch:
        patch.setattr(trials.Trials, "end_killed", lambda self, trial: None)  # SIGKILL leaves a trial running
        world.raises = {len(world.asked) + 3: SystemExit()}
        with pytest.raises(SystemExit):
            tune(5, out=tmp_path / "study")
    assert ended(tune(5, out=tmp_path / "study")) == ended(whole)
    for _ in range(3):
        world.raises = {len(world.asked) + 1: SystemExit()}
        with pytest.raises(SystemExit):
            tune(6, out=tmp_path / "study")
    found = tune(6, out=tmp_path / "study")
    assert found["counts"]["failed"] == 1 and len(ended(found)) == 6
    assert found["trials"][-1]["reason"] == "its process was killed, 3 times"


def test_failures_are_trials_with_a_reason(world):
    errors = [FitError("the loss is not finite."), MemoryError(), UsageError("omega too\nlarge")]
    world.raises = dict(enumerate(errors, 2))
    found = tune(8)
    assert found["counts"] == {"complete": 5, "pruned": 0, "failed": 3}
    assert [row["reason"] for row in found["trials"]][1:4] == [
        "the loss is not finite.",
        "out of memory",
        r"omega too\nlarge",
    ]
    world.raises = {len(world.asked) + 1: FitError("diverged")}
    assert tune(3)["default"]["value"] is None, "others may be better than a default that diverges"


def test_what_no_settings_can_help_ends_it(world):
    world.raises = {1: DataError("no row has it")}
    with pytest.raises(DataError, match="no row has it"):
        tune()
    world.raises = {len(world.asked) + n: FitError("diverged") for n in (1, 2)}
    with pytest.raises(FitError, match="no trial has succeeded: diverged. Search elsewhere"):
        tune(2)
    with pytest.raises(FitError, match="no trial has succeeded"):
        tune(2, timeout=0)


def test_bad_trials_are_pruned_by_their_curve_and_the_default_never(world):
    world.curve = lambda settings: [100.0 * World.of(settings.hyper)] * 6
    found = tune(20, search="omega=0..1")
    states = {row["state"] for row in found["trials"]}
    assert states == {"complete", "pruned"} and found["trials"][0]["state"] == "complete"
    worst = max(row["value"] for row in found["trials"][6:] if row["value"] is not None)
    pruned = [World.of(row["settings"]) for row in found["trials"] if row["state"] == "pruned"]
    assert min(pruned) > found["best"]["value"] and np.median(pruned) > worst / 2
    assert all(row["value"] is None for row in found["trials"] if row["state"] == "pruned")


def test_a_default_outside_of_the_range_is_tried_all_the_same(world, tmp_path):
    found = tune(6, search="omega=0.5..1,batch_size=8..32")
    assert world.asked[0] == mmppl.train.tuning.trial.Settings({}, {})
    assert found["default"]["searched"] == {"omega": 0.4, "batch_size": None} and found["default"]["value"] > 0
    assert all(s.hyper["omega"] >= 0.5 and s.training["batch_size"] in range(8, 33) for s in world.asked[1:])


def test_choices_reach_the_fit_as_values(world):
    search = {"decoder_hidden": [None, 8], "generative": (True, False), "observed": "x|y", "epochs": "1..3"}
    tune(6, search=search, metric="error")
    for settings in world.asked[1:]:
        assert settings.hyper["decoder_hidden"] in (None, 8) and settings.hyper["generative"] in (True, False)
        assert settings.hyper["observed"] in (("x",), ("y",)) and settings.training["epochs"] in (1, 2, 3)


def test_a_preset_is_what_is_tried_first(world, tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text("[hyper]\nomega = 0.9\nhidden = 8\n[training]\nsteps = 50\n")
    found = tune(3, preset=preset, hyper={"layers": "1"}, epochs=2)
    assert world.asked[0].hyper == {"omega": 0.9, "hidden": 8, "layers": 1, "latent_dim": 20}
    assert world.asked[0].training == {"epochs": 2} == found["best"]["training"]


def test_another_search_does_not_go_on(world, tmp_path):
    folder = tmp_path / "study"
    tune(2, out=folder)
    tune(3, out=folder)  # more of the same may follow
    for other, message in (
        (dict(search="omega=0..1"), "search is"),
        (dict(seed=1), "seed is 1, the study has 0"),
        (dict(metric="error"), "metric is"),
        (dict(folds=2), "folds is 2, the study has null"),
        (dict(hyper={"hidden": 8}), "hyper is"),
        (dict(lr=0.1), "training is"),
    ):
        with pytest.raises(UsageError, match=f"cannot go on: {message}"):
            tune(3, out=folder, **other)
    changed = ARRAYS | {"x": ARRAYS["x"] + 1}
    with pytest.raises(UsageError, match="cannot go on: data is"):
        mmppl.tune("cmmd", changed, search=SEARCH, out=folder)


def test_folders_that_are_something_else(world, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no trials that could go on"):
        tune(out=tmp_path / "full")
    folder = tmp_path / "study {a} 50%?b#c"  # a name that would be something to SQLite or Optuna
    tune(1, out=folder)
    assert {".lock", "best.toml", "study.db", "trials.csv", "tune.json"} == {file.name for file in folder.iterdir()}
    with locked(folder), pytest.raises(LockedError, match="another tuning"):
        tune(2, out=folder)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match="study.db: cannot be used"):
        tune(out=broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(search="omga=0..1"), "no setting 'omga'.*Did you mean omega"),
        (dict(search="omega=0..2"), r"search omega=0..2: CMMD.*omega"),
        (dict(search="channels=8|12"), "search channels=8.12: CMMD: channels=12"),
        (dict(search="lr=-1..1"), "search lr=-1..1: lr -1.0 is not positive"),
        (dict(search="epochs=0..4"), "search epochs=0..4: epochs 0 is not positive"),
        (dict(hyper={"omega": 0.2}), "omega=0..1: it is given as well"),
        (dict(search="lr=0.1..1", lr=0.5), "lr=0.1..1: it is given as well"),
        (dict(hyper={"omgea": 0.2}), "no hyper-parameter 'omgea'"),
        (dict(epoch=3), "no setting 'epoch'.*Did you mean epochs"),
        (dict(trials=0), "at least one of each"),
        (dict(metric="log_los"), "metric log_los: there is none.*Did you mean log_loss"),
        (dict(jobs=2), "jobs 2: other processes take a folder"),
        (dict(preset="paper-mnits"), "no preset 'paper-mnits'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_fitted(world, tmp_path, options, message):
    with pytest.raises(UsageError, match=message) as raised:
        mmppl.tune("cmmd", ARRAYS, out=tmp_path / "study", **dict(search=SEARCH) | options)
    assert "\n" not in str(raised.value) and not world.asked and not (tmp_path / "study").exists()


def test_optuna_is_an_extra(world, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"takes optuna; pip install 'mmppl\[tune\]'"):
        tune()
