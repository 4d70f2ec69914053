"""Fixtures of the command line's tests: the command itself, a fitted run, a copy of it, data of one's own."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, Result

from mmppl.cli import main


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
