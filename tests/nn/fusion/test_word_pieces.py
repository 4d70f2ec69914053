"""Words become pieces that know their words."""

import numpy as np
import pytest
import tiny_transformers

from mmppl import UsageError, align_words


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("transformers", reason="pip install mmppl[text]")
    return {f: getattr(tiny_transformers, f)(tmp_path_factory.mktemp(f)) for f in ("bert", "xlnet")}


ROWS = [["unbelievable", "good", "movie"], ["", " ", "bad"], []]


def test_bert(folders):
    """[CLS] un ##believ ##able good movie [SEP]; a word without a piece keeps its place; a row may have no words."""
    made = align_words(ROWS, folders["bert"])
    assert made["length_text"].tolist() == [7, 3, 0]
    assert made["text"][0].tolist() == [[2, -1], [8, 0], [9, 0], [10, 0], [5, 1], [7, 2], [3, -1]]
    assert made["text"][1].tolist() == [[2, -1], [6, 2], [3, -1]] + [[0, -1]] * 4
    assert made["text"][2].tolist() == [[0, -1]] * 7
    assert {array.dtype for array in made.values()} == {np.dtype("int64")}


def test_xlnet(folders):
    """▁un believ able ▁good ▁movie <sep> <cls>."""
    made = align_words(ROWS, folders["xlnet"], name="words")
    assert made["words"][0].tolist() == [[11, 0], [12, 0], [13, 0], [8, 1], [10, 2], [4, -1], [3, -1]]
    assert made["words"][1, :3].tolist() == [[9, 2], [4, -1], [3, -1]] and made["length_words"].tolist() == [7, 3, 0]


@pytest.mark.parametrize("family, special", [("bert", [0, -1]), ("xlnet", [-2, -1])])
def test_long_rows_are_cut_and_keep_their_special_pieces(folders, family, special):
    whole, cut = (align_words([["good"] * 60, ["bad"]], folders[family], max_length=n) for n in (100, 50))
    assert whole["text"].shape == (2, 62, 2) and cut["text"].shape == (2, 50, 2)
    assert cut["length_text"].tolist() == [50, 3]
    assert (cut["text"][0, special, 1] == -1).all() and (
        cut["text"][0, special, 0] == whole["text"][0, special, 0]
    ).all()
    assert sorted(cut["text"][0, :, 1].tolist()) == [-1, -1, *range(48)]
    words = align_words([["unbelievable"] * 3], folders[family], max_length=6)["text"][0, :, 1]
    assert sorted(words.tolist()) == [-1, -1, 0, 0, 0, 1]  # within a word, too


def test_no_rows(folders):
    made = align_words([], folders["bert"])
    assert made["text"].shape == (0, 2, 2) and made["length_text"].shape == (0,)
    assert align_words([[], []], folders["bert"])["text"].shape == (2, 2, 2)


def test_no_place_for_words(folders):
    with pytest.raises(UsageError, match="max_length=2 leaves no place for words; .* at least 3"):
        align_words([["good"]], folders["bert"], max_length=2)


def test_arrays_survive_a_file(folders, tmp_path):
    """Nothing in them has to be pickled."""
    np.savez(tmp_path / "words.npz", **align_words(ROWS, folders["bert"]))
    with np.load(tmp_path / "words.npz", allow_pickle=False) as read:
        assert read["text"].dtype.kind == "i" and read["length_text"].tolist() == [7, 3, 0]
