"""What may be searched, and what is refused in a line."""

from typing import Literal

import pytest

import mmppl
from mmppl import Program, UsageError
from mmppl.train.tuning.search import Choices, Range, parse_search


class Settings(Program):
    """One hyper-parameter of every kind."""

    def __init__(
        self,
        modalities,
        *,
        size: int = 20,
        narrow: int | None = None,
        share: float = 0.5,
        weight: float | None = None,
        either: int | float = 1,
        on: bool = True,
        word: Literal["one", "two"] = "one",
        text: str = "a",
        weights: tuple[float, ...] = (),
    ):
        super().__init__(modalities)


def parse(text):
    return parse_search(Settings, text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("size=8..64", Range(8, 64, True)),
        ("size= 8 .. 64 ", Range(8, 64, True)),
        ("size=8..64:log", Range(8, 64, True, log=True)),
        ("size=-3..3", Range(-3, 3, True)),
        ("narrow=1..2", Range(1, 2, True)),
        ("share=0..1", Range(0.0, 1.0, False)),
        ("share=-1.5..-.5", Range(-1.5, -0.5, False)),
        ("share=1e-4..1e-1:log", Range(1e-4, 1e-1, False, log=True)),
        ("weight=0.1...5", Range(0.1, 0.5, False)),
        ("either=1..3", Range(1.0, 3.0, False)),
        ("size=8|16|32", Choices({"8": 8, "16": 16, "32": 32})),
        ("narrow=none|64", Choices({"none": None, "64": 64})),
        ("share=0|0.5", Choices({"0": 0.0, "0.5": 0.5})),
        ("on=true|false", Choices({"true": True, "false": False})),
        ("word=one|two", Choices({"one": "one", "two": "two"})),
        ("text=a|b", Choices({"a": "a", "b": "b"})),
        ("weights=1,20|1,1", Choices({"1,20": (1.0, 20.0), "1,1": (1.0, 1.0)})),
        ("lr=1e-4..1e-2:log", Range(1e-4, 1e-2, False, log=True)),
        ("batch_size=16..128:log", Range(16, 128, True, log=True)),
        ("epochs=1..5", Range(1, 5, True)),
        ("schedule=cosine|constant", Choices({"cosine": "cosine", "constant": "constant"})),
        ("calibrate=yes|no", Choices({"yes": True, "no": False})),
        ("clip=none|1|10", Choices({"none": None, "1": 1.0, "10": 10.0})),
    ],
)
def test_forms(text, where):
    assert parse(text) == {text.partition("=")[0]: where}


def test_several_in_one_text_in_several_texts_or_by_name():
    want = parse(["size=8..64", "weights=1,20|1,1", "share=0..1"])
    assert list(want) == ["size", "weights", "share"]
    assert parse("size=8..64,weights=1,20|1,1, share=0..1") == want
    assert parse({"size": "8..64", "weights": "1,20|1,1", "share": "0..1"}) == want
    by_value = parse({"weights": [(1.0, 20.0), (1, 1)], "on": (True, False)})
    assert by_value["weights"].ends == ((1.0, 20.0), (1.0, 1.0)) and by_value["on"].ends == (True, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected NAME=LOW..HIGH"),
        ([], "names no setting"),
        ("size", "search size: expected NAME=LOW..HIGH"),
        ("=3..4", "expected NAME="),
        ("size=", "size=: it has no values"),
        ("sise=1..2", "Settings has no setting 'sise'.*Did you mean size"),
        ("leraning=1..2", "no setting 'leraning'"),
        ("seed=1..2", "no setting 'seed'"),
        ("folds=1..2", "no setting 'folds'"),
        ("size=1..2,size=3..4", "size: it is searched twice"),
        ("size=64..8", "64..8: the range is empty; write the smaller end first"),
        ("share=1..1", "the range is empty"),
        ("size=8.5..64", "8.5 is no int"),
        ("size=8..", "an end is no int"),
        ("size=a..b", "a is no int"),
        ("share=0..inf", "inf is no finite float"),
        ("share=0..nan", "nan is no finite float"),
        ("share=0..1:log", "logarithmic scale both ends are above 0"),
        ("share=0..1:lgo", "1:lgo is no finite float"),
        ("on=0..1", "on is bool, which has no range"),
        ("word=one..two", "which has no range; list values"),
        ("weights=0..1", "which has no range"),
        ("size=8", "it is one value"),
        ("size=8|8", "it is one value"),
        ("size=8|x", "size=8.x: Settings: size=x is no int"),
        ("size=8||9", "a choice is empty"),
        ("word=one|tow", "word=tow is none of one, two. Did you mean two"),
        ("on=maybe|true", "on=maybe is no bool"),
        ("schedule=cosine|linear", "schedule=linear is none of cosine, constant"),
        ({"size": 3}, "size: 3 is no text"),
        ({"size": []}, "no sequence of values"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(text, message):
    with pytest.raises(UsageError, match=message) as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_which_values_lie_in_it():
    assert Range(8, 64, True).has(20) and not Range(8, 64, True).has(7) and not Range(8, 64, True).has(None)
    assert not Range(0, 1, True).has(True) and not Range(0, 2, True).has(0.5) and Range(0, 1, False).has(0.5)
    choices = Choices({"none": None, "1": 1.0, "yes": True})
    assert choices.has(None) and choices.has(1.0) and choices.name_of(True) == "yes" and not choices.has(0.0)


def test_options_of_networks_are_settings_too():
    found = parse_search(mmppl.load_program("mvae"), "hidden=16..64,subsets=all|sampled")
    assert found["hidden"] == Range(16, 64, True)
