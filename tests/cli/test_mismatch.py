"""Data that do not go with a program or a run: each is one line that names what differs, or a warning on stderr."""

import json

import numpy as np
import pytest

import mmppl
from mmppl.cli import main

SMALL = ["--epochs", "1", "--set", "hidden=16", "--set", "layers=1", "--set", "latent_dim=3"]
N = 60


@pytest.fixture
def call(capsys):
    """A command line's exit code, stdout and lines of stderr."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


@pytest.fixture(scope="module")
def arrays():
    draw = np.random.default_rng(0)
    return {"alpha": draw.random((N, 4)).round(), "beta": draw.normal(size=(N, 2)), "label": np.arange(N) % 3}


@pytest.fixture(scope="module")
def fitted(arrays, tmp_path_factory):
    """A run of MVAE on the arrays."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "mine.npz", **arrays)
    assert main(["fit", "mvae", *SMALL, "--data", str(folder / "mine.npz"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def saved(folder, arrays, **changed):
    """The arrays with some changed, or left out where None, in a file."""
    np.savez(folder / "new.npz", **{k: v for k, v in (arrays | changed).items() if v is not None})
    return folder / "new.npz"


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"alpha": np.ones((N, 5))}, ["'alpha' has shape (5,), not (4,)"]),
        ({"beta": None, "betta": np.ones((N, 2))}, ["'beta' is missing", "'betta' is not in it (Did you mean beta?)"]),
        ({"label": np.array(["x", "y", "z"])[np.arange(N) % 3]}, ["'label' holds strings, not numbers"]),
        ({"alpha": np.full((N, 4), 3)}, ["'alpha', row 0, column 0: 3 lies outside [0, 1]", "correct or mask it"]),
    ],
)
@pytest.mark.parametrize("command", ["query", "evaluate"])
def test_data_of_another_schema(call, fitted, arrays, tmp_path, changed, parts, command):
    code, out, err = call(command, fitted, "--data", saved(tmp_path, arrays, **changed), "--split", "all")
    assert (code, out, len(err)) == (5, "", 1) and err[0].startswith("mmppl: error: ")
    assert all(part in err[0] for part in parts), err[0]


def test_what_the_run_does_not_know_is_told_and_left_out(call, fitted, arrays, tmp_path):
    new = saved(tmp_path, arrays, gamma=np.ones((N, 2)), place=np.array(["a", "b"] * (N // 2)))
    plain = call("query", fitted, "--data", saved(tmp_path, arrays), "--want", "label", "--json", "--split", "all")
    new = saved(tmp_path, arrays, gamma=np.ones((N, 2)), place=np.array(["a", "b"] * (N // 2)))
    code, out, err = call("query", fitted, "--data", new, "--want", "label", "--json", "--split", "all")
    assert code == 0 and err == [f"{name}: is not in the run, and left out." for name in ("gamma", "place")]
    assert json.loads(out)["want"] == json.loads(plain[1])["want"]
    assert call("evaluate", fitted, "--data", new, "--split", "all", "--metric", "error")[0] == 0


def test_an_unseen_class_stops_only_what_depends_on_it(call, fitted, arrays, tmp_path):
    new = saved(tmp_path, arrays, label=np.arange(N) % 3 + 1)
    says = "'label', row 2: 3 is not one of the classes 0, 1, 2; "
    code, out, err = call("query", fitted, "--data", new, "--want", "label", "--split", "all")
    assert code == 0 and err == [f"{says}taken for missing in 20 such rows."]  # the truth of what is predicted
    for words in (
        ("query", fitted, "--given", "label", "--want", "z", "--method", "importance"),
        ("query", fitted, "--given", "alpha", "--want", "label,evidence"),
        ("evaluate", fitted),
    ):
        code, out, err = call(*words, "--data", new, "--split", "all")
        assert (code, out, err) == (5, "", [f"mmppl: error: {says}correct or mask it."])


def test_a_modality_that_no_row_has_is_reported(call, fitted, arrays, tmp_path):
    new = saved(tmp_path, arrays, beta=None)
    code, out, err = call("query", fitted, "--data", new, "--want", "label", "--rows", "0:2")
    assert code == 0 and "row 1" in out and err == ["new.npz: no row has beta."]
    for words in (("--given", "alpha", "--want", "label"), ("--want", "beta,label")):  # beta is not looked at
        assert call("query", fitted, "--data", new, *words, "--rows", "0:2")[2] == []
    code, _, err = call("query", fitted, "--data", new, "--given", "beta", "--want", "label", "--rows", "0:2")
    assert code == 0 and err[0] == "new.npz: no row has beta."
    assert "2 of 2 rows have none of the given modalities" in err[1]
    new = saved(tmp_path, arrays, label=None)
    assert call("query", fitted, "--data", new, "--want", "label", "--rows", "0:2")[2] == []
    code, _, err = call("evaluate", fitted, "--data", new, "--split", "all", "--metric", "error")
    assert code == 0 and err[0] == "new.npz: no row has label."


def test_rows_with_nothing_are_counted(call, fitted, arrays, tmp_path):
    gone = np.arange(N) >= 2
    new = saved(tmp_path, arrays, mask_alpha=gone, mask_beta=gone)
    code, out, err = call("query", fitted, "--data", new, "--want", "z", "--rows", "0:3", "--json")
    assert code == 0 and err == ["2 of 3 rows have none of the given modalities: their answer is the prior."]
    spread = np.array(json.loads(out)["want"]["z"]["std"])
    assert (spread[:2] == 1).all() and (spread[2] < 1).all()


@pytest.mark.parametrize("option", [["--given", "alfa"], ["--given", "alpha,bta"], ["--want", "lable"]])
def test_unknown_names_come_with_the_nearest(call, fitted, option):
    code, out, err = call("query", fitted, *option)
    near = {"alfa": "alpha", "alpha,bta": "beta", "lable": "label"}[option[1]]
    assert (code, out, len(err)) == (2, "", 1) and f"Did you mean {near}?" in err[0]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["cmmd", "--set", "alpha=5"], {"nll.beta", "kl.z", "mmd.z"}),
        (["mvae", "--set", "see_labels=true"], {"nll.alpha", "nll.beta", "kl.z", "cross.alpha", "cross.beta"}),
    ],
)
def test_without_a_label_a_program_learns_the_rest(call, arrays, tmp_path, words, left):
    new = saved(tmp_path, arrays, label=None)
    code, out, _ = call("fit", *words, *SMALL, "--data", new, "--out", tmp_path / "run", "--json")
    assert code == 0 and set(json.loads(out)["terms"]) == left
    code, _, err = call("query", tmp_path / "run", "--want", "label")
    assert code == 2 and "'label' is not in this run; want some of z, alpha, beta, evidence" in err[-1]


def test_a_classifier_alone_without_a_label_is_refused(call, arrays, tmp_path):
    new = saved(tmp_path, arrays, label=None)
    code, _, err = call("fit", "cmmd", "--set", "generative=false", "--data", new, "--out", tmp_path / "run")
    assert code == 2 and "the data have no label" in err[-1] and not (tmp_path / "run").exists()


@pytest.mark.parametrize("program", ["mvae", "cmmd"])
def test_a_modality_that_no_training_row_has_is_refused(call, arrays, tmp_path, program):
    split = np.where(np.arange(N) < 40, "train", "test")
    new = saved(tmp_path, arrays, split=split, mask_beta=split == "test")
    code, out, err = call("fit", program, *SMALL, "--data", new, "--out", tmp_path / "run")
    assert (code, out) == (5, "") and "'beta' is observed in no train row; leave it out (--as beta=ignore)" in err[-1]
    gone = (*SMALL, "--set", "observed=alpha") if program == "cmmd" else SMALL
    code, _, err = call("fit", program, *gone, "--data", new, "--as", "beta=ignore", "--out", tmp_path / "run")
    assert code == (2 if program == "cmmd" else 0)  # a conditional program has nothing left to generate


def test_a_modality_that_comes_without_the_conditions_is_refused(call, arrays, tmp_path):
    """CMMD learns from rows with alpha, and those never have beta."""
    odd = np.arange(N) % 2 == 1
    new = saved(tmp_path, arrays, gamma=arrays["beta"], mask_alpha=odd, mask_beta=~odd)
    code, out, err = call("fit", "cmmd", *SMALL, "--data", new, "--out", tmp_path / "run")
    assert (code, out) == (5, "") and not (tmp_path / "run").exists()
    assert "'beta' is observed in no row that CMMD learns from; leave it out (--as beta=ignore)" in err[-1]


def test_a_modality_hidden_everywhere_is_refused(arrays, tmp_path):
    data = mmppl.read(arrays).mask_at_random(rate={"beta": 1.0})
    with pytest.raises(mmppl.DataError, match="'beta' is observed in no row that MVAE learns from"):
        mmppl.fit("mvae", data, epochs=1, out=tmp_path / "run")


def test_classes_that_training_never_saw_are_named(call, arrays, tmp_path):
    split = np.where(np.arange(N) < 40, "train", "test")
    label = np.array(["ant", "bee", "cow", "dog"])[np.where(split == "train", np.arange(N) % 2, np.arange(N) % 4)]
    new = saved(tmp_path, arrays, split=split, label=label)
    run = tmp_path / "run"
    line = "label: no training row is of class cow, dog: the model cannot know it."
    code, _, err = call("fit", "mvae", *SMALL, "--data", new, "--out", run)
    assert code == 0 and line in err
    assert line in call("evaluate", run, "--metric", "error")[2]
    assert call("query", run, "--want", "label", "--rows", "0:1")[2] == [line]
    assert call("query", run, "--want", "beta", "--rows", "0:1")[2] == []


def test_many_unseen_classes_are_counted():
    from mmppl.inference.warnings import unseen_classes

    (line,) = unseen_classes({"y": list(range(14))})
    assert line == "y: no training row is of class 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 or of 4 more: the model cannot know it."
