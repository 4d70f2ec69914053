"""Networks over steps: recurrences against PyTorch's, and outputs that depend on no step that does not exist."""

import pytest
import torch
from torch import nn

from mmppl import Modality, UsageError
from mmppl.nn.options import NetworkOptions
from mmppl.nn.per_modality import JointEncoder, decoders, encoders, without_fit
from mmppl.nn.sequence.layout import StepLayout
from mmppl.nn.sequence.pooled import Statistics
from mmppl.nn.sequence.recurrence import recurrence

NETWORKS = ["auto", "gru", "lstm", "conv1d", "transformer"]
WATCH = Modality("watch", (9, 3), "normal", sequence=True)
WORDS = Modality("words", (9, 1), "categorical", classes=tuple("abcd"), sequence=True)


def series(m, lengths, filler=0.0):
    """(B, input_size) inputs of rows of these lengths."""
    torch.manual_seed(0)
    value = torch.randint(0, 4, (len(lengths), *m.shape)) if m.n_classes else torch.randn(len(lengths), *m.shape)
    there = (torch.arange(m.shape[0]) < torch.tensor(lengths).unsqueeze(-1)).unsqueeze(-1)
    return m.as_input(torch.where(there, value, int(filler) if m.n_classes else filler), there)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(("n", "steps", "width"), [(1, 1, 1), (3, 7, 5), (4, 2, 8)])
@pytest.mark.parametrize("reverse", [False, True])
def test_recurrences_are_those_of_pytorch(cell, n, steps, width, reverse):
    """In float64, values and all gradients, where each row has steps of its own number."""
    torch.manual_seed(0)
    theirs = getattr(nn, cell.upper())(3, width, batch_first=True).double()
    x = torch.randn(n, steps, 3, dtype=torch.float64, requires_grad=True)
    lengths = torch.randint(1, steps + 1, (n,))
    there = torch.arange(steps) < lengths.unsqueeze(-1)
    weights = torch.randn(n, steps, width, dtype=torch.float64) * there.unsqueeze(-1)
    expected = torch.zeros(n, steps, width, dtype=torch.float64)
    rows = []
    for row, length in zip(x, lengths):
        found = theirs((row[:length].flip(0) if reverse else row[:length]).unsqueeze(0))[0][0]
        rows.append(nn.functional.pad(found.flip(0) if reverse else found, (0, 0, 0, steps - int(length))))
    expected = torch.stack(rows)
    inputs = x @ theirs.weight_ih_l0.T + theirs.bias_ih_l0
    got = recurrence(cell, inputs, there, theirs.weight_hh_l0, theirs.bias_hh_l0, reverse=reverse)
    moving = [x, *theirs.parameters()]
    kept = torch.where(there.unsqueeze(-1), got, 0.0)
    torch.testing.assert_close(kept, expected, rtol=1e-12, atol=1e-12)
    slopes, wanted = (torch.autograd.grad((of * weights).sum(), moving) for of in (got, expected))
    torch.testing.assert_close(slopes, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_gap_is_passed_over(cell):
    """Also within a sequence, and to the gradient of what does not exist: it is 0, whatever stands there."""
    torch.manual_seed(0)
    gates = {"gru": 3, "lstm": 4}[cell] * 2
    weight, bias = torch.randn(gates, 2).double(), torch.randn(gates).double()
    inputs = torch.randn(1, 4, gates, dtype=torch.float64)
    there = torch.tensor([[True, False, True, False]])
    inputs[0, 1] = torch.nan
    inputs.requires_grad_()
    states = recurrence(cell, inputs, there, weight, bias)
    short = recurrence(cell, inputs[:, [0, 2]], there[:, [0, 2]], weight, bias)
    torch.testing.assert_close(states[:, [0, 2]], short)
    assert torch.equal(states[:, 1], states[:, 0]) and torch.equal(states[:, 3], states[:, 2])
    (slope,) = torch.autograd.grad(states.sum(), inputs)
    assert slope[0, 1].eq(0).all() and slope[0, 3].eq(0).all() and slope[0, 0].ne(0).any()


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize(
    "m", [WATCH, WORDS, Modality("other", (9, 2), "normal", scale="predicted")], ids=lambda m: m.name
)
def test_sizes_and_rows_by_themselves(networks, m):
    options = NetworkOptions(networks=networks, hidden=12, channels=8)
    encoder, decoder = encoders([m], 6, options)[m.name].eval(), decoders([m], 5, options)[m.name].eval()
    x = series(m, [9, 4, 1, 3])
    assert encoder(x).shape == (4, 6) and encoder(x.expand(2, 4, -1)).shape == (2, 4, 6)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))
    z = torch.randn(3, 4, 5)
    assert decoder(z).shape == (3, 4, m.output_size)
    torch.testing.assert_close(decoder(z)[2, 1], decoder(z[2, 1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("m", [WATCH, WORDS], ids=lambda m: m.name)
def test_steps_that_do_not_exist_change_nothing(networks, m):
    """What stands there changes no bit, and how many there are only the rounding; gradients stay finite without any."""
    encoder = encoders([m], 6, NetworkOptions(networks=networks, hidden=12, channels=8))[m.name].eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    lengths = [9, 4, 1, 0]
    assert torch.equal(encoder(series(m, lengths)), encoder(series(m, lengths, 2)))
    nothing = encoder(series(m, [0, 0]).requires_grad_())
    assert all(
        g is None or g.isfinite().all()
        for g in torch.autograd.grad(nothing.sum(), list(encoder.parameters()), allow_unused=True)
    )
    if networks == "auto":  # its statistics hold the share of the steps
        return
    short = Modality(m.name, (5, m.shape[1]), m.likelihood, classes=m.classes, sequence=True)
    cut = encoders([short], 6, NetworkOptions(networks=networks, hidden=12, channels=8))[m.name].eval()
    cut.load_state_dict(encoder.state_dict())
    x = series(m, lengths)[1:].unflatten(-1, (9, -1))[:, :5].flatten(1)
    torch.testing.assert_close(cut(x), encoder(series(m, lengths))[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("networks", NETWORKS)
def test_no_parameter_has_two_names(networks):
    options = NetworkOptions(networks=networks, hidden=12, channels=8)
    for made in (encoders([WATCH], 6, options), decoders([WATCH], 5, options)):
        assert len(made.state_dict()) == len({id(p) for p in made.parameters()})


def test_every_step_counts():
    """No encoder overlooks one: a change of any existing step changes the output."""
    for networks in NETWORKS:
        encoder = encoders([WATCH], 6, NetworkOptions(networks=networks, hidden=12, channels=8))["watch"].eval()
        for parameter in encoder.parameters():
            nn.init.normal_(parameter, std=0.3)
        x = series(WATCH, [5])
        for t in range(5):
            other = x.unflatten(-1, (9, 4)).clone()
            other[:, t, 0] += 1
            assert not torch.equal(encoder(other.flatten(1)), encoder(x)), (networks, t)


def test_statistics():
    x = series(WATCH, [5, 1, 0])
    found = Statistics(WATCH)(x)
    steps, there = StepLayout.of(WATCH).read(x)
    own = steps[0, :5].double()
    change = (own[1:] - own[:-1]).square().mean(0).sqrt()
    expected = torch.cat([own.mean(0), own.std(0, unbiased=False), change, torch.tensor([5 / 9]).double()])
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=1e-6)
    assert found[1, 3:9].eq(0).all() and found[2].eq(0).all()


def test_outputs_lie_as_likelihoods_read_them():
    """All means come before all log-variances."""
    m = Modality("x", (4, 2), "normal", scale="predicted", sequence=True)
    layout = StepLayout.of(m)
    y = torch.arange(16.0).reshape(1, 4, 4)  # of each step two means, two log-variances
    flat = layout.write(y, torch.Size([1]))
    assert flat.tolist() == [[0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15]]


def test_a_joint_encoder_takes_sequences():
    for networks in NETWORKS:
        joint = JointEncoder([WATCH, WORDS], 4, NetworkOptions(networks=networks, hidden=8, channels=8))
        assert joint(torch.zeros(2, WATCH.input_size + WORDS.input_size)).shape == (2, 4)


def test_networks_that_fit_nothing_are_refused_and_others_told():
    vector, label = Modality("v", (4,), "normal"), Modality("y", (), "categorical", role="label", classes=(0, 1))
    series_of_numbers, image = Modality("s", (100, 3), "normal"), Modality("i", (28, 28), "bernoulli")
    assert without_fit([WATCH, vector, label], "gru") == ["v"]
    assert without_fit([series_of_numbers, vector], "lstm") == ["v"]
    assert without_fit([image, series_of_numbers], "conv") == ["s"]
    assert without_fit([vector, label], "auto") == without_fit([vector], "mlp") == []
    with pytest.raises(UsageError, match="networks=gru fits none of v: they are no series"):
        without_fit([vector, label], "gru")
    with pytest.raises(UsageError, match="networks=conv fits none of s, v: they are no images or texts"):
        without_fit([series_of_numbers, vector], "conv")
