"""The report of `mmppl data`, its short form in `fit`, and the options that change what data are taken for."""

import json

import numpy as np
import pytest

from mmppl.cli import main

N = 60


@pytest.fixture
def call(capsys):
    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    lab = rng.integers(20, 90, N)
    lab[::10] = -9
    outcome = np.array(["well", "ill", "Unknown"])[np.arange(N) % 3]
    stage = rng.integers(1, 4, N)
    np.savez(tmp_path / "clinic.npz", x=rng.normal(size=(N, 3)), lab=lab, outcome=outcome, stage=stage)
    return tmp_path / "clinic.npz"


SAYS = [
    "lab: -9 in 6 cells stands apart from the rest (20 to 89) and is taken for a measurement; if it means missing: "
    "--missing lab=-9",
    "outcome: 'Unknown' in 20 rows looks like no label, and is taken for a class; if it means missing: "
    "--missing outcome=Unknown",
]


def test_the_report(call, file):
    code, out, err = call("data", file)
    assert code == 0 and not err
    suspected, known = out.partition("suspected\n")[2].split("\n\nto know\n")
    assert [line.strip() for line in suspected.splitlines()] == SAYS
    assert "stage" in known and "--target" in known
    found = json.loads(call("data", file, "--json")[1])["findings"]
    assert [finding["text"] for finding in found if finding["suspected"]] == SAYS


def test_options_change_it(call, file):
    options = ("--missing", "lab=-9", "--missing", "outcome=Unknown", "--target", "outcome")
    code, out, _ = call("data", file, *options, "--strict")
    assert code == 0 and "suspected" not in out and "2 classes: ill, well" in out
    found = json.loads(call("data", file, *options, "--json")[1])
    assert {m["name"]: m["role"] for m in found["modalities"]} == {
        "x": "modality", "lab": "modality", "outcome": "label", "stage": "modality",
    }  # fmt: skip
    assert {m["name"]: round(m["observed"] * N) for m in found["modalities"]} == {
        "x": N, "lab": N - 6, "outcome": N - 20, "stage": N,
    }  # fmt: skip


@pytest.mark.parametrize("command", [("data",), ("fit", "mvae", "--epochs", "1", "--data")])
def test_strict_refuses(call, file, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*command, file, "--strict")
    more = " (and 1 more; `mmppl data` lists all)"
    assert (code, out, err) == (5, "", [f"mmppl: error: clinic.npz: {SAYS[0]}{more}"])


def test_a_fit_begins_with_it_and_its_run_is_asked_without(call, file, tmp_path):
    small = ("--epochs", "1", "--set", "hidden=4", "--set", "layers=1")
    code, _, err = call("fit", "mvae", *small, "--data", file, "--target", "outcome", "--out", tmp_path / "run")
    assert code == 0 and all(line in err for line in SAYS)
    options = ("--missing", "lab=-9", "--missing", "outcome=Unknown", "--target", "outcome")
    code, _, err = call("fit", "mvae", *small, "--data", file, *options, "--out", tmp_path / "clean")
    assert code == 0 and not any("apart" in line or "no label" in line for line in err)
    code, out, _ = call("query", tmp_path / "clean", "--given", "stage,lab", "--want", "outcome", "--json")
    assert code == 0 and json.loads(out)["want"]["outcome"]["classes"] == ["ill", "well"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--target", "outcom"), "--target outcom: no array 'outcom'"),
        (("--missing", "lba=-9"), "Did you mean lab?"),
        (("--missing", "lab"), "expected NAME=VALUE"),
        (("--missing", "lab=nine"), "'nine' is no number"),
        (("--target", "x,lab,outcome,stage"), "nothing is left to predict it from"),
    ],
)
def test_wrong_options_are_one_line(call, file, words, says):
    code, out, err = call("data", file, *words)
    assert (code, out, len(err)) == (2, "", 1) and says in err[0]
