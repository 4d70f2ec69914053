"""What a file, folder or program is called never reaches the terminal as a command to it."""

import io
import json
import logging
import re
import shutil

import numpy as np
import pytest
from command import SMALL

from mmppl.cli import main, progress

CLASSES = np.array(["\x1b[2Jcat", "dog\nrow 99", "\u202eowl", "cow\x9b5m"])
IMAGE, WORD = "im\u200bage$\\frac{", "wo\ufeffrd$"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a\x1b[31m\u202e")
    rng = np.random.default_rng(0)
    arrays = {IMAGE: rng.random((28, 4, 4)).astype(np.float32), WORD: rng.normal(size=(28, 3))}
    arrays |= {"label": CLASSES[np.arange(28) % 4], "split": np.array(["train"] * 20 + ["valid"] * 4 + ["test"] * 4)}
    np.savez(folder / "mine\n\x07.npz", **arrays, id=np.array([f"\x1b7row{i}" for i in range(28)]))
    return folder / "mine\n\x07.npz"


@pytest.fixture(scope="module")
def run(file):
    out = file.parent / "run\x1b[1m\r"
    assert main(["fit", "mvae", "--data", str(file), *SMALL, "--out", str(out)]) == 0
    return out


@pytest.fixture
def clean(mmppl):
    """Run a command line; its output has letters and line breaks only."""

    def check(*words, code=0):
        result = mmppl(*words)
        assert result.code == code, result
        for text in (result.out, result.err):
            assert text.replace("\n", "").isprintable(), text
        return result

    return check


def test_fit(clean, file, tmp_path):
    out = tmp_path / "run\x1b"
    result = clean("fit", "mvae", "--data", file, *SMALL, "--out", out)
    assert r"run\x1b" in result.out and r"im\u200bage$\frac{" in result.out


def test_data(clean, file):
    result = clean("data", file)
    assert r"\x1b[2Jcat" in result.out and r"dog\nrow 99" in result.out and r"mine\n\x07.npz" in result.out


def test_show(clean, run):
    result = clean("show", run)
    assert r"run\x1b[1m\r" in result.out and r"wo\ufeffrd$" in result.out


def test_show_of_a_program(clean, tmp_path):
    from command import installed

    text = installed("mvae").read_text().replace('    """', '    """\\x1b[2J\u202e', 1)
    (tmp_path / "mine.py").write_text(text)
    assert r"\x1b[2J\u202e" in clean("show", tmp_path / "mine.py").out


def test_query(clean, run):
    result = clean("query", run, "--rows", "0:4", "--want", f"label,{IMAGE}", "--draws", "4", "--given", WORD)
    assert r"row \x1b7row" in result.out and r"dog\nrow 99" in result.out
    assert not re.search("^row 99", result.out, re.M)


def test_answers_in_files(clean, run, tmp_path):
    import csv

    clean("query", run, "--want", "label", "--draws", "4", "--out", tmp_path / "a\x1b.csv")
    with open(tmp_path / "a\x1b.csv", newline="") as opened:
        head, *rows = csv.reader(opened)
    assert "label.prob.dog\nrow 99" in head and {len(row) for row in rows} == {len(head)}


def test_json_is_ascii_and_the_names_themselves(clean, run):
    result = clean("query", run, "--rows", "0:2", "--want", "label", "--draws", "4", "--json")
    assert result.out.isascii() and set(json.loads(result.out)["want"]["label"]["classes"]) == set(CLASSES)


def test_json_escapes_delete():
    from mmppl.cli.output import as_json

    assert as_json({"a\x7f": "\x7f"}) == r'{"a\u007f": "\u007f"}'


def test_evaluate(clean, run):
    result = clean("evaluate", run, "--draws", "4", "--metric", "error", "--metric", "rmse")
    assert r"rmse.wo\ufeffrd$" in result.out and r"run\x1b[1m\r" in result.out


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_errors(clean, run, debug):
    result = clean(*debug, "query", run, "--want", "no\x1b[2J\u202e", code=2)
    assert r"no\x1b[2J\u202e" in result.err
    assert r"\x1b[5m" in clean(*debug, "evaluate", run.parent / "\x1b[5m", code=2).err


def test_figures(clean, run, monkeypatch):
    """Nothing in them is a control character, or a formula, which matplotlib would refuse to draw."""
    from matplotlib.text import Text

    from mmppl.figures import plot

    texts = []

    def laid_out(figure):
        figure.draw_without_rendering()
        texts.append(figure.findobj(Text))
        return b""

    monkeypatch.setattr(plot, "png", laid_out)
    monkeypatch.setattr("sklearn.manifold.TSNE.fit_transform", lambda self, z: z[:, :2])  # which takes seconds
    result = clean("plot", run)
    assert r"run\x1b[1m\r" in result.out and len(texts) >= 4
    words = [text.get_text() for figure in texts for text in figure]
    assert all(word.replace("\n", "").isprintable() for word in words), words
    assert all("\n" in word or not re.search(r"(?<!\\)\$.*(?<!\\)\$", word) for word in words)
    for name in (r"im\u200bage\$\frac{", r"\x1b[2Jcat", r"dog\nrow 99"):
        assert any(name in word for word in words), name


def test_a_term_of_several_runs(clean, run, tmp_path):
    shutil.copytree(run, tmp_path / "$\\bad{")
    shutil.copytree(run, tmp_path / "$\\bad{$")
    clean("plot", tmp_path / "$\\bad{", tmp_path / "$\\bad{$", "--term", "loss", "--out", tmp_path / "loss.png")


def test_what_the_library_logs(mmppl, capsys, monkeypatch):
    monkeypatch.setattr("mmppl.cli.data.as_json", lambda found: logging.getLogger("mmppl").warning("a\x1b[2J") or "")
    assert mmppl("data", "--json").err == "a\\x1b[2J\n"
    assert not logging.getLogger("mmppl").handlers


def test_messages_beside_the_bar(monkeypatch):
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", stderr)
    with progress.talk() as log:
        log("a \x1b]0;title\x07 message")
    assert r"a \x1b]0;title\x07 message" in stderr.getvalue()
