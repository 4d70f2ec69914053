import json
import subprocess
import sys

from mmppl import Modality
from mmppl.cli import main
from mmppl.cli.show import _docstring, _particulars

DOC = """What it is.

More of it.

Args:
    latent_dim: D, the size
        of z.
    a, b: both of them: with a colon.
        note: not a name of its own.
Raises:
    UsageError: c: never.
"""


def test_docstring():
    about, described = _docstring(DOC)
    assert about == "What it is.\n\nMore of it."
    assert described == {
        "latent_dim": "D, the size of z.",
        "a": "both of them: with a colon. note: not a name of its own.",
        "b": "both of them: with a colon. note: not a name of its own.",
    }
    assert _docstring("Only this.") == ("Only this.", {})
    assert _docstring("") == ("", {})


def test_particulars_of_a_modality():
    assert _particulars(Modality("x", (2,))) == ""
    assert _particulars(Modality("x", (2,), gaps=True)) == "lacks single cells"
    assert _particulars(Modality("x", (4, 2), sequence=True)) == "a sequence"
    stage = Modality("stage", (), "ordinal", classes=("low", "high"), group="clinic")
    assert _particulars(stage) == "order low < high; part of clinic"
    counts = Modality("rna", (2,), "negative_binomial", size_factor=(20.0, 0.5))
    assert _particulars(counts) == "size factor, mean 20"
    assert _particulars(Modality("days", (), "weibull", event="died")) == "event in died"


def test_a_bare_program_is_shown_as_it_is(tmp_path, capsys):
    """No annotations, no docstring: types of the defaults, and not the base class's text."""
    source = "from mmppl import Program\nclass Bare(Program):\n    def __init__(self, m, *, gain=1.0, name=None): ...\n"
    (tmp_path / "bare.py").write_text(source)
    assert main(["show", str(tmp_path / "bare.py"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["about"] == "" and shown["hyper"]["gain"]["type"] == "float" and shown["hyper"]["name"]["type"] == ""


def test_every_hyper_parameter_is_described(capsys):
    from mmppl.core.loading import installed_programs

    for name in installed_programs():
        assert main(["show", name, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert set(found) == {"program", "about", "hyper", "training", "query_options", "presets", "default_data"}
        assert found["about"] and found["default_data"]
        for parameter, h in found["hyper"].items():
            assert h["about"], f"{name}: {parameter} is not in the docstring"
        assert main(["show", name]) == 0
        text = capsys.readouterr().out
        parts = (*found["hyper"], *found["query_options"], *found["presets"], found["default_data"])
        assert all(part in text for part in parts)


OWN = """
from mmppl import Program
from mmppl.kernels.likelihood import LikelihoodKernel

logistic = LikelihoodKernel("logistic_own", "-(x - m) - 2*softplus(m - x)")


class Own(Program):
    \"\"\"With a formula of its own.\"\"\"
"""


def test_generated_sources(tmp_path, capsys):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    assert main(["show", str(file), "--kernels"]) == 0
    out = capsys.readouterr().out
    assert "logistic_own" in out and "-(x - m) - 2*softplus(m - x)" in out and "bernoulli" in out
    assert main(["show", str(file), "--kernel", "logistic_own"]) == 0
    out = capsys.readouterr().out
    assert "def value_and_grad(x, m):" in out and "@triton.jit" in out and "static inline void logistic_own" in out
    assert main(["show", str(file), "--kernel", "laplace", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["kernels"]
    assert found["formula"].startswith("-abs(x - m)") and found["torch_source"]
    assert main(["show", str(file), "--kernel", "laplase"]) == 2
    assert "Did you mean laplace?" in capsys.readouterr().err


def test_formulas_in_a_process_that_has_fitted_nothing():
    code = "from mmppl.cli import main; raise SystemExit(main(['show', 'mvae', '--kernels']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "bernoulli" in done.stdout and "laplace" in done.stdout, done
