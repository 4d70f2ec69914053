"""Loading programs and reading their hyper-parameters."""

import dataclasses
from typing import Literal

import pyro
import pytest
import torch

from mmppl import Modality, Program, UsageError, check_hyper, load_program
from mmppl.core.hyperparameters import check_query_options, hyper_parameters
from mmppl.core.loading import blame, source_of


class Knobs(Program):
    def __init__(
        self,
        modalities,
        *,
        width: int = 3,
        rate: float = 0.5,
        names: tuple[str, ...] = (),
        kind: Literal["a", "b"] = "a",
        flag: bool = True,
        maybe: int | None = None,
        number: Literal[1, 2] = 1,
        plain=2.0,
        bare=None,
        widths=(16, 32),
        rates: tuple = (0.5, 1),
        pair: tuple[int, float] = (1, 2.0),
        sizes: list[int] = [],
        one_or_more: int | list[int] = 1,
        nothing: tuple = (),
        either: dict | int = 1,
    ) -> None:
        super().__init__(modalities)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "7", 7), ("rate", "1e-3", 1e-3), ("names", "a,b", ("a", "b")), ("kind", "b", "b"),
        ("flag", "false", False), ("maybe", "none", None), ("maybe", "4", 4), ("width", 7, 7), ("rate", 1, 1.0),
        ("names", ["a"], ("a",)), ("flag", True, True),
        ("number", "2", 2), ("number", 1, 1), ("plain", "3", 3.0), ("bare", "x", "x"),
        ("widths", "8,8", (8, 8)), ("widths", [8], (8,)), ("rates", "2,0.1", (2.0, 0.1)), ("pair", "1,2", (1, 2.0)),
        ("sizes", "8,8", [8, 8]), ("sizes", "", []), ("one_or_more", "8,8", [8, 8]), ("one_or_more", "8", 8),
    ],
)  # fmt: skip
def test_text_is_read_as_the_annotated_type(name, text, value):
    read = check_hyper(Knobs, {name: text})[name]
    assert read == value and type(read) is type(value)


def test_only_what_is_declared_may_change_on_a_fitted_run(monkeypatch):
    with pytest.raises(UsageError, match=r"^Knobs: kind is fixed by the fit; nothing can be set on a fitted run\.$"):
        check_query_options(Knobs, {"kind": "b"})
    monkeypatch.setattr(Knobs, "query_options", ("kind", "rate"))
    assert check_query_options(Knobs, {"kind": "b", "rate": "2"}) == {"kind": "b", "rate": 2.0}
    for hyper, why in (
        ({"kind": "b", "width": 4}, r"width is fixed by the fit; only kind, rate can be set on a fitted run\.$"),
        ({"kidn": "b"}, r"kidn is none of its hyper-parameters; only kind, rate .* Did you mean kind\?$"),
        ({"kind": "c"}, r"kind=c is none of a, b\.$"),
    ):
        with pytest.raises(UsageError, match=why):
            check_query_options(Knobs, hyper)


@pytest.mark.parametrize(
    ("name", "text"),
    [("width", "7.5"), ("width", "x"), ("rate", "x"), ("plain", "x"), ("kind", "c"), ("flag", "perhaps"),
     ("width", True), ("maybe", "x"), ("rate", "nan"), ("rate", float("inf")), ("rate", "-inf"),
     ("width", float("inf")), ("pair", "1,2,3"), ("pair", "1"), ("widths", "a"), ("one_or_more", "x")],
)  # fmt: skip
def test_what_is_not_of_the_type_is_refused(name, text):
    with pytest.raises(UsageError, match=f"{name}="):
        check_hyper(Knobs, {name: text})


@pytest.mark.parametrize("name", ["nothing", "either"])
def test_a_type_that_nothing_can_be_checked_against_is_reported(name):
    with pytest.raises(UsageError, match=rf"^Knobs: {name} is of a type .*; annotate it as int, .*\.$"):
        check_hyper(Knobs, {name: "3"})


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match="Did you mean width"):
        check_hyper(Knobs, {"widht": 3})


def test_a_wrong_word_gets_the_allowed_ones():
    with pytest.raises(UsageError, match=r"Knobs: kind=c is none of a, b\.$"):
        check_hyper(Knobs, {"kind": "c"})
    with pytest.raises(UsageError, match="kernel=mixtures is none of paper, mixture. Did you mean mixture"):
        check_hyper(load_program("cmmd"), {"kernel": "mixtures"})
    with pytest.raises(UsageError, match="rate=nan is no finite float"):
        check_hyper(Knobs, {"rate": "nan"})
    with pytest.raises(UsageError, match=r"maybe=x is no int \| None"):
        check_hyper(Knobs, {"maybe": "x"})


@dataclasses.dataclass(frozen=True)
class Size:
    width: int = 3
    kind: Literal["a", "b"] = "a"
    deep: bool = False


class Sized(Program):
    def __init__(self, modalities, *, rate: float = 0.5, size: Size = Size(width=4), names: tuple[str, ...] = ()):
        super().__init__(modalities)
        self.found = rate, size, names


def test_options_stand_for_their_fields():
    """In order, with the defaults of the program's own; the constructor takes them by name, or whole."""
    known = hyper_parameters(Sized)
    assert list(known) == ["rate", "width", "kind", "deep", "names"]
    assert known["width"].default == 4 and known["width"].annotation is int
    assert check_hyper(Sized, {"width": "7", "kind": "b", "rate": "1"}) == dict(width=7, kind="b", rate=1.0)
    with pytest.raises(UsageError, match=r"^Sized: kind=c is none of a, b\.$"):
        check_hyper(Sized, {"kind": "c"})
    with pytest.raises(UsageError, match="Sized has no hyper-parameter 'size'; it has rate, width, kind, deep, names"):
        check_hyper(Sized, {"size": "3"})
    x = [Modality("x", (2,))]
    assert Sized(x).found == (0.5, Size(4), ()) and Sized(x, deep=True).found == (0.5, Size(4, deep=True), ())
    assert Sized(x, size=Size(1), rate=2.0).found == (2.0, Size(1), ())
    assert Sized(x, size=Size(1, "b"), width=9).found == (0.5, Size(9, "b"), ())
    assert check_hyper(Sized, {"size": Size(1), "kind": "b"}) == dict(width=1, kind="b", deep=False)
    with pytest.raises(TypeError, match="widht"):
        Sized(x, widht=3)


def test_a_program_that_builds_on_another_passes_its_options_on():
    class Wider(Sized):
        def __init__(self, modalities, *, times: int = 2, **hyper):
            super().__init__(modalities, width=8 * times, **hyper)

    assert Wider([Modality("x", (2,))], deep=True).found[1] == Size(16, deep=True)


COLLIDES = """
from mmppl import Program
from mmppl.nn.options import NetworkOptions

class Collides(Program):
    def __init__(self, modalities, *, {}) -> None:
        super().__init__(modalities)
"""


@pytest.mark.parametrize(
    "arguments",
    ["hidden: int = 3, options=NetworkOptions()", "options=NetworkOptions(), more=NetworkOptions(layers=1)"],
)
def test_two_hyper_parameters_of_one_name_are_reported_when_the_program_is_loaded(arguments, tmp_path):
    file = tmp_path / "collides.py"
    file.write_text(COLLIDES.format(arguments))
    with pytest.raises(UsageError) as caught:
        load_program(file)
    assert str(caught.value) in (
        f"{file}:5: Collides: two hyper-parameters are called hidden, one in options (NetworkOptions); rename one.",
        f"{file}:5: Collides: two hyper-parameters are called networks, one in more (NetworkOptions); rename one.",
    )


HINTS = """
from __future__ import annotations
from typing import TYPE_CHECKING
from mmppl import Program
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmppl import Modality
    from somewhere import Size

class Hinted(Program):
    def __init__(self, modalities: Sequence[Modality], *, width: int = 3, size: Size | None = None) -> None:
        super().__init__(modalities)
"""


def test_annotations_that_only_a_type_checker_imports(tmp_path):
    (tmp_path / "hinted.py").write_text(HINTS)
    cls = load_program(tmp_path / "hinted.py")
    assert check_hyper(cls, {"width": "4"}) == {"width": 4}
    with pytest.raises(UsageError, match="Hinted: the annotation of size, 'Size | None', needs Size; import it"):
        check_hyper(cls, {"size": "4"})


def test_files_are_loaded_and_their_faults_are_placed(tmp_path, monkeypatch):
    head = "from mmppl import Program\n"
    cases = {
        "def f(:\n": ":2: SyntaxError",
        "class A(Program): pass\nclass B(Program): pass\n": "exactly one Program class; this one has A, B",
        "x = 1\n": "has none",
        "1 / 0\n": ":2: ZeroDivisionError",
        "\nraise SystemExit('enough')\n": ":3: SystemExit: enough",
        "import bad_neighbour\n": ":2: SyntaxError",
    }
    (tmp_path / "bad_neighbour.py").write_text("\n\n\n\ndef g(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    for i, (body, words) in enumerate(cases.items()):
        (tmp_path / f"p{i}.py").write_text(head + body)
        with pytest.raises(UsageError, match=words):
            load_program(tmp_path / f"p{i}.py")
    (tmp_path / "good.py").write_text(head + "class Good(Program):\n    pass\n")
    cls = load_program(str(tmp_path / "good.py"))
    assert cls.__name__ == "Good" and source_of(cls) == (tmp_path / "good.py").read_bytes()
    with pytest.raises(UsageError, match="Did you mean cmmd"):
        load_program("cmmdd")


FAULTY = """
import torch
from mmppl import Program

class Faulty(Program):
    def model(self, batch):
        torch.ones(2) @ torch.ones(3)

    def guide(self, batch):
        torch.zeros(batch)

    def query_guide(self, batch):
        return self.deeper(lambda: self.missing)

    def deeper(self, call):
        return call()

    def objective(self, batch):
        raise batch
"""


def test_errors_point_into_the_file_of_the_program(tmp_path):
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY)
    cls = load_program(file)
    program = cls([Modality("x", (2,))])

    def blamed(call, *given):
        try:
            call(*given)
        except Exception as error:
            return blame(error, cls)

    assert str(blamed(program.model, 0)).startswith(f"{file}:7: RuntimeError: ")
    assert str(blamed(program.query_guide, 0)).startswith(f"{file}:13: AttributeError: ")  # the innermost of its frames
    assert str(blamed(program.objective, KeyError())) == f"{file}:19: KeyError"
    assert blamed(lambda: 1 / 0) is None  # nothing of the program ran
    assert blamed(program.objective, UsageError("omega=2")) is None  # the user's already
    assert blamed(program.objective, MemoryError()) is None
    assert blamed(program.objective, torch.OutOfMemoryError("CUDA")) is None
    long = str(blamed(pyro.poutine.trace(program.guide).get_trace, -1))
    assert long.startswith(f"{file}:10: RuntimeError: ") and "Trace Shapes" not in long and "\n" not in long


def test_the_same_source_at_another_path_is_blamed_there(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "faulty.py").write_text(FAULTY)
        cls = load_program(tmp_path / folder / "faulty.py")
        with pytest.raises(RuntimeError) as caught:
            cls([Modality("x", (2,))]).model(0)
        assert str(blame(caught.value, cls)).startswith(f"{tmp_path / folder / 'faulty.py'}:7: ")
    assert load_program(tmp_path / "b" / "faulty.py") is cls


def test_a_program_answers_about_all_but_its_conditions():
    program = Program([Modality("a", (2,)), Modality("b", (2,))])
    assert program.targets() == ("a", "b")
    program.conditions = ("a",)
    assert program.targets() == ("b",)
