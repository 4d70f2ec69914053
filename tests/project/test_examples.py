"""README's tutorial: its program is the file that it links, short, and every command of it works as it is written."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import mmppl
from mmppl.cli import main
from mmppl.core.loading import load_program

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "tempered.py"
SECTION = (ROOT / "README.md").read_text().partition("## A new model is a new file")[2].partition("\n## ")[0]
BLOCKS = dict(re.findall(r"```(python|sh)\n(.*?)```", SECTION, re.DOTALL))


def test_the_tutorial_shows_the_file():
    source = FILE.read_text()
    head, _, body = BLOCKS["python"].partition("\n\n")
    assert all(f"{line}\n" in source for line in head.splitlines())
    assert source.endswith(body) and len(source.splitlines()) <= 60


def test_no_other_file_knows_the_program():
    rooms = ("mmppl", "kernels", "programs", "bench", "cli")
    for room in rooms:
        for file in (ROOT / room).rglob("*.py"):
            assert not re.search(r"Tempered\b|examples[./]tempered", file.read_text()), file


@pytest.mark.slow
def test_every_command_of_the_tutorial(tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line) for line in BLOCKS["sh"].splitlines()]
    assert [line[1] for line in lines] == ["fit", "query", "evaluate", "plot", "show"]
    for mmppl_, command, *words in lines:
        words += {"fit": ["--epochs", "2", "--set", "hidden=16", "--json"], "evaluate": ["--metric", "error."]}.get(
            command, []
        )
        assert (mmppl_, main([command, *words])) == ("mmppl", 0), capsys.readouterr().err
        found = capsys.readouterr()
        assert "step by step" not in found.err and "from Python" not in found.err
        if command == "fit":
            fitted = json.loads(found.out)
            assert fitted["weights"]["prior.temperature"] > 0 and set(fitted["terms"]) == {
                "nll.image", "nll.profile", "nll.word", "nll.label", "kl.z", "prior.temperature",
            }  # fmt: skip
        elif command == "query":
            assert found.out.count("row ") == 5 and "label" in found.out
    assert len(list((tmp_path / "runs" / "tempered" / "figures").glob("*.png"))) >= 3

    program = mmppl.Run.load("runs/tempered", program=load_program(FILE)).program
    assert program.latent_dim == 16 and (program.log_temperature != 0).all()  # it was learnt


@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e9])
def test_an_expert_of_high_temperature_has_no_influence(temperature):
    """At infinite temperature the answer is the prior; the colder an expert, the narrower."""
    from mmppl.inference.query import ask

    torch.manual_seed(0)
    data = mmppl.read("digits-three").take(torch.arange(5))
    program = load_program(FILE)(data.modalities, latent_dim=3, hidden=8).eval()
    program.log_temperature.data.fill_(np.log(temperature))
    spread = ask(program, data, given=["image"], want=["z"]).want["z"]["std"]
    assert np.allclose(spread, 1) if temperature > 1 else (spread < (0.01 if temperature < 1 else 1)).all()
