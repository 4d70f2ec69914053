"""Data that are kept on disk: the same to the bit as in memory, from a cache that is whole, fresh and one's own."""

import json
import multiprocessing
import os
import stat

import numpy as np
import pytest
import torch

import mmppl
from mmppl import DataError, UsageError, read
from mmppl.base.disk import maps
from mmppl.data.mapped import kept, unused
from mmppl.data.mapped.blocks import Column, Contents
from mmppl.data.mapped.npz import NpzSource
from mmppl.kernels.codegen import cache

N = 60


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own; whatever is mapped stays mapped, and is let go all the time."""
    own = tmp_path / "cache"
    own.mkdir(mode=0o700)
    monkeypatch.setattr(kept, "cache_folder", lambda: own)
    monkeypatch.setattr(maps, "cache_folder", lambda: own)
    monkeypatch.setattr(maps, "SMALL", 0)
    monkeypatch.setattr(maps, "PAGES", 0)
    monkeypatch.setattr(maps, "STEP", 40)
    monkeypatch.setattr(maps, "SCATTERED", 7)
    return own


def arrays(seed=0):
    """Arrays of every kind, with missing rows."""
    rng = np.random.default_rng(seed)
    gene = rng.normal(size=(N, 5)).astype(np.float32)
    gene[rng.random(N) < 0.3] = np.nan
    return {
        "gene": gene,
        "counts": rng.poisson(4, (N, 3)),
        "mask_counts": rng.random(N) < 0.7,
        "image": rng.random((N, 4, 4)),
        "words": rng.integers(0, 3, (N, 2)),
        "label": np.array(["a", "b", "c"])[rng.integers(0, 3, N)],
        "id": np.array([f"p{i}" for i in range(N)]),
    }


def both(path, **how):
    """The same source in memory, and on disk."""
    return read(path, store="memory", **how), read(path, store="disk", **how)


def assert_same(one, other):
    assert one.modalities == other.modalities
    assert one.findings == other.findings
    assert one.fingerprints() == other.fingerprints()
    for of in ("values", "observed", "present"):
        for name, tensor in getattr(one, of).items():
            assert torch.equal(tensor, getattr(other, of)[name]), (of, name)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"hide": 0.3},
        {"hide_cells": 0.1},
        {"as_": {"words": "categorical", "image": "ignore"}},
        {"as_": {"gene": "normal", "counts": "normal", "*": "ignore"}},
    ],
    ids=str,
)
def test_on_disk_is_as_in_memory(folder, tmp_path, how):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    one, other = both(path, **how)
    assert_same(one, other)
    assert not any(map(maps.is_mapped, one.values.values()))
    assert all(map(maps.is_mapped, other.values.values()))
    rows = torch.tensor([5, 3, 3, 59, 0])
    assert_same(one.take(rows), other.take(rows))
    masked = [data.mask_at_random(rate=0.5, seed=3) for data in (one, other)]
    assert_same(*masked)
    assert all(map(maps.is_mapped, masked[1].values.values()))
    assert any("kept on disk" in note for note in other.notes)


def test_parts_and_sequences(folder, tmp_path):
    rng = np.random.default_rng(1)
    for name, found in {
        "parts": {f"{key}_{part}": rng.normal(size=(n, *shape)) for part, n in (("train", 40), ("test", 20))
                  for key, shape in (("x", (3,)), ("y", ()))},
        "sequences": {"s": rng.normal(size=(N, 4, 2)), "length_s": rng.integers(0, 5, N), "x": rng.normal(size=N)},
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.npz"
        np.savez_compressed(path, **found)
        assert_same(*both(path))


def test_names_of_columns_beside_an_array(folder, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays(), gene_features=np.array(list("abcde")))
    one, other = both(path)
    assert_same(one, other)
    assert other.modalities[0].features == tuple("abcde")


def test_a_run_reads_other_data_the_same_way(folder, tmp_path):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(path, **arrays())
    np.savez(other, **{key: value for key, value in arrays(1).items() if key != "image"})
    schema = read(path, store="memory").modalities
    assert_same(*both(other, schema=schema))


def test_npy_is_mapped_as_it_is(folder, tmp_path):
    path = tmp_path / "x.npy"
    values = np.random.default_rng(0).normal(size=(N, 3))
    np.save(path, np.asfortranarray(values))
    found = read(path, store="disk")
    assert_same(read({"x": values}), found)
    before = path.read_bytes()
    assert found.name == "x.npy" and not (folder / "data").exists()
    assert path.read_bytes() == before


def test_a_fit_and_its_answers_are_the_same_to_the_bit(folder, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, **{name: arrays()[name] for name in ("gene", "id", "label")})
    monkeypatch.setattr(maps, "PAGES", 2**28)
    how = dict(hyper={"hidden": 4, "layers": 1, "latent_dim": 2}, epochs=1, refit=False, calibrate=False)
    runs = [mmppl.fit("mvae", data, **how) for data in both(path)]
    states = [run.program.state_dict() for run in runs]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    answers = [run.query(want=["gene", "label", "z"], split="all", draws=3) for run in runs]
    for name, parts in answers[0].want.items():
        assert all(np.array_equal(value, answers[1][name][key]) for key, value in parts.items()), name
    assert answers[0].warnings == answers[1].warnings


class StopInTheSecondEpoch(mmppl.Callback):
    def on_step(self, fit, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_stopped_fit_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, **{name: arrays()[name] for name in ("gene", "id", "label")})
    monkeypatch.setattr(maps, "PAGES", 2**28)
    how = dict(hyper={"hidden": 4, "layers": 1, "latent_dim": 2}, epochs=3, batch_size=16, refit=False, calibrate=False)
    memory, disk = both(path)
    with pytest.raises(KeyboardInterrupt):
        mmppl.fit("mvae", disk, out=tmp_path / "run", callbacks=[StopInTheSecondEpoch()], **how)
    resumed = mmppl.fit("mvae", read(path, store="disk"), out=tmp_path / "run", resume=True, **how)
    state = mmppl.fit("mvae", memory, **how).program.state_dict()
    assert all(torch.equal(state[name], value) for name, value in resumed.program.state_dict().items())


def test_a_changed_source_is_converted_anew(folder, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    first = read(path, store="disk")
    (before,) = [p for p in (folder / "data").iterdir() if p.is_dir()]
    again = read(path, store="disk")
    assert [p for p in (folder / "data").iterdir() if p.is_dir()] == [before]
    np.savez(path, **arrays(1))
    os.utime(path, ns=(1, 1))
    assert_same(read(path, store="memory"), read(path, store="disk"))
    assert not before.exists(), "what the older version was converted to is kept for nobody"
    assert first.fingerprint() == again.fingerprint(), "what is mapped stays mapped"


@pytest.mark.parametrize("damage", ["format", "cut", "objects", "link", "json", "gone"])
def test_a_damaged_folder_is_made_again(folder, tmp_path, damage):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    wanted = read(path, store="disk").fingerprint()
    (made,) = [p for p in (folder / "data").iterdir() if p.is_dir()]
    about, array = made / kept.CONTENTS, made / "0.npy"
    if damage == "format":
        about.write_text(json.dumps(json.loads(about.read_text()) | {"format": kept.FORMAT + 1}))
    elif damage == "cut":
        array.write_bytes(array.read_bytes()[:-4])
    elif damage == "objects":
        array.unlink()
        np.save(array, np.array([print, 1], dtype=object), allow_pickle=True)
    elif damage == "link":
        array.rename(tmp_path / "elsewhere.npy")
        array.symlink_to(tmp_path / "elsewhere.npy")
    elif damage == "json":
        about.write_text("{")
    else:
        array.unlink()
    assert kept._opened(made) is None
    assert read(path, store="disk").fingerprint() == wanted
    assert kept._opened(made) is not None


def test_a_folder_that_others_can_write_is_not_used(folder, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    read(path, store="disk")
    (made,) = [p for p in (folder / "data").iterdir() if p.is_dir()]
    made.chmod(made.stat().st_mode | stat.S_IWOTH)
    assert kept._opened(made) is None


class Broken:
    """A source that ends in the midst."""

    def __init__(self, error):
        self.error = error

    def contents(self):
        return Contents({"x": Column((4,), np.dtype(float))})

    def blocks(self, contents):
        yield {"x": np.zeros(2)}
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("row 2"), OSError(28, "No space left on device")])
def test_a_conversion_that_ends_leaves_nothing(folder, tmp_path, error):
    path = tmp_path / "source"
    path.touch()
    with pytest.raises((KeyboardInterrupt, DataError)) as raised:
        kept.kept_arrays(path, Broken(error), [])
    if isinstance(error, OSError):
        assert "cannot be kept there (No space left on device); free some space" in str(raised.value)
    assert [p.name for p in (folder / "data").iterdir() if not p.name.endswith(".lock")] == []


def test_what_a_killed_process_left_is_removed(folder, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    (folder / "data").mkdir(mode=0o700)
    dead = multiprocessing.get_context("fork").Process(target=_half, args=(folder / "data",))
    dead.start()
    dead.join()
    assert len(list((folder / "data").iterdir())) == 1
    read(path, store="disk")
    assert not [p for p in (folder / "data").iterdir() if p.name.endswith(".part")]


def _half(folder):
    kept.part_in(folder).mkdir()
    os._exit(1)


def test_two_processes_convert_a_source_once(folder, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    log = tmp_path / "log"

    class Logged(NpzSource):
        def blocks(self, contents):
            with open(log, "a") as file:
                file.write("pass\n")
            return super().blocks(contents)

    def convert():
        found, _ = kept.kept_arrays(path, Logged(path), [])
        os._exit(0 if np.array_equal(found["counts"], arrays()["counts"]) else 1)

    others = [multiprocessing.get_context("fork").Process(target=convert) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert log.read_text() == "pass\n"


def test_a_full_disk_is_one_line(folder, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match="2.1 kB of data cannot be kept there .No space left on device.; free some"):
        maps.scratch((2, 256), np.float32)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    path, nowhere = tmp_path / "a.npz", tmp_path / "file"
    np.savez(path, **arrays())
    nowhere.touch()
    monkeypatch.setattr(kept, "cache_folder", lambda: nowhere)
    with pytest.raises(DataError, match=r"kept there \(Not a directory\).*--cache DIR"):
        read(path, store="disk")


def test_maps_end_with_their_arrays(folder):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    array = maps.scratch((1000,), np.float64)
    array[:] = 1
    view = torch.from_numpy(array)[5:]
    del array
    maps.relieve()
    assert maps.is_mapped(view) and view.sum() == 995, "what was written is kept while its pages are let go"
    address = view.data_ptr()
    del view
    assert not any(first <= address < end and mapped() for first, end, mapped in maps._maps)
    assert not before or len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(folder) == []


def test_the_store_is_chosen(folder, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    for store in ("memory", "disk", "auto"):
        monkeypatch.setenv("MMPPL_STORE", store)
        assert any(map(maps.is_mapped, read(path).values.values())) == (store == "disk")
    monkeypatch.setattr("mmppl.data.mapped.store.available", lambda: 1000)
    assert any(map(maps.is_mapped, read(path).values.values())), "more than a quarter of the free memory"
    monkeypatch.setenv("MMPPL_STORE", "disc")
    with pytest.raises(UsageError, match="MMPPL_STORE disc: choose from auto, memory, disk"):
        read(path)
    assert cache.distrusted(os.lstat(tmp_path)) == ""


def test_a_damaged_npz_is_refused(folder, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones((5, 2)), y=np.asfortranarray(np.ones((5, 2))))
    with pytest.raises(DataError, match="'y' lies in the file column by column.*ascontiguousarray"):
        read(path, store="disk")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"not a whole \.npz file"):
        read(path, store="disk")


def test_what_no_process_uses_is_forgotten(folder, tmp_path, monkeypatch):
    """The least recently used first; what this process has mapped stays until it lets go, and then can be made anew."""
    monkeypatch.setattr(unused, "_held", {})
    path = tmp_path / "a.npz"
    np.savez(path, **arrays())
    data = read(path, store="disk")
    (own,) = (folder / "data").glob("*/")
    size = sum(file.stat().st_size for file in own.iterdir())
    for number, when in enumerate((200, 100, 300)):
        other = folder / "data" / f"other-{number}"
        other.mkdir()
        (other / "0.npy").write_bytes(bytes(1000))
        (other / "contents.json").write_text("{}")
        os.utime(other / "contents.json", (when, when))
    assert unused.forget_unused(folder / "data", size + 2 * 1002) == (1002, size + 2004)
    assert sorted(one.name[:5] + one.name[-2:] for one in (folder / "data").glob("other*")) == ["other-0", "other-2"]
    assert unused.forget_unused(folder / "data") == (2004, size) and own.exists()
    whole = read(path, store="memory").fingerprint()
    assert data.fingerprint() == whole
    os.close(unused._held.pop(own))
    assert unused.forget_unused(folder / "data") == (size, 0) and not own.exists()
    assert data.fingerprint() == whole  # what is mapped is still there
    monkeypatch.setenv("MMPPL_CACHE_LIMIT", "1kB")
    assert read(path, store="disk").fingerprint() == whole and own.exists()  # in use, whatever the limit
