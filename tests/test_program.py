"""Loading programs and reading their hyper-parameters."""

from typing import Literal

import pytest

from mmppl import Program, UsageError, check_hyper, load_program
from mmppl.program import source_of


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
    ) -> None:
        super().__init__(modalities)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "7", 7), ("rate", "1e-3", 1e-3), ("names", "a,b", ("a", "b")), ("kind", "b", "b"),
        ("flag", "false", False), ("maybe", "none", None), ("maybe", "4", 4), ("width", 7, 7), ("rate", 1, 1.0),
        ("names", ["a"], ("a",)), ("flag", True, True),
    ],
)  # fmt: skip
def test_text_is_read_as_the_annotated_type(name, text, value):
    read = check_hyper(Knobs, {name: text})[name]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("width", "7.5"), ("width", "x"), ("rate", "x"), ("kind", "c"), ("flag", "perhaps"), ("width", True)],
)
def test_what_is_not_of_the_type_is_refused(name, text):
    with pytest.raises(UsageError, match=f"{name}="):
        check_hyper(Knobs, {name: text})


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match="Did you mean width"):
        check_hyper(Knobs, {"widht": 3})


def test_files_are_loaded_and_their_faults_are_placed(tmp_path):
    head = "from mmppl import Program\n"
    cases = {
        "def f(:\n": ":2: SyntaxError",
        "class A(Program): pass\nclass B(Program): pass\n": "exactly one Program class; this one has A, B",
        "x = 1\n": "has none",
        "1 / 0\n": ":2: ZeroDivisionError",
    }
    for i, (body, words) in enumerate(cases.items()):
        (tmp_path / f"p{i}.py").write_text(head + body)
        with pytest.raises(UsageError, match=words):
            load_program(tmp_path / f"p{i}.py")
    (tmp_path / "good.py").write_text(head + "class Good(Program):\n    pass\n")
    cls = load_program(str(tmp_path / "good.py"))
    assert cls.__name__ == "Good" and source_of(cls) == (tmp_path / "good.py").read_bytes()
    with pytest.raises(UsageError, match="Did you mean cmmd"):
        load_program("cmdm")
