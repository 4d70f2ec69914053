"""Pairs in which either side may be noise: the recipes mnist-speech and digits-noise, on small and on real files."""

import zipfile

import numpy as np
import pytest
import torch
from small_files import mnist
from small_wavs import wav, word

from mmppl import read
from mmppl.base.random import generator
from mmppl.data.readers.speech.mfcc import speech_features
from mmppl.data.recipes.parts.digits import load_digits
from mmppl.data.recipes.parts.noisy_pairs import shuffled, white_images
from mmppl.data.recipes.parts.spoken import spoken_digits
from mmppl.errors import DataError, UsageError

SMALL = "per_class=20,valid_per_class=10,test_per_class=10"
ROWS = {"train": 220, "valid": 110, "test": 110}


def recorded(root, leave_out=lambda digit, take: False, n=1600):
    (root / "fsdd").mkdir(exist_ok=True)
    with zipfile.ZipFile(root / "fsdd" / "fsdd_recordings.zip", "w") as archive:
        for digit in range(10):
            for number, speaker in enumerate(("anna", "ben")):
                for take in (0, 1, 5, 7, 9):
                    if not leave_out(digit, take):
                        content = wav(word(digit, 20 * number + take, n=n + 10 * take))
                        archive.writestr(f"recordings/{digit}_{speaker}_{take}.wav", content)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """MNIST with 2×2 images of one grey; ten digits, two speakers, five takes."""
    root = tmp_path_factory.mktemp("data")
    (root / "mnist").mkdir()
    for name, content in mnist().items():
        (root / "mnist" / name).write_bytes(content)
    recorded(root)
    return root


@pytest.mark.parametrize("kinds", ["white", "shuffled"])
def test_sizes_parts_and_annotations(root, kinds):
    data = read(f"mnist-speech:{SMALL},image_noise={kinds},speech_noise={kinds}", root=root)
    assert [(m.name, m.shape, m.likelihood, m.role) for m in data.modalities] == [
        ("image", (2, 2), "bernoulli", "modality"),
        ("speech", (58, 12), "bernoulli", "modality"),
        ("label", (), "categorical", "label"),
    ]
    assert data.describe()["split"] == ROWS and data.has_split and not data.drawn_valid
    noise = [data.annotations[f"noise_{name}"] for name in ("image", "speech")]
    label, names = data.values["label"].numpy(), data.annotations["recording"]
    assert not (noise[0] & noise[1]).any()
    for part, n in enumerate((20, 10, 10)):
        for digit in range(10):
            here = (data.split == part) & (label == digit)
            assert [int(one[here].sum()) for one in noise] == [n // 10, n // 10] and here.sum() == n * 11 // 10
        assert len(np.unique(label[data.split == part][:30])) > 4  # in no order
    assert ((names == "") == noise[1]).all()
    assert all(name[0] == str(digit) for name, digit in zip(names[~noise[1]], label[~noise[1]]))
    takes = np.array([int(name.rpartition("_")[2] or -1) for name in names])
    for part, allowed in enumerate(({5, 7}, {9}, {0, 1})):
        assert set(takes[(data.split == part) & ~noise[1]]) == allowed
    found, parsed = spoken_digits(root / "fsdd" / "fsdd_recordings.zip", "frames")
    stems = [f"{one.label}_{one.speaker}_{one.take}" for one in parsed]
    train = found[[one.take in (5, 7) for one in parsed]]
    low, high = train.amin((0, 1)), train.amax((0, 1))
    shown = data.values["speech"][torch.from_numpy(~noise[1])]
    wanted = ((found - low) / (high - low)).clamp(0, 1)[[stems.index(name) for name in names[~noise[1]]]]
    torch.testing.assert_close(shown, wanted, rtol=0, atol=1e-6)
    assert data.values["speech"].min() >= 0 and data.values["speech"].max() <= 1
    counts = np.unique(names[(data.split == 0) & ~noise[1]], return_counts=True)[1]
    assert counts.min() == counts.max() == 5  # 20 of a class in turn from four recordings


def test_the_same_bits_again_and_others_with_another_seed(root):
    spec = f"mnist-speech:{SMALL},image_noise=shuffled,speech_noise="
    for kind in ("white", "shuffled"):
        prints = [read(f"{spec}{kind},seed={seed}", root=root).fingerprint() for seed in (1, 1, 2)]
        assert prints[0] == prints[1] != prints[2]


def test_noise_speech_is_a_second_of_white_noise_through_the_same_features(root):
    data = read(f"mnist-speech:{SMALL}", root=root)
    noise = torch.from_numpy(data.annotations["noise_speech"])
    train = noise & torch.from_numpy(data.split == 0)
    made = data.values["speech"][train]
    assert len(torch.unique(made.flatten(1), dim=0)) == len(made) == 20
    found, parsed = spoken_digits(root / "fsdd" / "fsdd_recordings.zip", "frames")
    of_train = found[[one.take in (5, 7) for one in parsed]]
    low, high = of_train.amin((0, 1)), of_train.amax((0, 1))
    draw = torch.Generator().manual_seed(5)
    again = torch.stack([speech_features(torch.randn(12_500, generator=draw), 12_500, "frames") for _ in range(200)])
    again = ((again - low) / (high - low)).clamp(0, 1)
    # Every frame of white noise has the same law: 20 seconds of 58 frames have means within five standard errors.
    error = again.std((0, 1)) / (20 * 58) ** 0.5
    assert ((made.mean((0, 1)) - again.mean((0, 1))).abs() < 5 * error + 1e-6).all()
    assert (made.std(1).mean() - again.std(1).mean()).abs() < 0.01


def test_shares_follow_r_and_rows_of_noise_keep_the_class_of_the_clean_side(root):
    none = read("mnist-speech:per_class=7,valid_per_class=1,test_per_class=1,noise=0", root=root)
    assert len(none) == 90 and not none.annotations["noise_image"].any() and (none.annotations["recording"] != "").all()
    half = read("mnist-speech:per_class=8,valid_per_class=2,test_per_class=2,noise=0.5", root=root)
    assert half.describe()["split"] == {"train": 120, "valid": 30, "test": 30}
    assert half.annotations["noise_image"][half.split == 0].mean() == half.annotations["noise_speech"].mean() == 1 / 3
    pixels = (255 * half.values["image"][:, 0, 0]).round().long().numpy()
    clean = ~half.annotations["noise_image"]
    # Image i of a part holds i mod 251 and shows i mod 10.
    allowed = [{number % 251 for number in range(digit, 60_000, 10)} for digit in range(10)]
    assert all(pixel in allowed[digit] for pixel, digit in zip(pixels[clean], half.values["label"][clean].tolist()))


def test_white_images():
    images = white_images(400, (28, 28), 0.8, generator(0, "test"))
    dark = (images == 0).flatten(1).sum(1) - round(0.8 * 784)
    assert dark.min() == 0 and dark.sum() < 8  # besides, one of 67,000 Gaussian pixels is negative: .94 in 62,800
    lit = images[images > 0].double()
    assert (lit.mean() - 0.5).abs() < 5 * 0.12 / len(lit) ** 0.5 and (lit.std() - 0.12).abs() < 0.002
    assert images.max() <= 1 and (images.double().mean(0) - 0.1).abs().max() < 0.06  # every pixel alike: sd .0105
    assert white_images(3, (2, 2), 0.0, generator(0, "test")).min() > 0
    assert not white_images(3, (2, 2), 1.0, generator(0, "test")).any()


def test_shuffled_rows_hold_the_same_in_another_order_each():
    values = torch.arange(60.0).reshape(20, 3).expand(50, 20, 3).contiguous()
    mixed = shuffled(values, generator(0, "test"))
    assert torch.equal(mixed[..., 0].sort(1).values, values[..., 0])
    assert torch.equal(mixed[..., 1] - mixed[..., 0], torch.ones(50, 20))  # frames stay whole
    assert len(torch.unique(mixed[..., 0], dim=0)) == 50
    assert mixed[..., 0].mean(0).std() < 6  # each place has any of them; means of 50 have sd 2.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("noise=1", "noise=1 is not a share of the pairs"),
        ("noise=-0.1", "noise=-0.1 is not"),
        ("sparsity=1.2", "sparsity=1.2 is not a share of the pixels"),
        ("per_class=0", "per_class=0: every class needs at least one"),
    ],
)
@pytest.mark.parametrize("name", ["mnist-speech", "digits-noise"])
def test_options_that_cannot_be(root, name, options, message):
    with pytest.raises(UsageError, match=f"^{name}: {message}"):
        read(f"{name}:{options}", root=root)


@pytest.mark.parametrize("part, take", [("train", (5, 7)), ("valid", (9,)), ("test", (0, 1))])
def test_a_digit_without_a_recording(root, tmp_path, part, take):
    (tmp_path / "mnist").symlink_to(root / "mnist")
    recorded(tmp_path, lambda digit, number: digit == 3 and number in take)
    with pytest.raises(DataError, match=f"no {part} row can show a 3: there is no speech of it") as error:
        read(f"mnist-speech:{SMALL}", root=tmp_path)
    assert "\n" not in str(error.value)


def test_a_recording_shorter_than_a_window(root, tmp_path):
    (tmp_path / "mnist").symlink_to(root / "mnist")
    recorded(tmp_path)
    with zipfile.ZipFile(tmp_path / "fsdd" / "fsdd_recordings.zip", "a") as archive:
        archive.writestr("recordings/4_anna_11.wav", wav(word(4, n=159)))
    with pytest.raises(DataError, match=r"4_anna_11.wav: 19.9 ms of sound, shorter than one window of 20 ms; leave it"):
        read(f"mnist-speech:{SMALL}", root=tmp_path)


def test_no_files(root, tmp_path, monkeypatch):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    with pytest.raises(DataError, match=r"mnist-speech: needs train-images.* in ROOT/mnist, and fsdd_recordings.zip"):
        read("mnist-speech")
    with pytest.raises(DataError, match=rf"put fsdd_recordings.zip, .* into {tmp_path}/fsdd"):
        read("mnist-speech", root=tmp_path)


def test_digits_noise():
    data = read("digits-noise:per_class=40,seed=3")
    images, labels = load_digits()
    assert data.describe()["split"] == {"train": 440, "valid": 40, "test": 110}
    assert [(m.name, m.shape, m.likelihood, m.role, m.transform) for m in data.modalities] == [
        ("image", (8, 8), "bernoulli", "modality", "none"),
        ("projection", (32,), "normal", "modality", "standardise"),
        ("label", (), "categorical", "label", "none"),
    ]
    base, noise = data.annotations["recording"], data.annotations["noise_projection"]
    assert (base >= 0).all() and not (noise & data.annotations["noise_image"]).any()
    clean, label = ~noise, data.values["label"].numpy()
    assert (labels[base[clean]] == label[clean]).all()
    # The projection is one linear map of the base image: it explains the clean rows exactly.
    back = data.modalities[1].value_in_input_units(data.values["projection"].numpy())
    pixels = images[base[clean]].flatten(1).double().numpy()
    directions, *_ = np.linalg.lstsq(pixels, back[clean], rcond=None)
    assert len(pixels) == 540  # of 64 pixels: far more equations than unknowns
    np.testing.assert_allclose(pixels @ directions, back[clean], atol=1e-4)
    shown = {image.numpy().tobytes(): row for row, image in enumerate(images)}
    seen = [shown.get(image.numpy().tobytes(), -1) for image in data.values["image"]]
    assert ((np.array(seen) < 0) == data.annotations["noise_image"]).all()
    assert (labels[base] == label).all() and (base == seen)[~data.annotations["noise_image"]].all()
    parts = [{*base[data.split == part], *np.array(seen)[data.split == part]} - {-1} for part in range(3)]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2] and min(map(len, parts)) > 30
    assert read("digits-noise:per_class=40,seed=3").fingerprint() == data.fingerprint()
    assert read("digits-noise:per_class=40,seed=4").fingerprint() != data.fingerprint()


def test_real_recordings(data_root):
    """Sizes as published; and scaled speech tells the digit: 1-NN of test recordings among those of training."""
    data = read("mnist-speech:speech_noise=shuffled", root=data_root)
    assert data.describe()["split"] == {"train": 33_000, "valid": 3_300, "test": 7_700}
    noise = data.annotations["noise_speech"]
    assert noise.mean() == data.annotations["noise_image"].mean() == 1 / 11
    assert data.values["image"].shape[1:].numel() == 784 and data.values["speech"].shape[1:].numel() == 696
    first = {}
    for part in (0, 2):
        rows = np.flatnonzero((data.split == part) & ~noise)
        first[part] = rows[np.unique(data.annotations["recording"][rows], return_index=True)[1]]
    assert len(first[2]) == 300 and len(first[0]) == 2400  # 40 of 45 takes of 6 speakers and 10 digits
    train, test = (data.values["speech"][first[part]].flatten(1) for part in (0, 2))
    nearest = torch.cdist(test, train).argmin(1)
    right = data.values["label"][first[0]][nearest] == data.values["label"][first[2]]
    assert right.double().mean() > 0.95  # .977 with 270 recordings of a class
