"""Survival times: the likelihood against scipy's Weibull, and how times and events are read."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from mmppl import DataError, Modality, UsageError, read
from mmppl.modalities.kinds import kind
from mmppl.modalities.scaling import Scaling

RNG = torch.Generator().manual_seed(0)
UNIT = Scaling("log", (2.0,), (0.7,))  # of ln t


def likelihood(output, raw, unit=UNIT):
    m = Modality("os", (), "weibull", role="label", input_scaling=unit, learned={"log_shape": raw})
    return m.family(m, output)


@pytest.fixture
def world():
    """Output, value, and scipy's distribution of the same rows, in float64."""
    output = torch.randn(9, 1, generator=RNG, dtype=torch.float64).requires_grad_()
    value = torch.exp(2 + torch.randn(9, generator=RNG, dtype=torch.float64))
    value = torch.where(torch.arange(9) % 3 == 0, -value, value)
    raw = torch.tensor(0.03, dtype=torch.float64, requires_grad=True)
    shape = math.pi / math.sqrt(6) / 0.7 * math.exp(0.3)
    scale = np.exp(2 + 0.7 * output.detach().numpy()[:, 0])
    return output, value, raw, scipy.stats.weibull_min(shape, scale=scale)


def test_events_have_a_density_and_censored_times_a_survival(world):
    output, value, raw, known = world
    got = likelihood(output, raw).log_prob(value)
    time = value.abs().numpy()
    want = np.where(value.numpy() > 0, known.logpdf(time), known.logsf(time))
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-8)
    assert torch.autograd.gradcheck(lambda o, r: likelihood(o, r).log_prob(value), (output, raw), eps=1e-6, atol=1e-7)


def test_a_time_far_beyond_its_scale_keeps_a_finite_gradient():
    output = torch.tensor([[-3e3], [-20.0]], requires_grad=True)
    found = likelihood(output, torch.tensor(0.0)).log_prob(torch.tensor([7.0, 7.0]))
    found.sum().backward()
    assert found.isfinite().all() and output.grad.isfinite().all() and (output.grad > 1e9).all()


def test_moments_and_quantiles_are_those_of_scipy(world):
    output, _, raw, known = world
    d = likelihood(output, raw)
    np.testing.assert_allclose(d.mean.detach().numpy(), known.mean(), rtol=1e-8)
    np.testing.assert_allclose(d.variance.detach().numpy(), known.var(), rtol=1e-8)
    for p in (0.05, 0.5, 0.95):
        got = d.from_uniform(torch.full((9, 1), p, dtype=torch.float64))
        np.testing.assert_allclose(got.detach().numpy(), known.ppf(p), rtol=1e-8)
    assert d.batch_shape == (9,) and d.mean.shape == (9,)


def test_an_encoder_sees_the_log_and_the_event():
    m = Modality("os", (), "weibull", input_scaling=UNIT)
    got = m.as_input(torch.tensor([math.e**2, -(math.e**2.7)]))
    torch.testing.assert_close(got, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert m.input_size == 2 and m.output_size == 1 and kind(m) == "survival"
    with pytest.raises(UsageError, match="one number per row"):
        Modality("os", (3,), "weibull")


N = 40
TIMES = {"x": np.arange(N) + 0.5, "os": np.arange(1, N + 1), "event_os": np.arange(N) % 2}


def test_times_and_events_become_one_label():
    data = read(TIMES, as_={"os": "weibull"})
    (m,) = (m for m in data.modalities if m.name == "os")
    assert [m.name for m in data.modalities] == ["x", "os"]
    assert (m.role, m.shape, m.transform, m.event) == ("label", (), "none", "event_os")
    assert data.values["os"].tolist() == [-1, 2, -3, 4] + [(-1) ** (i + 1) * (i + 1) for i in range(4, N)]
    used = np.log(TIMES["os"][data.rows("train").numpy()])
    np.testing.assert_allclose(m.input_scaling.shift + m.input_scaling.spread, (used.mean(), used.std()))
    assert Modality.from_json(m.to_json()) == m
    assert not [f for f in data.findings if f.suspected], "no negative number stands apart"
    named = {"x": TIMES["x"], "t": TIMES["os"].astype(float), "died": TIMES["event_os"].astype(bool)}
    again = read(named, as_={"t": "weibull:event=died"})
    assert torch.equal(again.values["t"], data.values["os"])
    assert read(TIMES, as_={"os": "weibull:role=modality"}).modalities[1].role == "modality"


def test_rows_without_a_time_or_a_word_about_the_event_are_missing():
    time, event = TIMES["os"].astype(float), TIMES["event_os"].astype(float)
    time[3], event[[5, 7]] = np.nan, np.nan
    data = read(TIMES | {"os": time, "event_os": event}, as_={"os": "weibull"})
    assert (~data.observed["os"]).nonzero().flatten().tolist() == [3, 5, 7]
    assert "os: 2 rows with a time and no 'event_os' are taken for missing." in [f.text for f in data.findings]
    masked = read(TIMES | {"mask_os": np.arange(N) > 0, "mask_event_os": np.arange(N) != 9}, as_={"os": "weibull"})
    assert (~masked.observed["os"]).nonzero().flatten().tolist() == [0, 9]
    missing = read(TIMES | {"os": np.where(np.arange(N) == 4, -9, TIMES["os"])}, as_={"os": "weibull:missing=-9"})
    assert (~missing.observed["os"]).nonzero().flatten().tolist() == [4]


def changed(name, row, value):
    array = TIMES[name].astype(float)
    array[row] = value
    return TIMES | {name: array}


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (changed("os", 3, 0), "'os', row 3: 0.0 is no time until an event"),
        (changed("os", 3, -2) | {"id": np.arange(N) + 100}, r"'os', row 3 \(id 103\): -2.0 is no time"),
        (changed("event_os", 4, 2), r"'event_os', row 4: 2.0 says neither that the event happened \(1\)"),
        (TIMES | {"event_os": np.zeros(N)}, "'os': no event happens in any row"),
        (TIMES | {"event_os": np.array(["yes", "no"] * 20)}, "'event_os' is <U3 of shape .*; give 1"),
        ({"x": TIMES["x"], "os": TIMES["os"], "event_o": TIMES["event_os"]}, "no array 'event_os'.*mean event_o"),
        (changed("os", 3, np.inf), "inf is in an observed row"),
    ],
)
def test_what_is_no_survival_time_is_one_line(arrays, says):
    with pytest.raises(DataError, match=says):
        read(arrays, as_={"os": "weibull"})


def test_other_misuse_is_one_line():
    with pytest.raises(UsageError, match="its values are strings; a survival time is a number"):
        read(TIMES | {"os": np.array(["a", "b"] * 20)}, as_={"os": "weibull"})
    with pytest.raises(UsageError, match="no key 'event'"):
        read(TIMES, as_={"os": "normal:event=event_os"})
    plain, times = read(TIMES), read(TIMES, as_={"os": "weibull"})
    for data, as_ in ((plain, {"os": "weibull"}), (times, {"os": "normal"})):
        with pytest.raises(DataError, match="os: as a survival time it is read together with its events"):
            read(data, as_=as_)
    with pytest.raises(DataError, match="read together with its events"):
        read(plain.take(torch.arange(4)), schema=times.modalities)
