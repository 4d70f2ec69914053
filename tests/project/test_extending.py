"""A user's own likelihood, reader, recipe, metric and figure: one new file each, in a folder of their own."""

import json

import numpy as np
import pytest

import mmppl
from mmppl.cli import main
from mmppl.data.readers.registry import READERS
from mmppl.data.recipes.registry import RECIPES
from mmppl.evaluation.registry import METRICS
from mmppl.figures.registry import FIGURES
from mmppl.modalities.likelihoods.registry import LIKELIHOODS

FILES = {
    "absolute_error.py": """
import numpy as np
import mmppl

@mmppl.metric("absolute_error", of="number")
def mean_absolute_error(target):
    return float(np.abs(target.answer["mean"] - target.truth).mean())
""",
    "counts.py": """
from matplotlib.figure import Figure
import mmppl

@mmppl.figure("counts", shows="how many rows there are", absent="there are none")
def counts(subject):
    drawn = Figure(figsize=(2, 2))
    drawn.subplots().bar([0], [len(subject.rows)])
    return drawn
""",
    "wide.py": """
import math
import mmppl
from mmppl.modalities.likelihoods.normal import NormalLikelihood

@mmppl.likelihood("wide")
class Wide(NormalLikelihood):
    default_scale = 10.0
""",
    "lines.py": """
import numpy as np
import mmppl

@mmppl.reader("lines")
class Lines:
    def accepts(self, source):
        return str(source).endswith(".lines")

    def read(self, source, request):
        columns = np.loadtxt(source)
        return {"a": columns[:, :2], "b": columns[:, 2:]}
""",
    "ramp.py": '''
import numpy as np
import mmppl

@mmppl.recipe("ramp")
def ramp(*, rows: int = 30):
    """A ramp.

    Needs: nothing
    """
    return mmppl.read({"a": np.linspace(-1, 1, rows)[:, None] * [1.0, 2.0]})
''',
}
SMALL = ["--epochs", "1", "--set", "hidden=4", "--set", "latent_dim=2"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder with the files; what they register is forgotten afterwards."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    yield folder
    for registry, name in ((METRICS, "absolute_error"), (FIGURES, "counts"), (LIKELIHOODS, "wide"), (READERS, "lines"),
                           (RECIPES, "ramp")):  # fmt: skip
        registry.forget(name)


def test_each_is_one_file(own, tmp_path, capsys):
    source = tmp_path / "mine.lines"
    np.savetxt(source, np.random.default_rng(0).normal(size=(40, 3)))
    run, use = tmp_path / "run", {name: ["--use", str(own / name)] for name in FILES}

    def json_of(*words):
        capsys.readouterr()
        assert main([str(word) for word in words] + ["--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    fit = ["fit", "mvae", "--data", source, "--as", "a=wide", "--out", run, *SMALL]
    json_of(*fit, *use["lines.py"], *use["wide.py"])
    record = json.loads((run / "run.json").read_text())
    assert [file["name"] for file in record["use"]] == ["lines.py", "wide.py"]
    asked = json_of("query", run, "--want", "a", "--given=", *use["wide.py"], *use["lines.py"])["want"]["a"]
    assert min(np.ravel(asked["std"])) > 5  # in input units: ten standard deviations of a standardised column
    found = json_of("evaluate", run, "--metric", "absolute_error", "--metric", "rmse", *use["absolute_error.py"])[
        "metrics"
    ]
    assert 0 < found["absolute_error.a"]["b"] <= found["rmse.a"]["b"]
    (figure,) = json_of("plot", run, "--figure", "counts", *use["counts.py"])["figures"]
    assert figure.endswith("counts.png")
    described = json_of("data", "ramp:rows=20", *use["ramp.py"])
    assert described["n"] == 20
    assert main(["data", "ramp:rows=many", *use["ramp.py"]]) == 2


def test_a_run_executes_nothing_that_it_used(own, tmp_path, monkeypatch, capsys):
    data = {"a": np.random.default_rng(0).normal(size=(20, 2))}
    run = mmppl.fit("mvae", data, hyper={"hidden": 4}, epochs=1, use=[own / "absolute_error.py"], out=tmp_path / "run")
    monkeypatch.setattr("mmppl.core.loading._USED", {})  # as in a process that has used nothing
    with pytest.raises(
        mmppl.UntrustedError, match=r"fitted with --use absolute_error\.py[^\n]*your own copy with --use FILE"
    ):
        mmppl.Run.load(run.folder)
    other = tmp_path / "absolute_error.py"
    other.write_text("x = 1\n")
    with pytest.raises(mmppl.UntrustedError, match="Another version of it was given"):
        mmppl.Run.load(run.folder, use=[other])
    assert main(["query", str(run.folder), "--want", "z"]) == 3
    mmppl.Run.load(run.folder, use=[own / "absolute_error.py"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@mmppl.metric('rmse', of='number')\ndef again(target): return 0.0\n", "metric 'rmse' is registered"),
        ("@mmppl.metric('none', of=())\ndef none(target): return 0.0\n", "metric 'none' lacks"),
        ("@mmppl.figure('blank', shows='', absent='no')\ndef blank(s): pass\n", "figure 'blank' lacks shows"),
        ("@mmppl.likelihood('bare')\nclass Bare: pass\n", "likelihood 'bare' lacks"),
        ("@mmppl.reader('deaf')\nclass Deaf: pass\n", "reader 'deaf' lacks"),
        ("def broken(:\n", ":2: SyntaxError"),
    ],
    ids=["metric twice", "metric of nothing", "figure", "likelihood", "reader", "syntax"],
)  # fmt: skip
def test_what_lacks_a_part_is_refused_when_it_is_registered(text, words, tmp_path, capsys):
    file = tmp_path / "own.py"
    file.write_text(f"import mmppl\n{text}")
    assert main(["data", "--use", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["data", "--use", str(tmp_path / "none.py")]) == 2
    assert "none.py: No such file or directory. Give the path of a Python file." in capsys.readouterr().err
