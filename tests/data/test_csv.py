"""Tables as text: dialects, encodings, numbers as people write them, and what columns become."""

import codecs
import gzip

import numpy as np
import pandas as pd
import pytest

import mmppl
from mmppl.data.readers.registry import Request
from mmppl.data.readers.tables.csv import read_csv
from mmppl.data.readers.tables.text.forms import form_of, plain

N = 60
RNG = np.random.default_rng(8)
CODE = RNG.normal(size=(N, 2))
FRAME = pd.DataFrame(
    {"id": [f"P{i:03d}" for i in range(N)]}
    | {f"acc:{i}": (10 + 1500 * CODE @ RNG.normal(size=2)).round(2) for i in range(3)}
    | {f"emg:{i}": (5 + CODE @ RNG.normal(size=2)).round(3) for i in range(2)}
    | {"age": RNG.integers(18, 90, N), "sex": np.where(RNG.random(N) < 0.5, "f", "m")}
    | {"label": np.where(CODE[:, 0] > 0, "krank", "gesund")}
)
GAPS = FRAME.assign(age=FRAME.age.astype("Int64"))
GAPS.loc[3, "age"], GAPS.loc[5, ["acc:0", "acc:1", "acc:2"]], GAPS.loc[7, "sex"] = pd.NA, np.nan, None
WRITTEN = {
    "t.csv": {},
    "t.tsv": {"sep": "\t"},
    "t.txt": {"sep": "|"},
    "excel.csv": {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"},
    "utf-16.csv": {"sep": "\t", "encoding": "utf-16"},
    "NA.csv.gz": {"na_rep": "NA"},
    "quoted.csv": {"quoting": 1, "lineterminator": "\r\n"},
    "mac.csv": {"lineterminator": "\r"},
}


def text(tmp_path, body: str, name: str = "t.csv", **how):
    (tmp_path / name).write_text(body, encoding="utf-8")
    return read_csv(tmp_path / name, Request(**how))


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_says_the_same_however_it_is_written(name, gaps, tmp_path):
    frame = GAPS if gaps else FRAME
    frame.to_csv(tmp_path / name, index=False, **WRITTEN[name])
    want, got = mmppl.read(frame), mmppl.read(tmp_path / name)
    assert got.fingerprint() == want.fingerprint() and got.name == name


def test_decimal_commas_are_told_and_thousands_too(tmp_path):
    body = "a;b;c\n" + "".join(f"{i},5;1.234.{i:03d},5;1 00{i}\n" for i in range(9))
    found = text(tmp_path, body)
    np.testing.assert_array_equal(found.arrays["a"], np.arange(9) + 0.5)
    np.testing.assert_array_equal(found.arrays["b"], 1234000.5 + np.arange(9))
    np.testing.assert_array_equal(found.arrays["c"], 1000 + np.arange(9))
    assert [f.text for f in found.told] == [
        "a: decimal commas.", "b: decimal commas, with separators of thousands.", "c: with separators of thousands.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cell, form, value",
    [
        ("12", "whole", 12.0), ("-0", "whole", 0.0), ("007", "zeros", 7.0), ("1.5e-3", "point", 0.0015),
        ("1.234", "point3", 1.234), ("0.234", "point", 0.234), ("1234.567", "point", 1234.567), (".5", "point", 0.5),
        ("1,234", "comma3", 1234.0), ("1,234,567", "thousands,", 1234567.0), ("1,234.5", "thousands,", 1234.5),
        ("1 234", "spaces", 1234.0), ("1'234.5", "spaces", 1234.5), ("\u22125", "whole", -5.0), ("12 %", "whole%", 12),
        ("+3", "whole", 3.0), ("5.", "point", 5.0),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_are_meant(cell, form, value):
    assert form_of(cell) == form and float(plain(cell, ".")) == value


@pytest.mark.parametrize("cell", ["1,23,456", "12,34,567", "1.2.3", "1_000", "0x1F", "inf", "1e", "--5", "5 mg", "١٢ط"])
def test_what_is_no_number_is_none(cell):
    assert form_of(cell) == "text"


def test_points_of_thousands_take_other_columns_for_witnesses(tmp_path):
    one = text(tmp_path, "a;b\n" + "".join(f"{i}.{i}00,5;1\n" for i in range(1, 9)))  # both signs: no doubt
    two = text(tmp_path, "a,b\n" + "".join(f'{i}.25,"{i},{i}00"\n' for i in range(1, 9)))  # a point elsewhere
    np.testing.assert_array_equal(one.arrays["a"], [1100.5 * i - 0.5 * (i - 1) for i in range(1, 9)])
    np.testing.assert_array_equal(two.arrays["b"], [1100 * i for i in range(1, 9)])


def test_ids_keep_their_value(tmp_path):
    big = 2**60 + 1
    rows = "".join(f"{big + i},{i}.5\n" for i in range(9))
    assert text(tmp_path, "id,x\n" + rows).arrays["id"].tolist() == [big + i for i in range(9)]
    guessed = text(tmp_path, "patient_id,x\n" + rows)
    assert guessed.arrays["id"][1] == big + 1 and "--as patient_id=normal" in guessed.told[0].text
    beyond = text(tmp_path, "id,x\n" + "".join(f"{10**30 + i},{i}.5\n" for i in range(9)))
    assert beyond.arrays["id"][3] == str(10**30 + 3)
    zeros = text(tmp_path, "id,x\n" + "".join(f"00{i},{i}.5\n" for i in range(9)))
    assert zeros.arrays["id"][3] == "003"
    other = text(tmp_path, "code,x\n" + "".join(f"{10**30 + i},{i}.5\n" for i in range(9)))
    assert other.arrays["code"][3] == str(10**30 + 3) and "beyond 64 bits" in other.told[0].text
    index = text(tmp_path, ",x\n" + "".join(f"s{i},{i}.5\n" for i in range(9)))
    assert index.arrays["id"][2] == "s2"
    numbers = text(tmp_path, ",x\n" + "".join(f"{i},{i}.5\n" for i in range(9)))
    of_r = text(tmp_path, "x y\n".replace(" ", ",") + "".join(f'"r{i}",{i}.5,{i}.25\n' for i in range(9)))
    assert "id" not in numbers.arrays and of_r.arrays["id"][8] == "r8" and of_r.arrays["y"][1] == 1.25


@pytest.mark.parametrize("first", [0, 1])
def test_a_first_column_that_counts_the_rows_names_them(tmp_path, first):
    table = "patient,x\n" + "".join(f"{i + first},{i}.5\n" for i in range(9))
    found = text(tmp_path, table)
    assert found.arrays["id"].tolist() == [*range(first, first + 9)] and "patient" not in found.arrays
    assert found.told[0].text.startswith("patient: counts the rows, and so names them; --as patient=normal")
    for other in ("x,patient\n" + "".join(f"{i}.5,{i}\n" for i in range(9)), table.replace("3,", "33,")):
        assert {"patient", "x"} <= {*text(tmp_path, other).arrays}
    assert "patient" in text(tmp_path, table, as_={"patient": "normal"}).arrays


def test_an_id_that_repeats_is_suspected(tmp_path):
    found = text(tmp_path, "patient_id,x\n" + "".join(f"{i // 2},{i}.5\n" for i in range(9)))
    assert "id" not in found.arrays and found.told[0].suspected and "--as patient_id=group" in found.told[0].text
    (tmp_path / "g.csv").write_text("person,x\n" + "".join(f"p{i // 2},{i}.5\n" for i in range(40)))
    data = mmppl.read(tmp_path / "g.csv", as_={"person": "group"})
    assert len(set(data.split[::2] - data.split[1::2])) == 1


def test_words_for_missing_among_numbers_are_told(tmp_path):
    words = ["NA", "", ".", "-", "?", "NULL", "n/a"]
    found = text(tmp_path, "a,b\n" + "".join(f"{w},{i}\n" for i, w in enumerate([*words, "1.5", "2"])))
    assert np.isnan(found.arrays["a"]).sum() == 7 and "mask_a" not in found.arrays
    assert found.told[0].kind == "missing" and "'.', '?', 'NA', 'NULL', 'n/a' among numbers" in found.told[0].text
    codes = text(tmp_path, "a,b\n" + "".join(f"{w},{i}.5\n" for i, w in enumerate(["1", "2", "NA", "7"])))
    assert codes.arrays["a"].dtype == np.int64 and codes.arrays["mask_a"].tolist() == [True, True, False, True]


def test_the_users_words_are_missing_and_a_run_knows_them(tmp_path):
    rows = [f"{i * 0.5 + 0.25},{i}.5" for i in range(30)]
    rows[4], rows[9] = "<5,1.5", "haem,2.5"
    (tmp_path / "t.csv").write_text("crp,alb\n" + "\n".join(rows))
    data = mmppl.read(tmp_path / "t.csv", missing={"crp": ["<5", "haem"]})
    assert (~data.observed["crp"]).nonzero().flatten().tolist() == [4, 9]
    again = mmppl.read(tmp_path / "t.csv", schema=data.modalities)
    assert (~again.observed["crp"]).nonzero().flatten().tolist() == [4, 9]
    (tmp_path / "new.csv").write_text("crp,alb\n1.5,2\nlost,3\n")
    new = mmppl.read(tmp_path / "new.csv", schema=data.modalities)
    assert new.observed["crp"].tolist() == [True, False]
    assert "column 'crp', row 1: 'lost' is no number; taken for missing in 1 such row" in new.findings[0].text


def test_codes_beside_texts_are_classes_and_told(tmp_path):
    found = text(tmp_path, "stage,x\n" + "".join(f"{('1', '2', '3a', '3b')[i % 4]},{i}.5\n" for i in range(40)))
    assert set(found.arrays["stage"]) == {"1", "2", "3a", "3b"} and "taken for texts" in found.told[0].text
    zips = text(tmp_path, "zip,x\n" + "".join(f"0{i % 3}21,{i}.5\n" for i in range(40)))
    assert zips.arrays["zip"][1] == "0121" and "--as zip=normal" in zips.told[0].text
    numbers = text(tmp_path, "zip,x\n" + "".join(f"0{i % 3}21,{i}.5\n" for i in range(40)), as_={"zip": "normal"})
    assert numbers.arrays["zip"][1] == 121


def test_truth_values_dates_and_percents(tmp_path):
    rows = [f"{('yes', 'No')[i % 2]},{('TRUE', 'false')[i % 2]},{i % 90}%,2026-01-{i % 28 + 1:02d}" for i in range(40)]
    found = text(tmp_path, "dm,smoker,pct,visit\n" + "\n".join(rows))
    assert found.arrays["dm"].dtype == bool and found.arrays["smoker"][:2].tolist() == [True, False]
    assert found.arrays["pct"][3] == 3 and list(found.annotations) == ["visit"]
    told = " ".join(f.text for f in found.told)
    assert "dm: yes and no, taken for true and false." in told and "visit: dates, kept as annotations" in told
    rows[3] = rows[3].rpartition(",")[0] + ","
    gap = text(tmp_path, "dm,smoker,pct,visit\n" + "\n".join(rows))
    assert "visit" not in gap.arrays and "that some rows lack, left out" in gap.told[-1].text
    label = text(tmp_path, "dm,smoker,pct,visit\n" + "\n".join(rows), target=["dm"])
    assert set(label.arrays["dm"]) == {"yes", "No"}


def test_encodings(tmp_path):
    body = "Größe,Ort\n" + "".join(f"{i}.5,{('Köln', 'Łódź')[i % 2]}\n" for i in range(20))
    for encoding, mark in (("utf-8", b""), ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", b""), ("utf-32", b"")):
        (tmp_path / "t.csv").write_bytes(gzip.compress(mark + body.encode(encoding)))
        assert list(read_csv(tmp_path / "t.csv").arrays) == ["Größe", "Ort"]
    (tmp_path / "t.csv").write_bytes(body.replace("Łódź", "Bonn").encode("cp1252"))
    found = read_csv(tmp_path / "t.csv")
    assert set(found.arrays["Ort"]) == {"Köln", "Bonn"} and "read as cp1252" in found.told[0].text


def test_quotes_blanks_and_marks_of_excel(tmp_path):
    found = text(tmp_path, 'sep=;\n"a; b"; c\n 1.5 ;"say ""hi"""\n\n2.5;"two\nlines"\n')
    assert list(found.arrays) == ["a; b", "c"] and found.arrays["c"].tolist() == ['say "hi"', "two\nlines"]
    trailing = text(tmp_path, "a,b,\n1.5,2.5,\n2.5,3.5,\n")
    assert list(trailing.arrays) == ["a", "b"]


def test_many_plain_columns_of_numbers_are_one_modality(tmp_path):
    frame = pd.DataFrame(RNG.normal(size=(N, 14)), columns=[f"lab {i}" for i in range(14)])
    frame["sex"], frame["outcome"] = FRAME.sex, FRAME.label
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = mmppl.read(tmp_path / "t.csv", target="outcome")
    assert [(m.name, m.shape, m.role) for m in data.modalities] == [
        ("table", (14,), "modality"), ("sex", (), "modality"), ("outcome", (), "label"),
    ]  # fmt: skip
    assert any("are taken together" in f.text for f in data.findings)
    query = mmppl.read(frame.iloc[:5, ::-1], schema=data.modalities)  # other order, other source
    assert query.observed["table"].all()
    np.testing.assert_array_equal(query.values["table"], data.values["table"][:5])
    apart = mmppl.read(tmp_path / "t.csv", as_={"lab 3": "normal"})
    assert [m.name for m in apart.modalities] == ["table", "lab_3", "sex", "outcome"]


def test_names_that_no_modality_can_have_are_changed(tmp_path):
    frame = pd.DataFrame({"Sepal.Length": CODE[:, 0], "type": CODE[:, 1], "a b": FRAME.sex})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = mmppl.read(tmp_path / "t.csv", as_={"type": "laplace"}, target="a b")
    assert [(m.name, m.likelihood, m.role) for m in data.modalities] == [
        ("Sepal_Length", "normal", "modality"), ("type_", "laplace", "modality"), ("a_b", "categorical", "label"),
    ]  # fmt: skip
    assert "'Sepal.Length' Sepal_Length" in data.findings[0].text
    assert mmppl.read(tmp_path / "t.csv", schema=data.modalities).observed["type_"].all()


def test_a_long_table_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("mmppl.data.readers.tables.csv.CELLS", 1)  # 64 rows at a time
    values = RNG.normal(size=1000).round(4)
    words = np.where(np.arange(1000) < 900, "u", "a longer word")
    frame = pd.DataFrame({"x": values, "w": words, "n": np.arange(1000)})
    frame.loc[990, "x"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = read_csv(tmp_path / "t.csv").arrays
    np.testing.assert_array_equal(found["x"], frame.x)
    assert found["w"].tolist() == words.tolist() and found["n"].dtype == np.int64
