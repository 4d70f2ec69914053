"""The command line on tables: what is understood, schema files, groups of columns."""

import json

import numpy as np
import pytest


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "patients.csv"
    rows = [
        f"p{i};{c:.2f};{a:.2f};{'fm'[i % 2]};{i % 3}".replace(".", ",") for i, (c, a) in enumerate(rng.random((30, 2)))
    ]
    file.write_text("\n".join(["id;crp;alb;sex;outcome", *rows]) + "\n", encoding="utf-8-sig")
    return file


def test_a_schema_file_is_written_and_read_back(mmppl, table, tmp_path):
    file = tmp_path / "s.toml"
    first = mmppl("data", table, "--as", "lab=crp,alb", "--target", "outcome", "--schema", file)
    assert first.code == 0 and "crp, alb: decimal commas." in first.out and f"wrote {file}" in first.out
    again = mmppl("data", table, "--schema", file, "--json")
    found = {m["name"]: (m["shape"], m["role"]) for m in json.loads(again.out)["modalities"]}
    assert found == {"lab": ([2], "modality"), "sex": ([], "modality"), "outcome": ([], "label")}
    file.write_text(file.read_text().replace("likelihood", "liklihood", 1))
    wrong = mmppl("data", table, "--schema", file)
    assert wrong.code == 5 and "[modality.lab]: no key 'liklihood'" in wrong.err and wrong.err.count("\n") == 1


def test_a_fit_takes_a_schema_file(mmppl, table, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("[modality.lab]\ncolumns = ['crp', 'albu']\nlikelihood = 'normal'\n")
    found = mmppl("fit", "mvae", "--data", table, "--schema", file, "--out", tmp_path / "run")
    assert found.code == 2 and "--as lab: no column 'albu'" in found.err and "Did you mean alb?" in found.err
    absent = mmppl("fit", "mvae", "--data", table, "--schema", tmp_path / "no.toml", "--out", tmp_path / "run")
    assert absent.code == 5 and "no.toml" in absent.err and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["--as", "lab=crp,alb", "--as", "lab=normal"], 2, "--as lab: it is given twice"),
        (["--as", "lab=crpp,alb"], 2, "no column 'crpp'; there are crp, alb, sex, outcome. Did you mean crp?"),
        (["--missing", "crpp=-9"], 2, "--missing crpp: no array 'crpp'"),
    ],
)
def test_what_is_wrong_is_one_line(mmppl, table, words, code, says):
    found = mmppl("data", table, *words)
    assert found.code == code and says in found.err and found.err.count("\n") == 1


def test_a_missing_table_has_its_name_suggested(mmppl, table):
    found = mmppl("data", table.with_name("patient.csv"))
    assert found.code == 5 and "no such file" in found.err
