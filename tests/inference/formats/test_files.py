"""Files of answers: names, types, order and what becomes of a file whose writing fails."""

import csv
import os

import numpy as np
import pytest

from mmppl import Answer, UsageError
from mmppl.inference.formats.columns import columns_of

parquet = pytest.importorskip("pyarrow.parquet", reason="pip install mmppl[table]")



def answer(ids, *, seed: int = 0, width: int = 3) -> Answer:
    rng, n = np.random.default_rng(seed), len(ids)
    prob = rng.dirichlet(np.ones(2), n)
    want = {
        "gene": {"mean": rng.normal(size=(n, width)).astype(np.float32), "draws": rng.normal(size=(n, 4, width))},
        "image": {"mean": rng.normal(size=(n, 2, 5))},
        "age": {"mean": rng.normal(size=n), "q05": np.full(n, np.nan)},
        "label": {"prob": prob, "predicted": np.array(["no", "yes"])[prob.argmax(1)], "classes": ["no", "yes"]},
    }
    return Answer("model", None, np.asarray(ids), want, features={"gene": tuple(f"G{i}" for i in range(width))})


def test_parquet_has_the_columns_of_csv_and_images_whole(tmp_path):
    given = answer([30, 10, 20])
    given.save(tmp_path / "a.parquet")
    given.save(tmp_path / "a.csv")
    table = parquet.read_table(tmp_path / "a.parquet")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    flat = [name for name in rows[0] if not name.startswith(("image.", "gene.draws"))]
    assert set(flat) | {"image.mean", "gene.draws"} == set(table.column_names)
    for name in flat:
        for got, text in zip(table[name].to_pylist(), (row[name] for row in rows)):
            assert str(got) == text if isinstance(got, str) else float(text) == pytest.approx(got, nan_ok=True)
    assert table["id"].to_pylist() == [30, 10, 20] and str(table.schema.field("id").type) == "int64"
    assert str(table.schema.field("gene.mean.G2").type) == "float"
    np.testing.assert_array_equal(table["image.mean"].to_pylist(), given["image"]["mean"])
    np.testing.assert_array_equal(table["gene.draws"].to_pylist(), given["gene"]["draws"])


@pytest.mark.parametrize("ids", [["p7", "007", "ü\ud800"], []], ids=["text", "no rows"])
def test_ids_stay_text(tmp_path, ids):
    answer(np.array(ids, dtype=str)).save(tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table["id"].to_pylist() == [name.encode(errors="backslashreplace").decode() for name in ids]
    assert str(table.schema.field("id").type) == "string"


def test_suffixes_are_checked_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match=r"a\.parqet: answers are written as .*\.npz.*Did you mean \.parquet\?"):
        answer([1]).save(tmp_path / "a.parqet")
    with pytest.raises(UsageError, match="there is no folder .*nowhere; make it first"):
        answer([1]).save(tmp_path / "nowhere/a.csv")
    assert not os.listdir(tmp_path)


def test_columns_of_no_rows_keep_their_names():
    assert list(columns_of(answer([]))) == list(columns_of(answer([1, 2])))
