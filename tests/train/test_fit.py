"""Fitting: the same bits again, across a kill and a resume; settings; bad losses; the caller's state untouched."""

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from mmppl import Callback, DataError, FitError, Run, UsageError, fit, load_program, read
from mmppl.base.files import sha256
from mmppl.core.loading import installed_programs
from mmppl.runs.record import read_record, write_record
from mmppl.train.settings import OF_A_PROGRAM, settings_for

SMALL = dict(hidden=16, latent_dim=4)


def weights(run):
    return load_file(run.folder / run.record.weights)


def lines(run):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics]


def same(a, b):
    return lines(a) == lines(b) and all((x == y).all() for x, y in zip(weights(a).values(), weights(b).values()))


@pytest.fixture(scope="module")
def data():
    return read("digits-two-view")


def test_same_seed_same_bits_and_the_callers_state_is_untouched(data, tmp_path):
    torch.manual_seed(5)
    generator = torch.get_rng_state()
    a = fit("cmmd", data, hyper=SMALL, epochs=2, out=tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), generator)
    torch.manual_seed(6)
    b = fit("cmmd", data, hyper=SMALL, epochs=2, out=tmp_path / "b")
    c = fit("cmmd", data, hyper=SMALL, epochs=2, out=tmp_path / "c", seed=1)
    assert same(a, b) and not same(a, c)
    assert set(a.summary()) == {
        "run", "epochs", "steps", "steps_taken", "selected_step", "seconds", "loss", "terms", "weights", "metrics",
        "calibration",
    }  # fmt: skip
    assert a.record.result.loss == pytest.approx(
        sum(a.summary()["weights"][n] * v for n, v in a.summary()["terms"].items())
    )


def test_fresh_rotations_differ_by_epoch_and_repeat_by_seed(tmp_path):
    runs = [
        fit("cmmd", f"digits-two-view:rotate={r}", hyper=SMALL, epochs=2, out=tmp_path / n)
        for n, r in (("a", "fresh"), ("b", "fresh"), ("c", "fixed"))
    ]
    assert same(runs[0], runs[1]) and lines(runs[0])[1] != lines(runs[2])[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("mvae", dict(subsets="sampled", scored="seen", temper="learned", warm_up=0.6)), ("jmvae", dict(warm_up=0.6))],
    ids=["mvae", "jmvae"],
)
def test_random_subsets_and_warm_up_go_on_after_a_resume(name, options, tmp_path):
    """Interrupted in the third of four epochs, resumed: the bits of the fit in one go; the clock has moved beta."""
    given = dict(hyper=SMALL | options, hide=0.3, epochs=4, batch_size=256, seed=2)

    def stop(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    whole = fit(name, out=tmp_path / "a", **given)
    with pytest.raises(KeyboardInterrupt):
        fit(name, out=tmp_path / "b", on_step=stop, **given)
    assert 1 <= len((tmp_path / "b" / "metrics.jsonl").read_text().splitlines()) < 4
    assert same(fit(name, out=tmp_path / "b", resume=True, **given), whole)
    beta = [line["weights"]["kl.z"] for line in whole.metrics]
    assert 0 < beta[0] < beta[1] < beta[2] == beta[3] == 1


def test_resume_wants_the_same_program_data_and_settings(data, tmp_path):
    run = fit("cmmd", data, hyper=SMALL, epochs=1, out=tmp_path / "a")
    assert same(fit("cmmd", data, hyper=SMALL, epochs=1, out=run.folder, resume=True), run)  # nothing left to do
    hidden = run.record.hyper["hidden"]
    for change, words in (
        ({"hyper": SMALL | {"hidden": 17}}, f"cannot resume: hidden 17, the run has {hidden}. Go on"),
        ({"epochs": 3, "lr": 0.5}, "epochs 3, the run has 1; lr 0.5, the run has 0.002. Go on"),
        ({"seed": 3}, "seed 3, the run has 0. Go on"),
    ):
        with pytest.raises(UsageError, match=words):
            fit("cmmd", data, **{"hyper": SMALL, "epochs": 1, "out": run.folder, "resume": True} | change)
    with pytest.raises(DataError, match="cannot resume: data .*, the run has "):
        fit("cmmd", data.mask_at_random(rate=0.5), hyper=SMALL, epochs=1, out=run.folder, resume=True)
    with pytest.raises(UsageError, match="exists"):
        fit("cmmd", data, hyper=SMALL, epochs=1, out=run.folder)
    with pytest.raises(UsageError, match="nothing to resume"):
        fit("cmmd", data, out=tmp_path / "nowhere", resume=True)


@pytest.mark.slow
def test_patience_keeps_the_best_epoch(data, tmp_path):
    """At a rate that does not fall, the loss soon rises twice in a row."""
    given = dict(hyper=SMALL, epochs=40, lr=0.1, schedule="constant", patience=2)
    run = fit("mvae", "digits-three", **given, out=tmp_path / "a")
    losses = [line["loss"]["valid"] for line in run.metrics]
    best = int(np.argmin(losses))
    assert len(losses) < 40 and len(losses) - 1 - best == 2
    assert run.record.result.loss == losses[best]
    assert same(run, fit("mvae", "digits-three", **given, out=tmp_path / "b"))


def test_a_loss_that_is_not_finite_names_term_epoch_and_batch(data, tmp_path):
    """And a state that is kept, where there is one."""
    tiny = dict(hyper=SMALL, epochs=3, batch_size=512)
    with pytest.raises(
        FitError, match=r"term .*epoch 1, batch \d+\. Fit again with [^\n]*--clip. Choose another --out.$"
    ):
        fit("mvae", "digits-three", **tiny, lr=1e8, out=tmp_path / "a")
    assert json.loads((tmp_path / "a" / "run.json").read_text())["status"] == "running"
    with pytest.raises(FitError, match=r"--clip.$"):
        fit("mvae", "digits-three", **tiny, lr=1e8)

    class Spoil(Callback):
        def on_step(self, fit, progress):
            if progress.epoch == 2:
                next(fit.program.parameters()).data.fill_(torch.nan)

    with pytest.raises(FitError, match="epoch 2[^\n]* The last good state is kept; choose another --out.$"):
        fit("mvae", "digits-three", **tiny, out=tmp_path / "b", callbacks=[Spoil()])
    assert (tmp_path / "b" / "state" / "LATEST").exists()


def test_settings_come_from_the_call_then_the_preset_then_the_program():
    cls = load_program("cmmd")
    nothing = dict(epochs=None, batch_size=None, lr=None, schedule=None, clip=None, patience=None, precision=None)
    hyper, training = settings_for(cls, {"hidden": 8}, "paper-mnist", **nothing | {"epochs": 3})
    assert hyper["hidden"] == 8 and hyper["encoder_hidden"] == 2500 and training.epochs == 3 and training.lr == 1e-4
    with pytest.raises(UsageError, match="Did you mean paper-mnist"):
        settings_for(cls, {}, "papermnist", **nothing)
    for bad in ({"epochs": 0}, {"lr": -1.0}, {"schedule": "linear"}):
        with pytest.raises(UsageError):
            settings_for(cls, {}, None, **nothing | bad)


def test_settings_are_checked_before_data_are_read(tmp_path):
    for wrong in ({"hyper": {"hiden": 3}}, {"lr": -1.0}, {"device": "gpu"}):
        with pytest.raises(UsageError, match="hiden|lr|gpu"):
            fit("mvae", tmp_path / "nothing.npz", out=tmp_path / "a", **wrong)


def test_an_unknown_training_setting_is_reported(data, tmp_path):
    (tmp_path / "mine.py").write_text(
        FAULTY.replace("    def __init__", "    training = dict(epoch=1)\n    def __init__")
    )
    with pytest.raises(UsageError, match=r"^Faulty: no training setting is called 'epoch'; .* Did you mean epochs\?$"):
        fit(tmp_path / "mine.py", data, out=tmp_path / "a")


@pytest.mark.parametrize("name", ["seed", "clip", "device"])
def test_a_hyper_parameter_called_like_a_setting_is_refused(data, tmp_path, name):
    """A resumed fit could not distinguish the two."""
    (tmp_path / "mine.py").write_text(FAULTY.replace("where: str", f"{name}: int = 0, where: str"))
    with pytest.raises(UsageError, match=f"^Faulty: a hyper-parameter cannot be called {name}, .*; rename it"):
        fit(tmp_path / "mine.py", data, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_rows_without_x_o_are_counted_and_left_out(data, tmp_path):
    observed = {n: o.clone() for n, o in data.observed.items()}
    rows = data.rows("train")[:17]
    observed["rotated"][rows] = False
    messages = []
    holed = replace(data, observed=observed)
    run = fit("cmmd", holed, hyper=SMALL, epochs=1, out=tmp_path / "a", log=messages.append)
    assert any(isinstance(s, str) and s.startswith("17 of ") for s in messages)
    with pytest.raises(UsageError, match="17 rows .* lack rotated"):
        run.query(holed, want=["label"], split="train")


def test_a_fit_begins_with_what_the_data_were_taken_for(tmp_path):
    messages = []
    fit("mvae", "digits-three", hyper=SMALL, epochs=1, out=tmp_path / "a", log=messages.append)
    line = "image (8×8, bernoulli), profile (32, normal), word (8, 16 classes), label (10 classes, label)"
    assert messages[0].startswith("digits-three:seed=0: 1,797 rows; ") and messages[0].endswith(line), messages[0]


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "disk is full. Free"), (errno.EFBIG, "the limit of its size .ulimit -f.. Raise")],
)
def test_a_full_disk_is_one_line(number, says, data, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mmppl.train.callbacks.save_state", full)
    with pytest.raises(FitError, match=f"{says} [^\n]* and go on with --resume; nothing was learnt yet.$"):
        fit("cmmd", data, hyper=SMALL, epochs=1, out=tmp_path / "a")
    monkeypatch.undo()
    assert fit("cmmd", data, hyper=SMALL, epochs=1, out=tmp_path / "a", resume=True).record.status == "done"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_keeps_the_path_of_its_kernels(tmp_path, wanted):
    from mmppl.kernels.codegen.c_backend import available, compiled_kernels

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    options = dict(hyper={"hidden": 8, "latent_dim": 2}, batch_size=512, epochs=2, out=tmp_path / "run", seed=0)
    with compiled_kernels(wanted):
        path = "compiled" if available() else "pytorch"
        with pytest.raises(KeyboardInterrupt):
            fit("mvae", on_step=stop, **options)
    inside = []
    with compiled_kernels(not wanted):
        run = fit("mvae", resume=True, on_step=lambda progress: inside.append(available()), **options)
    assert run.record.kernels == path and set(inside) == {path == "compiled"}


def test_the_matmul_precision_is_scoped():
    from mmppl.base.precision import matmul_precision, probe_matmul

    before = torch.backends.mkldnn.matmul.fp32_precision
    with matmul_precision("onednn"):
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    a = torch.randn(2, 64, 512, generator=torch.Generator().manual_seed(0))
    with matmul_precision(probe_matmul()):  # whatever path is chosen here, it is one of float32's accuracy
        error = (a[0] @ a[1].T).double() - a[0].double() @ a[1].double().T
    assert (error.norm() / (a[0].double() @ a[1].double().T).norm()).item() < 2e-6


def test_the_run_folder_is_as_designed(data, tmp_path):
    run = fit("cmmd", data, hyper=SMALL, epochs=2, out=tmp_path / "a")
    names = {p.name for p in run.folder.iterdir()}
    weights = f"weights-{sha256((run.folder / run.record.weights).read_bytes())[:16]}.safetensors"
    assert names == {"run.json", "program.py", weights, "state", "metrics.jsonl", "README.md", ".lock"}
    latest = (run.folder / "state" / "LATEST").read_text()
    assert latest == f"step-{2 * -(-len(data.rows('train')) // 128)}"
    assert {p.name for p in (run.folder / "state" / latest).iterdir()} == {
        "weights.safetensors",
        "optimiser.safetensors",
        "generators.safetensors",
        "counters.json",
        "hashes.json",
    }
    assert (run.folder / "program.py").read_bytes() == installed_programs()["cmmd"].read_bytes()


def test_resume_touches_no_folder_that_is_no_run(data, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match="is no run folder"):
        fit("cmmd", data, hyper=SMALL, epochs=1, out=tmp_path, resume=True)
    assert (tmp_path / "README.md").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_what_the_program_refuses_leaves_no_folder(data, tmp_path):
    with pytest.raises(UsageError, match="omega"):
        fit("cmmd", data, hyper={"omega": 2.0}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    for bad in ({"clip": -1.0}, {"patience": 0}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            fit("cmmd", data, out=tmp_path / "a", **bad)


def test_a_fit_that_fails_before_it_learns_frees_a_folder_behind_a_link(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="AttributeError"):
        fit(tmp_path / "faulty.py", "digits-three", hyper={"where": "typo"}, epochs=1, out=tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and not list((tmp_path / "real").iterdir())


FAULTY = """
import pyro, torch
from torch import nn
from mmppl import *
class Faulty(Program):
    def __init__(self, modalities, *, where: str = "sqrt"):
        super().__init__(modalities)
        self.where, self.w = where, nn.Parameter(torch.zeros(2))
    def guide(self, batch):
        with batch.plates():
            pyro.sample("z", Gaussian(self.w.expand(len(batch), 2), 0 * self.w))
    def model(self, batch):
        if self.where == "typo":
            self.decodr
        with batch.plates():
            pyro.sample("z", standard_normal(2))
    def objective(self, batch):
        return kl(trace(self, batch)) | Terms({"root": (self.w.square().sum().sqrt(), 1.0)})
"""


def test_a_gradient_that_is_not_finite_stops_the_fit(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    with pytest.raises(FitError, match="gradient was not finite in epoch 1"):
        fit(tmp_path / "faulty.py", "digits-three", epochs=1, batch_size=5000, out=tmp_path / "a")
    assert not list((tmp_path / "a").glob("*.safetensors"))


def test_an_error_in_the_users_program_names_its_line(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY)
    with pytest.raises(UsageError, match=r"faulty.py:14: AttributeError"):
        fit(tmp_path / "faulty.py", "digits-three", hyper={"where": "typo"}, epochs=1, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


PATIENT = dict(hyper=SMALL, epochs=12, batch_size=512, lr=0.3, patience=1)  # the second epoch is worse


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return fit("mvae", "digits-three", out=tmp_path_factory.mktemp("patient") / "run", **PATIENT)


OFTEN = ("Calibrator.__call__", "Card.on_end")  # in every run of the tests; the others in a slow one
MOMENTS = [*OFTEN, *(pytest.param(at, marks=pytest.mark.slow) for at in ("Weights.on_selected", "Weights.on_end"))]


@pytest.mark.parametrize("at", MOMENTS)
def test_a_fit_killed_after_its_last_state_does_not_train_on(at, patient, tmp_path, monkeypatch):
    """Before the selection, the calibration, its weights, or the card."""
    assert patient.record.result.calibration.temperature and len(patient.metrics) < 12

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(f"mmppl.train.fit.{at}", kill)
        fit("mvae", "digits-three", out=tmp_path / "b", **PATIENT)
    before = lines(Run.load(tmp_path / "b"))
    again = fit("mvae", "digits-three", out=tmp_path / "b", resume=True, **PATIENT)
    assert lines(again) == before and same(again, patient)
    assert again.record.result.calibration == patient.record.result.calibration


def test_a_log_whose_last_line_is_half_written(tmp_path):
    run = fit("mvae", "digits-three", hyper=SMALL, epochs=2, out=tmp_path / "a")
    whole, log = run.metrics, run.folder / "metrics.jsonl"
    write_record(run.folder, replace(read_record(run.folder), status="running"))
    log.write_text(log.read_text() + '{"epoch": 3, "tra')
    assert Run.load(run.folder).metrics == whole
    log.write_text("{" + log.read_text())
    with pytest.raises(DataError, match="metrics.jsonl: its hash is wrong"):
        Run.load(run.folder).metrics  # noqa: B018
    log.unlink()
    with pytest.raises(DataError, match="metrics.jsonl: cannot be read"):
        Run.load(run.folder).metrics  # noqa: B018


def test_a_fit_that_has_not_ended_has_no_summary(tmp_path):
    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("mvae", "digits-three", hyper=SMALL, epochs=3, batch_size=512, on_step=stop, out=tmp_path / "a")
    run = Run.load(tmp_path / "a")
    with pytest.raises(UsageError, match="has not ended. Go on with --resume"):
        run.summary()


def test_papers_train_at_the_rate_that_they_name():
    nothing = dict.fromkeys(OF_A_PROGRAM)
    for name in installed_programs():
        cls = load_program(name)
        for preset in (preset for preset in cls.presets if preset.startswith("paper")):
            _, training = settings_for(cls, {}, preset, **nothing)
            assert training.schedule == "constant", (name, preset)


def test_large_seeds_and_clipping(data, tmp_path):
    a = fit("cmmd", data, hyper=SMALL, epochs=1, seed=20240101123456, clip=0.5, out=tmp_path / "a")
    b = fit("cmmd", data, hyper=SMALL, epochs=1, seed=20240101123456, clip=0.5, out=tmp_path / "b")
    assert same(a, b)
    with pytest.raises(UsageError, match="more than 64 bits"):
        fit("cmmd", data, hyper=SMALL, epochs=1, seed=2**64, out=tmp_path / "c")


def test_rows_of_the_fit_are_known_again(tmp_path):
    """The training rows of a file never pass for test rows, hidden modalities or not."""
    arrays = {
        "a": np.random.default_rng(0).standard_normal((60, 3)),
        "b": np.random.default_rng(1).standard_normal((60, 2)),
        "label": np.arange(60) % 2,
    }
    np.savez(tmp_path / "base.npz", **arrays)
    run = fit(
        "mvae", tmp_path / "base.npz", hide=0.3, hyper={"hidden": 8, "latent_dim": 2}, epochs=1, out=tmp_path / "a"
    )
    for asked in (run, Run.load(run.folder)):
        assert asked.query(tmp_path / "base.npz", want=["z"], draws=2).n == 12
    np.savez(tmp_path / "other.npz", **{**arrays, "a": arrays["a"] + 1})
    assert run.query(tmp_path / "other.npz", want=["z"], draws=2).n == 60
    lacking = read(tmp_path / "base.npz", as_={"b": "ignore"})
    assert run.query(lacking, want=["b"], draws=2, split="all").n == 60


def test_what_a_fit_hides_changes_nothing_of_it(tmp_path):
    """Not the scaling either: a value that is hidden from the train rows may be anything."""
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(3, 2, (60, 3)), "b": rng.poisson(4, (60, 2)), "label": np.arange(60) % 2}
    hidden = read(arrays).mask_at_random(rate=0.5, seed=3)
    spoilt = {name: array.copy() for name, array in arrays.items()}
    for name, value in (("a", 1e30), ("b", 10**6)):
        spoilt[name][~hidden.observed[name].numpy()] = value
    runs = []
    for number, content in enumerate((arrays, spoilt)):
        np.savez(tmp_path / "data.npz", **content)
        out = tmp_path / f"run{number}"
        runs.append(fit("mvae", tmp_path / "data.npz", hyper={"hidden": 8}, epochs=2, hide=0.5, seed=3, out=out))
        assert runs[-1].data().fingerprint() == runs[-1].record.data.fingerprint
        assert runs[-1].data(hidden=False).fingerprint() == runs[-1].record.data.unhidden
    one, other = runs
    assert one.modalities == other.modalities and one.record.data.fingerprint == other.record.data.fingerprint
    for a, b in zip(one.program.parameters(), other.program.parameters(), strict=True):
        assert torch.equal(a, b)
    train = one.data().take(one.data().rows("train"))
    seen = train.values["a"][train.observed["a"]].double()
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(0, correction=0), 1, rtol=1e-5)


def test_rows_of_the_fit_are_known_again_beside_a_label_that_is_a_sequence(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((60, 4)), "word": rng.integers(0, 3, (60, 5)), "y": np.arange(60) % 2}
    np.savez(tmp_path / "base.npz", **arrays)
    np.savez(tmp_path / "new.npz", **{name: array[:10] for name, array in arrays.items()})
    run = fit(
        "mvae", tmp_path / "base.npz", as_={"word": "categorical:role=label"}, hyper={"hidden": 8, "latent_dim": 2},
        epochs=1, out=tmp_path / "a",
    )  # fmt: skip
    assert run.query(tmp_path / "base.npz", want=["z"], draws=2).n == 12
    assert run.query(tmp_path / "new.npz", want=["z"], draws=2).n == 10
