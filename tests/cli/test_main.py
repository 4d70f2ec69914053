"""The command line from outside: every row of the exit-code table, one line per error, one JSON object per answer."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, installed

from mmppl.cli import main


def test_no_command_prints_help(mmppl):
    result = mmppl()
    assert result.code == 0 and "Commands:" in result.out and result.err == ""


def test_version(mmppl):
    assert mmppl("--version").out.startswith("mmppl 0.")


@pytest.mark.parametrize("command", ["fit", "query", "evaluate", "plot", "show", "data", "bench"])
def test_help_has_an_example(mmppl, command):
    result = mmppl(command, "--help")
    assert result.code == 0 and f"\n  mmppl {command} " in result.out


def test_seed_promises_no_other_split(mmppl, mine, tmp_path):
    assert "split does not depend on it" in " ".join(mmppl("fit", "--help").out.replace("|", " ").split())
    ids = []
    for seed in "01":
        run = tmp_path / seed
        assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--seed", seed, "--out", run).code == 0
        ids.append(mmppl("query", run, "--want", "label", "--json").json["ids"])
    assert ids[0] == ids[1]


def test_fit_prints_results_and_the_next_query(mmppl, mine, tmp_path):
    result = mmppl("fit", "mvae", *SMALL, "--data", mine, "--hide", "0.3", "--out", tmp_path / "run")
    assert result.code == 0
    for part in (
        "run ",
        "steps ",
        "seconds ",
        "loss ",
        "rows ",
        "error of label ",
        "  the most frequent class ",
        "R² of a ",
        "rmse of b ",
        "  the training mean ",
    ):
        assert f"\n{part}" in f"\n{result.out}"
    line = result.out.splitlines()[-1].removeprefix("next: mmppl ")
    assert line == f"query {tmp_path}/run --given a --want label,b --rows 0:5"
    asked = mmppl(*line.split())
    assert asked.code == 0 and asked.out.count("row ") == 5
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["hide"] == 0.3


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("jmvae --set warm_up=0.5", id="jmvae", marks=pytest.mark.slow),
        pytest.param("mvae --set subsets=sampled --set scored=seen --set temper=learned --hide 0.3", id="mvae"),
    ],
)
def test_a_program_from_fit_to_show(mmppl, tmp_path, words):
    """On digits-three, with answers for every conditioning set; without anything the prior, whose spread is 1."""
    run = tmp_path / "run"
    fitted = mmppl("fit", *words.split(), "--epochs", "2", "--set", "hidden=32", "--out", run, "--json").json
    terms = {"nll.image", "nll.profile", "nll.word", "nll.label", "kl.z"}
    own, weight = ("kl", 0.1) if "jmvae" in words else ("cross", 1.0)
    own = {f"{own}.{name}" for name in ("image", "profile", "word")}
    assert set(fitted["terms"]) == set(fitted["weights"]) == terms | own
    assert all(fitted["weights"][name] == weight for name in own)
    for given in ("", "image", "image,word", "image,profile,word"):
        answer = mmppl("query", run, "--given", given, "--want", "z,label", "--rows", "0:4", "--json").json["want"]
        assert np.allclose(np.sum(answer["label"]["prob"], -1), 1) and np.shape(answer["z"]["mean"]) == (4, 20)
        assert (np.array(answer["z"]["std"]) == 1).all() == (given == "")
    metrics = mmppl("evaluate", run, "--json").json["metrics"]
    assert len(metrics["error.label"]) == 7 and all(0 <= x <= 1 for x in metrics["error.label"].values())
    shown = mmppl("show", run)
    assert shown.code == 0 and "kl.z" in shown.out and words.split()[2] in shown.out


def test_the_next_line_of_a_conditional_program_can_be_run(mmppl, tmp_path):
    run = tmp_path / "run"
    result = mmppl("fit", "cmmd", *SMALL, "--hide", "0.3", "--out", run)
    line = result.out.splitlines()[-1].removeprefix("next: ")
    assert line in mmppl("show", run).out
    asked = mmppl(*line.split()[1:])
    assert asked.code == 0 and "row " in asked.out


def test_warnings_go_to_stderr_one_line_each(mmppl, mine, tmp_path):
    run = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--hide", "0.3", "--out", run).code == 0
    words = ("--method", "importance", "--draws", "64", "--json")
    asked = mmppl("query", run, "--given", "a", "--want", "label", "--split", "all", *words)
    assert asked.code == 0 and asked.json["n"] == 40
    blind, weights = asked.err.splitlines()
    assert "have none of the given modalities" in blind and "above 0.7" in weights
    assert asked.json["warnings"] == [blind, weights]


def test_names_count_once(mmppl, fitted):
    words = ("query", fitted, "--given", "rotated,rotated", "--want", "noisy,label,noisy", "--rows", "0:1", "--json")
    found = mmppl(*words).json
    assert found["given"] == ["rotated"] and list(found["want"]) == ["noisy", "label"]


def test_given_and_want_may_come_several_times(mmppl, mine, tmp_path):
    run = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--out", run).code == 0
    ask = ("query", run, "--rows", "0:1", "--json")
    both = mmppl(*ask, "--given", "a", "--given", "b", "--want", "label", "--want", "z").json
    assert both == mmppl(*ask, "--given", "a,b", "--want", "label,z").json
    assert both["given"] == ["a", "b"] and list(both["want"]) == ["label", "z"]
    assert mmppl(*ask, "--given=").json["given"] == [] and mmppl(*ask).json["given"] is None


def test_a_data_file_is_neither_run_nor_program(mmppl, mine):
    for command in ("query", "evaluate", "plot"):
        mmppl(command, mine).failed(2, f"{mine}: a file, and a run is the folder that a fit has left")
    mmppl("fit", mine).failed(2, f"{mine}: no program", "binary data; give data with --data")


def test_what_the_guide_does_not_see(mmppl, mine, tmp_path):
    """One line for both commands, of which only one has methods."""
    run = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--out", run).code == 0
    for command in (("evaluate", run), ("query", run, "--want", "a")):
        mmppl(*command, "--given", "label").failed(
            2, "does not see label; leave it out, or query with method importance"
        )


def test_no_test_rows_point_to_the_others(mmppl, fitted, tmp_path):
    images = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", rotated=images, split=np.array(["train"] * 3))
    ask = ("query", fitted, "--data", tmp_path / "mine.npz", "--want", "label")
    for words in (("--rows", "0:1"), ()):
        mmppl(*ask, *words).failed(2, "mine.npz has no test rows", "--split all")
    assert mmppl(*ask, "--split", "all", "--rows", "0:1").code == 0


def test_a_program_that_only_classifies_is_queried_for_labels_only(mmppl, tmp_path):
    run = tmp_path / "run"
    result = mmppl("fit", "cmmd", *SMALL, "--set", "generative=false", "--out", run)
    assert result.code == 0 and "error of label" in result.out and "noisy" not in result.out
    assert list(mmppl("query", run, "--rows", "0:1", "--json").json["want"]) == ["label"]
    assert "--want label --rows" in mmppl("show", run).out


def test_fit_json(mmppl, fitted):
    result = mmppl("fit", "cmmd", *SMALL, "--seed", "3", "--out", fitted, "--resume", "--json")  # done: only summed up
    assert result.code == 0
    assert set(result.json) == {
        "run", "epochs", "steps", "steps_taken", "selected_step", "seconds", "loss", "terms", "weights", "metrics", "n",
        "warnings", "calibration",
    }  # fmt: skip
    assert result.json["run"] == str(fitted) and result.json["epochs"] == 1
    anchors = {"error_global.label", "rmse_global.noisy"}
    assert {"error.label", "rmse.noisy", "r2.noisy"} | anchors <= set(result.json["metrics"])
    assert list(result.json["n"]) == ["rotated"] and isinstance(result.json["warnings"], list)
    assert set(result.json["metrics"]["error.label"]) == {"rotated"}


def test_query_json(mmppl, fitted):
    words = ("query", fitted, "--given", "rotated", "--want", "label,noisy,z,evidence", "--rows", "0:4", "--draws", "8")
    result = mmppl(*words, "--json")
    assert result.code == 0
    found = result.json
    assert set(found) == {"run", "n", "given", "ids", "want", "warnings"}
    assert found["n"] == len(found["ids"]) == 4 and found["given"] == ["rotated"]
    assert set(found["want"]["noisy"]) == {"mean", "std", "q05", "q50", "q95"}
    assert set(found["want"]["label"]) == {"prob", "classes", "predicted"}
    assert set(found["want"]["evidence"]) == {"nats", "se", "ess", "khat"}
    assert np.shape(found["want"]["noisy"]["mean"]) == (4, 8, 8) and np.shape(found["want"]["z"]["mean"]) == (4, 3)
    np.testing.assert_allclose(np.sum(found["want"]["label"]["prob"], -1), 1, rtol=1e-5)
    assert mmppl(*words, "--json").out == result.out


def test_query_wants_labels_and_modalities_by_default(mmppl, fitted):
    assert set(mmppl("query", fitted, "--rows", "0:2", "--draws", "4", "--json").json["want"]) == {"label", "noisy"}


def test_query_table(mmppl, fitted):
    result = mmppl("query", fitted, "--rows", "0:7", "--draws", "4")
    assert result.code == 0 and result.out.startswith("row ") and "2 more rows" in result.out


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_query_out(mmppl, fitted, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"answer{suffix}"
    result = mmppl("query", fitted, "--want", "label", "--split", "valid", "--rows", ":3", "--out", file)
    assert (result.code, result.out) == (0, f"{file}\n")
    if suffix == ".npz":
        with np.load(file) as arrays:
            assert arrays["label.prob"].shape == (3, 10) and arrays["id"].shape == (3,)
    elif suffix == ".parquet":
        assert file.read_bytes()[:4] == b"PAR1"
    else:
        assert len(file.read_text().splitlines()) == 4


def test_query_own_data(mmppl, fitted, tmp_path):
    images = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", rotated=images, id=np.array(["a", "b", "c"]))
    result = mmppl("query", fitted, "--data", tmp_path / "mine.npz", "--want", "label", "--json")
    assert result.code == 0 and result.json["ids"] == ["a", "b", "c"]


def test_evaluate(mmppl, fitted):
    words = ("--metric", "rmse.noisy", "--draws", "4")
    one = mmppl("evaluate", fitted, "--metric", "error", *words, "--json")
    assert one.code == 0 and set(one.json) == {"run", "split", "rows", "n", "metrics", "warnings"}
    assert {"error.label", "rmse.noisy"} <= set(one.json["metrics"])
    two = mmppl("evaluate", fitted, fitted, *words, "--json")
    assert set(two.json) == {"runs", "mean", "sd", "warnings"} and two.json["sd"]["rmse.noisy"]["rotated"] == 0
    text = mmppl("evaluate", fitted, *words)
    assert text.out.splitlines()[2].split() == ["given", "rotated"] and "rmse.noisy " in text.out
    assert text.out.splitlines()[3].split() == ["rows", "359"]


def test_runs_that_are_not_alike_are_side_by_side(mmppl, fitted, mine, tmp_path):
    runs = {}
    for name, program, more in (
        ("a", "mvae", ["--hide", "0.1"]), ("seed", "mvae", ["--seed", "5", "--hide", "0.1"]),
        ("wide", "mvae", ["--set", "hidden=17", "--hide", "0.1", "--lr", "0.5"]), ("other", "mopoe", ["--hide", "0.1"]),
    ):  # fmt: skip
        runs[name] = tmp_path / name
        assert mmppl("fit", program, *SMALL, *more, "--data", mine, "--out", runs[name]).code == 0
    ask = ("evaluate", "--metric", "rmse.a", "--draws", "2", "--json", runs["a"])
    assert mmppl(*ask, runs["seed"]).json["warnings"] == []
    assert set(mmppl(*ask, runs["seed"]).json) == {"runs", "mean", "sd", "warnings"}
    unlike = mmppl(*ask, runs["wide"], runs["seed"])
    assert set(unlike.json) == {"runs", "groups", "warnings"}  # nothing is averaged over all
    both, wide = unlike.json["groups"]
    assert both["runs"] == [str(runs["a"]), str(runs["seed"])] and both["differs"] == {"hidden": "16", "lr": "0.002"}
    assert both["sd"]["rmse.a"]["b"] > 0 and wide["sd"]["rmse.a"]["b"] is None
    assert wide["mean"]["rmse.a"] == unlike.json["runs"][1]["metrics"]["rmse.a"]
    text = mmppl(*ask[:-2], runs["a"], runs["wide"]).out
    assert "side by side" in text and [*map(str, (runs["a"], runs["wide"]))] == text.splitlines()[2].split()
    unlike = mmppl(*ask, runs["wide"])
    (warning,) = unlike.json["warnings"]
    assert warning == "the runs differ in more than the seed: hidden 16 / 17; lr 0.002 / 0.5."
    assert warning in unlike.err.splitlines()
    (warning,) = mmppl(*ask, runs["other"]).json["warnings"]
    assert warning.startswith("the runs differ in more than the seed: program mvae / mopoe") and "none" not in warning
    np.savez(tmp_path / "less.npz", **{k: v[:30] for k, v in np.load(mine).items()})
    assert mmppl("fit", "mvae", *SMALL, "--data", tmp_path / "less.npz", "--out", tmp_path / "less").code == 0
    (warning,) = mmppl(*ask, tmp_path / "less").json["warnings"]
    assert "mine.npz (40 rows" in warning and "less.npz (30 rows" in warning and "hide 0.1 / 0.0" in warning


def test_what_only_answers_depend_on_can_be_set_on_a_run(mmppl, mine, tmp_path):
    """And nothing else, in any command; the run stays as it was."""
    run, tight = tmp_path / "run", tmp_path / "tight"
    words = ("--data", mine, "--out", run, "--set", "private=2")
    assert mmppl("fit", "fmwvae", *SMALL, *words).code == 0
    before = (run / "run.json").read_bytes()
    ask = ("query", run, "--given", "label", "--want", "private.a", "--draws", "200", "--json")
    means = [np.array(mmppl(*ask, *to).json["want"]["private.a"]["mean"]) for to in ([], ["--set", "style=class"])]
    assert (means[0] == 0).all() and (means[1] != 0).all() and (run / "run.json").read_bytes() == before
    words = ("--given", "label", "--given", "b,label", "--given=", "--set", "style=another", "--json")
    found = mmppl("evaluate", run, "--metric", "rmse.a", *words)
    assert found.json["set"] == {"style": "another"}
    assert set(found.json["metrics"]["rmse.a"]) == {"label", "b+label", "nothing"}
    mmppl("evaluate", run, "--given", "c").failed(2, "no modality 'c'")
    assert mmppl("plot", run, "--figure", "generated", "--set", "style=another").code == 0
    for command in ("query", "evaluate", "plot"):
        words = (command, run, *(["--want", "a"] if command == "query" else []), "--set")
        mmppl(*words, "gamma=2").failed(2, "FMWVAE: gamma is fixed by the fit; only style can be set on a fitted run.")
        mmppl(*words, "style=mine").failed(2, "style=mine is none of prior, another, class.")
        mmppl(*words, "style").failed(2, "--set style: expected NAME=VALUE.")
    assert "--set)  style" in mmppl("show", "fmwvae").out
    assert mmppl("fit", "mopoe", *SMALL, "--data", mine, "--out", tight).code == 0
    ask = ("query", tight, "--want", "z", "--draws", "400", "--json")
    sds = [np.array(mmppl(*ask, *to).json["want"]["z"]["std"]) for to in ([], ["--set", "answers=mixture"])]
    assert (sds[0] < sds[1]).mean() > 0.9  # a product is narrower than the mixture around it
    mmppl(*ask, "--set", "beta=2").failed(2, "MoPoE: beta is fixed by the fit; only answers can be set")


def test_show_run(mmppl, fitted):
    result = mmppl("show", fitted)
    assert (
        result.code == 0 and "digits-two-view" in result.out and f"mmppl query {fitted} --given rotated" in result.out
    )
    assert mmppl("show", fitted, "--json").json["program"]["name"] == "cmmd"


def test_plot(mmppl, mine, tmp_path):
    run = tmp_path / "run"
    assert mmppl("fit", "cmmd", *SMALL, "--data", mine, "--out", run).code == 0
    result = mmppl("plot", run, "--json")
    assert result.code == 0 and result.json["figures"]
    assert all(Path(file).is_file() for file in result.json["figures"])


def test_plot_of_some_figures_and_of_a_term(mmppl, fitted, copy, tmp_path):
    assert [Path(f).name for f in mmppl("plot", copy, "--figure", "loss", "--json").json["figures"]] == ["loss.png"]
    mmppl("plot", copy, "--figure", "styles").failed(2, f"{copy}: no figure styles: no image has a private latent")
    mmppl("plot", copy, "--figure", "stlyes").failed(2, "no figure 'stlyes'", "Did you mean styles?")
    result = mmppl("plot", copy, fitted, "--term", "kl.z", "--out", tmp_path / "kl.png", "--json")
    assert result.json == {"runs": [str(copy), str(fitted)], "term": "kl.z", "figures": [str(tmp_path / "kl.png")]}
    assert (tmp_path / "kl.png").is_file()
    mmppl("plot", fitted, "--term", "w2").failed(2, f"{fitted}: no term 'w2'; there are loss, ")
    mmppl("plot", fitted, "--term", "loss", "--out", tmp_path / "x.pdf").failed(2, "expected a .png file")
    mmppl("plot", copy, fitted).failed(2, "--term NAME")
    mmppl("plot", copy, "--out", tmp_path / "x.png").failed(2, "--out is the picture of --term")
    mmppl("plot", copy, "--term", "loss", "--figure", "loss").failed(2, "leave --figure out")


def test_what_a_program_prints_is_not_the_result(mmppl, tmp_path):
    file = tmp_path / "loud.py"
    file.write_text('print("hello")\n' + installed("mvae").read_text())
    result = mmppl("show", file, "--json")
    assert result.json["program"] == "MVAE" and "hello" in result.err


def test_the_command_line_lets_idle_threads_sleep_and_a_caller_of_its_function_does_not(monkeypatch, capsys):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["--version"]) == 0 and "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.setattr(sys, "argv", ["mmppl", "--version"])
    monkeypatch.setenv("KMP_BLOCKTIME", "200")  # of the user's
    assert main() == 0 and "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.delenv("KMP_BLOCKTIME")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert main() == 0 and os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main() == 0 and os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is put back
