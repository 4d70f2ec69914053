"""The command line from outside: every row of the exit-code table, one line per error, one JSON object per answer."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from mmppl.cli import main

SMALL = ["--epochs", "1", "--set", "hidden=16", "--set", "layers=1", "--set", "latent_dim=3"]
MAIN = [sys.executable, "-m", "mmppl"]


@dataclass
class Result:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def failed(self, code: int, *parts: str, talk: bool = False) -> None:
        """It ended with this code, nothing on stdout and one line (after a fit's talk) that has all these parts."""
        assert (self.code, self.out) == (code, ""), self
        lines = self.err.splitlines()
        assert talk or len(lines) == 1, self.err
        assert [line.startswith("mmppl: ") for line in lines] == [False] * (len(lines) - 1) + [True], self.err
        assert "Traceback" not in self.err
        for part in parts:
            assert part in lines[-1], (part, lines[-1])


@pytest.fixture
def mmppl(capsys):
    """Run a command line in this process."""

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A run that all tests share and none changes."""
    out = tmp_path_factory.mktemp("runs") / "cmmd"
    assert main(["fit", "cmmd", *SMALL, "--seed", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(fitted, tmp_path):
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(fitted, tmp_path / "run"))


@pytest.fixture
def mine(tmp_path):
    """A file of one's own: two modalities and a label, 40 rows."""
    rng = np.random.default_rng(0)
    file = tmp_path / "mine.npz"
    np.savez(file, a=rng.random((40, 4)), b=rng.normal(size=(40, 2)), label=np.arange(40) % 2)
    return file


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def reseal(run: Path, source: bytes) -> None:
    """What an attacker can do: another program in the run, and every hash made to fit."""
    from mmppl.runs.record import read_record, write_record

    record = read_record(run)
    (run / "program.py").write_bytes(source)
    record = replace(record, program=replace(record.program, sha256=sha256(source)))
    write_record(run, record.with_file("program.py", source))


# 0: done


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


def test_fit_tells_what_came_out_and_what_to_ask(mmppl, mine, tmp_path):
    result = mmppl("fit", "mvae", *SMALL, "--data", mine, "--hide", "0.3", "--out", tmp_path / "run")
    assert result.code == 0
    for part in (
        "run ",
        "epochs ",
        "seconds ",
        "loss ",
        "error of label ",
        "share of rmse explained, a ",
        "rmse of b ",
    ):
        assert f"\n{part}" in f"\n{result.out}"
    line = result.out.splitlines()[-1].removeprefix("next: mmppl ")
    assert line == f"query {tmp_path}/run --given a --want label,b --rows 0:5"
    asked = mmppl(*line.split())
    assert asked.code == 0 and asked.out.count("row ") == 5
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["options"]["hide"] == 0.3


@pytest.mark.parametrize(
    "words",
    ["jmvae --set warm_up=0.5", "mvae --set subsets=sampled --set scored=seen --set temper=learned --hide 0.3"],
    ids=["jmvae", "mvae"],
)
def test_a_program_from_fit_to_show(mmppl, tmp_path, words):
    """On digits-three, with answers for every conditioning set; without anything the prior, whose spread is 1."""
    run = tmp_path / "run"
    fitted = mmppl("fit", *words.split(), "--epochs", "2", "--set", "hidden=32", "--out", run, "--json").json
    terms = {"nll.image", "nll.profile", "nll.word", "nll.label", "kl.z"}
    own = {"kl.image", "kl.profile", "kl.word"} if "jmvae" in words else set()
    assert set(fitted["terms"]) == set(fitted["weights"]) == terms | own
    assert all(fitted["weights"][name] == 0.1 for name in own)
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


def test_notes_go_to_stderr_one_line_each(mmppl, mine, tmp_path):
    run = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--hide", "0.3", "--out", run).code == 0
    words = ("--method", "importance", "--draws", "64", "--json")
    asked = mmppl("query", run, "--given", "a", "--want", "label", "--split", "all", *words)
    assert asked.code == 0 and asked.json["n"] == 40
    blind, weights = asked.err.splitlines()
    assert "have nothing of what is given" in blind and "above 0.7" in weights
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


def test_a_classifier_alone_is_asked_for_labels_alone(mmppl, tmp_path):
    run = tmp_path / "run"
    result = mmppl("fit", "cmmd", *SMALL, "--set", "generative=false", "--out", run)
    assert result.code == 0 and "error of label" in result.out and "noisy" not in result.out
    assert list(mmppl("query", run, "--rows", "0:1", "--json").json["want"]) == ["label"]
    assert "--want label --rows" in mmppl("show", run).out


def test_fit_json(mmppl, fitted):
    result = mmppl("fit", "cmmd", *SMALL, "--seed", "3", "--out", fitted, "--resume", "--json")  # done: only summed up
    assert result.code == 0
    assert set(result.json) == {"run", "epochs", "seconds", "loss", "terms", "weights", "metrics"}
    assert result.json["run"] == str(fitted) and result.json["epochs"] == 1
    assert set(result.json["metrics"]) == {"error.label", "rmse.noisy", "explained.noisy"}
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


def test_query_wants_labels_and_views_by_default(mmppl, fitted):
    assert set(mmppl("query", fitted, "--rows", "0:2", "--draws", "4", "--json").json["want"]) == {"label", "noisy"}


def test_query_table(mmppl, fitted):
    result = mmppl("query", fitted, "--rows", "0:7", "--draws", "4")
    assert result.code == 0 and result.out.startswith("row ") and "2 more rows" in result.out


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_query_out(mmppl, fitted, tmp_path, suffix):
    file = tmp_path / f"answer{suffix}"
    result = mmppl("query", fitted, "--want", "label", "--split", "valid", "--rows", ":3", "--out", file)
    assert (result.code, result.out) == (0, f"{file}\n")
    if suffix == ".npz":
        with np.load(file) as arrays:
            assert arrays["label.prob"].shape == (3, 10) and arrays["id"].shape == (3,)
    else:
        assert len(file.read_text().splitlines()) == 4


def test_query_own_data(mmppl, fitted, tmp_path):
    images = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", rotated=images, id=np.array(["a", "b", "c"]))
    result = mmppl("query", fitted, "--data", tmp_path / "mine.npz", "--want", "label", "--json")
    assert result.code == 0 and result.json["ids"] == ["a", "b", "c"]


def test_evaluate(mmppl, fitted):
    words = ("--metric", "error", "--metric", "rmse.noisy", "--draws", "4")
    one = mmppl("evaluate", fitted, *words, "--json")
    assert one.code == 0 and set(one.json) == {"run", "split", "n", "metrics"}
    assert {"error.label", "rmse.noisy"} <= set(one.json["metrics"])
    two = mmppl("evaluate", fitted, fitted, *words, "--json")
    assert set(two.json) == {"runs", "mean", "sd", "warnings"} and two.json["sd"]["error.label"]["rotated"] == 0
    text = mmppl("evaluate", fitted, *words)
    assert text.out.splitlines()[2].split() == ["given", "rotated"] and "error.label " in text.out


def test_runs_that_are_not_alike_are_averaged_with_a_remark(mmppl, fitted, mine, tmp_path):
    runs = {}
    for name, program, more in (
        ("a", "mvae", ["--hide", "0.1"]), ("seed", "mvae", ["--seed", "5", "--hide", "0.1"]),
        ("wide", "mvae", ["--set", "hidden=17", "--hide", "0.1", "--lr", "0.5"]), ("other", "mopoe", ["--hide", "0.1"]),
    ):  # fmt: skip
        runs[name] = tmp_path / name
        assert mmppl("fit", program, *SMALL, *more, "--data", mine, "--out", runs[name]).code == 0
    ask = ("evaluate", "--metric", "rmse.a", "--draws", "2", "--json", runs["a"])
    assert mmppl(*ask, runs["seed"]).json["warnings"] == []
    unlike = mmppl(*ask, runs["wide"])
    (note,) = unlike.json["warnings"]
    assert note == "the runs differ in more than the seed: hidden 16 / 17; lr 0.002 / 0.5."
    assert note in unlike.err.splitlines()
    (note,) = mmppl(*ask, runs["other"]).json["warnings"]
    assert note.startswith("the runs differ in more than the seed: program mvae / mopoe") and "none" not in note
    np.savez(tmp_path / "less.npz", **{k: v[:30] for k, v in np.load(mine).items()})
    assert mmppl("fit", "mvae", *SMALL, "--data", tmp_path / "less.npz", "--out", tmp_path / "less").code == 0
    (note,) = mmppl(*ask, tmp_path / "less").json["warnings"]
    assert "mine.npz (40 rows" in note and "less.npz (30 rows" in note and "hide 0.1 / 0.0" in note


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
    judged = mmppl("evaluate", run, "--metric", "rmse.a", *words)
    assert judged.json["set"] == {"style": "another"}
    assert set(judged.json["metrics"]["rmse.a"]) == {"label", "b+label", "nothing"}
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
    sds = [np.array(mmppl(*ask, *to).json["want"]["z"]["std"]) for to in ([], ["--set", "answers=product"])]
    assert (sds[1] < sds[0]).mean() > 0.9  # a product is narrower than the mixture around it
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


def installed(name: str) -> Path:
    from mmppl.core.loading import installed_programs

    return installed_programs()[name]


# 1: failures that are nobody's input


def test_loss_that_is_not_finite(mmppl, tmp_path):
    result = mmppl("fit", "cmmd", *SMALL, "--lr", "1e30", "--set", "dropout=0", "--out", tmp_path / "run")
    result.failed(1, "error: the loss is not finite", "epoch 1", talk=True)


@pytest.mark.parametrize(
    "error, parts",
    [
        (ValueError("odd\nthing"), ["internal error: ValueError: odd thing; run again with --debug"]),
        (MemoryError(), ["error: out of memory", "--batch-size"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ["error: out of memory"]),
        (
            OSError(28, "No space left on device", "/mnt/run.json"),
            ["error: data: /mnt/run.json: No space left on device; free some and run again"],
        ),
        (PermissionError(13, "Permission denied", "/root/x"), ["error: data: /root/x: Permission denied; change its"]),
        (OSError(5, "Input/output error"), ["error: data: Input/output error"]),
        (EOFError(), ["internal error: EOFError"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_surprises_are_one_line(mmppl, monkeypatch, error, parts):
    def fail():
        raise error

    monkeypatch.setattr("mmppl.data.recipes.registry.recipes", fail)
    mmppl("data").failed(1, *parts)
    for words in (("--debug", "data"), ("data", "--debug")):
        result = mmppl(*words)
        assert result.code == 1 and "Traceback" in result.err


def test_debug_shows_the_traceback_of_a_users_error_too(mmppl):
    result = mmppl("show", "no-such", "--debug")
    assert result.code == 2 and "Traceback" in result.err and result.err.splitlines()[-1].startswith("mmppl: error: ")


def test_terminal_that_knows_ascii_only():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*MAIN, "show", "cmmd"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "latent_dim" in done.stdout


def test_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MAIN, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


def test_reader_that_goes_away():
    process = subprocess.Popen([*MAIN, "fit", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1


def test_the_hosts_stdout_outlives_an_error_that_is_not_its_own():
    code = "from mmppl import cli; from mmppl.data.recipes import registry\n"
    code += "registry.recipes = lambda: open('/no/such/file')\n"
    code += "cli.main(['data']); print('still here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "still here\n" and "error: data: /no/such/file: No such file or directory" in done.stderr


# 2: usage


@pytest.mark.parametrize(
    "words, parts",
    [
        ("fitt cmmd", ["'fitt'", "Did you mean 'fit'?", "mmppl --help"]),
        ("fit cmmd --epohcs 1", ["--epohcs", "Did you mean --epochs?", "mmppl fit --help"]),
        ("fit", ["PROGRAM"]),
        ("fit cmmd --epochs few", ["--epochs"]),
        ("fit cmmd --epochs 0", ["epochs 0"]),
        ("fit cmmd --lr -1", ["lr -1"]),
        ("fit cmdm", ["'cmdm'", "Did you mean cmmd?"]),
        ("fit cmmd --preset paper-mnits", ["'paper-mnits'", "Did you mean paper-mnist?"]),
        ("fit cmmd --set latent_dims=3", ["'latent_dims'", "Did you mean latent_dim?"]),
        ("fit cmmd --set latent_dim=three", ["latent_dim=three", "int"]),
        ("fit cmmd --set latent_dim", ["--set latent_dim: expected NAME=VALUE"]),
        ("fit cmmd --set trunk=cnv", ["trunk=cnv is none of mlp, conv", "Did you mean conv?"]),
        ("fit cmmd --set mmd_lambda=nan", ["mmd_lambda=nan"]),
        ("fit cmmd --set observed=rotatd", ["rotatd", "Did you mean rotated?"]),
        ("fit mvae --set subsets=smpled", ["subsets=smpled is none of all, sampled", "Did you mean sampled?"]),
        ("fit mvae --set beta=-1", ["MVAE: beta=-1.0 is negative"]),
        ("fit mvae --set extra=-1", ["MVAE: extra=-1 is negative"]),
        ("fit mvae --set warm_up=2", ["MVAE: warm_up=2.0 is not between 0 and 1"]),
        ("fit jmvae --set beta=-1", ["JMVAE: beta=-1.0 is negative"]),
        ("fit jmvae --set alpha=-0.5", ["JMVAE: alpha=-0.5 is negative"]),
        ("fit mmvae --set beta=-1", ["MMVAE: beta=-1.0 is negative"]),
        ("fit mopoe --set label_weight=-1", ["MoPoE: label_weight=-1.0 is negative"]),
        ("fit cmmd --set alpha=-1", ["CMMD: alpha=-1.0 is negative"]),
        ("fit cmmd --set decoder_hidden=0", ["hidden layers of 0", "at least 1"]),
        ("fit cmmd --set encoder_hidden=0", ["hidden layers of 0", "at least 1"]),
        ("fit cmmd --set omega=2", ["CMMD: omega=2.0 is not between 0 and 1"]),
        ("fit cmmd --data digits-tow-view", ["'digits-tow-view'", "Did you mean digits-two-view?"]),
        ("fit cmmd --data digits-two-view:rotat=fresh", ["'rotat'", "Did you mean rotate?"]),
        ("fit cmmd --as noizy=normal", ["noizy", "Did you mean noisy?"]),
        ("fit cmmd --as noisy=norml", ["norml", "Did you mean normal?"]),
        ("fit cmmd --hide 1.5", ["1.5"]),
        ("fit cmmd --device gpu", ["--device gpu"]),
        ("fit cmmd --schedule cosin", ["--schedule cosin", "Did you mean cosine?"]),
        ("fit cmmd --resume", ["--resume", "--out"]),
        ("show cmm", ["'cmm'", "Did you mean cmmd?"]),
        ("data digits-tree", ["Did you mean digits-three?"]),
    ],
    ids=str,
)
def test_usage(mmppl, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    mmppl(*words.split()).failed(2, "error: ", *parts)


@pytest.mark.parametrize(
    "words, parts",
    [
        ("query RUN --given rotatd", ["'rotatd'", "Did you mean rotated?"]),
        ("query RUN --want lable", ["'lable'", "Did you mean label?"]),
        ("query RUN --given=", ["rotated"]),
        ("query RUN --given noisy", ["rotated"]),
        ("query RUN --rows 0:100000", ["0:100000", "out of range"]),
        ("query RUN --rows 5:2", ["5:2"]),
        ("query RUN --rows a:b", ["--rows a:b"]),
        ("query RUN --split tets", ["--split tets", "Did you mean test?"]),
        ("query RUN --method improtance", ["--method improtance", "Did you mean importance?"]),
        ("query RUN --draws 0", ["--draws"]),
        ("query RUN --precision bf61", ["--precision bf61", "Did you mean bf16?"]),
        ("query RUN --memory lots", ["--memory lots", "500MB"]),
        ("query RUN --memory 0", ["--memory 0", "500MB"]),
        ("query RUN --rows 0:1 --memory 9kB", ["memory is 9.0 kB", "fewer draws"]),
        ("query RUN --out answer.txt", ["--out answer.txt", ".npz"]),
        ("query RUN --out no/such/folder/answer.npz", ["folder"]),
        ("query RUN --program nowhere.py", ["nowhere.py"]),
        ("query RUNN --want label", ["RUNN", "Did you mean"]),
        ("query RUN/state --want label", ["no run.json"]),
        ("evaluate RUN --metric eror", ["'eror'", "Did you mean error"]),
        ("evaluate RUN --split tets", ["Did you mean test?"]),
        ("evaluate RUN nowhere", ["nowhere"]),
        ("plot nowhere", ["nowhere"]),
        ("show nowhere", ["nowhere"]),
        ("fit cmmd --out RUN", ["RUN", "--resume"]),
        ("fit cmmd --out nowhere --resume", ["nowhere"]),
        ("fit mvae --data digits-two-view --out RUN --resume", ["program"]),
    ],
    ids=str,
)
def test_usage_of_a_run(mmppl, fitted, words, parts):
    mmppl(*words.replace("RUN", str(fitted)).split()).failed(
        2, "error: ", *(part.replace("RUN", str(fitted)) for part in parts)
    )


def test_program_with_a_syntax_error(mmppl, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("import torch\nclass Bad(:\n    pass\n")
    mmppl("fit", file).failed(2, f"{file}:2", "SyntaxError")
    file.write_text("import torch\n\nraise RuntimeError('no luck')\n")
    mmppl("show", file).failed(2, f"{file}:3", "RuntimeError: no luck")
    file.write_text("import sys\nsys.exit(0)\n")
    mmppl("show", file).failed(2, f"{file}:2", "SystemExit: 0")


def test_program_with_two_classes(mmppl, tmp_path):
    file = tmp_path / "two.py"
    file.write_text("from mmppl import Program\nclass A(Program): ...\nclass B(Program): ...\n")
    mmppl("fit", file).failed(2, str(file), "A, B")
    file.write_text("x = 1\n")
    mmppl("fit", file).failed(2, str(file), "none")


# 3: untrusted code


def test_program_in_a_run_is_not_executed(mmppl, copy, tmp_path):
    marker = tmp_path / "executed"
    source = f"open({str(marker)!r}, 'w').close()\n".encode() + (copy / "program.py").read_bytes()
    reseal(copy, source)
    for words in (("query", copy, "--rows", "0:1"), ("evaluate", copy), ("plot", copy)):
        mmppl(*words).failed(3, "another version", "--program FILE", "--trust-program")
    mmppl("query", copy, "--program", installed("cmmd")).failed(3, "hash differs")
    assert mmppl("show", copy).code == 0
    assert not marker.exists()

    own = tmp_path / "own.py"
    own.write_bytes(source)
    assert mmppl("query", copy, "--rows", "0:1", "--program", own).code == 0
    assert marker.exists()
    marker.unlink()
    for name in [name for name in sys.modules if name.startswith("mmppl_program_own_")]:
        del sys.modules[name]
    assert mmppl("query", copy, "--rows", "0:1", "--trust-program").code == 0
    assert marker.exists()


def test_a_program_of_ones_own(mmppl, mine, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(installed("mvae").read_text() + "\n# mine\n")
    run = tmp_path / "run"
    result = mmppl("fit", file, *SMALL, "--data", mine, "--out", run)
    assert result.code == 0 and result.out.rstrip().endswith(f"--program {file}")
    mmppl("query", run, "--rows", "0:1").failed(3, "'mine' is not installed")
    assert mmppl("query", run, "--rows", "0:1", "--program", file).code == 0
    assert "--program FILE" in mmppl("show", run).out


# 4: locked


def test_run_that_another_fit_writes(mmppl, copy):
    before = (copy / "run.json").read_bytes()
    with FileLock(copy / ".lock"):
        mmppl("fit", "cmmd", *SMALL, "--seed", "3", "--out", copy, "--resume").failed(4, str(copy), "another fit")
    assert (copy / "run.json").read_bytes() == before


# 5: bad data


def test_no_such_file(mmppl, fitted, tmp_path):
    for words in (("data", "mine.npz"), ("fit", "mvae", "--data", "mine.npz"), ("query", fitted, "--data", "mine.npz")):
        mmppl(*words).failed(5, "mine.npz", "no such file")


def test_truncated_npz(mmppl, fitted, tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, rotated=np.random.default_rng(0).random((20, 8, 8)))
    file.write_bytes(file.read_bytes()[:-300])
    for words in (
        ("data", file),
        ("query", fitted, "--data", file),
        ("fit", "cmmd", "--data", file, "--out", tmp_path / "r"),
    ):
        mmppl(*words).failed(5, str(file), "truncated")


def test_nan_in_an_observed_row(mmppl, tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 3))
    values[4, 1] = np.nan
    np.savez(tmp_path / "mine.npz", x=values)
    mmppl("data", tmp_path / "mine.npz").failed(5, "'x'", "row 4", "column 1")


def test_no_row_has_all_that_a_joint_posterior_sees(mmppl, tmp_path):
    """Rows with either a or b: JMVAE has nothing to learn from, and says how many it left out."""
    rng, has = np.random.default_rng(0), np.arange(40) % 2 == 0
    np.savez(tmp_path / "mine.npz", a=rng.random((40, 4)), b=rng.normal(size=(40, 2)), mask_a=has, mask_b=~has)
    result = mmppl("fit", "jmvae", *SMALL, "--data", tmp_path / "mine.npz", "--out", tmp_path / "run")
    result.failed(5, "mine.npz", "no training row has what JMVAE learns from", talk=True)
    assert "train rows lack what JMVAE learns from: left out." in result.err and not (tmp_path / "run").exists()


def test_recipe_without_its_files(mmppl, tmp_path):
    mmppl("fit", "cmmd", "--data", "mnist-two-view", "--root", tmp_path).failed(5, "idx", str(tmp_path))


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors", "program.py", "metrics.jsonl"])
def test_a_flipped_byte(mmppl, copy, name):
    file = copy / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    command = "plot" if name == "metrics.jsonl" else "query"
    mmppl(command, copy).failed(5, str(file))


@pytest.mark.parametrize("name", ["weights.safetensors", "program.py"])
def test_a_missing_file(mmppl, copy, name):
    (copy / name).unlink()
    mmppl("query", copy).failed(5, str(copy / name))


def test_data_that_changed_since_the_fit(mmppl, mine, tmp_path):
    run = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--data", mine, "--out", run).code == 0
    with np.load(mine) as arrays:
        changed = {**arrays, "a": arrays["a"] + 1}
    np.savez(mine, **changed)
    mmppl("query", run).failed(5, str(mine), "fingerprint")


# 130: interrupted


def test_ctrl_c_says_how_to_go_on(tmp_path):
    run = tmp_path / "run"
    words = ["fit", "cmmd", "--epochs", "2000", "--set", "hidden=16", "--out", str(run)]
    process = subprocess.Popen(
        [*MAIN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    deadline = time.monotonic() + 60
    while not (run / "state" / "LATEST").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    line = f"interrupted; go on with: mmppl {' '.join(words)} --resume"
    Result(process.returncode, out, err).failed(130, line, talk=True)
    assert json.loads((run / "run.json").read_text())["status"] == "running"


def test_ctrl_c_elsewhere(mmppl, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("mmppl.data.recipes.registry.recipes", stop)
    mmppl("data").failed(130, "interrupted")


def test_nothing_is_left_of_a_fit_that_never_began(mmppl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mmppl("fit", "cmmd", "--set", "latent_dim=x").failed(2)
    assert not os.listdir(tmp_path)
