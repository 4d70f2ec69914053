"""Callbacks per step and epoch; a fit that stays in memory."""

import json
import sys
from pathlib import Path

import pytest
import torch

import mmppl
from mmppl import Callback, Run, UsageError, fit

sys.path.insert(0, str(Path(__file__).parent))
import toy


@pytest.fixture(scope="module")
def data():
    return toy.data()


class Told(Callback):
    """Hears everything, and adds a metric."""

    def __init__(self):
        self.heard = []

    def on_start(self, fit):
        self.heard.append(("start", fit.counters.epoch))

    def on_step(self, fit, progress):
        self.heard.append(("step", progress.step))

    def on_epoch(self, fit, line):
        line["metrics"]["twice"] = 2.0 * line["epoch"]
        self.heard.append(("epoch", line["epoch"]))

    def on_end(self, fit):
        self.heard.append(("end", fit.last))


def test_a_callback_hears_each_step_and_epoch_and_may_add_a_metric(data, tmp_path):
    told, steps = Told(), []
    run = fit(toy.Toy, data, epochs=2, callbacks=[told], on_step=steps.append, out=tmp_path / "a")
    per_epoch = -(-len(data.rows("train")) // 16)
    each = [[("step", per_epoch * n + i + 1) for i in range(per_epoch)] for n in range(2)]
    assert told.heard == [("start", 0), *each[0], ("epoch", 1), *each[1], ("epoch", 2), ("end", True)]
    assert [s.step for s in steps] == list(range(1, 2 * per_epoch + 1)) and steps[-1].steps == 2 * per_epoch
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [line["metrics"]["twice"] for line in lines] == [2.0, 4.0]
    assert (
        run.record.result.metrics == Run.load(tmp_path / "a", program=toy.Toy).record.result.metrics == {"twice": 4.0}
    )


def test_a_resumed_fit_starts_its_callbacks_where_it_goes_on(data, tmp_path):
    def stop(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(toy.Toy, data, on_step=stop, out=tmp_path / "a")
    told = Told()
    fit(toy.Toy, data, callbacks=[told], resume=True, out=tmp_path / "a")
    first = told.heard[0][1]
    assert 0 < first < 3 and told.heard[-1] == ("end", True)
    assert [n for what, n in told.heard if what == "epoch"] == list(range(first + 1, 5))


def test_callbacks_change_no_bit(data):
    one, other = fit(toy.Toy, data), fit(toy.Toy, data, callbacks=[Told()], log=lambda event: None)
    weights = other.program.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.program.state_dict().items())


def test_a_fit_without_a_folder_touches_no_disk_and_is_the_same(data, tmp_path, monkeypatch):
    inside = fit(toy.Staged, data, out=tmp_path / "a", patience=3)
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments, **options):
        raise AssertionError("wrote to the disk")

    for name in ("mmppl.base.files.write", "mmppl.train.callbacks.write", "mmppl.train.callbacks.write_record"):
        monkeypatch.setattr(name, refuse)
    run = fit(toy.Staged, data, patience=3)
    assert run.folder is None and [p.name for p in tmp_path.iterdir()] == ["a"]
    assert run.record.status == "done" and run.summary().keys() == inside.summary().keys()
    without = [[{k: v for k, v in line.items() if k != "seconds"} for line in r.metrics] for r in (run, inside)]
    assert without[0] == without[1]
    weights = inside.program.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in run.program.state_dict().items())
    assert run.query(want="z", draws=2).want["z"]["mean"].shape[-1] == 2


def test_a_fit_in_memory_can_be_saved(data, tmp_path):
    run = fit(toy.Toy, data, epochs=2)
    run.save(tmp_path / "kept")
    loaded = Run.load(tmp_path / "kept", program=toy.Toy)
    assert loaded.record == run.record and loaded.metrics == run.metrics
    weights = loaded.program.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in run.program.state_dict().items())
    with pytest.raises(UsageError, match="resume: name the run folder"):
        fit(toy.Toy, data, resume=True)


def test_what_fit_says_of_callbacks_is_public():
    assert {"Callback", "Group", "Stage"} <= set(mmppl.__all__)
