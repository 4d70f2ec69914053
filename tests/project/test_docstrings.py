"""Docstrings: their sections have the form that parsers of Google style read, and the examples of public names run."""

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmppl

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "mmppl"
LINKS = ("cli", "programs", "bench", "kernels")  # folders beside the library that also stand in it
ROOMS = [ROOT / "kernels", ROOT / "programs", ROOT / "bench"]
SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes", "Example")
NAMED = ("Args", "Raises", "Attributes")  # their entries are `name: text`
ENTRY = re.compile(r"\*{0,2}[\w.]+: +\S")

def files() -> Iterator[Path]:
    """The library's files, each once."""
    inside = (file for file in LIBRARY.rglob("*.py") if file.relative_to(LIBRARY).parts[0] not in LINKS)
    yield from sorted([*inside, *(file for room in ROOMS for file in room.rglob("*.py"))])


def docstrings(file: Path) -> Iterator[tuple[str, int]]:
    """(text as `inspect.cleandoc` gives it, line of its first line) of every public docstring in a file."""

    def visit(node: ast.AST) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
                if text := ast.get_docstring(child):
                    yield text, child.body[0].lineno
                if isinstance(child, ast.ClassDef):
                    yield from visit(child)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")))


def faults(text: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong with it) for the sections of one docstring."""
    section, lines = "", text.split("\n")
    for number, line in enumerate(lines):
        head = re.match(r"([A-Z][a-z ]*):", line)
        if head and head[1] in SECTIONS:
            section = head[1]
            if line != f"{section}:":
                yield number, f"{section}: has to stand alone on its line"
            if number and lines[number - 1].strip():
                yield number, f"{section}: needs an empty line above it"
            if number + 1 == len(lines) or not lines[number + 1].startswith("    "):
                yield number, f"{section}: is followed by nothing that is indented by four spaces"
        elif re.match(rf" +({'|'.join(SECTIONS)}):$|.* ({'|'.join(SECTIONS)}): ", line):
            yield number, "a section begins in the middle of a line or is indented"
        elif line and not line.startswith(" "):
            section = ""
        elif section in NAMED and re.match(r" {4}\S", line) and not ENTRY.match(line.strip()):
            yield number, f"in {section} an entry is `name: text`, and its further lines are indented by eight spaces"


@pytest.mark.parametrize("file", list(files()), ids=lambda file: str(file.relative_to(ROOT)))
def test_sections_are_those_that_parsers_read(file):
    wrong = [
        f"{file.relative_to(ROOT)}:{first + number}: {what}"
        for text, first in docstrings(file)
        for number, what in faults(text)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Adds.\n\nArgs:\n    a: one.\n        More of it.\n    b: other.\n\nReturns:\n    The sum.", []),
        ("Adds.\n\nArgs: a: one.", [2, 2]),
        ("Adds.\nArgs:\n    a: one.", [1]),
        ("Adds.\n\nArgs:\n    a, b: both.", [3]),
        ("Adds.\n\nRaises:\n    ValueError for what is no number.", [3]),
        ("Adds. Args: a: one.", [0]),
    ],
)
def test_faults_are_found(text, wrong):
    assert [number for number, _ in faults(text)] == wrong


@pytest.mark.parametrize("name", mmppl.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    thing = getattr(mmppl, name)
    module = importlib.import_module(thing.__module__)
    tests = [t for t in doctest.DocTestFinder(recurse=False).find(thing, name, module) if t.examples]
    assert tests, f"{name}: its docstring in {inspect.getsourcefile(thing)} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert not runner.run(test).failed, f"the example of {name} fails; what it printed stands above"
