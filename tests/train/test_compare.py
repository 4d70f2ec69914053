"""Programs and runs side by side: what is fitted, kept, refused, and what goes on."""

import json
import os
from functools import partial

import numpy as np
import pytest

import mmppl
from mmppl import Contender, DataError, FitError, UsageError
from mmppl.core.loading import load_program
from mmppl.evaluation.comparison.row_losses import WAYS
from mmppl.train.comparison.contender import folder_name
from mmppl.train.comparison.processes import Failure, side_by_side

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 3))
ARRAYS = {"x": X, "y": X[:, :2] + RNG.normal(size=(N, 2)), "label": (X[:, 0] > 0).astype(int)}
SMALL = dict(epochs=1, calibrate=False, draws=2)
TWO = ("mvae:hidden=4,layers=1,latent_dim=2", "mvae:hidden=4,layers=1,latent_dim=1")
GIVEN_X = dict(conditioning_sets=["x"], baselines=["global"])


class Broken(load_program("mvae")):
    """Fails in its first step."""

    def objective(self, batch):
        raise RuntimeError("no such thing")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """(the folder of the fits, what was found) of two programs on the data's own split."""
    folder = tmp_path_factory.mktemp("compared")
    return folder, mmppl.compare(TWO, ARRAYS, out_dir=folder, conditioning_sets=["x"], **SMALL)


def numbers(found):
    """Of programs and runs, whatever baselines stand beside them."""
    return [
        (str(one.question), one.measure.title, entry.name, entry.value)
        for one in found.answered
        for entry in one.entries
        if entry.name not in WAYS.values()
    ]


def test_values_are_those_of_evaluate(kept):
    folder, found = kept
    run = mmppl.Run.load(folder / folder_name(TWO[0]) / "seed-0")
    told = mmppl.evaluate(run, mmppl.read(ARRAYS), draws=2, conditioning_sets=["x"])["metrics"]
    ways = {TWO[0]: "", "mean or majority": "_global", "ridge or logistic": "_linear", "gradient boosting": "_boosting"}
    names = {"log loss": "log_loss", "error": "error", "rmse": "rmse"}
    seen = 0
    for one in found.answered:
        given, target = "+".join(one.question.given), one.question.target
        values = {entry.name: entry.value for entry in one.entries}
        for entrant, way in ways.items():
            known = told[f"{names[one.measure.title]}{way}.{target}"][given]
            assert values[entrant] == pytest.approx(known, rel=1e-6), (one.question, entrant)
            seen += 1
    assert seen == 4 * 3  # y, and the label by two measures
    assert {entrant.kind for entrant in found.entrants} == {"program", "baseline"}
    assert all(entrant.seconds > 0 for entrant in found.entrants) and found.failed == {}


def test_runs_and_programs_are_compared_on_the_same_rows(kept):
    folder, before = kept
    run = mmppl.Run.load(folder / folder_name(TWO[0]) / "seed-0")
    found = mmppl.compare([run, TWO[1]], ARRAYS, out_dir=folder, **SMALL, **GIVEN_X)
    assert [entrant.kind for entrant in found.entrants[:2]] == ["run", "program"]
    renamed = [(q, m, TWO[0] if name == run.name else name, value) for q, m, name, value in numbers(found)]
    assert renamed == numbers(before)
    assert found.entrants[1].memory == before.entrants[1].memory  # measured once, kept beside the run


def test_what_is_there_is_not_fitted_again_and_other_settings_are_refused(kept):
    folder, before = kept
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("run.json")}
    assert len(files) == 2
    again = mmppl.compare(TWO, ARRAYS, out_dir=folder, **SMALL, **GIVEN_X)
    assert numbers(again) == numbers(before)
    assert {file: file.stat().st_mtime_ns for file in files} == files
    with pytest.raises(FitError, match="no contender is left.*cannot resume: .*epochs 2, the run has 1"):
        mmppl.compare(TWO, ARRAYS, out_dir=folder, **(SMALL | {"epochs": 2}), **GIVEN_X)


def test_a_killed_one_goes_on(tmp_path):
    """Ctrl-C after the first of four fits: three are left to do, and the result is that of one that was not killed."""
    how = dict(folds=2, **SMALL, **GIVEN_X)

    def interrupt(event):
        if isinstance(event, str):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mmppl.compare(TWO, ARRAYS, out_dir=tmp_path / "killed", log=interrupt, **how)
    (done,) = (tmp_path / "killed").rglob("run.json")
    before = done.stat().st_mtime_ns
    lines = []
    found = mmppl.compare(TWO, ARRAYS, out_dir=tmp_path / "killed", log=lines.append, **how)
    assert done.stat().st_mtime_ns == before and len(list((tmp_path / "killed").rglob("run.json"))) == 4
    assert any("fold 2 of 2: fitted in" in str(line) and "(4 of 4 fits done)" in str(line) for line in lines)
    assert numbers(found) == numbers(mmppl.compare(TWO, ARRAYS, **how))
    assert found.tested == N and all(one.n == N for one in found.answered)


def test_what_fails_is_told_and_the_others_are_compared():
    found = mmppl.compare([TWO[0], Contender(Broken, name="broken")], ARRAYS, seeds=2, **SMALL, **GIVEN_X)
    assert list(found.failed) == ["broken"] and "no such thing" in found.failed["broken"]
    assert found.failed["broken"].startswith("seed 0: ")  # and the second was not tried
    assert [len(entrant.fits) for entrant in found.entrants if entrant.kind == "program"] == [2]
    assert "broken failed" in str(found)
    with pytest.raises(FitError, match="no contender is left.*no such thing"):
        mmppl.compare([Contender(Broken, name="broken")], ARRAYS, **SMALL, **GIVEN_X)


@pytest.mark.slow
def test_runs_are_averaged_only_over_seeds(tmp_path):
    how = dict(epochs=1, calibrate=False, hyper={"hidden": 4, "layers": 1, "latent_dim": 2})
    runs = [mmppl.fit("mvae", ARRAYS, seed=seed, out=tmp_path / f"seed-{seed}", **how) for seed in (0, 1)]
    other = mmppl.fit("mvae", ARRAYS, out=tmp_path / "wide", **(how | {"hyper": {"hidden": 5, "layers": 1}}))
    found = mmppl.compare([*runs, other], ARRAYS, draws=2, **GIVEN_X)
    assert [entrant.name for entrant in found.entrants[:2]] == [f"{tmp_path / 'seed-0'} and 1 more", other.name]
    each = [mmppl.evaluate(run, draws=2, seed=seed)["metrics"]["rmse.y"]["x"] for seed, run in enumerate(runs)]
    value = next(entry.value for entry in found.answered[0].entries if entry.name.endswith("more"))
    assert value == pytest.approx(np.mean(each)) and found.answered[0].measure.title == "rmse"


def test_runs_of_other_rows_and_runs_for_folds_are_refused(kept):
    folder = kept[0] / folder_name(TWO[0]) / "seed-0"
    run = mmppl.Run.load(folder)
    with pytest.raises(UsageError, match="is there twice"):
        mmppl.compare([run, folder], ARRAYS)
    with pytest.raises(DataError, match="was fitted on arrays, not on these rows"):
        mmppl.compare([run], {name: array[1:] for name, array in ARRAYS.items()})
    with pytest.raises(DataError, match="was fitted on arrays, not on these rows"):
        mmppl.compare([run], ARRAYS | {"split": np.repeat(["test", "train", "train"], 20)})
    with pytest.raises(UsageError, match="is a run, .*cannot be tested on folds"):
        mmppl.compare([run], ARRAYS, folds=3)
    with pytest.raises(UsageError, match="a preset is for fits"):
        mmppl.compare([f"{folder}@paper"], ARRAYS)


@pytest.mark.parametrize(
    ("contenders", "how", "said"),
    [
        (["mvaee"], {}, "no program 'mvaee'.*Did you mean mvae"),
        (["mvae:hiden=4"], {}, "no hyper-parameter 'hiden'.*Did you mean hidden"),
        (["mvae:lr=fast"], {}, "mvae:lr=fast: lr=fast is no finite float"),
        (["mvae", "mvae"], {}, "mvae is named twice"),
        (["mvae"], {"epoch": 3}, "no setting 'epoch'.*Did you mean epochs"),
        (["mvae"], {"folds": 2, "seeds": 2}, "each fold has one fit"),
        (["mvae"], {"jobs": 2}, "each process reads for itself"),
        (["mvae"], {"baselines": ["forest"]}, "no baseline 'forest'"),
        (["mvae"], {"conditioning_sets": ["z"]}, "no modality 'z'"),
        (["mvae", "cmmd"], {"conditioning_sets": ["y"]}, "mvae, cmmd: no question that any other.*conditions on x"),
        ([], {}, "name programs or run folders"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_before_anything_is_fitted(contenders, how, said, monkeypatch):
    monkeypatch.setattr("mmppl.train.comparison.compare.fit_and_ask", None)
    with pytest.raises(UsageError, match=said):
        mmppl.compare(contenders, ARRAYS, **how)


def test_contenders_are_read_from_text():
    found = Contender.parse("fmwvae@paper:weights=1,20,lr=1e-4,private=16")
    assert (found.program, found.preset) == ("fmwvae", "paper")
    assert found.hyper == {"weights": "1,20", "private": "16"} and found.training == {"lr": 1e-4}
    assert Contender.parse("programs/my.py").program == "programs/my.py"
    common = {"epochs": 5, "lr": 1e-3}
    assert found.settings(common) == {"epochs": 5, "lr": 1e-4}
    assert Contender.parse("mvae:steps=9").settings(common) == {"lr": 1e-3, "steps": 9}  # instead of epochs
    assert Contender("factors").settings(common, fixed_length=True) == {"lr": 1e-3}
    assert folder_name("mvae") == "mvae" and folder_name("a:b=1") != folder_name("a/b=1")


def test_tables_are_written_as_markdown_csv_and_json(kept, tmp_path):
    _, found = kept
    told = json.loads(found.write(tmp_path / "t.json").read_text())
    assert len(told["tables"]) == len(found.answered) and told["entrants"][0]["questions"] == 2
    lines = found.write(tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(one.entries) for one in found.answered)
    text = found.write(tmp_path / "t.md").read_text()
    best = found.answered[0].entries[0]
    assert f"**{best.value:.4g}**" in text and "| mean rank |" in text
    with pytest.raises(UsageError, match="written to .md, .csv, .json"):
        found.write(tmp_path / "t.xlsx")


def test_the_evidence_of_models_is_no_difference_of_bounds(kept):
    folder, _ = kept
    found = mmppl.compare(TWO, ARRAYS, out_dir=folder, evidence_draws=64, **SMALL, **GIVEN_X)
    (nats,) = (one for one in found.answered if one.measure.title == "−ln p")
    assert nats.question.target == "x+y" and len(nats.entries) == 2
    run = mmppl.Run.load(folder / folder_name(TWO[0]) / "seed-0")
    known = mmppl.evaluate(run, mmppl.read(ARRAYS), metrics=["evidence"], evidence_draws=64, draws=2)["metrics"]
    value = next(entry.value for entry in nats.entries if entry.name == TWO[0])
    assert value == pytest.approx(-known["evidence"]["nothing"])
    assert any("a difference of two lower bounds is no bound" in note for note in found.notes)


def test_a_process_that_dies_takes_no_other_along():
    work = [partial(os._exit, 3), partial(int, "7"), partial(int, "seven"), partial(int, "8")]
    found = dict(side_by_side(work, lambda number: number != 3, jobs=2))
    assert found[1] == 7 and set(found) == {0, 1, 2}
    assert isinstance(found[0], Failure) and "exit code 3" in found[0]
    assert isinstance(found[2], Failure) and found[2].startswith("ValueError")
