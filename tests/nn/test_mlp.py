"""Building blocks: shapes in every image layout, rows that do not see each other, dropout's law."""

import pytest
import torch

from mmppl import UsageError, load_program, read
from mmppl.base.precision import matmul_precision
from mmppl.modalities.images import image_layout
from mmppl.nn.conv import ConvDecoder, ConvTrunk
from mmppl.nn.mlp import Dropout, Linear, LinearPath, mlp


@pytest.mark.parametrize("shape", [(8, 8), (3, 9, 11), (9, 11, 3), (28, 28), (1, 5)], ids=str)
def test_convolutional_blocks_fit_every_layout(shape):
    size = torch.Size(shape).numel()
    x = torch.rand(4, 2, size)
    trunk = ConvTrunk(shape, 7, width=8).eval()
    assert trunk(x).shape == (4, 2, 7)
    torch.testing.assert_close(trunk(x[1, 1]), trunk(x)[1, 1], rtol=1e-4, atol=1e-5)  # a row does not see the others
    assert ConvDecoder(5, shape, parts=2, width=8)(torch.rand(4, 2, 5)).shape == (4, 2, 2 * size)


def test_what_is_no_image_is_refused():
    with pytest.raises(UsageError, match="needs an image"):
        image_layout((7,))
    with pytest.raises(UsageError, match="no activation"):
        mlp(2, 3, 4, activation="swish")
    with pytest.raises(UsageError, match="both at least 1"):
        ConvTrunk((8, 8), -1)


def test_normalisation_is_per_sample():
    net = mlp(5, 6, 2, layers=2, norm=True).train()
    x = torch.randn(4, 5)
    torch.testing.assert_close(net(x[:1]), net(x)[:1])


def test_dropout_drops_its_share_and_keeps_the_mean():
    """10⁶ units: 5 standard errors of a share of 51/256 are 0.002."""
    torch.manual_seed(0)
    layer, x = Dropout(0.2), torch.ones(1000, 1000)
    y = layer(x)
    assert (y == 0).float().mean().item() == pytest.approx(51 / 256, abs=0.002)
    assert y.mean().item() == pytest.approx(1, abs=0.003) and y.unique().numel() == 2
    assert (torch.corrcoef(torch.stack([y[:, 0], y[:, 1]]))[0, 1]).abs() < 0.16
    assert layer.eval()(x) is x and Dropout(0.0)(x) is x
    with pytest.raises(UsageError):
        Dropout(1.0)
    nearly = Dropout(0.999)  # 255/256: a scale of 256, not one divided by zero
    assert set(nearly(x).unique().tolist()) == {0.0, 256.0}


@pytest.mark.parametrize("columns", [3, 100, 20_000])
def test_a_linear_path_begins_alone_and_moves_calmly(columns):
    """The network adds nothing; the output of standardised columns has the gain as its standard deviation (64,000
    draws in 64 groups that share weights: within a third), and no step of Adam at 2e-3 moves it by more than .3 even
    where all columns are equal."""
    torch.manual_seed(0)
    net = mlp(columns, 8, 64, linear=0.5)
    assert isinstance(net, LinearPath) and net.network[-1].weight.abs().max() == 0
    x = torch.randn(1000, columns)
    scale = min(1, 100 / columns)
    want = torch.nn.functional.linear(scale * x, net.linear.weight, net.linear.bias)
    torch.testing.assert_close(net(x), want, rtol=1e-4, atol=1e-4)
    assert net(x).std().item() == pytest.approx(0.5, rel=0.33)
    same = torch.ones(1, columns)
    before = net(same)
    optimiser = torch.optim.Adam(net.linear.parameters(), lr=2e-3)
    before.sum().backward()
    optimiser.step()
    assert 0 < (net(same) - before).abs().max() < 0.3


def test_without_hidden_layers_there_is_nothing_beside_the_path():
    assert not isinstance(mlp(3, 8, 2, layers=0, linear=0.5), LinearPath) and not isinstance(mlp(3, 8, 2), LinearPath)


def test_under_autocast_the_sum_has_the_precision_of_its_network():
    x = torch.randn(4, 3)
    for narrow, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        with torch.autocast("cpu", torch.bfloat16):
            assert mlp(3, 8, 2, narrow=narrow, linear=0.5)(x).dtype == dtype


@pytest.mark.parametrize(
    "options",
    [
        {"trunk": "conv"},
        {"trunk": "conv", "channels": 8, "input_dropout": 0.2},
        {"kernel": "mixture"},
        {"classify": "sample"},
        {"omega": 1.0},
        {"omega": 0.0},
        {"generative": False},
    ],
    ids=str,
)
def test_cmmds_options_train(options):
    data = read("digits-two-view")
    program = load_program("cmmd")(data.modalities, hidden=16, latent_dim=3, **options)
    terms = program.objective(data.batch(torch.arange(16), program.encoded))
    gradients = torch.autograd.grad(terms.loss, list(program.parameters()), allow_unused=True)
    assert terms.loss.isfinite() and any(g is not None and g.abs().sum() > 0 for g in gradients)
    assert ("kl.z" in terms) == program.generative and ("mmd.z" in terms) == (program.generative and program.omega < 1)
    if program.generative:
        assert all(g is not None for g in gradients)


def test_cmmd_takes_several_observed_and_several_missing():
    data = read("digits-three")
    for observed in (("image",), ("image", "word"), ("profile",)):
        program = load_program("cmmd")(data.modalities, hidden=16, latent_dim=3, observed=observed, trunk="conv")
        terms = program.objective(data.batch(torch.arange(16), program.encoded))
        assert {n for n in terms if n.startswith("nll")} == {
            "nll.label",
            *(f"nll.{m.name}" for m in data.modalities if m.role == "modality" and m.name not in observed),
        }
    with pytest.raises(UsageError, match="must name some, not all"):
        load_program("cmmd")(data.modalities, observed=("image", "profile", "word"))
    with pytest.raises(UsageError, match="not between 0 and 1"):
        load_program("cmmd")(data.modalities, omega=2.0)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN is not in this PyTorch")
@pytest.mark.parametrize("shape", [(300, 7), (3, 100, 7), (255, 7)])
def test_the_bias_may_be_added_in_the_same_pass(shape):
    """Only without gradients and with oneDNN's products; the numbers are those of nn.Linear."""
    torch.manual_seed(0)
    layer, x = Linear(7, 5), torch.randn(shape)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        plain = layer(x)
        with torch.no_grad():
            elsewhere = layer(x)
            with matmul_precision("onednn"):
                fused = layer(x)
        with matmul_precision("onednn"):
            learning = layer(x)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                narrow = layer(x)
    counts = [event.count for event in profile.key_averages() if event.key == "mkldnn::_linear_pointwise"]
    assert sum(counts) == (x.shape[:-1].numel() >= 256)
    want = torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    for y in (plain, elsewhere, fused, learning):
        assert y.dtype == torch.float32
        torch.testing.assert_close(y.double(), want, rtol=1e-2, atol=2e-2)  # where products round to bfloat16
    assert narrow.dtype == torch.bfloat16 and learning.requires_grad and not fused.requires_grad
    torch.testing.assert_close(fused, learning.detach(), rtol=1e-6, atol=1e-6)
