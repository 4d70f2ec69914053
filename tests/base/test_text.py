"""Names of other people as text: nothing in them reaches a terminal, a model card or a figure as a command."""

import pytest

from mmppl.base.text import code, columns, printable

NASTY = "\x00\x07\x08\t\n\r\x1b[2J\x7f\x85\x9b31m\u200b\u200d\u2028\u2029\u202e\u2066\ufeff\U000e0041\ud800"


def test_what_has_no_shape_is_escaped():
    assert printable(NASTY) == (
        r"\x00\x07\x08\t\n\r\x1b[2J\x7f\x85\x9b31m\u200b\u200d\u2028\u2029\u202e\u2066\ufeff\U000e0041\ud800"
    )
    assert printable(printable(NASTY)) == printable(NASTY)
    assert all(not printable(chr(i)).count(chr(i)) for i in [*range(32), *range(127, 161), *range(0x202A, 0x202F)])


@pytest.mark.parametrize(
    "text", ["cat", r"C:\runs\a", "Größe µ ± 2 × k̂", "ಕನ್ನಡ", "سلام", "数", "🐈", "می\u200cروم", "👩\u200d🔬"]
)
def test_what_has_a_shape_stays(text):
    assert printable(text) == text


def test_line_breaks_stay_on_request():
    assert printable("a\nb\tc\x1b", keep="\n") == "a\nb\\tc\\x1b"


def test_a_table_has_one_line_for_each_row():
    assert columns([["a\nb", "c"], ["\x1b[1m", "d"]]) == "a\\nb     c\n\\x1b[1m  d"


def test_markdown_is_quoted():
    assert code("a`<b>|[c](d)\n# e") == r"`a\x60<b>\x7c[c](d)\n# e`"
