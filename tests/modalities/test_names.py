"""Nobody but a likelihood's own file asks which likelihood it is: read from the source of the library."""

import ast
from pathlib import Path

import pytest

from mmppl.modalities.likelihoods.registry import LIKELIHOODS

ROOM = Path(__file__).parents[2] / "mmppl"
OWN = ROOM / "modalities" / "likelihoods"
LINKED = {entry.name for entry in ROOM.iterdir() if entry.is_symlink()}
FILES = sorted(
    file
    for file in ROOM.rglob("*.py")
    if file.relative_to(ROOM).parts[0] not in LINKED and OWN not in file.parents and file.parent != ROOM
)


def asked(source: str, names: set[str], classes: set[str]) -> list[str]:
    """Lines of a source that compare with a likelihood's name, match it, look something up by it, or test its class."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (
            "isinstance", "issubclass",
        ):  # fmt: skip
            tested = {leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name)}
            tested |= {leaf.attr for leaf in ast.walk(node) if isinstance(leaf, ast.Attribute)}
            found += [f"line {node.lineno}: is it a {name}?" for name in sorted(tested & classes)]
        constants = {leaf.value for part in parts for leaf in ast.walk(part) if isinstance(leaf, ast.Constant)}
        found += [f"line {node.lineno}: {name!r}" for name in sorted(names & {c for c in constants if type(c) is str})]
    return found


NAMES = {name for name in LIKELIHOODS if LIKELIHOODS[name].__module__.startswith("mmppl.")}
CLASSES = {"Likelihood", *(LIKELIHOODS[name].__name__ for name in NAMES)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOM)))
def test_no_other_file_names_a_likelihood(file):
    found = asked(file.read_text(encoding="utf-8"), NAMES, CLASSES)
    assert not found, f"{file}: {found}; make it an attribute or a method of Likelihood"


@pytest.mark.parametrize(
    "line",
    [
        'm.likelihood == "bernoulli"',
        'm.likelihood in ("categorical", "normal")',
        'if "laplace" != word: pass',
        'sizes = {"bernoulli": 1}[m.likelihood]',
        'match m.likelihood:\n    case "normal":\n        pass',
        "isinstance(fn, NormalLikelihood)",
        "issubclass(kind, (int, likelihoods.BernoulliLikelihood))",
    ],
)
def test_the_reader_of_the_source_finds_what_it_looks_for(line):
    assert asked(line, NAMES, CLASSES) and not asked('Modality("x", (2,), "normal")', NAMES, CLASSES)
