"""The strided networks: shapes, layouts, and that every output depends on every input."""

import pytest
import torch
from torch import nn

from mmppl import UsageError
from mmppl.nn.strided import image_decoder, image_trunk, text_decoder, text_trunk

NETWORKS = {
    "image": (lambda: image_trunk((3, 32, 32), 40), 3072, 40),
    "grey": (lambda: image_trunk((32, 32), 7), 1024, 7),
    "image out": (lambda: image_decoder(20, (3, 32, 32)), 20, 3072),
    "grey out": (lambda: image_decoder(20, (32, 32)), 20, 1024),
    "28": (lambda: image_trunk((28, 28), 7), 784, 7),
    "28 out": (lambda: image_decoder(20, (28, 28)), 20, 784),
    "photo of 28": (lambda: image_trunk((28, 28, 3), 7), 2352, 7),
    "photo of 28 out": (lambda: image_decoder(20, (28, 28, 3)), 20, 2352),
    "narrow": (lambda: image_trunk((28, 28), 7, channels=5), 784, 7),
    "narrow out": (lambda: image_decoder(20, (28, 28), channels=5), 20, 784),
    "normed": (lambda: image_trunk((28, 28), 7, norm=True), 784, 7),
    "normed out": (lambda: image_decoder(20, (28, 28), norm=True), 20, 784),
    "least": (lambda: image_trunk((2, 3), 7), 6, 7),
    "least out": (lambda: image_decoder(20, (2, 3)), 20, 6),
    "long": (lambda: image_trunk((1, 57, 12), 7), 684, 7),
    "long out": (lambda: image_decoder(20, (1, 57, 12)), 20, 684),
    "text": (lambda: text_trunk(71, 40), 568, 40),
    "text out": (lambda: text_decoder(20, 71), 20, 568),
}


def build(name):
    """The network, from weights that are the same in every run (a few of all draws leave narrow layers dead)."""
    make, inputs, outputs = NETWORKS[name]
    torch.manual_seed(0)
    return make(), inputs, outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_axes_may_be_many(name):
    network, inputs, outputs = build(name)
    x = torch.randn(2, 3, inputs, generator=torch.Generator().manual_seed(0))
    y = network(x)
    assert y.shape == (2, 3, outputs) and network(x[0, 0]).shape == (outputs,)
    torch.testing.assert_close(network(x[1, 2]), y[1, 2], rtol=1e-5, atol=1e-6)
    assert network(x[:0]).shape == (0, 3, outputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_seen_and_everything_is_made(name):
    """No input is left out, and no output is a constant."""
    network, inputs, _ = build(name)
    x = torch.randn(16, inputs, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = network(x)
    assert (y.std(0) > 0).all()
    assert (torch.autograd.grad(y.square().sum(), x)[0].abs().sum(0) > 0).all()


@pytest.mark.parametrize("side", [32, 28, 9])
def test_channels_may_come_last(side):
    """The same weights on the same picture in the other layout."""
    first, last = image_trunk((3, side, side), 5), image_trunk((side, side, 3), 5)
    last.load_state_dict(dict(zip(last.state_dict(), first.state_dict().values())))
    pictures = torch.rand(4, 3, side, side)
    torch.testing.assert_close(last(pictures.movedim(1, -1).flatten(1)), first(pictures.flatten(1)))
    first, last = (image_decoder(5, shape, parts=2) for shape in ((3, side, side), (side, side, 3)))
    last.load_state_dict(dict(zip(last.state_dict(), first.state_dict().values())))
    z = torch.randn(4, 5)
    made = last(z).unflatten(-1, (2, side, side, 3)).movedim(-1, 2).flatten(1)
    torch.testing.assert_close(made, first(z))


def test_parts_come_one_after_the_other():
    """The second number of a pixel is of the same place as the first, and of a map of its own."""
    decoder = image_decoder(5, (28, 28), parts=2)
    z = torch.randn(3, 5)
    before = decoder(z).unflatten(-1, (2, 28, 28))
    last = [layer for layer in decoder if isinstance(layer, nn.ConvTranspose2d)][-1]
    with torch.no_grad():
        last.bias[1] += 1
    after = decoder(z).unflatten(-1, (2, 28, 28))
    torch.testing.assert_close(after - before, torch.tensor([0.0, 1.0])[:, None, None].expand(3, 2, 28, 28))


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((32, 32), [32, 16, 8, 4]), ((28, 28), [28, 14, 7, 4]), ((8, 8), [8, 4]), ((65, 65), [65, 33, 17, 9, 5, 3])],
)
def test_every_layer_halves_the_sides(shape, sides):
    """And its mirror doubles them again; at 32×32 these are the layers of the source."""
    met = []
    trunk, decoder = image_trunk(shape, 6), image_decoder(6, shape)
    for layer in (*trunk, *decoder):
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda _, inputs, output: met.append((inputs[0].shape, output.shape)))
    decoder(trunk(torch.rand(2, shape[0] * shape[1])))
    trunk, decoder = met[: len(sides)], met[len(sides) :]
    assert [before[-1] for before, _ in trunk] == sides and trunk[-1][1][1:] == (128, 1, 1)
    assert [after[-1] for _, after in decoder] == sides[::-1] and decoder[0][0][1:] == (128, 1, 1)
    assert [after[1] for _, after in trunk] == [32, *[64] * (len(sides) - 2), 128]


def test_a_picture_moved_by_what_a_layer_skips_moves_its_features():
    """The first features of a picture moved by 2 pixels are those before, moved by 1."""
    first = image_trunk((28, 28), 4)[1]
    picture = torch.zeros(1, 1, 28, 28)
    picture[..., 8:18, 6:20] = torch.rand(10, 14)
    moved = first(picture.roll((2, 2), (-2, -1)))
    torch.testing.assert_close(moved, first(picture).roll((1, 1), (-2, -1)))


def test_a_decoder_puts_a_texts_classes_side_by_side():
    """Position l of the text is logits [l·K, (l + 1)·K): the last layer is the same for all positions."""
    decoder = text_decoder(20, 71)
    with torch.no_grad():
        decoder[-2].weight.zero_()
        decoder[-2].bias.copy_(torch.arange(71.0))
    assert torch.equal(decoder(torch.randn(1, 20)).view(8, 71), torch.arange(71.0).expand(8, 71))


def test_norms_are_of_each_sample_before_each_relu():
    """Contrast and level of what the first layer makes do not matter, nor do the other rows."""
    for network, layers in ((image_trunk((28, 28), 4, norm=True), 4), (image_decoder(5, (28, 28), norm=True), 4)):
        at = [i for i, layer in enumerate(network) if isinstance(layer, nn.GroupNorm)]
        assert len(at) == layers and all(isinstance(network[i + 1], nn.ReLU) for i in at)
    network = image_trunk((28, 28), 4, norm=True)
    x = torch.rand(3, 784)
    before = network(x)
    with torch.no_grad():
        network[1].weight *= 3
        network[1].bias *= 3
    torch.testing.assert_close(network(x), before, rtol=1e-3, atol=1e-4)  # the norm's own 1e-5 beside the variance


def test_no_channels():
    with pytest.raises(UsageError, match="channels=0: .* at least one"):
        image_trunk((28, 28), 4, channels=0)


def test_dropout_is_of_images_and_of_training():
    network = image_trunk((28, 28), 4, dropout=0.5)
    x = torch.rand(3, 784)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
