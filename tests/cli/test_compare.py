"""`mmppl compare`: what it passes on, prints, writes and refuses."""

import pytest

import mmppl as library
from mmppl.evaluation.comparison.comparison import Comparison, Entrant, notes_on
from mmppl.evaluation.comparison.measures import MEASURES
from mmppl.evaluation.comparison.questions import Question
from mmppl.evaluation.comparison.ranking import Answered, Entry

ENTRIES = (
    Entry("a|b", 0.5, 1, 0, None, 0, None, True),
    Entry("mean or majority", 0.75, 2, 0.25, 0.125, 9, 0.125, False),
)
ANSWERED = (Answered(Question(("x",), "label"), MEASURES["error"], 40, ENTRIES),)


@pytest.fixture
def asked(monkeypatch):
    """What `mmppl.compare` was called with; it answers with a small comparison."""
    said = {}

    def compare(contenders, data, **how):
        said.update(how, contenders=contenders, data=data)
        entrants = (Entrant("a|b", "program", ("runs/a",), 2.0, 0.01, 10**8), Entrant("mean or majority", "baseline"))
        return Comparison("mine.npz", 40, 5, (0,), entrants, ANSWERED, {"c": "no"}, notes_on(ANSWERED, 5, 1))

    monkeypatch.setattr(library, "compare", compare)
    return said


def test_settings_are_passed_on_and_the_tables_printed_and_written(mmppl, asked, tmp_path):
    words = ["mvae", "mopoe:latent_dim=8", "--data", "mine.npz", "--folds", "5", "--given", "x,y", "--steps", "9"]
    result = mmppl("compare", *words, "--out", tmp_path / "t.md", "--out-dir", tmp_path / "d", "--baseline", "linear")
    assert result.code == 0, result
    assert "50.00%" in result.out and "75.00% (+25 ± 12)" in result.out and "c failed: no" in result.out
    assert "0 of 1" in result.out and "paired over 5 folds" in result.out and "100 MB" in result.out
    assert "| a\\|b | **50.00%** |" in (tmp_path / "t.md").read_text()
    assert asked["contenders"] == ["mvae", "mopoe:latent_dim=8"] and asked["conditioning_sets"] == [["x", "y"]]
    assert (asked["folds"], asked["steps"], asked["baselines"]) == (5, 9, ["linear"]) and "epochs" not in asked
    told = mmppl("compare", "mvae", "--json").json
    assert told["tables"][0]["entries"][1]["se"] == 0.125 and told["entrants"][0]["mean_rank"] == 1


def test_what_cannot_be_is_said_before_anything_begins(mmppl, asked, tmp_path):
    mmppl("compare", "mvae", "--out", tmp_path / "t.pdf").failed(2, "written to .md, .csv, .json")
    mmppl("compare", "mvae", "--baseline", "forest").failed(2, "--baseline forest")
    mmppl("compare", "mvae", "--rank-by", "rmse").failed(2, "--rank-by rmse")
    assert not asked


def test_an_interrupted_one_says_how_to_go_on(mmppl, monkeypatch, tmp_path):
    def compare(*_, **how):
        how["out_dir"].mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "compare", compare)
    words = ("compare", "mvae", "--data", "mine.npz", "--out-dir", str(tmp_path / "d"))
    mmppl(*words).failed(130, f"go on with: mmppl {' '.join(words)}")
