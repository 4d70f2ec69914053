"""What a user installs: wheel, sdist and editable install give the package `mmppl` and no other top-level name."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = ("kernels", "programs", "bench", "cli")  # lie beside mmppl/, install inside it
LOOK = """
import importlib, json, pathlib, sys
import mmppl, mmppl.kernels.poe, mmppl.programs.cmmd, mmppl.cli
for name in mmppl.__all__:
    getattr(mmppl, name)
stray = []
for name in ("kernels", "programs", "cli", "tests"):
    try:
        importlib.import_module(name)
        stray.append(name)
    except ModuleNotFoundError:
        pass
typed = (pathlib.Path(mmppl.__file__).parent / "py.typed").is_file()
print(json.dumps({"stray": stray, "typed": typed, "library": mmppl.__file__, "kernels": mmppl.kernels.poe.__file__}))
"""


def test_links_inside_the_library():
    for room in ROOMS:
        link = ROOT / "mmppl" / room
        assert link.is_symlink() and os.readlink(link) == f"../{room}", f"{link} must be a relative link to ../{room}"


def test_every_folder_of_modules_is_packaged():
    folders = {"mmppl": ROOT / "mmppl"} | {f"mmppl.{room}": ROOT / room for room in ROOMS}
    packages, where = set(), {}
    for name, folder in folders.items():
        for file in folder.rglob("__init__.py"):  # does not follow the links
            inner = file.parent.relative_to(folder).parts
            if not (name == "mmppl" and inner[:1] and inner[0] in ROOMS):
                packages.add(".".join([name, *inner]))
        where[name] = folder.relative_to(ROOT).as_posix()
        bare = {f.parent for f in folder.rglob("*.py")} - {f.parent for f in folder.rglob("__init__.py")}
        assert not bare, f"modules in folders without __init__.py: {bare}"
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages
    assert PROJECT["tool"]["setuptools"]["package-dir"] == where


def test_what_is_imported_is_declared():
    files = [file for room in ("mmppl", *ROOMS) for file in (ROOT / room).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    imported = {name.partition(".")[0] for name in imported}
    declared = {re.match("[a-z-]+", line)[0] for line in PROJECT["project"]["dependencies"]}
    renamed = {"pyro-ppl": "pyro", "scikit-learn": "sklearn", "lazy-loader": "lazy_loader", "pillow": "PIL"}
    modules = {renamed.get(name, name) for name in declared}
    # bench/endurance does without pandas; the others come with the extras
    optional = {"pandas", "transformers", "h5py", "pyarrow", "soundfile", "polars", "arviz", "anndata", "mudata"}
    optional |= {"optuna", "sqlalchemy"}
    assert imported - set(sys.stdlib_module_names) - {"mmppl"} == modules | optional


def test_one_version():
    import mmppl

    assert mmppl.__version__ == PROJECT["project"]["version"]


def command(*words: object, cwd: Path) -> str:
    """stdout of a command that knows nothing of the checkout."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    line = [str(word) for word in words]
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def fresh(folder: Path) -> Path:
    """The interpreter of a new environment that sees this one's dependencies (but not its editable installs)."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(command(python, "-c", code, cwd=folder).strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def pip(python: Path, *words: object) -> None:
    """pip of the running environment, at work in another."""
    command(sys.executable, "-m", "pip", "--python", python, *words, cwd=python.parent)


def look(python: Path, cwd: Path) -> dict:
    """What an installed mmppl looks like from a neutral folder, after the imports and the command line have worked."""
    assert PROJECT["project"]["version"] in command(python.parent / "mmppl", "--version", cwd=cwd)
    seen = json.loads(command(python, "-c", LOOK, cwd=cwd))
    assert seen["stray"] == [] and seen["typed"]
    return seen


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the tree, so that nothing is built in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "tree"
    copy.mkdir()
    for name in ("mmppl", *ROOMS, "tests", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def built(source, tmp_path_factory) -> dict[str, Path]:
    """ "wheel" and "sdist", made by the build backend that pyproject.toml asks for."""
    folder = tmp_path_factory.mktemp("built")
    python = folder / "builder" / "bin" / "python"
    venv.create(folder / "builder", with_pip=False)
    pip(python, "install", "--quiet", *PROJECT["build-system"]["requires"])
    for kind in ("wheel", "sdist"):
        code = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder / kind)!r})"
        (folder / kind).mkdir()
        command(python, "-c", code, cwd=source)
    return {kind: next((folder / kind).iterdir()) for kind in ("wheel", "sdist")}


@pytest.mark.slow
def test_wheel(built, tmp_path):
    names = zipfile.ZipFile(built["wheel"]).namelist()
    info = f"mmppl-{PROJECT['project']['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == {"mmppl", info}
    assert f"{info}/licenses/LICENSE" in names and "mmppl/py.typed" in names
    in_tree = {f"mmppl/{f.relative_to(ROOT / 'mmppl')}" for f in (ROOT / "mmppl").rglob("*.py")}
    in_tree |= {f"mmppl/{f.relative_to(ROOT)}" for room in ROOMS for f in (ROOT / room).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == in_tree

    python = fresh(tmp_path / "env")
    pip(python, "install", "--quiet", "--no-deps", built["wheel"])
    seen = look(python, tmp_path)
    assert Path(seen["kernels"]).is_relative_to(tmp_path / "env")
    installed = [d.name for d in Path(seen["library"]).parents[1].iterdir()]
    assert sorted(installed) == ["borrowed.pth", "mmppl", info]


@pytest.mark.slow
def test_sdist(built, tmp_path):
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    inside = ("mmppl/py.typed", *(f"{room}/__init__.py" for room in ROOMS))
    for name in ("pyproject.toml", "README.md", "LICENSE", *inside):
        assert name in names, f"the sdist lacks {name}"

    python = fresh(tmp_path / "env")
    pip(python, "install", "--quiet", "--no-deps", built["sdist"])
    assert Path(look(python, tmp_path)["kernels"]).is_relative_to(tmp_path / "env")


@pytest.mark.slow
def test_editable(source, tmp_path):
    python = fresh(tmp_path / "env")
    pip(python, "install", "--quiet", "--no-deps", "--editable", source)
    seen = look(python, tmp_path)
    assert Path(seen["library"]).samefile(source / "mmppl" / "__init__.py")
    assert Path(seen["kernels"]).samefile(source / "kernels" / "poe.py")
