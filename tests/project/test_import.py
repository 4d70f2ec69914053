"""What does not compute does not load what computes."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pyro", "numpy", "sklearn", "matplotlib", "pyarrow")
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


def test_public_names_exist():
    import mmppl

    for name in mmppl.__all__:
        assert getattr(mmppl, name) is not None
    with pytest.raises(AttributeError):
        _ = mmppl.no_such_name  # type: ignore[attr-defined]
