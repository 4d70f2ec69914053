"""The model card shows names of data and programs, and none of them is Markdown, HTML or a command."""

import re

import numpy as np
import pytest

import mmppl

NAMES = ["x|y`<b>", "[a](b)\u200b#c"]


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    rng = np.random.default_rng(0)
    data = mmppl.read({name: rng.normal(size=(12, 2)) for name in NAMES})
    folder = tmp_path_factory.mktemp("runs") / "it's <b>"
    mmppl.fit("mvae", data, hyper={"hidden": 8, "layers": 1, "latent_dim": 2}, epochs=1, out=folder)
    return (folder / "README.md").read_text()


def test_names_stay_in_their_cells(card):
    rows = [line for line in card.splitlines() if line.startswith("| `")]
    assert [row.count("|") - row.count(r"\|") for row in rows[:2]] == [5, 5]
    assert [row.split("|")[1].strip() for row in rows[:2]] == [
        r"`x\x7cy\x60<b>`", r"`[a](b)\u200b#c`"
    ]  # fmt: skip


def test_nothing_outside_of_code_is_foreign(card):
    bare = re.sub("`[^`\n]*`", "", card)
    assert "`" not in bare and "<" not in bare and "[" not in bare
    assert len([line for line in card.splitlines() if line.startswith("#")]) == 1


def test_the_command_is_one_for_the_shell(card):
    assert """`mmppl query '""" in card and """it'"'"'s <b>'`""" in card
