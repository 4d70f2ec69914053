"""What does not compute does not load what computes."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pyro", "numpy", "sklearn", "matplotlib", "pyarrow")
UNIX = ("fcntl", "grp", "pwd", "resource", "termios")
LOADED = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_import_is_light():
    assert python(f"import mmppl; dir(mmppl); {LOADED}") == ""


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["fit", "--help"], ["query", "--help"], ["fitt"]], ids=" ".join
)
def test_help_is_light(words):
    assert python(f"from mmppl.cli import main; main({words!r}); {LOADED}") == ""


def test_ordinary_work_loads_no_compiler_of_graphs_and_no_large_library():
    """To read the digits that scikit-learn has, to ask, and to take a step of the optimiser. One process for all of it,
    since torch takes seconds to begin.
    """
    code = """
import sys, torch, mmppl
from mmppl.core.loading import load_program
from mmppl.inference.query import ask
from mmppl.train.fused_adam import FusedAdam
data = mmppl.read("digits-three").take(torch.arange(5))
program = load_program("mvae")(data.modalities, hidden=8).eval()
ask(program, data, want="label")
for p in program.parameters():
    p.grad = torch.ones_like(p)
FusedAdam(program.parameters()).step()
heavy = ("torch._dynamo", "triton", "sympy", "sklearn", "scipy", "pandas", "matplotlib", "torchvision", "torchaudio")
print(*[name for name in heavy if name in sys.modules])
"""
    assert python(code) == ""


@pytest.mark.slow
def test_every_module_imports_without_what_only_unix_has():
    code = f"""
import importlib, pkgutil, sys
for name in {UNIX!r}:
    sys.modules[name] = None
import mmppl
for found in pkgutil.walk_packages(mmppl.__path__, "mmppl."):
    if not found.name.endswith(("_triton", "__main__")):
        importlib.import_module(found.name)
print(sum(name.startswith("mmppl.") for name in sys.modules))
"""
    assert int(python(code)) > 100


def test_public_names_exist():
    import mmppl

    for name in mmppl.__all__:
        assert getattr(mmppl, name) is not None
    with pytest.raises(AttributeError):
        _ = mmppl.no_such_name  # type: ignore[attr-defined]
