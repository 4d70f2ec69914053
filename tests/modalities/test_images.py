"""One answer to "is this an image?", for networks, classifiers and figures."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmppl import Modality, UsageError
from mmppl.evaluation.classifiers import classifier_network
from mmppl.figures.drawing import draw_image, mosaic
from mmppl.modalities.images import image_layout, is_image, pixels, shades
from mmppl.nn.conv import ConvTrunk
from mmppl.nn.options import NetworkOptions
from mmppl.nn.per_modality import decoders, encoders
from mmppl.nn.strided import Rows, image_trunk

IMAGES = {  # shape → channels, height, width, channels last
    (20, 24): (1, 20, 24, False),
    (1, 20, 24): (1, 20, 24, False),
    (3, 20, 24): (3, 20, 24, False),
    (4, 20, 24): (4, 20, 24, False),
    (20, 24, 1): (1, 20, 24, True),
    (20, 24, 3): (3, 20, 24, True),
    (20, 24, 4): (4, 20, 24, True),
}
OTHERS = [(), (480,), (2, 20, 24), (20, 24, 2), (3, 20, 24, 1)]


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_all_code_agrees_on_what_an_image_is(shape):
    m = Modality("m", shape, "bernoulli")
    channels, height, width, last = image_layout(shape)
    assert (channels, height, width, last) == IMAGES[shape]
    assert is_image(m) and m.drawn == "image"
    assert pixels(m, np.zeros((5, *shape))).shape == (5, height, width, channels)
    ConvTrunk(shape, 2), image_trunk(shape, 2)
    for networks in (encoders, decoders):
        (network,) = networks([m], 2, NetworkOptions(networks="conv", hidden=4)).values()
        assert any("Conv" in type(layer).__name__ for layer in network.modules())
    assert isinstance(classifier_network(m, 2), Rows)


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_all_code_agrees_on_what_is_no_image(shape):
    m = Modality("m", shape)
    assert not is_image(m) and m.drawn == ("curve" if shape else "text")
    for refuse in (image_layout, lambda shape: ConvTrunk(shape, 2), lambda shape: image_trunk(shape, 2)):
        with pytest.raises(UsageError, match="needs an image"):
            refuse(shape)
    (network,) = encoders([m], 2, NetworkOptions(networks="conv", hidden=4)).values()
    assert not any("Conv" in type(layer).__name__ for layer in network.modules())
    assert not isinstance(classifier_network(m, 2), Rows)


def test_classes_are_no_image():
    letters = Modality("m", (20, 24), "categorical", classes=("a", "b"))
    assert not is_image(letters) and letters.drawn == "text"


def test_opacity_lets_the_white_page_through():
    """Half-clear black is grey, whatever lies under full clearness is white; limits are those of all four channels."""
    m = Modality("m", (1, 5, 4), "bernoulli", transform="image")
    value = np.array([[[0, 0, 0, 127.5], [255, 0, 0, 255], [10, 20, 30, 0], [0, 0, 0, 255], [9, 9, 9, 0]]], float)
    want = np.array([[[0.5, 0.5, 0.5], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]]])
    np.testing.assert_allclose(shades(value, m.family.limits(m)), want)
    ax, other = Figure().subplots(1, 2)
    draw_image(ax, value, m.family.limits(m))
    np.testing.assert_allclose(ax.images[0].get_array(), want)
    mosaic(other, pixels(m, value[None, None]), m.family.limits(m))
    np.testing.assert_allclose(other.images[0].get_array(), want)
    first = np.moveaxis(value, -1, 0)
    draw_image(other, first, m.family.limits(m))
    np.testing.assert_allclose(other.images[1].get_array(), want)


def test_a_map_of_spreads_has_no_opacity():
    """The sd of four channels is shown as that of red, green and blue."""
    ax = Figure().subplots()
    spread = np.random.default_rng(0).random((5, 6, 4))
    draw_image(ax, spread, (0.0, 1.0), "cividis")
    np.testing.assert_allclose(ax.images[0].get_array(), spread[..., :3])
