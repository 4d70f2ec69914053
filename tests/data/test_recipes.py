import gzip
import math
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from small_files import idx, mnist

from mmppl.base.random import generator
from mmppl.core.loading import load_program
from mmppl.data.read import read
from mmppl.data.readers.papers.idx import read_idx
from mmppl.data.recipes.digits_three import profile
from mmppl.data.recipes.parts.digits import NAMES, load_digits
from mmppl.data.recipes.parts.mnist import FILES
from mmppl.data.recipes.parts.pairing import another_of_class
from mmppl.data.recipes.parts.transforms import random_rotation, rotate_images
from mmppl.data.recipes.parts.two_view import two_view
from mmppl.data.recipes.registry import recipes
from mmppl.errors import DataError, UsageError

PLACES = [os.environ.get("MMPPL_DATA"), Path(__file__).parents[2] / "shared" / "data"]
ROOT = next((Path(place) for place in PLACES if place and (Path(place) / "mnist").is_dir()), None)


def smooth_images(n, height, width):
    y, x = torch.meshgrid(torch.linspace(-2, 2, height), torch.linspace(-2, 2, width), indexing="ij")
    centres = torch.rand(n, 2, 1, 1, generator=generator(0, "test")) - 0.5
    return torch.exp(-((y - centres[:, 0]) ** 2) - 3 * (x - centres[:, 1]) ** 2)


def test_rotation_by_nothing_and_by_quarter_turns_is_exact():
    images = smooth_images(5, 9, 9)
    torch.testing.assert_close(rotate_images(images, torch.zeros(5)), images, rtol=0, atol=1e-6)
    quarter = rotate_images(images, torch.full((5,), math.pi / 2))
    torch.testing.assert_close(quarter, torch.rot90(images, 1, (1, 2)), rtol=0, atol=1e-5)


def test_rotation_keeps_distances_when_the_image_is_not_square():
    image = torch.zeros(1, 21, 41)
    image[0, 10, 26] = 1  # 6 right of the centre
    turned = rotate_images(image, torch.tensor([math.pi / 2]))[0]
    assert turned.argmax().item() in ((10 - 6) * 41 + 20, (10 + 6) * 41 + 20)


def test_each_row_has_its_own_angle():
    images = smooth_images(1, 8, 8).expand(3, 8, 8).contiguous()
    turned = rotate_images(images, torch.tensor([0.3, 0.3, -0.3]))
    assert torch.equal(turned[0], turned[1]) and not torch.allclose(turned[0], turned[2], atol=0.01)


def test_angles_are_even_from_minus_to_plus_45_degrees():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 29), torch.linspace(-1, 1, 29), indexing="ij")
    bar = torch.exp(-(x**2) / 0.08 - y**2 / 0.01)
    turned = random_rotation(bar.expand(2000, 29, 29).contiguous(), generator(0, "test"))
    xx, yy, xy = ((turned * part).sum((1, 2)) for part in (x * x, y * y, x * y))
    degrees = torch.atan2(2 * xy, xx - yy) * 90 / math.pi  # the direction of the longer axis
    assert 44 < degrees.max() < 45.5 and -45.5 < degrees.min() < -44  # pixels and edge: half a degree
    assert degrees.mean().abs() < 2.4 and (degrees.std() - 26).abs() < 1.2  # 4 standard errors of 2000 draws


def test_a_partner_is_another_one_of_the_class_in_the_same_part():
    labels = np.repeat([0, 1, 2], [40, 30, 1])
    split = np.tile([0, 1, 2], 24)[: len(labels)].astype(np.int8)
    counts = np.zeros((71, 71))
    for seed in range(300):
        partner = another_of_class(labels, split, generator(seed, "partner")).numpy()
        assert (labels[partner] == labels).all() and (split[partner] == split).all()
        counts[np.arange(71), partner] += 1
    assert (np.diag(counts)[:70] == 0).all() and counts[70, 70] == 300  # alone in its class: itself
    group = np.flatnonzero((labels == 0) & (split == 0))
    others = counts[np.ix_(group, group)][~np.eye(len(group), dtype=bool)]
    assert others.min() > 5  # 23 expected of each, sd 4.7: all are drawn about evenly


@pytest.mark.parametrize("rotate", ["fixed", "fresh"])
def test_digits_two_view(rotate):
    data = read(f"digits-two-view:rotate={rotate},seed=3")
    images, labels = load_digits()
    assert (
        data.has_split and len(data) == 1797 and data.describe()["split"] == {"train": 1258, "valid": 180, "test": 359}
    )
    assert [(m.name, m.likelihood, m.scale, m.role) for m in data.modalities] == [
        ("rotated", "bernoulli", None, "modality"),
        ("noisy", "normal", "predicted", "modality"),
        ("label", "categorical", None, "label"),
    ]
    assert np.array_equal(data.values["label"].numpy(), labels)
    for digit in range(10):  # each class has its share of the test rows, up to the rounding of two classes
        assert abs((data.split[labels == digit] == 2).mean() - 0.2) < 2 / 170
    # The noise is uniform and added to some image of the class in that part: nothing may be darker than all of them.
    noisy = data.values["noisy"]
    assert noisy.min() >= 0 and noisy.max() == 1 and (noisy == 1).double().mean() > 0.2
    partner = another_of_class(labels, data.split, generator(3, "partner"))
    noise = noisy - images[partner]
    inside = noisy < 1
    assert noise[inside].min() >= 0 and noise[inside & (images[partner] == 0)].double().mean().sub(0.5).abs() < 0.01
    # A rotation moves ink, and makes hardly any.
    ink = (data.values["rotated"].sum((1, 2)) / images.sum((1, 2))).double()
    assert 0.9 < ink.mean() < 1.01 and not torch.allclose(data.values["rotated"], images, atol=0.05)
    assert (data.refresh is None) == (rotate == "fixed")
    assert torch.equal(data.values["rotated"], read("digits-two-view:seed=3").values["rotated"])


def test_fresh_rotations_are_of_the_train_rows_and_repeat_with_seed_and_epoch():
    data = read("digits-two-view:rotate=fresh")
    before = torch.get_rng_state()
    first = data.refresh(1, 0)["rotated"]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, data.refresh(1, 0)["rotated"])
    assert not torch.equal(first, data.refresh(1, 1)["rotated"]) and not torch.equal(
        first, data.refresh(2, 0)["rotated"]
    )
    images = load_digits()[0][data.rows("train")]
    middle = images[:, 3:5, 3:5].sum((1, 2)), first[:, 3:5, 3:5].sum((1, 2))  # the centre hardly moves
    assert torch.corrcoef(torch.stack(middle))[0, 1] > 0.9


def test_two_view_takes_a_split_of_ones_own():
    images, labels = load_digits()
    split = (np.arange(len(labels)) % 3).astype(np.int8)
    data = two_view(images, labels, split, name="fold")
    assert np.array_equal(data.split, split)
    again = two_view(images, labels, np.roll(split, 1), name="fold")
    assert torch.equal(data.values["rotated"], again.values["rotated"])
    assert not torch.equal(data.values["noisy"], again.values["noisy"])  # other parts, other partners


def test_digits_three():
    data = read("digits-three")
    images, labels = load_digits()
    schema = {m.name: m for m in data.modalities}
    assert list(schema) == ["image", "profile", "word", "label"]
    assert torch.equal(data.values["image"], images) and schema["image"].likelihood == "bernoulli"
    letters = np.array(schema["word"].classes)[data.values["word"].numpy()]
    assert ["".join(word).rstrip() for word in letters] == [NAMES[label] for label in labels]
    assert schema["word"].role == "modality" and set(schema["word"].classes) == set("".join(NAMES)) | {" "}
    train = data.values["profile"][data.rows("train")].double()
    torch.testing.assert_close(train.mean(0), torch.zeros(32).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(train.std(0, unbiased=False), torch.ones(32).double(), rtol=0, atol=1e-5)
    partner = another_of_class(labels, data.split, generator(0, "partner"))
    wanted = profile(images[partner]).numpy()
    back = schema["profile"].value_in_input_units(data.values["profile"].numpy())
    np.testing.assert_allclose(back, wanted, atol=1e-4)
    assert read("digits-three:seed=1").fingerprint() != data.fingerprint() == read("digits-three").fingerprint()


def test_profile_is_sums_and_dct():
    image = torch.rand(2, 8, 8, generator=generator(0, "test"), dtype=torch.float64).float()
    wanted = [np.r_[i.sum(1), i.sum(0), dctn(i, norm="ortho")[:4, :4].ravel()] for i in image.numpy()]
    np.testing.assert_allclose(profile(image).numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "spec, says",
    [
        ("digit-two-view", "digits-two-view"),
        ("digits-two-view:rotat=fresh", "Did you mean rotate?"),
        ("digits-two-view:rotate=frsh", "Did you mean fresh?"),
        ("digits-three:seed=x", "whole number"),
        ("", "no recipe or file ''"),
    ],
)
def test_a_misspelt_recipe_is_reported(spec, says):
    with pytest.raises(UsageError, match="^[^\n]*$") as error:
        read(spec)
    assert says in str(error.value)


def test_recipes_lists_all():
    known = {"digits-two-view", "digits-three", "mnist-two-view", "mnist-label", "mnist-svhn", "mnist-svhn-text"}
    assert known | {"farsi-kannada-speech"} <= {name for name, line, needs in recipes()}


@pytest.fixture(scope="module")
def tiny():
    return mnist()


@pytest.mark.parametrize("folder, zipped", [("mnist", True), ("mnist/MNIST/raw", False), ("MNIST/raw", False)])
def test_mnist_is_found_where_it_may_be(tmp_path, monkeypatch, tiny, folder, zipped):
    (tmp_path / folder).mkdir(parents=True)
    for name, content in tiny.items():
        path = tmp_path / folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content, 1) if zipped else content)
    monkeypatch.setenv("MMPPL_DATA", str(tmp_path))
    data = read("mnist-two-view")
    assert (data.split == np.repeat([0, 1, 2], [50_000, 10_000, 10_000])).all()
    assert (data.values["label"].numpy() == np.r_[np.arange(60_000), np.arange(10_000)] % 10).all()


def test_missing_mnist_is_reported_with_its_place(tmp_path, monkeypatch, tiny):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    with pytest.raises(DataError, match="--root ROOT"):
        read("mnist-two-view")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / FILES[0]).write_bytes(tiny[FILES[0]])  # one of four
    with pytest.raises(DataError) as error:
        read("mnist-two-view", root=tmp_path)
    assert all(name in str(error.value) for name in FILES) and str(tmp_path / "mnist") in str(error.value)


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def mnist(root, download):
        raise RuntimeError("Error downloading\nno network")

    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", types.SimpleNamespace(MNIST=mnist))
    with pytest.raises(DataError, match="^mnist-two-view: the download into [^\n]*no network[^\n]*by hand.$"):
        read("mnist-two-view", root=tmp_path, download=True)


def test_idx_files_that_are_broken(tmp_path):
    whole = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    for number, content in enumerate([whole[:-1], whole + b"x", whole[:9], whole[:2], b"", b"<html>" + whole]):
        for path, stored in ((tmp_path / f"{number}", content), (tmp_path / f"{number}.gz", gzip.compress(content))):
            path.write_bytes(stored)
            with pytest.raises(DataError, match=r"fetch it again"):
                read_idx(path)
    packed = gzip.compress(whole)
    for number, content in enumerate([packed[:-9], packed[:14] + b"\xff\xff" + packed[16:], whole]):
        path = tmp_path / f"packed{number}.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"truncated or corrupt"):
            read_idx(path)
    (tmp_path / "good.gz").write_bytes(packed)
    assert (read_idx(tmp_path / "good.gz").ravel() == np.arange(24)).all()


@pytest.mark.skipif(ROOT is None, reason="no mnist under $MMPPL_DATA or ../shared/data")
def test_mnist_two_view():
    data = read("mnist-two-view:rotate=fresh", root=ROOT)
    counts = np.bincount(data.values["label"].numpy()[data.split == 2])
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    rotated = data.values["rotated"]
    assert rotated.shape == (70_000, 28, 28) and abs(rotated.mean() - 0.1307) < 0.001  # mean of the unrotated pixels
    assert data.refresh(0, 0)["rotated"].shape == (50_000, 28, 28)


def test_mnist_label(tmp_path, tiny):
    (tmp_path / "mnist").mkdir()
    for name, content in tiny.items():
        (tmp_path / "mnist" / name).write_bytes(content)
    data = read("mnist-label", root=tmp_path)
    assert [(m.name, m.shape, m.likelihood, m.role, m.classes) for m in data.modalities] == [
        ("image", (2, 2), "bernoulli", "modality", None),
        ("label", (), "categorical", "label", tuple(range(10))),
    ]
    assert np.bincount(data.split).tolist() == [50_000, 10_000, 10_000] and data.has_split and data.refresh is None
    number = np.r_[np.arange(60_000), np.arange(10_000)]
    assert (data.values["label"].numpy() == number % 10).all()
    assert ((255 * data.values["image"][:, 0, 0]).round().numpy() == number % 251).all()
    # The label as a modality: by a program's option, or by its role.
    few = data.take(torch.arange(0, 70_000, 500))
    seen = load_program("mvae")(few.modalities, see_labels=True, latent_dim=2, hidden=8)
    turned = read(few, as_={"label": "categorical:role=modality"})
    for program in (seen, load_program("mvae")(turned.modalities, latent_dim=2, hidden=8)):
        assert program.encoded == ("image", "label") and program.can_answer(["label"]) is None
        loss = program.objective(turned.batch(torch.arange(20), program.encoded))
        assert {"nll.image", "nll.label", "kl.z"} <= {*loss}
    with pytest.raises(UsageError, match="^mnist-label: no option 'seed'; it has none.$"):
        read("mnist-label:seed=1", root=tmp_path)
    with pytest.raises(DataError, match="^mnist-label: put train-images"):
        read("mnist-label", root=tmp_path / "mnist" / "nowhere")
