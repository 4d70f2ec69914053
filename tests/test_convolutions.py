"""The strided networks: shapes, layouts, and that every output depends on every input."""

import pytest
import torch

from mmppl import UsageError
from mmppl.convolutions import image_decoder, image_trunk, text_decoder, text_trunk

NETWORKS = {
    "image": (image_trunk((3, 32, 32), 40), 3072, 40),
    "grey": (image_trunk((32, 32), 7), 1024, 7),
    "image out": (image_decoder(20, (3, 32, 32)), 20, 3072),
    "grey out": (image_decoder(20, (32, 32)), 20, 1024),
    "text": (text_trunk(71, 40), 568, 40),
    "text out": (text_decoder(20, 71), 20, 568),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_axes_may_be_many(name):
    network, inputs, outputs = NETWORKS[name]
    x = torch.randn(2, 3, inputs, generator=torch.Generator().manual_seed(0))
    y = network(x)
    assert y.shape == (2, 3, outputs) and network(x[0, 0]).shape == (outputs,)
    torch.testing.assert_close(network(x[1, 2]), y[1, 2], rtol=1e-5, atol=1e-6)
    assert network(x[:0]).shape == (0, 3, outputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_seen_and_everything_is_made(name):
    """No input is left out, and no output is a constant."""
    network, inputs, _ = NETWORKS[name]
    x = torch.randn(16, inputs, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = network(x)
    assert (y.std(0) > 0).all()
    assert (torch.autograd.grad(y.square().sum(), x)[0].abs().sum(0) > 0).all()


def test_channels_may_come_last():
    """The same weights on the same picture in the other layout."""
    first, last = image_trunk((3, 32, 32), 5), image_trunk((32, 32, 3), 5)
    pictures = torch.rand(4, 3, 32, 32)
    for mine, other in zip(last.parameters(), first.parameters()):
        mine.data.copy_(other.data)
    torch.testing.assert_close(last(pictures.movedim(1, -1).flatten(1)), first(pictures.flatten(1)))
    first, last = image_decoder(5, (3, 32, 32)), image_decoder(5, (32, 32, 3))
    for mine, other in zip(last.parameters(), first.parameters()):
        mine.data.copy_(other.data)
    z = torch.randn(4, 5)
    made = last(z).unflatten(-1, (32, 32, 3)).movedim(-1, 1).flatten(1)
    torch.testing.assert_close(made, first(z))


def test_a_decoder_puts_a_texts_classes_side_by_side():
    """Position l of the text is logits [l·K, (l + 1)·K): the last layer is the same for all positions."""
    decoder = text_decoder(20, 71)
    with torch.no_grad():
        decoder[-2].weight.zero_()
        decoder[-2].bias.copy_(torch.arange(71.0))
    assert torch.equal(decoder(torch.randn(1, 20)).view(8, 71), torch.arange(71.0).expand(8, 71))


def test_other_sizes_are_refused():
    with pytest.raises(UsageError, match="takes 32×32 images"):
        image_trunk((3, 28, 28), 4)
