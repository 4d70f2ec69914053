"""Answers in blocks of rows: the same to the bit as all at once, and files that are there when they are whole."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

import mmppl
from mmppl import Modality, UsageError, load_program, read
from mmppl.inference import query as queries
from mmppl.inference.formats import written
from mmppl.inference.formats.columns import columns_of
from mmppl.inference.memory import Chunk
from mmppl.testing.samples import overwritten, small_gaps


@pytest.fixture(scope="module")
def model():
    data = read("digits-three").mask_at_random(rate=0.4, seed=1)
    program = load_program("mvae")(data.modalities, latent_dim=3, hidden=8, layers=1)
    return mmppl.FittedModel(program, data=data)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(queries, "chunk", lambda trial, expected, rows, draws, held, memory: Chunk(7, draws))
    monkeypatch.setattr(queries, "BLOCK", 2_000)


def same(one, other):
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")


@pytest.mark.parametrize(
    "options",
    [
        {"want": ["z", "image", "label"], "rows": slice(0, 60)},
        {"want": "evidence", "draws": 10, "given": "profile", "rows": slice(0, 40)},
        {"want": "z", "method": "importance", "draws": 10, "keep_draws": True, "rows": slice(0, 40)},
    ],
    ids=lambda o: str(o["want"]),
)
def test_blocks_are_the_whole(model, small, options):
    whole = model.query(**options)
    blocks = list(model.query_blocks(**options))
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate([block.ids for block in blocks]), whole.ids)
    for name, parts in whole.want.items():
        for key, value in parts.items():
            joined = [block[name][key] for block in blocks]
            assert joined[0] == value if key == "classes" else same(np.concatenate(joined), value), (name, key)
    assert [block.warnings for block in blocks[:-1]] == [[]] * (len(blocks) - 1)
    assert blocks[-1].warnings == whole.warnings


def test_blocks_of_a_program_with_importances(small):
    data = read("digits-three").mask_at_random(rate=0.4, seed=1)
    program = load_program("ima")(data.modalities, hidden=8)
    model = mmppl.FittedModel(program, data=data)
    options = {"want": "importance", "rows": slice(0, 50)}
    whole, blocks = model.query(**options), list(model.query_blocks(**options))
    assert same(np.concatenate([block["importance"]["most"] for block in blocks]), whole["importance"]["most"])


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_files_are_those_of_the_whole(model, small, tmp_path, suffix):
    options = {"want": ["z", "label"], "quantiles": [0.5], "rows": slice(0, 60)}
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    model.query(**options).save(paths[0])
    told = mmppl.write_blocks(paths[1], model.query_blocks(**options))
    assert told.warnings == model.query(**options).warnings and told.n == 60
    if suffix == "csv":
        assert paths[0].read_bytes() == paths[1].read_bytes()
    else:
        one, other = map(np.load, paths)
        assert list(one) == list(other)
        assert all(same(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


def test_parquet_has_every_row_once_in_order(model, small, tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(written, "GROUP", 100)
    options = {"want": ["z", "label"], "split": "all", "rows": slice(5, 80)}
    mmppl.write_blocks(tmp_path / "a.parquet", model.query_blocks(**options))
    table, whole = pq.read_table(tmp_path / "a.parquet"), model.query(**options)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups > 1
    assert table.column_names == list(columns_of(whole))
    for name, column in columns_of(whole).items():
        assert same(np.asarray(table[name]), column), name


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_a_query_that_ends_leaves_the_file_that_was_there(model, small, tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"before")

    def ends():
        yield next(model.query_blocks(want="z"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mmppl.write_blocks(path, ends())
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"before"


def test_another_suffix_is_refused(model, tmp_path):
    with pytest.raises(UsageError, match=r"answers are written as \.parquet, \.csv, \.npz"):
        mmppl.write_blocks(tmp_path / "a.xlsx", model.query_blocks(want="z"))


def test_csv_of_a_single_block(model, tmp_path):
    mmppl.write_blocks(tmp_path / "a.csv", [model.query(want="label", rows=slice(0, 3))])
    assert next(csv.reader((tmp_path / "a.csv").read_text().splitlines()))[0] == "id"


@pytest.mark.parametrize(
    "options", [{"set_condition": {"site": 1}}, {"only_missing": True, "keep_draws": True}], ids=str
)
def test_blocks_with_conditions_and_gaps_are_the_whole(small, options):
    """Also where what lies under a mask is no class: the answer does not depend on it."""
    gaps = small_gaps(30)
    site = Modality("site", (), "categorical", role="condition", classes=(0, 1))
    data = dataclasses.replace(
        gaps, modalities=(*gaps.modalities, site), values=gaps.values | {"site": torch.arange(30) % 2},
        observed=gaps.observed | {"site": torch.arange(30) > 3},
    )  # fmt: skip
    program = load_program("mvae")(data.modalities, latent_dim=3, hidden=8, layers=1)
    model = mmppl.FittedModel(program, data=data)
    asked = {"want": ["word", "signal", "label"], "split": "all", "draws": 4} | options
    whole, filled = model.query(data, **asked), model.query(overwritten(data, 1e30), **asked)
    blocks = list(model.query_blocks(data, **asked))
    assert len(blocks) > 1 and blocks[-1].warnings == whole.warnings and list(whole) == asked["want"]
    for name in whole:
        for key, value in whole[name].items():
            if key != "classes":
                assert same(np.concatenate([block[name][key] for block in blocks]), value), (name, key)
                assert same(filled[name][key], value), (name, key)
