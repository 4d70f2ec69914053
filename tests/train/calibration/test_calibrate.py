"""Calibration of whole programs: on worlds with a known answer, and at the end of a fit."""

import math

import numpy as np
import pytest
import torch

from mmppl import Modality, fit, load_program, read
from mmppl.core.calibration import uncalibrated
from mmppl.inference.query import ask
from mmppl.runs.calibration import Calibration
from mmppl.runs.run import Run
from mmppl.testing.linear_gaussian import World, exact
from mmppl.train.calibration.calibrate import calibrate, tell_noise_at_bound
from mmppl.train.calibration.questions import given_sets, questions

SIZES = {"a": 4, "b": 3, "c": 5}
TINY = dict(hyper=dict(hidden=8, layers=1, latent_dim=2), epochs=2, batch_size=512)


class LearnedWorld(World):
    """A world whose noise a program learns."""

    def modalities(self):
        return [Modality(n, (len(w),), "normal") for n, w in self.weights.items()]


def made(wrong=1.0, **hyper):
    """The world, the exact program with its noise off by a factor, and 2,000 held-out rows."""
    world = LearnedWorld.make(SIZES, 2, orthogonal=True, seed=3)
    program = exact(load_program("mvae"), world, **hyper)
    with torch.no_grad():
        for name, sd in world.sds.items():
            program.likelihood_parameters[name]["log_scale"].fill_(math.log(wrong * sd) / 10)
    return world, program, world.sample(2000)


def coverage(program, rows, given, want):
    found = ask(program, rows, given=given, want=want, draws=128)[want]
    truth = rows.values[want].numpy()
    return ((found["q05"] <= truth) & (truth <= found["q95"])).mean()


def test_an_exact_program_has_nothing_to_gain():
    """500 of the rows are used; twice the gain of 3 exponents is χ² with 3 degrees of freedom."""
    _, program, rows = made()
    report = calibrate(program, rows)
    assert report.rows == 500 and not report.exponents
    assert all(abs(math.log(factor)) < 0.1 for factor in report.noise.values())
    assert sum(report.after.values()) >= sum(report.before.values())
    assert "held-out rows" in str(report)


@pytest.mark.parametrize("wrong", [0.3, 3.0])
def test_wrong_noise_is_mended_and_intervals_cover(wrong):
    """5,000 and more values are asked of 2,000 rows: the binomial error of .90 is .004, and the factor adds to it."""
    _, program, rows = made(wrong)
    before = coverage(program, rows, ["a", "b"], "c")
    report = calibrate(program, rows.take(torch.arange(500)))
    assert report.noise == pytest.approx(dict.fromkeys(SIZES, 1 / wrong), rel=0.08)
    others = rows.take(torch.arange(500, 2000))
    for given in (["a"], ["b"], ["a", "b"]):
        assert coverage(program, others, given, "c") == pytest.approx(0.9, abs=0.015)
    assert abs(before - 0.9) > 0.05
    with uncalibrated(program):
        assert coverage(program, rows, ["a", "b"], "c") == pytest.approx(before)


def test_the_evidence_uses_the_noise_that_is_calibrated():
    world, program, rows = made(3.0)
    calibrate(program, rows)
    nats = ask(program, rows, given=["a", "b", "c"], want="evidence", draws=512)["evidence"]["nats"].mean()
    exact_nats = float(world.log_evidence(dict(rows.values), [*SIZES]).mean())
    with uncalibrated(program):
        wrong = ask(program, rows, given=["a", "b", "c"], want="evidence", draws=512)["evidence"]["nats"].mean()
    assert nats == pytest.approx(exact_nats, abs=0.3) and wrong < exact_nats - 2


def test_an_overconfident_expert_is_tempered():
    """The variance of one expert is 6 times too small: its exponent is to be 1/6, and the others' are not to move.

    The standard error of a log-exponent from 250 rows is about .15: the bounds are about 2.5 of them.
    """
    _, program, rows = made()
    with torch.no_grad():
        bias = [*program.encoders["b"].parameters()][-1]
        bias[2:] -= math.log(6.0)
    report = calibrate(program, rows)
    assert report.exponents["b"] == pytest.approx(1 / 6, rel=0.4)
    assert all(report.exponents[name] == pytest.approx(1, rel=0.4) for name in ("a", "c"))
    assert report.after["b"] > report.before["b"] + 0.1
    assert program.expert_calibration[1].exp().item() == report.exponents["b"]


def test_what_lies_under_a_mask_does_not_matter():
    found = []
    for filler in (0.0, 1e6, math.nan):
        _, program, rows = made(2.0)
        some = rows.take(torch.arange(300))
        gone = torch.arange(300) % 3 == 0
        values = {**some.values, "b": torch.where(gone.unsqueeze(-1), filler, some.values["b"])}
        rows = type(some)(
            "holes", some.modalities, values, {**some.observed, "b": ~gone}, some.ids, some.split, some.has_split
        )
        found.append((calibrate(program, rows), program.state_dict()))
    assert found[0][0] == found[1][0] == found[2][0] and found[0][0].noise
    for _, weights in found[1:]:
        assert all(torch.equal(weights[name], value) for name, value in found[0][1].items())


def test_few_rows_and_none():
    _, program, rows = made(3.0)
    assert calibrate(program, rows.take(torch.arange(0))) == Calibration(0)
    assert calibrate(program, rows.take(torch.arange(3))) == Calibration(3)
    few = calibrate(program, rows.take(torch.arange(8)))
    assert all(1 / 3 * 0.7 < factor < 1 for factor in few.noise.values())


def test_what_the_model_does_not_score_is_not_asked():
    """By default `targets` are all names, whether the model has them or not."""
    _, program, rows = made(3.0)
    model, short = program.model, program.modalities[:2]

    def without_c(batch):
        program.modalities, whole = short, program.modalities
        model(batch)
        program.modalities = whole

    program.model = without_c
    assert program.targets() == ("a", "b", "c")
    assert [(of.given, [*of.names]) for of in questions(program, rows)] == [
        (("a",), ["b"]), (("b",), ["a"]), (("c",), ["a", "b"]), (("a", "c"), ["b"]), (("b", "c"), ["a"]),
    ]  # fmt: skip
    assert set(calibrate(program, rows).noise) == {"a", "b"}


def test_given_sets_grow_slowly_beyond_four_modalities():
    views = [Modality(f"m{i}", (2,)) for i in range(6)]
    sets = given_sets(load_program("mvae")(views, hidden=4, layers=1))
    assert [len(s) for s in sets] == [1] * 6 + [5] * 6 + [6]
    cmmd = load_program("cmmd")([*views[:2], Modality("y", (), "categorical", role="label", classes=("a", "b"))])
    assert given_sets(cmmd) == [("m0",)]


@pytest.mark.parametrize(
    "name",
    [
        *("cmmd", "mmvae", "mopoe", "jmvae", "mwvae", "fmwvae"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mmjsd", "mvtcae", "vcca")),
    ],
)
def test_every_program_can_be_calibrated_and_never_loses(name):
    data = read("digits-three")
    torch.manual_seed(0)
    program = load_program(name)(data.modalities, hidden=8, latent_dim=2)
    rows = data.take(data.rows("valid")[:60])
    report = calibrate(program, rows)
    assert report.rows == 60 and sum(report.after.values()) >= sum(report.before.values()) - 1e-6


def test_a_fit_is_calibrated_at_its_end_and_trains_the_same_bits(tmp_path):
    data = read("digits-three")
    heard = []
    plain = fit("mvae", data, calibrate=False, **TINY)
    run = fit("mvae", data, out=tmp_path / "run", log=lambda line: heard.append(str(line)), **TINY)
    assert plain.record.result.calibration is None and not plain.program.expert_calibration.any()
    report = run.record.result.calibration
    assert report.temperature and any("calibrated on" in line for line in heard)
    assert [line["loss"] for line in run.metrics] == [line["loss"] for line in plain.metrics]
    for name, parameter in plain.program.named_parameters():
        assert torch.equal(parameter, dict(run.program.named_parameters())[name])
    again = Run.load(tmp_path / "run")
    assert again.record.result.calibration == report
    asked = dict(given="image", want="label", rows=slice(5), data=data)
    loaded, kept, without = (one.query(**asked)["label"]["prob"] for one in (again, run, plain))
    assert np.array_equal(loaded, kept) and not np.array_equal(loaded, without)


def test_without_validation_rows_it_is_told():
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(40, 3)), "b": rng.normal(size=(40, 2)), "split": np.repeat([0, 1, 2], [30, 4, 6])}
    arrays["a"][30:34] = arrays["b"][30:34] = np.nan  # the rows for validation hold nothing
    heard = []
    run = fit("mvae", arrays, log=lambda line: heard.append(str(line)), **TINY)
    assert run.record.result.calibration is None and any("not calibrated" in line for line in heard)


def test_noise_at_its_bound_is_told():
    _, program, _ = made()
    heard = []
    tell_noise_at_bound(program, heard.append)
    with torch.no_grad():
        program.likelihood_parameters["a"]["log_scale"][1] = -3.0
    assert not heard
    tell_noise_at_bound(program, heard.append)
    assert len(heard) == 1 and heard[0].startswith("a: the noise of 1 of 4 features is at its lower bound")
