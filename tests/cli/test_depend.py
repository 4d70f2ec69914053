"""`mmppl depend`: JSON and text, rows that lack a modality, and what is refused."""

import json

import numpy as np
import pytest


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    text = rng.normal(size=(900, 2))
    audio, video = text[:, :1] + rng.normal(size=(900, 1)), rng.normal(size=(900, 2))
    has = np.arange(900) % 9 > 0
    np.savez(tmp_path / "mine.npz", text=text, audio=audio, video=video, mask_audio=has)
    return str(tmp_path / "mine.npz")


def test_json_and_text(mmppl, file):
    found = mmppl("depend", file, "--between", "text,audio", "--steps", "60", "--json")
    numbers = json.loads(found.out)
    assert found.code == 0 and {"tc", "se", "low", "high", "converged"} <= numbers.keys()
    assert numbers["low"] < numbers["tc"] < numbers["high"] and numbers["left_out"] == 100
    shown = mmppl("depend", file, "--between", "text,audio", "--steps", "60")
    assert "total correlation of text, audio: " in shown.out and "100 rows lack one of them" in shown.out


def test_all_modalities_by_default(mmppl, file):
    assert "of text, audio, video: " in mmppl("depend", file, "--steps", "2").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--between", "text,vidio"], 2, "Did you mean video?"),
        (["--between", "text"], 2, "two different"),
        (["--between", "text,text"], 2, "two different"),
        (["--method", "wasserstein"], 2, "bounds no total correlation"),
    ],
)
def test_what_is_refused(mmppl, file, words, code, told):
    found = mmppl("depend", file, *words)
    assert found.code == code and told in found.err and found.err.count("\n") == 1


def test_lengths_alone_are_dependence(mmppl, tmp_path):
    """Steps that do not exist are no zeros: what a sequence tells by its length is found."""
    r = np.random.default_rng(0)
    length = r.integers(1, 5, 1500)
    np.savez(tmp_path / "l.npz", a=np.zeros((1500, 4, 1)) + 0.01 * r.normal(size=(1500, 4, 1)), length_a=length,
             b=(length + 0.1 * r.normal(size=1500))[:, None])  # fmt: skip
    found = json.loads(mmppl("depend", tmp_path / "l.npz", "--between", "a,b", "--steps", "150", "--json").out)
    assert found["tc"] > 0.7  # of ln 4 = 1.39


def test_the_refusal_names_what_lacks_cells(mmppl, tmp_path):
    rng = np.random.default_rng(0)
    lab = rng.normal(size=(300, 2))
    lab[50:, 1] = np.nan
    np.savez(tmp_path / "gaps.npz", lab=lab, audio=rng.normal(size=(300, 1)))
    found = mmppl("depend", str(tmp_path / "gaps.npz"), "--between", "lab,audio")
    assert found.code and "50 rows of 300 have every cell" in found.err and "missing of lab in 250 rows." in found.err
