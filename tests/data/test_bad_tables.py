"""Tables and schema files that are wrong: one line that names the file, the column, the place and what to do."""

import codecs
import gzip

import numpy as np
import pytest

import mmppl
from mmppl.errors import DataError, UsageError

BODY = "".join(f"p{i},{i * 0.5 + 0.25},{'fm'[i % 2]}\n" for i in range(30))
HEAD = "id,crp,sex\n"


def with_cells(column: list[str], name: str = "crp", sign: str = ",") -> str:
    """A table of 30 rows with these cells at the beginning of a column of numbers."""
    cells = column + [f"{i * 0.5 + 0.25}" for i in range(30 - len(column))]
    return f"age{sign}{name}\n" + "".join(f"{40 + i}{sign}{cell}\n" for i, cell in enumerate(cells))


FILES = {  # what is wrong: (contents, file name, words of the message)
    "empty": ("", "t.csv", "is empty; give a table"),
    "blank lines": ("\n\n  \n", "t.csv", "is empty"),
    "header alone": (HEAD, "t.csv", "a header without rows; give"),
    "ragged, short": (HEAD + BODY + "p30,1.5\n", "t.csv", "line 32: 2 cells where the header has 3; correct the line"),
    "ragged, long": (HEAD + "p0,1,5,f\n" + BODY, "t.csv", "line 2: 4 cells where the header has 3"),
    "title above the header": ("Export 2026\n" + HEAD + BODY, "t.csv", "line 2: 3 cells where the header has 1"),
    "open quote": (HEAD + 'p0,"1.5,f\n' + BODY, "t.csv", "a quote is opened and not closed; close the quotes"),
    "text behind a quote": (HEAD + 'p0,"1.5"x,f\n' + BODY, "t.csv", "line 2: "),
    "endless cell": (HEAD + 'p0,1,"' + "x" * 2**20 + "y" * 9 + '"\n', "t.csv", "line 2: a quote is opened"),
    "long cell": ("id,word\n" + "".join(f"p{i},{'w' * 10_001}\n" for i in range(3)), "t.csv", "'word': a string of"),
    "duplicate header": ("a,b,a\n1,2,3\n4,5,6\n", "t.csv", "line 1: columns 1 and 3 are both called 'a'; rename"),
    "duplicate header of a group": ("x:a,x:a\n1,2\n4,5\n", "t.csv", "columns 1 and 2 are both called 'x:a'"),
    "group and column": ("x:a,x\n1,2\n4,5\n", "t.csv", "'x' is a column and also a group x:…; rename"),
    "nameless column": ("a,,b\n1,2,3\n4,5,6\n", "t.csv", "column 2: it has values and no name; write one"),
    "no header": ("1.5,2.5\n3.5,4.5\n5.5,6.5\n", "t.csv", "line 1: numbers where the names of the columns belong"),
    "blanks as delimiter": ("a b c\n1 2 3\n4 5 6\n", "t.txt", "part the cells by one of these"),
    "control character in a name": ("a\x1b,b\n1.5,2\n2.5,3\n", "t.csv", "cannot be a name"),
    "utf-16 cut off": (codecs.BOM_UTF16_LE + "a,b\n1,2\n".encode("utf-16-le")[:-1], "t.csv", "is no UTF-16"),
    "utf-8 mark, other bytes": (codecs.BOM_UTF8 + b"a,b\n\xff,2\n", "t.csv", "is no UTF-8-SIG"),
    "zero bytes": (b"a,b\n\0\0\0,2\n", "t.csv", "not a text file (it has zero bytes)"),
    "damaged gzip": (gzip.compress(b"a,b\n1,2\n")[:-9] + b"123456789", "t.csv.gz", "gzip file; copy it"),
    "truncated gzip": (gzip.compress(np.random.default_rng(0).bytes(5000))[:2000], "t.csv.gz", "a truncated gzip file"),
    "zip as csv": (b"PK\x03\x04" + b"0" * 50, "t.tsv", "t.tsv"),
    "xz": (b"\xfd7zXZ\0rest", "t.csv", "an xz file, not text; unpack it"),
    "a text among numbers": (with_cells(["1.5", "<5"]), "t.csv", "line 3, column 'crp': '<5' among numbers; correct"),
    "three texts among numbers": (
        with_cells(["haem", "1.5", "<5", "<5"]), "t.csv", "line 2, column 'crp': 'haem' among numbers (3 such cells",
    ),
    "its remedy": (with_cells(["1.5", "<5"]), "t.csv", "--missing 'crp=<5'"),
    "infinity": (with_cells(["inf"]), "t.csv", "line 2, column 'crp': 'inf' among numbers"),
    "an error of Excel": (with_cells(["#DIV/0!"]), "t.csv", "line 2, column 'crp': '#DIV/0!' among numbers"),
    "a date among numbers": (with_cells(["2020-01-02"]), "t.csv", "line 2, column 'crp': '2020-01-02' among numbers"),
    "true among numbers": (with_cells(["true"]), "t.csv", "line 2, column 'crp': 'true' among numbers"),
    "numbers with underscores": (with_cells(["1_000"]), "t.csv", "'1_000' among numbers"),
    "hexadecimal": (with_cells(["0x1F"]), "t.csv", "'0x1F' among numbers"),
    "two decimal signs": (with_cells(["1,5"], sign=";"), "t.csv", "column 'crp': decimal commas and decimal points"),
    "percent in part": (with_cells(["5%"]), "t.csv", "column 'crp': numbers with and without a percent sign"),
    "thousands or decimals": (
        "age;n\n" + "".join(f"{i};{i},{i}00\n" for i in range(1, 9)), "t.csv", "column 'n': '1,100' may be 1100",
    ),
    "thousands in a file of decimal commas": (
        "x;n\n" + "".join(f"{i},5;{i}.{i}00\n" for i in range(1, 9)), "t.csv", "'1.100' may be 1100 or 1.100",
    ),
    "too large a number": (with_cells(["1e999"]), "t.csv", "column 'crp': '1e999' is too large for a number"),
    "the same id twice": (HEAD + BODY + "p3,1.5,f\n", "t.csv", "t.csv: 'id': 'p3' occurs in rows 3 and 30"),
    "an id is missing": (HEAD + BODY + ",1.5,f\n", "t.csv", "t.csv: 'id', row 30 is empty; fill it"),
    "an unknown split": (
        "x,split\n" + "".join(f"{i}.5,{'train' if i else 'tain'}\n" for i in range(20)), "t.csv", "'split', row 0",
    ),
    "free text": ("x,note\n" + "".join(f"{i}.5,word {i}\n" for i in range(60)), "t.csv", "t.csv: 'note': 60 different"),
    "an empty column": ("a,b\n" + "".join(f"{i}.5,\n" for i in range(9)), "t.csv", "t.csv: 'b' is observed in no row"),
    "one class": ("a,b\n" + "".join(f"{i}.5,m\n" for i in range(9)), "t.csv", "t.csv: 'b' has one class only"),
    "one row": ("a,b\n1.5,2.5\n", "t.csv", "t.csv: one sample only"),
    "ids alone": ("id\na\nb\n", "t.csv", "t.csv: no modality"),
    "two columns become one name": ("a.b,a b\n1.5,2\n2.5,3\n", "t.csv", "a_b is taken; rename the column"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_a_bad_table_is_refused_in_one_line(what, tmp_path):
    contents, name, says = FILES[what]
    (tmp_path / name).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    with pytest.raises((DataError, UsageError)) as error:
        mmppl.read(tmp_path / name)
    text = str(error.value)
    assert says in text and name in text and "\n" not in text


SCHEMAS = {
    "no TOML": ("likelihood = ", "not a schema file in TOML"),
    "unknown key": (
        'ignored = ["a"]\n',
        "no key 'ignored'; there are ignore, annotation, id, group, time, modality.",
    ),
    "unknown key of a modality": ("[modality.crp]\nliklihood = 'normal'\n", "[modality.crp]: no key 'liklihood'"),
    "no modality": ('ignore = ["sex"]\n', "no modality; write tables"),
    "no likelihood": ("[modality.crp]\nrole = 'label'\n", "[modality.crp]: it has no likelihood"),
    "unknown likelihood": ("[modality.crp]\nlikelihood = 'norml'\n", "[modality.crp]: no likelihood 'norml'"),
    "unknown role": ("[modality.crp]\nlikelihood = 'normal'\nrole = 'input'\n", "[modality.crp]: role='input' is none"),
    "no list": ("ignore = 'sex'\n", "ignore = 'sex' holds no names"),
    "twice": ("ignore = ['a', 'a']\n", "ignore names 'a' twice"),
    "two roles": ("ignore = ['a']\nannotation = ['a']\n", "'a' is named twice, as ignore and as annotation"),
    "a list for a likelihood": ("[modality.crp]\nlikelihood = ['normal']\n", "neither text nor a number"),
    "no columns": ("[modality.lab]\nlikelihood = 'normal'\ncolumns = []\n", "it has no columns"),
    "missing is no list": ("[modality.crp]\nlikelihood = 'normal'\nmissing = 5\n", "missing = 5 is no list"),
    "unknown array": ("[modality.crpp]\nlikelihood = 'normal'\n", "no array 'crpp'; there are"),
    "unknown column": ("[modality.lab]\nlikelihood = 'normal'\ncolumns = ['crpp']\n", "no column 'crpp'"),
}


@pytest.mark.parametrize("what", SCHEMAS)
def test_a_bad_schema_file_is_refused_in_one_line(what, tmp_path):
    contents, says = SCHEMAS[what]
    (tmp_path / "t.csv").write_text(HEAD + BODY)
    (tmp_path / "s.toml").write_text(contents)
    with pytest.raises((DataError, UsageError)) as error:
        mmppl.read(tmp_path / "t.csv", schema_file=tmp_path / "s.toml")
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "as_, says",
    [
        ({"lab": "crp,alb"}, "--as lab: no column 'alb'; there are crp, age, sex."),
        ({"lab": "gene_*,crp"}, "--as lab: no column 'gene_*'"),
        ({"lab": "crp,age", "other": "age,"}, "--as other: 'age' is in lab already"),
        ({"lab": "crp,age", "crp": "normal"}, "--as crp: it is a column of lab"),
        ({"sex": "crp,age"}, "--as sex: there is an array of that name already"),
        ({"lab": "crp,sex"}, "mix numbers and strings"),
        ({"lab": "crp,age:norml"}, "--as lab: no likelihood 'norml'"),
        ({"crp": "id", "age": "id"}, "--as age=id: there are other ids"),
        ({"crp": "agee"}, "--as crp: no likelihood 'agee', nor such a column"),
    ],
)
def test_bad_groups_are_refused_in_one_line(as_, says):
    arrays = {"crp": np.arange(20.0), "age": np.arange(20) + 40, "sex": np.array(["f", "m"] * 10)}
    with pytest.raises((DataError, UsageError), match="^[^\n]*$") as error:
        mmppl.read(arrays, as_=as_)
    assert says in str(error.value)
