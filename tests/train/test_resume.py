"""A run while it is written, and going on with it: what readers find, and which changed files are noticed."""

import copy
import json
import os
import shutil

import pytest

from mmppl import Callback, DataError, Run, UsageError, fit, read
from mmppl.runs.record import WEIGHTS, read_record, write_record
from mmppl.train.checkpoint import load_state, save_state

TINY = dict(hyper=dict(hidden=8, layers=1, latent_dim=2), epochs=3, batch_size=512)


@pytest.fixture(scope="module")
def data():
    return read("digits-two-view")


class StopIn(Callback):
    """Ctrl-C in an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_step(self, fit, progress):
        if progress.epoch == self.epoch:
            raise KeyboardInterrupt


def stopped(folder, data, seed=0, epoch=3):
    with pytest.raises(KeyboardInterrupt):
        fit("mvae", data, seed=seed, out=folder, callbacks=[StopIn(epoch)], **TINY)
    return folder


@pytest.fixture(scope="module")
def two(data, tmp_path_factory):
    """Two runs that were stopped in their third epoch."""
    return [stopped(tmp_path_factory.mktemp("runs") / "run", data, seed) for seed in (0, 1)]


@pytest.fixture
def run(two, tmp_path):
    """A copy of the first."""
    return shutil.copytree(two[0], tmp_path / "run")


@pytest.fixture(scope="module")
def whole(data):
    return fit("mvae", data, **TINY)


def lines(run):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics]


def same(one, other):
    pairs = zip(one.program.parameters(), other.program.parameters(), strict=True)
    return lines(one) == lines(other) and all(bool((x == y).all()) for x, y in pairs)


def weights(folder):
    return {path.name for path in folder.iterdir() if WEIGHTS.fullmatch(path.name)}


def test_the_weights_before_stay_until_the_next(data, tmp_path):
    """So that who has just read run.json still finds the file that it names."""
    found, named = [], []

    class Look(Callback):
        def on_step(self, fit, progress):
            found.append(weights(tmp_path / "run"))
            named.append(read_record(tmp_path / "run").weights)

    run = fit("mvae", data, **TINY | {"epochs": 4, "batch_size": 2000}, out=tmp_path / "run", callbacks=[Look()])
    assert named[0] is None and len(set(named)) == 4
    assert found[:2] == [set(), {named[1]}]
    assert all({named[i - 1], named[i]} <= found[i] and len(found[i]) <= 3 for i in (2, 3))  # and those of the state
    assert weights(run.folder) == {run.record.weights}


def test_a_load_between_two_swaps_finds_the_newer(two, run, data, monkeypatch):
    """A loader reads run.json; before it opens the weights, the fit goes on and ends."""
    from mmppl.runs import run as module

    first = read_record(run)
    done = fit("mvae", data, out=run, resume=True, **TINY)
    records = iter([first])
    monkeypatch.setattr(module, "read_record", lambda folder: next(records))
    loaded = Run.load(run)
    assert loaded.record.weights == done.record.weights != first.weights and same(loaded, done)


def test_a_run_loaded_before_the_fit_went_on_has_its_metrics(run, data):
    loaded = Run.load(run)
    assert len(loaded.metrics) == 2
    done = fit("mvae", data, out=run, resume=True, **TINY)
    assert loaded.metrics == done.metrics and len(done.metrics) == 3


def test_a_resumed_fit_ends_as_if_nothing_had_happened(run, data, whole):
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes() + b'{"epoch": 3, "tra')
    assert same(fit("mvae", data, out=run, resume=True, **TINY), whole)


def changed_loss(run, other):
    first, *more = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    line = json.loads(first)
    line["loss"]["train"] = -1e9
    (run / "metrics.jsonl").write_text("".join([json.dumps(line) + "\n", *more]))


def changed_program(run, other):
    with open(run / "program.py", "ab") as file:
        file.write(b"\n")


def lost_line(run, other):
    (run / "metrics.jsonl").write_text("".join((run / "metrics.jsonl").read_text().splitlines(keepends=True)[1:]))


def another_state(run, other):
    shutil.rmtree(run / "state")
    shutil.copytree(other / "state", run / "state")


def another_log(run, other):
    shutil.copyfile(other / "metrics.jsonl", run / "metrics.jsonl")


def changed_weights(run, other):
    for name in weights(run):
        shutil.copyfile(other / read_record(other).weights, run / name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed_loss, "metrics.jsonl: its hash is wrong"),
        (lost_line, "metrics.jsonl: its hash is wrong"),
        (another_log, "metrics.jsonl: its hash is wrong"),
        (another_state, "metrics.jsonl: its hash is wrong"),
        (changed_program, "program.py: its hash is wrong"),
        (changed_weights, "weights-[0-9a-f]{16}.safetensors: its hash is wrong"),
    ],
)
def test_what_was_changed_since_the_stop_is_noticed_and_nothing_written(change, says, two, run, data):
    change(run, two[1])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=f"^[^\n]*{says}[^\n]*(LATEST to start anew|fit again).$"):
        fit("mvae", data, out=run, resume=True, **TINY)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_state_that_names_other_files_is_damaged(run, data, whole):
    """Under right hashes, as somebody may write it."""
    program = copy.deepcopy(whole.program)

    def meddle(counters, optimisers):
        counters.files |= {"../secret": "0" * 64}
        save_state(run, program, optimisers, counters)

    assert load_state(run, program, meddle)
    with pytest.raises(DataError, match="the state is damaged .*'../secret', expected the name of .* start anew.$"):
        fit("mvae", data, out=run, resume=True, **TINY)


def test_started_anew_a_fit_ends_as_one_that_never_stopped(run, data, whole):
    """And its readers have the old weights until there are new ones."""
    before = Run.load(run).record.weights
    (run / "state" / "LATEST").unlink()
    stop = StopIn(1)
    with pytest.raises(KeyboardInterrupt):
        fit("mvae", data, out=run, resume=True, callbacks=[stop], **TINY)
    assert Run.load(run).record.weights == before and Run.load(run).metrics == []
    assert same(fit("mvae", data, out=run, resume=True, **TINY), whole)


def test_a_resumed_fit_goes_back_to_the_weights_of_its_state(data, tmp_path, monkeypatch):
    """It was killed after better weights than those of its state, which other bits (of more threads) may not find
    again: what is kept in the end is of the epoch that the result names."""
    from mmppl.train.callbacks import Checkpoint

    folder, saves = tmp_path / "run", []

    def seldom(self, fit, line, write=Checkpoint.on_epoch):
        if line["epoch"] == 1:
            write(self, fit, line)
        saves.append(read_record(folder).weights)

    monkeypatch.setattr(Checkpoint, "on_epoch", seldom)
    stopped(folder, data)
    monkeypatch.undo()
    assert read_record(folder).weights == saves[1] != saves[0] and weights(folder) == {saves[0], saves[1]}
    with pytest.raises(KeyboardInterrupt):
        fit("mvae", data, out=folder, resume=True, callbacks=[StopIn(2)], **TINY)
    assert read_record(folder).weights == saves[0] and Run.load(folder).metrics[-1]["epoch"] == 1


def test_what_the_dead_left_is_swept_by_the_next_load(run):
    from mmppl.base.disk.parts import _place

    for folder in (run, run / "state", run / "figures"):
        folder.mkdir(exist_ok=True)
        (folder / f".mmppl-{_place()}-{10**30}-0.part").write_text("half")
        (folder / f".mmppl-{_place()}-{os.getppid()}-0.part").write_text("half")
    Run.load(run)
    assert sorted(path.name for path in run.rglob("*.part")) == [f".mmppl-{_place()}-{os.getppid()}-0.part"] * 3


def test_a_run_of_another_format_is_refused(run, data):
    record = read_record(run)
    object.__setattr__(record, "format", 2)
    write_record(run, record)
    for call in (lambda: Run.load(run), lambda: fit("mvae", data, out=run, resume=True, **TINY)):
        with pytest.raises(DataError, match="format 2, this version reads 3"):
            call()


def test_a_fit_without_weights_says_how_to_go_on(data, tmp_path):
    stopped(tmp_path / "run", data, epoch=1)
    with pytest.raises(UsageError, match="has left no weights yet. Go on with --resume.$"):
        Run.load(tmp_path / "run")
