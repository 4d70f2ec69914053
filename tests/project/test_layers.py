"""Imports point one way: cli, bench, programs → mmppl → kernels → torch, triton. Read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = ("cli", "programs", "bench", "kernels")  # rooms that are links inside mmppl/
OF_CLI = "__main__.py"  # the command line's, though Python wants it there
LIBRARY = sorted(
    file
    for file in (ROOT / "mmppl").rglob("*.py")
    if file.relative_to(ROOT / "mmppl").parts[0] not in (*OUTSIDE, OF_CLI)
)
ROOMS = {room: sorted((ROOT / room).glob("*.py")) for room in OUTSIDE} | {"mmppl": LIBRARY}
FILES = [(room, file) for room, files in ROOMS.items() for file in files]
INTERPRETER = ROOT / "mmppl/data/readers/parts/unpickle.py"  # reads pickles with an interpreter of its own
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def named(files):
    return pytest.mark.parametrize("file", files, ids=lambda file: str(file.relative_to(ROOT)))


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def package(file: Path) -> list[str]:
    """["mmppl", "cli"] for cli/main.py."""
    parts = list(file.relative_to(ROOT).parent.parts)
    return parts if parts[0] == "mmppl" else ["mmppl", *parts]


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, dots in front) of everything imported, names of `from` included."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = package(file)
            base = here[: len(here) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{stem}.{alias.name}", node.level) for alias in node.names)


def below(name: str, *stems: str) -> bool:
    return any(name == stem or name.startswith(f"{stem}.") for stem in stems)


def test_there_is_something_to_read():
    assert all(ROOMS.values()), ROOMS


@named(ROOMS["kernels"])
def test_kernels_know_torch_only(file):
    for name, dots in imports(file):
        assert not below(name, "pyro"), f"{file.name} imports {name}"
        if below(name, "mmppl"):
            assert below(name, "mmppl.kernels") and dots == 1, f"{file.name} imports {name}: siblings only, relatively"


@named(LIBRARY)
def test_library_knows_no_program_and_no_command(file):
    for name, _ in imports(file):
        assert not below(name, "mmppl.cli", "mmppl.programs", "mmppl.bench", "typer", "rich"), f"{file} imports {name}"


@named(LIBRARY)
def test_library_names_no_program(file):
    programs = {f.stem for f in ROOMS["programs"] if not f.stem.startswith("_")}
    module = tree(file)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(n.body[0].value) for n in ast.walk(module) if isinstance(n, documented) and ast.get_docstring(n)}
    for node in ast.walk(module):
        text = ""
        if isinstance(node, ast.Name):
            text = node.id
        elif isinstance(node, ast.Attribute):
            text = node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
        found = programs & set(re.findall(r"\w+", text.lower()))
        assert not found, f"{file}:{getattr(node, 'lineno', 0)} names {found}"


@named(ROOMS["programs"])
def test_programs_run_by_path(file):
    for name, dots in imports(file):
        assert dots == 0, f"{file.name}: a program is run by its path and imports absolutely"
        assert not below(name, "mmppl.cli", "mmppl.programs", "mmppl.bench"), f"{file.name} imports {name}"


@named(ROOMS["bench"])
def test_timing_knows_no_command(file):
    for name, dots in imports(file):
        assert not below(name, "mmppl.cli", "mmppl.programs", "typer", "rich"), f"{file.name} imports {name}"
        if below(name, "mmppl.bench"):
            assert dots == 1, f"{file.name} imports {name}: siblings relatively"


@named(ROOMS["cli"])
def test_commands_import_each_other_relatively(file):
    for name, dots in imports(file):
        assert not below(name, "mmppl.programs"), f"{file.name} imports {name}"
        if below(name, "mmppl.cli"):
            assert dots == 1, f"{file.name} imports {name}: siblings relatively"


@pytest.mark.parametrize("room, file", FILES, ids=lambda value: value if isinstance(value, str) else value.name)
def test_no_stray_top_level_names(room, file):
    for name, dots in imports(file):
        assert dots or not below(name, *OUTSIDE), f"{file} imports {name}: it installs as mmppl.{name}"


@pytest.mark.parametrize("room, file", FILES, ids=lambda value: value if isinstance(value, str) else value.name)
def test_nothing_is_unpickled(room, file):
    for name, dots in imports(file):
        assert dots or not below(name, *PICKLES, "torch.load", "torch.save"), f"{file} imports {name}"
        assert dots or not below(name, "pickletools") or file == INTERPRETER, f"{file} imports {name}"
    for node in ast.walk(tree(file)):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}, where
            assert node.value.id not in PICKLES and node.attr not in {"read_pickle", "to_pickle"}, where
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, where
        if isinstance(node, ast.keyword) and node.arg == "weights_only":
            assert isinstance(node.value, ast.Constant) and node.value.value is True, where
