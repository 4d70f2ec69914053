"""The list of runs that were fitted here, and what a run that is not on it may open."""

import dataclasses
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mmppl
from mmppl.errors import DataError, UsageError
from mmppl.runs import own
from mmppl.runs.record import read_record, write_record

SMALL = dict(hyper={"hidden": 8, "layers": 1, "latent_dim": 2}, epochs=1)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A list of this test's own."""
    monkeypatch.setenv("MMPPL_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "runs"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run that was fitted on a file, and its record."""
    folder = tmp_path_factory.mktemp("fitted")
    rng = np.random.default_rng(0)
    np.savez(folder / "mine.npz", a=rng.normal(size=(40, 3)), b=rng.normal(size=(40, 2)))
    run = mmppl.fit("mvae", folder / "mine.npz", **SMALL).save(folder / "run")
    return run


def other(run, tmp_path, **data):
    """The run as another folder in which run.json names other data."""
    import shutil

    shutil.copytree(run.folder, tmp_path / "other")
    record = read_record(tmp_path / "other")
    write_record(tmp_path / "other", dataclasses.replace(record, data=dataclasses.replace(record.data, **data)))
    return mmppl.Run.load(tmp_path / "other")


def test_a_run_that_was_fitted_here_reads_its_data_and_a_strangers_does_not(fitted, state):
    run = mmppl.Run.load(fitted.folder)
    assert run.opens == "what is named" and not state.exists()
    with pytest.raises(UsageError, match="^[^\n]*not fitted here by you[^\n]*mine.npz[^\n]*--data FILE[^\n]*$"):
        run.query(want="a")
    assert len(run.query(run.record.data.spec, want="a", split="all").want["a"]["mean"]) == 40
    own.remember(run.record)
    assert run.opens == "files" and len(run.data()) == 40
    assert state.stat().st_mode & 0o777 == 0o700 and [file.stat().st_size for file in state.iterdir()] == [0]


def test_fits_put_themselves_on_the_list(tmp_path, state):
    data = mmppl.read({"a": np.eye(20), "b": np.eye(20)[:, :3]})
    np.savez(tmp_path / "mine.npz", a=np.eye(20), b=np.eye(20)[:, :3])
    kept = mmppl.fit("mvae", data, **SMALL)
    assert not state.exists()
    first, again = mmppl.fit("mvae", tmp_path / "mine.npz", out=tmp_path / "run", **SMALL), kept.save(tmp_path / "kept")
    assert own.is_own(first.record) and own.is_own(again.record) and first.record.id != again.record.id
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = mmppl.Run.load(tmp_path / "moved")
    assert moved.opens == "files" and len(moved.data()) == 20
    for mark in state.iterdir():
        mark.unlink()
    assert moved.opens == "what is named"
    mmppl.fit("mvae", tmp_path / "mine.npz", out=tmp_path / "moved", resume=True, **SMALL)  # the user names them
    assert moved.opens == "files"


@pytest.mark.parametrize("change", [{"spec": "/etc/hostname"}, {"root": "/etc"}], ids=str)
def test_a_run_whose_data_were_changed_is_no_longer_ones_own(change, fitted, tmp_path):
    own.remember(fitted.record)
    changed = other(fitted, tmp_path, **change)
    assert own.is_own(fitted.record) and not own.is_own(changed.record)
    with pytest.raises(UsageError, match="not fitted here"):
        changed.data()


def test_embedded_recipes_need_no_list_and_roots_are_the_users_own(tmp_path, state, monkeypatch):
    run = mmppl.fit("mvae", "digits-two-view", **SMALL).save(tmp_path / "run")
    for mark in state.iterdir():
        mark.unlink()
    strangers = mmppl.Run.load(run.folder)
    assert strangers.opens == "nothing" and len(strangers.data()) == 1797
    trap = tmp_path / "trap"
    trap.mkdir()
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    named = other(run, tmp_path, spec="mnist-label", root=str(trap))
    seen, data = [], strangers.data()
    monkeypatch.setattr("mmppl.runs.run.read", lambda spec, root, **how: seen.append(root) or data)
    for root in (None, tmp_path):
        named.data(root)
    assert named.opens == "files" and seen == [None, tmp_path]


def test_a_schema_that_is_not_that_of_the_data(tmp_path):
    run = mmppl.fit("mvae", "digits-two-view", **SMALL).save(tmp_path / "run")
    record = read_record(run.folder)
    (first, *rest) = record.modalities
    write_record(run.folder, dataclasses.replace(record, modalities=(dataclasses.replace(first, scale=0.5), *rest)))
    with pytest.raises(DataError, match="its schema is not that of its data, digits-two-view"):
        mmppl.Run.load(run.folder).data()


@pytest.mark.parametrize("spoilt", ["others may write", "a link", "another's", "a file"])
def test_a_list_that_others_may_have_written(spoilt, fitted, state, tmp_path, monkeypatch, caplog):
    own.remember(fitted.record)
    assert own.is_own(fitted.record)
    if spoilt == "others may write":
        state.chmod(0o777)
    elif spoilt == "a link":
        state.rename(tmp_path / "elsewhere")
        state.symlink_to(tmp_path / "elsewhere")
    elif spoilt == "another's":
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    else:
        for mark in state.iterdir():
            mark.unlink()
        state.rmdir()
        state.write_text("")
    assert not own.is_own(fitted.record)
    with caplog.at_level(logging.WARNING, "mmppl"):
        own.remember(fitted.record)
    assert "set $MMPPL_STATE" in caplog.text and not own.is_own(fitted.record)


def test_a_mark_that_is_a_link_is_none(fitted, state, tmp_path):
    own.remember(fitted.record)
    (mark,) = state.iterdir()
    mark.rename(tmp_path / "mark")
    mark.symlink_to(tmp_path / "mark")
    assert not own.is_own(fitted.record)


def test_the_list_is_bounded_and_bears_many_at_once(fitted, state, monkeypatch):
    monkeypatch.setattr(own, "MOST", 20)
    records = [dataclasses.replace(fitted.record, id=f"{i:032x}") for i in range(30)]
    for i, record in enumerate(records[:20]):
        own.remember(record)
        os.utime(state / own._mark(record), (i, i))
    assert all(map(own.is_own, records[:20]))
    own.remember(records[20])
    assert not any(map(own.is_own, records[:2])) and all(map(own.is_own, records[2:21]))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(own.remember, records))
    assert len(list(state.iterdir())) <= 20 + 8
    own.remember(records[29])  # of those at once, made in one tick of the clock, any may count as the oldest
    assert own.is_own(records[29])


def test_without_an_id_no_run_is_ones_own(fitted):
    nobody = dataclasses.replace(fitted.record, id="")
    own.remember(nobody)
    assert not own.is_own(nobody)
