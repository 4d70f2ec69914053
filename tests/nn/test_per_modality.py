"""Encoders and decoders by kind: sizes for every likelihood, one joint network, programs that learn with them."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from mmppl import Modality, UsageError, fit, load_program
from mmppl.nn.mlp import LinearPath
from mmppl.nn.options import NetworkOptions, Networks
from mmppl.nn.per_modality import JointEncoder, decoders, encoders

PHOTO = Modality("photo", (3, 32, 32), "laplace", scale=0.75)
TEXT = Modality("text", (8,), "categorical", classes=tuple("abcd"))
IMAGE = Modality("image", (28, 28), "bernoulli")
SPEECH = Modality("speech", (8, 13), "normal")


@pytest.mark.parametrize(
    ("modality", "sizes"),
    [
        (Modality("photo", (3, 32, 32), "laplace"), (3072, 3072)),
        (Modality("photo", (32, 32, 3), "normal", scale="predicted"), (3072, 6144)),
        (Modality("image", (28, 28), "bernoulli"), (784, 784)),
        (Modality("image", (28, 28, 3), "normal", scale="predicted"), (2352, 4704)),
        (Modality("signals", (5, 28, 28), "normal"), (3920, 3920)),
        (Modality("text", (8,), "categorical", classes=tuple("abcd")), (32, 32)),
        (Modality("vector", (8,), "normal"), (8, 8)),
        (Modality("label", (), "categorical", role="label", classes=(0, 1)), (2, 2)),
    ],
)
@pytest.mark.parametrize("networks", ["conv", "conv-encoders"])
def test_each_modality_gets_networks_that_fit(modality, sizes, networks):
    encoder = encoders([modality], 6, NetworkOptions(networks=networks, hidden=9))[modality.name]
    decoder = decoders([modality], 3, NetworkOptions(networks=networks, hidden=9))[modality.name]
    assert encoder(torch.randn(2, modality.input_size)).shape == (2, 6) and modality.input_size == sizes[0]
    assert decoder(torch.randn(5, 2, 3)).shape == (5, 2, modality.output_size) and modality.output_size == sizes[1]


@pytest.mark.parametrize("modality", [PHOTO, IMAGE, TEXT, SPEECH])
def test_which_networks_are_convolutions(modality):
    """Images and texts of 8, and no table of speech; the decoders stay behind where only encoders are asked for."""

    def convolves(make, networks):
        network = make([modality], 6, NetworkOptions(networks=networks, hidden=9))[modality.name]
        return any(isinstance(part, nn.modules.conv._ConvNd) for part in network.modules())

    kinds = [kind for kind in get_args(Networks) if kind == "mlp" or kind.startswith("conv") and kind != "conv1d"]
    found = {kind: (convolves(encoders, kind), convolves(decoders, kind)) for kind in kinds}
    taken, as_authors = modality is not SPEECH, modality in (PHOTO, TEXT)
    assert found == {
        "mlp": (False, False), "conv": (taken, taken), "conv-encoders": (taken, False), "conv-32": (as_authors,) * 2,
    }  # fmt: skip


@pytest.mark.parametrize("make", [encoders, decoders])
def test_mlps_have_a_linear_path_unless_it_is_turned_off(make):
    for linear in (True, False):
        made = make([SPEECH, IMAGE], 6, NetworkOptions(networks="conv", hidden=9, linear=linear))
        assert [isinstance(made[m.name], LinearPath) for m in (SPEECH, IMAGE)] == [linear, False]


@pytest.mark.parametrize("name", ["fmwvae", "jmvae", "mmjsd", "mmvae", "mopoe", "mvae", "mvtcae", "mwvae", "vcca"])
def test_presets_of_papers_have_none(name):
    papers = [preset for title, preset in load_program(name).presets.items() if title.startswith("paper")]
    assert papers and all(preset["linear"] is False for preset in papers)


@pytest.mark.parametrize("networks", ["mlp", "conv", "conv-encoders"])
def test_the_joint_encoder_sees_every_modality(networks):
    torch.manual_seed(0)
    joint = JointEncoder([PHOTO, TEXT, IMAGE], 6, NetworkOptions(networks=networks, hidden=9))
    x = torch.rand(2, 5, 3072 + 32 + 784, requires_grad=True)
    y = joint(x)
    y.sum().backward()
    assert y.shape == (2, 5, 6)
    assert all((part != 0).any() for part in x.grad.split([3072, 32, 784], -1))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("jmvae", "mvae", "fmwvae", "mopoe", "mmvae", "mwvae", "mmjsd", "mvtcae", "vcca")
    ],
)
def test_programs_learn_with_convolutions(name, tmp_path):
    """Two epochs with bfloat16 on a digit of three views: finite, recorded, and better than where it began."""
    draw = np.random.default_rng(0)
    word = draw.integers(0, 4, 96)
    photo = np.clip(word[:, None, None, None] / 4 + 0.1 * draw.random((96, 3, 28, 28)), 0, 1).astype(np.float32)
    data = {"photo": photo, "text": np.repeat(np.array(list("abcd"))[word][:, None], 8, 1), "label": word}
    run = fit(
        load_program(name), data, hyper={"networks": "conv", "latent_dim": 3}, epochs=2,
        batch_size=16, precision="bf16", out=tmp_path / name,
    )  # fmt: skip
    losses = [line["loss"]["train"] for line in run.metrics]
    assert np.isfinite(losses).all() and losses[1] < losses[0]
    assert run.query(data, given=["photo"], want=["text"], split="all").want["text"]["prob"].shape == (96, 8, 4)


def test_each_modality_may_have_a_width_of_its_own():
    """Labels are as wide as the narrowest, a joint encoder as all together."""
    label = Modality("label", (), "categorical", role="label", classes=("a", "b"))
    modalities = [Modality("x", (3,), "normal"), label, Modality("y", (2,), "normal")]
    options = NetworkOptions(hidden=(16, 8), layers=1, linear=False, norm=False)
    for networks in (encoders(modalities, 4, options), decoders(modalities, 4, options)):
        assert [networks[m.name][0].out_features for m in modalities] == [16, 8, 8]
    assert JointEncoder(modalities, 4, options).head[0].out_features == 24
    joint = JointEncoder(modalities, 4, NetworkOptions(hidden=(16, 8), layers=1, networks="conv"))
    assert joint(torch.zeros(5, sum(m.input_size for m in modalities))).shape == (5, 4)
    for wrong in ((16,), (16, 8, 8), ()):
        with pytest.raises(UsageError, match="one for each of the 2 modalities"):
            encoders(modalities, 4, NetworkOptions(hidden=wrong))
