"""`farsi-kannada-speech` on small folders in the formats of its sources, and its messages about what is missing."""

import gzip
import struct
import zipfile

import numpy as np
import pytest
import torch
from small_files import idx
from small_wavs import wav, word

from mmppl import read
from mmppl.data.readers.papers.cdb import centred, read_cdb
from mmppl.data.recipes import farsi_kannada_speech as recipe
from mmppl.data.recipes.farsi_kannada_speech import pooled, split_of_speakers, spoken_digits
from mmppl.data.recipes.parts.handwritten import Digits
from mmppl.errors import DataError, UsageError

pytestmark = pytest.mark.slow

SPEAKERS = ("anna", "ben")
TAKES = ({5, 6, 7, 8, 10, 11}, {9}, {0, 1, 2, 3, 4})  # of 12, those of train, valid and test
FARSI, KANNADA = (24, 7), (12, 5)  # images of a class in the train and test file


def numbered(counts, missing=None):
    """X_train, y_train, X_test, y_test whose images encode number and digit."""
    arrays, first = [], 0
    for count in counts:
        y = np.tile(np.arange(10), count)
        y = y[y != missing] if missing is not None else y
        number = first + np.arange(len(y))
        x = np.zeros((len(y), 28, 28), np.uint8)
        x[:, 0, 0], x[:, 0, 1], x[:, 0, 2] = number // 256, number % 256, y
        arrays += [x, y.astype(np.int32)]
        first += len(y)
    return Digits(*arrays)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """HODA and Kannada as npz; ten digits, two speakers, twelve takes."""
    root = tmp_path_factory.mktemp("data")
    for folder, file, counts in (("hoda", "hoda_farsi_digits", FARSI), ("kannada_mnist", "kannada_mnist_20k", KANNADA)):
        (root / folder).mkdir()
        np.savez(root / folder / f"{file}.npz", **numbered(counts)._asdict())
    (root / "fsdd").mkdir()
    with zipfile.ZipFile(root / "fsdd" / "fsdd_recordings.zip", "w") as archive:
        for digit in range(10):
            for number, speaker in enumerate(SPEAKERS):
                for take in range(12):
                    content = wav(word(digit, 20 * number + take, n=900 + 10 * take))
                    archive.writestr(f"recordings/{digit}_{speaker}_{take}.wav", content)
    return root


def linked(root, place, *folders):
    """A copy of `root` with links to those of its folders."""
    for folder in folders:
        (place / folder).symlink_to(root / folder)
    return place


def sources(data, name):
    """(N,) which image every row shows, and (N,) which digit that one is."""
    pixels = (255 * data.values[name][:, 0, :3]).round().long().numpy()
    return 256 * pixels[:, 0] + pixels[:, 1], pixels[:, 2]


def takes(data, root, features, level="one"):
    """(N,) which recording every row has, by its features."""
    found, parsed = spoken_digits(root / "fsdd" / "fsdd_recordings.zip", features, level)
    m = next(m for m in data.modalities if m.name == "speech")
    every = torch.from_numpy(m.to_model_units(found.numpy().astype(np.float64))).float().flatten(1)
    distance = torch.cdist(data.values["speech"].flatten(1), every, compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.min(1).values.max() < 1e-3
    return distance.argmin(1).numpy(), parsed


@pytest.mark.parametrize("features, shape", [("mean", (13,)), ("segments", (8, 13)), ("frames", (58, 12))])
def test_rows_show_one_digit_and_keep_to_their_part(root, features, shape):
    data = read(f"farsi-kannada-speech:speech={features}", root=root)
    assert [(m.name, m.shape, m.likelihood, m.scale, m.role) for m in data.modalities] == [
        ("farsi", (28, 28), "bernoulli", None, "modality"),
        ("kannada", (28, 28), "bernoulli", None, "modality"),
        ("speech", shape, "normal", 200**-0.5, "modality"),
        ("label", (), "categorical", None, "label"),
    ]
    label, split = data.values["label"].numpy(), data.split
    # Of 24 and 12 train images a class two and one are for validation; there are as many rows as images of the more.
    assert np.bincount(split).tolist() == [220, 20, 70] and (np.diff(split) >= 0).all()
    assert all((np.bincount(label[split == part]) == n).all() for part, n in enumerate((22, 2, 7)))
    assert len(np.unique(label[:20])) > 4  # in no order
    for name, (train, _) in (("farsi", FARSI), ("kannada", KANNADA)):
        image, digit = sources(data, name)
        assert (digit == label).all() and (data.values[name] <= 1).all()
        shown = [set(image[split == part]) for part in range(3)]
        assert not shown[0] & shown[1] and not (shown[0] | shown[1]) & shown[2]
        assert min(shown[2]) == 10 * train and shown[0] | shown[1] == set(range(10 * train))  # every image is used
        assert min(shown[1]) > max(i for i in shown[0]) - 10  # the last ones validate
        counts = np.bincount(image[split == 0], minlength=10 * train)[: 10 * train]
        assert counts.max() - counts[counts > 0].min() <= (0 if name == "farsi" else 1)
    row, parsed = takes(data, root, features)
    assert all(int(parsed[i].label) == digit for i, digit in zip(row, label))
    for part, allowed in enumerate(TAKES):
        assert {parsed[i].take for i in row[split == part]} <= allowed
    train = data.values["speech"][split == 0]
    assert train.min() >= 0 and train.max() <= 1


def test_training_statistics_are_of_all_train_recordings_and_answers_have_input_units(root):
    data = read("farsi-kannada-speech", root=root)
    found, parsed = spoken_digits(root / "fsdd" / "fsdd_recordings.zip", "mean")
    train = found[[i for i, one in enumerate(parsed) if one.take in TAKES[0]]]
    m = data.modalities[2]
    np.testing.assert_allclose(m.value_in_input_units(np.zeros(13)), train.amin(0), rtol=1e-5)
    np.testing.assert_allclose(m.value_in_input_units(np.ones(13)), train.amax(0), rtol=1e-5)


def test_a_speaker_held_out_is_in_all_test_rows_and_in_no_other(root):
    data = read("farsi-kannada-speech:held_out=ben", root=root)
    row, parsed = takes(data, root, "mean")
    for part, speaker in enumerate(("anna", "anna", "ben")):
        assert {parsed[i].speaker for i in row[data.split == part]} == {speaker}
    assert {parsed[i].take for i in row[data.split == 2]} == set(range(12))
    assert {parsed[i].take for i in row[data.split == 1]} == TAKES[1]
    with pytest.raises(
        UsageError, match="^farsi-kannada-speech: held_out='bent' is none of anna, ben. Did you mean ben?"
    ):
        read("farsi-kannada-speech:held_out=bent", root=root)


def test_the_official_split_and_that_of_a_speaker():
    speakers, numbers = ["a"] * 50 + ["b"] * 50, [*range(50)] * 2
    split = split_of_speakers(speakers, numbers, None)
    assert np.array_equal(split[:50], split[50:]) and split[:11].tolist() == [2] * 5 + [0] * 4 + [1, 0]
    assert np.bincount(split).tolist() == [80, 10, 10] and (split[9:50:10] == 1).all()
    split = split_of_speakers(speakers, numbers, "a")
    assert (split[:50] == 2).all() and split[50:61].tolist() == [0] * 9 + [1, 0]


def test_a_large_test_part_validates_too(monkeypatch):
    x, y = np.zeros((60, 1, 1), np.uint8), np.repeat(np.arange(10), 6)
    monkeypatch.setattr(recipe, "BOTH", 60)
    _, labels, split = pooled(Digits(x, y, x, y))
    assert np.bincount(split).tolist() == [60, 30, 30] and (split[:60] == 0).all()
    assert all((np.bincount(labels[split == part]) == 3).all() for part in (1, 2))
    assert np.bincount(pooled(Digits(x, y, x, y), False)[2]).tolist() == [60, 0, 60]


def test_without_validation_the_published_parts_are_used_whole(root):
    data = read("farsi-kannada-speech:validation=none,partners=fresh", root=root)
    assert np.bincount(data.split).tolist() == [240, 0, 70] and data.name.endswith("validation=none,seed=0")
    row, parsed = takes(data, root, "mean")
    for part, allowed in ((0, TAKES[0] | TAKES[1]), (2, TAKES[2])):
        assert {parsed[i].take for i in row[data.split == part]} == allowed
    for name, (train, test) in (("farsi", FARSI), ("kannada", KANNADA)):
        for part, images in ((0, range(10 * train)), (2, range(10 * train, 10 * (train + test)))):
            assert {*sources(data, name)[0][data.split == part]} == {*images}
    fresh = data.take(data.rows("train")).replaced(data.refresh(0, 0))
    assert {*sources(fresh, "farsi")[0]} == {*range(10 * FARSI[0])}
    data = read("farsi-kannada-speech:validation=none,held_out=ben", root=root)
    row, parsed = takes(data, root, "mean")
    assert [{parsed[i].speaker for i in row[data.split == part]} for part in (0, 2)] == [{"anna"}, {"ben"}]
    assert {parsed[i].take for i in row} == {*range(12)}


def test_recordings_can_keep_their_level(root, tmp_path):
    place = linked(root, tmp_path, "hoda", "kannada_mnist")
    (place / "fsdd").mkdir()
    for digit in range(10):
        for number, speaker in enumerate(SPEAKERS):
            for take in range(12):
                samples = 0.1**number * word(digit, 20 * number + take, n=900 + 10 * take)
                (place / "fsdd" / f"{digit}_{speaker}_{take}.wav").write_bytes(wav(samples))
    one, kept = (read(f"farsi-kannada-speech:level={level}", root=place) for level in ("one", "kept"))
    assert one.name == read("farsi-kannada-speech", root=root).name
    assert kept.name == "farsi-kannada-speech:speech=mean,level=kept,partners=fixed,images=plain,seed=0"
    spreads = [data.modalities[2].spread[0] for data in (one, kept)]
    assert spreads[1] - spreads[0] > 0.9 * 20 * 26**0.5  # ben is recorded 20 dB below anna
    assert (one.values["label"] == kept.values["label"]).all()


def test_the_seed_draws_and_fresh_rows_repeat_with_seed_and_epoch(root):
    first, again, other = (read(f"farsi-kannada-speech:seed={seed}", root=root) for seed in (0, 0, 1))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint() and first.refresh is None
    data = read("farsi-kannada-speech:partners=fresh", root=root)
    one, same, next_ = data.refresh(3, 0), data.refresh(3, 0), data.refresh(3, 1)
    assert {*one} == {"farsi", "kannada", "speech"} and all(torch.equal(one[n], same[n]) for n in one)
    assert not any(torch.equal(one[n], next_[n]) for n in one)
    train = data.take(data.rows("train"))
    fresh = train.replaced(one)
    for name, count in (("farsi", 22), ("kannada", 11)):
        image, digit = sources(fresh, name)
        assert (digit == fresh.values["label"].numpy()).all() and {*image} == {*sources(train, name)[0]}
        assert len({*image}) == 10 * count


def test_distorted_images_are_those_of_the_epoch(root, monkeypatch):
    """Validation and test rows, speech and what the set itself shows are as without; every image is moved by itself."""
    plain, data = (
        read(f"farsi-kannada-speech:partners=fresh,images={how}", root=root) for how in ("plain", "distorted")
    )
    assert all(torch.equal(plain.values[name], data.values[name]) for name in data.values)
    shown, same, next_ = data.refresh(3, 0), data.refresh(3, 0), data.refresh(3, 1)
    assert all(torch.equal(shown[name], same[name]) for name in shown)
    assert torch.equal(shown["speech"], plain.refresh(3, 0)["speech"])
    of_epoch = []
    monkeypatch.setattr(recipe, "distorted", lambda images, draw: of_epoch.append(images) or images)
    assert torch.equal(data.refresh(3, 0)["farsi"], plain.refresh(3, 0)["farsi"])
    for name, images in zip(("farsi", "kannada"), of_epoch):
        as_before = (shown[name] == images).flatten(1).all(1)
        assert not images[as_before].any()  # only the first image of all, which is black
        assert not torch.equal(shown[name], next_[name])
    with pytest.raises(UsageError, match="add partners=fresh"):
        read("farsi-kannada-speech:images=distorted", root=root)


def test_no_more_rows_than_the_source_has(root, monkeypatch):
    monkeypatch.setattr(recipe, "MAX_ROWS", (150, 10, 30))
    assert np.bincount(read("farsi-kannada-speech", root=root).split).tolist() == [150, 10, 30]


def mix(place, digits):
    np.savez(place, **{name.upper() if name[0] == "x" else name: a for name, a in digits._asdict().items()})


def cdb(digits, part):
    """HODA's file of scans of 28×28 pixels, white where the image is below 128."""
    x, y = (digits.x_train, digits.y_train) if part == "train" else (digits.x_test, digits.y_test)
    records = []
    for image, digit in zip(x, y):
        runs = b""
        for row in image >= 128:
            edges = np.flatnonzero(np.diff(np.r_[False, row])).tolist()
            runs += bytes(np.diff([0, *edges, len(row)]).tolist())
        records.append(bytes([0xFF, digit, image.shape[1], image.shape[0]]) + struct.pack("<H", len(runs)) + runs)
    header = struct.pack("<HBBBBI128IB256s245s", 2000, 1, 1, 0, 0, len(records), *[0] * 128, 0, b"", b"")
    return header + b"".join(records)


def test_the_sets_own_formats(root, tmp_path):
    """MNIST-MIX's npz, Kannada-MNIST's idx and npz; the same images, so the same rows."""
    wanted = read("farsi-kannada-speech", root=root).fingerprint()
    linked(root, tmp_path, "fsdd")
    for folder in ("hoda", "kannada_mnist"):
        (tmp_path / folder).mkdir()
    mix(tmp_path / "hoda" / "Farsi_train_test.npz", numbered(FARSI))
    mix(file := tmp_path / "kannada_mnist" / "Kannada_train_test.npz", numbered(KANNADA))
    assert read("farsi-kannada-speech", root=tmp_path).fingerprint() == wanted
    for form in ("idx", "gz", "npz"):
        file.unlink()
        for name, array in numbered(KANNADA)._asdict().items():
            kind, part = name.split("_")
            stem = tmp_path / "kannada_mnist" / f"{kind.upper() if kind == 'x' else kind}_kannada_MNIST_{part}"
            file = stem.with_name(f"{stem.name}-idx{array.ndim}-ubyte{'.gz' if form == 'gz' else ''}")
            content = idx(array.astype(np.uint8))
            if form == "npz":
                np.savez(file := stem.with_suffix(".npz"), array)
            else:
                file.write_bytes(gzip.compress(content, 1) if form == "gz" else content)
        assert read("farsi-kannada-speech", root=tmp_path).fingerprint() == wanted
        for other in (tmp_path / "kannada_mnist").iterdir():
            if other != file:
                other.unlink()


def test_scans_are_scaled_by_area_and_keep_their_place(root, tmp_path):
    scan = np.zeros((40, 20), bool)
    scan[:20] = True
    image = centred(scan)  # 26 × 13, the upper half ink
    assert image.dtype == np.uint8 and (image[1:14, 7:20] == 255).all() and image.astype(int).sum() == 255 * 13 * 13
    assert (centred(np.ones((4, 4), bool)) == 255).sum() == 9  # small scans stay small
    odd = centred(np.random.default_rng(0).random((51, 37)) < 0.5)
    assert abs(odd.sum() / 255 / (26 * 19) - 0.5) < 0.05


def test_hodas_own_files(root, tmp_path):
    linked(root, tmp_path, "fsdd", "kannada_mnist")
    (tmp_path / "hoda").mkdir()
    digits = numbered(FARSI)
    draw = np.random.default_rng(0)
    digits = digits._replace(
        x_train=(255 * (draw.random(digits.x_train.shape) < 0.3)).astype(np.uint8),
        x_test=(255 * (draw.random(digits.x_test.shape) < 0.3)).astype(np.uint8),
    )
    for part, name in (("train", "Train 60000.cdb"), ("test", "Test 20000.cdb")):
        (tmp_path / "hoda" / name).write_bytes(cdb(digits, part))
    images, labels = read_cdb(tmp_path / "hoda" / "Test 20000.cdb")
    assert (labels == digits.y_test).all()
    assert all(np.array_equal(image, centred(scan > 127)) for image, scan in zip(images, digits.x_test))
    assert np.bincount(read("farsi-kannada-speech", root=tmp_path).split).tolist() == [220, 20, 70]
    whole = cdb(digits, "test")
    for content, says in [
        (whole[:500], "truncated within its header"),
        (whole[:-1], "truncated or corrupt at record 69"),
        (whole + b"x", "1 bytes after its last record"),
        (whole[:1024] + b"\0" + whole[1025:], "truncated or corrupt at record 0"),
        (whole[:6] + b"\xff" * 4 + whole[10:], "4,294,967,295 records"),
        (whole[:522] + b"\1" + whole[523:], "not of binary scans"),
    ]:
        (tmp_path / "hoda" / "Test 20000.cdb").write_bytes(content)
        with pytest.raises(DataError, match=f"^[^\n]*Test 20000.cdb: [^\n]*{says}[^\n]*$"):
            read("farsi-kannada-speech", root=tmp_path)


def test_files_that_are_not_there(root, tmp_path, monkeypatch):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    names = (
        "hoda_farsi_digits.npz",
        "Farsi_train_test.npz",
        "Train 60000.cdb",
        "kannada_mnist_20k.npz",
        "fsdd_recordings.zip",
    )
    with pytest.raises(
        DataError, match="^farsi-kannada-speech: needs [^\n]*give --root ROOT or set MMPPL_DATA.$"
    ) as error:
        read("farsi-kannada-speech")
    assert all(name in str(error.value) for name in names)
    with pytest.raises(DataError, match="^farsi-kannada-speech: put [^\n]*not downloaded") as error:
        read("farsi-kannada-speech", root=tmp_path, download=True)
    assert all(f"into {tmp_path / folder}" in str(error.value) for folder in ("hoda", "kannada_mnist", "fsdd"))
    linked(root, tmp_path, "hoda", "kannada_mnist")
    with pytest.raises(DataError) as error:
        read("farsi-kannada-speech", root=tmp_path)
    assert "hoda" not in str(error.value) and f"FSDD's recordings/*.wav, into {tmp_path / 'fsdd'}" in str(error.value)
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    with zipfile.ZipFile(root / "fsdd" / "fsdd_recordings.zip") as archive:
        archive.extractall(tmp_path / "fsdd")
    unpacked, packed = (read("farsi-kannada-speech", root=place) for place in (tmp_path, root))
    assert unpacked.fingerprint() == packed.fingerprint()


@pytest.mark.parametrize(
    "part, name, says",
    [
        ("train", "hoda", "no train farsi image of a 6 in ROOT/hoda"),
        ("test", "hoda", "no test farsi image of a 6 in ROOT/hoda"),
        ("train", "kannada_mnist", "no train kannada image of a 6 in ROOT/kannada_mnist"),
        ("test", "kannada_mnist", "no test kannada image of a 6 in ROOT/kannada_mnist"),
        ("train", "fsdd", "no train recording of a 6 in ROOT/fsdd"),
        ("valid", "fsdd", "no valid recording of a 6 in ROOT/fsdd"),
        ("test", "fsdd", "no test recording of a 6 in ROOT/fsdd"),
        ("all", "fsdd", "no train recording of a 6 in ROOT/fsdd"),
    ],
)
def test_a_digit_that_is_not_there_is_named(root, tmp_path, part, name, says):
    linked(root, tmp_path, *({"hoda", "kannada_mnist", "fsdd"} - {name}))
    (tmp_path / name).mkdir()
    if name == "fsdd":
        gone = dict(zip(("train", "valid", "test", "all"), (*TAKES, range(12))))[part]
        with zipfile.ZipFile(root / name / "fsdd_recordings.zip") as archive:
            for member in archive.namelist():
                digit, _, take = member.removeprefix("recordings/").removesuffix(".wav").split("_")
                if digit != "6" or int(take) not in gone:
                    archive.extract(member, tmp_path / name)
    else:
        (file,) = (root / name).iterdir()
        arrays = numbered(FARSI)._asdict()
        keep = arrays[f"y_{part}"] != 6
        arrays |= {f"{kind}_{part}": arrays[f"{kind}_{part}"][keep] for kind in "xy"}
        np.savez(tmp_path / name / file.name, **arrays)
    with pytest.raises(DataError, match=f"^farsi-kannada-speech: {says}; [^\n]*in train, valid and test\\.$"):
        read("farsi-kannada-speech", root=tmp_path)
    if name == "fsdd" and part in ("train", "valid"):  # the other of them is left to train with
        assert len(read("farsi-kannada-speech:validation=none", root=tmp_path))
    else:
        with pytest.raises(DataError, match=f"^farsi-kannada-speech: {says}; [^\n]*in train and test\\.$"):
            read("farsi-kannada-speech:validation=none", root=tmp_path)


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda a: a.pop("y_test"), "has no array y_test"),
        (lambda a: a.update(x_test=a["x_test"].astype(np.float32)), "the test images are float32"),
        (lambda a: a.update(x_test=a["x_test"][:, :20]), "the test images are uint8 of shape"),
        (lambda a: a.update(y_train=a["y_train"][1:]), "the train labels are int32 of shape"),
        (lambda a: a.update(y_train=a["y_train"] / 2), "the train labels are float64"),
        (lambda a: a.update(y_test=a["y_test"] + 1), "label 9 of the test part is 10, no digit"),
    ],
)
def test_images_that_are_wrong(root, tmp_path, change, says):
    linked(root, tmp_path, "fsdd", "kannada_mnist")
    (tmp_path / "hoda").mkdir()
    arrays = numbered(FARSI)._asdict()
    change(arrays)
    np.savez(tmp_path / "hoda" / "hoda_farsi_digits.npz", **arrays)
    with pytest.raises(DataError, match=f"^[^\n]*hoda_farsi_digits.npz: [^\n]*{says}[^\n]*$"):
        read("farsi-kannada-speech", root=tmp_path)


def test_recordings_that_are_wrong(root, tmp_path):
    linked(root, tmp_path, "hoda", "kannada_mnist")
    (tmp_path / "fsdd").mkdir()
    for name, content, says in [
        ("eleven_anna_0.wav", wav(word(1)), "its name is not"),
        ("11_anna_0.wav", wav(word(1)), "its name is not"),
        ("1_anna_0.wav", wav(word(1))[:100], "truncated"),
    ]:
        (tmp_path / "fsdd" / name).write_bytes(content)
        with pytest.raises(DataError, match=f"^[^\n]*{name}: [^\n]*{says}[^\n]*$"):
            read("farsi-kannada-speech", root=tmp_path)
        (tmp_path / "fsdd" / name).unlink()


def test_real_data(data_root):
    """Sizes, parts and what a class's rows have in common: nearest recordings of other takes are of the same digit."""
    if not all((data_root / folder).is_dir() for folder in ("hoda", "kannada_mnist", "fsdd")):
        pytest.skip("no hoda, kannada_mnist and fsdd under $MMPPL_DATA or ../shared/data")
    data = read("farsi-kannada-speech:speech=segments", root=data_root)
    assert np.bincount(data.split).tolist() == [59_908, 10_000, 10_000]
    assert np.bincount(data.values["label"][data.rows("test")]).tolist() == [1000] * 10
    distinct = {name: [len(data.values[name][data.split == part].unique(dim=0)) for part in (1, 2)]
                for name in ("farsi", "kannada", "speech")}  # fmt: skip
    assert distinct["kannada"] == [800, 2000] and distinct["speech"] == [300, 300]
    assert all(9_950 < n <= 10_000 for n in distinct["farsi"])  # HODA repeats some of its zeros
    train, test = (data.take(data.rows(part)) for part in ("train", "test"))
    seen, at = train.values["speech"].flatten(1).unique(dim=0, return_inverse=True)
    label = torch.empty(len(seen), dtype=torch.int64).scatter_(0, at, train.values["label"])
    nearest = torch.cdist(test.values["speech"].flatten(1)[:2000], seen).argmin(1)
    assert len(seen) == 2400 and (label[nearest] == test.values["label"][:2000]).double().mean() > 0.95
