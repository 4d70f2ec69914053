"""A program is written with public names: of `mmppl`, and of `mmppl.kernels` for formulas."""

import ast
import sys
from pathlib import Path

import pytest

import mmppl

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted([*(ROOT / "programs").glob("[!_]*.py"), *(ROOT / "examples").glob("*.py")])
OTHERS = {"numpy", "pyro", "torch", *sys.stdlib_module_names}


def foreign(source: str) -> list[str]:
    """What a source imports beside them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module == "mmppl" and not node.level:
            found += [f"mmppl.{name}" for name in names if name not in mmppl.__all__]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
            found += [n for n in names if not n.startswith("mmppl.kernels.") and n.partition(".")[0] not in OTHERS]
        else:
            found += [n for n in names if n != "mmppl" and n.partition(".")[0] not in OTHERS]
    return found


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_a_program_imports_public_names_only(file):
    assert foreign(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    ["from mmppl.nn.mlp import mlp", "from mmppl import hidden", "import mmppl.nn", "from .mvae import MVAE",
     "from mmppl.core import batch", "import sklearn"],
)  # fmt: skip
def test_anything_else_is_found(line):
    assert len(foreign(line)) == 1
