"""The house: which way imports run inside the library, that they never run in a circle, and how large things may be."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "mmppl"
LINKS = ("cli", "programs", "bench", "kernels")
FLOORS = (  # from the ground up: a room imports those before it
    "errors", "base", "modalities", "distributions", "nn", "core", "objectives", "data", "inference", "evaluation",
    "figures", "runs", "train", "testing",
)  # fmt: skip


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_of(file): file
    for file in sorted(LIBRARY.rglob("*.py"))
    if file.relative_to(LIBRARY).parts[0] not in (*LINKS, "__init__.py", "__main__.py")
}


def imports(module: str, file: Path, *, typing: bool = False) -> Iterator[str]:
    """Modules of the library that a file imports anywhere, also inside functions; for type checkers alone only if
    `typing`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    aside = {id(inner) for node in guarded for inner in ast.walk(node)} if not typing else set()
    package = list(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in aside:
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{stem}.{alias.name}"
                found = name if name in MODULES else stem
                if found in MODULES and found != module:
                    yield found


EDGES = {module: set(imports(module, file)) for module, file in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} <= set(FLOORS)


def test_imports_run_downwards():
    for module, others in EDGES.items():
        for other in others:
            assert FLOORS.index(room(other)) <= FLOORS.index(room(module)), f"{module} imports {other}: up the stairs"


def test_imports_run_in_no_circle():
    """Also none that is hidden by an import inside a function."""
    try:
        TopologicalSorter(EDGES).prepare()
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' → '.join(error.args[1])}")


def test_the_search_for_circles_finds_one():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


@pytest.mark.parametrize("folder", ["mmppl", "kernels", "cli", "bench", "programs", "examples"])
def test_no_file_of_the_library_is_long(folder):
    for file in (ROOT / folder).rglob("*.py"):
        if not any(part.is_symlink() for part in file.parents):
            lines = len(file.read_text(encoding="utf-8").splitlines())
            assert lines <= 350, f"{file.relative_to(ROOT)} has {lines} lines"


def test_no_file_of_the_tests_is_long():
    for file in (ROOT / "tests").rglob("*.py"):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= 600, f"{file.relative_to(ROOT)} has {lines} lines"


def test_no_folder_of_the_library_is_crowded():
    folders = {file.parent for file in MODULES.values()}
    for folder in folders:
        files = list(folder.glob("*.py"))
        assert len(files) <= 16, f"{folder.relative_to(ROOT)} has {len(files)} files"


def test_every_room_says_what_it_is_for():
    for folder in {file.parent for file in MODULES.values() if file.parent != LIBRARY}:
        text = (folder / "__init__.py").read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{folder.relative_to(ROOT)}/__init__.py says nothing"
