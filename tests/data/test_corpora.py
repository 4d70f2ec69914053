"""SPHERE files, and the corpora that come in them: TIDIGITS and TI46."""

import zipfile

import numpy as np
import pytest
import torch
from small_wavs import wav, word

import mmppl
from mmppl import read
from mmppl.data.readers.papers.sphere import read_sphere
from mmppl.data.readers.speech.mfcc import speech_features
from mmppl.data.readers.speech.ti46 import parse_ti46
from mmppl.data.readers.speech.tidigits import parse_tidigits
from mmppl.errors import DataError


def sphere(samples, rate=20_000, order="01", **fields):
    """A NIST SPHERE file of samples in [−1, 1); fields replace those of the header, and None leaves one out."""
    whole = np.rint(np.asarray(samples) * 32_768).clip(-32_768, 32_767).astype("<i2" if order == "01" else ">i2")
    usual = {
        "channel_count": "-i 1",
        "sample_count": f"-i {len(whole)}",
        "sample_rate": f"-i {rate}",
        "sample_n_bytes": "-i 2",
        "sample_byte_format": f"-s2 {order}",
        "sample_coding": "-s3 pcm",
        "speaker_id": "-s2 ae",
    } | fields
    lines = [f"{key} {value}" for key, value in usual.items() if value is not None]
    header = "\n".join(["NIST_1A", "   1024", *lines, "end_head"]) + "\n"
    return header.encode().ljust(1024) + whole.tobytes()


@pytest.mark.parametrize("order", ["01", "10"])
def test_samples_of_both_byte_orders(order):
    samples = word(3, n=2000)
    found, rate = read_sphere(sphere(samples, 12_500, order), "x")
    assert rate == 12_500 and found.dtype == np.float32
    np.testing.assert_allclose(found, samples, atol=1 / 65_536 + 1e-7)
    real, rate = read_sphere(sphere(samples, order=order, sample_rate="-r 12500.000000"), "x")
    assert rate == 12_500 and np.array_equal(real, found)


def test_a_header_may_lack_what_is_usual_and_have_what_is_not():
    fields = {"channel_count": None, "sample_coding": None, "comment": "-s7 a b -i c", "sample_max": "-i 3"}
    assert len(read_sphere(sphere(word(1), **fields), "x")[0]) == 2400


@pytest.mark.parametrize("empty", ["-s0 ", "-s0", "-s1  ", "-s0 \r"])
def test_a_string_of_the_header_may_be_empty(empty):
    assert len(read_sphere(sphere(word(1), utterance_text=empty), "x")[0]) == 2400


def test_a_string_of_the_header_ends_where_its_length_says():
    fields = {"sample_coding": "-s3 pcm ; plain", "sample_byte_format": "-s2 01 (low byte first)"}
    assert len(read_sphere(sphere(word(1), **fields), "x")[0]) == 2400


WHOLE = sphere(word(1, n=1000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:500], "says that it takes 1,024 bytes, and the file has 500"),
        (WHOLE.replace(b"   1024", b"9999999"), "says that it takes 9,999,999 bytes, and the file has 3,024"),
        (WHOLE.replace(b"   1024", b"-  1024"), "not a NIST SPHERE file"),
        (WHOLE.replace(b"   1024", b"     16"), "has no end"),
        (WHOLE.replace(b"end_head", b"end_hair"), "'end_hair' is no field"),
        (b"NIST_1A\n", "not a NIST SPHERE file"),
        (WHOLE[:-2], r"1,000 samples, 3,024 bytes with the header, and the file has 3,022"),
        (WHOLE + b"\0\0", "and the file has 3,026"),
        (sphere(word(1), sample_count="-i 5"), "says 5 samples"),
        (sphere(word(1), sample_count="-i 999999999999"), "says 999,999,999,999 samples"),
        (sphere(word(1), sample_count=f"-i {'9' * 300}"), "no sample_count"),
        (sphere(word(1), sample_count="-i -5"), "no sample_count"),
        (sphere(word(1), sample_rate=None), "says no sample_rate"),
        (sphere(word(1), sample_rate="-i"), "says no sample_rate"),
        (sphere(word(1), comment="-s a"), "'comment -s a' is no field"),
        (sphere(word(1), sample_rate="-i 3"), "says 3 samples a second"),
        (sphere([]), "no samples in it"),
        (sphere(word(1), sample_coding="-s27 pcm,embedded-shorten-v2.00"), "'pcm,embedded-shorten-v2.00', not pcm"),
        (sphere(word(1), sample_coding="-s4 ulaw", sample_n_bytes="-i 1"), "'ulaw', not pcm"),
        (sphere(word(1), channel_count="-i 2"), "2 channels"),
        (sphere(word(1), sample_n_bytes="-i 4"), "samples of 4 bytes"),
        (sphere(word(1), sample_byte_format="-s2 00"), "order '00'"),
        (sphere(word(1), sample_byte_format=None), "order 'none'"),
        (sphere(word(1), **{"sample_count ": "-i 3"}), "twice in it"),
        (sphere(np.zeros(3_601_000), 1000), "60 minutes, where 60 are the most"),
    ],
)
def test_files_that_lie(content, message):
    with pytest.raises(DataError, match=message) as error:
        read_sphere(content, "here/1a.wav")
    said = str(error.value)
    assert said.startswith("here/1a.wav: ") and "\n" not in said and len(said) < 300


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("train/man/ae/1a.wav", (1, "ae", "train")),
        ("TIDIGITS/TEST/GIRL/AB/ZB.WAV", (0, "ab", "test")),
        ("data/adults/train/woman/xy/oa.sph", (0, "xy", "train")),
        ("boy/ae/9b.wav", (9, "ae", "")),
        ("train/man/ae/3z82b.wav", (None, "ae", "train")),
        ("train/man/ae/1.wav", None),
        ("train/man/ae/0a.wav", None),
        ("train/man/1a.wav", None),
        ("7_theo_12.wav", None),
    ],
)
def test_names_of_tidigits(name, wanted):
    found = parse_tidigits(name)
    assert (found and (found.digit, found.speaker, found.part)) == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ti20/train/f1/00f1set0.wav", (0, "f1", "train")),
        ("TI20/TEST/M8/09M8S8T1.WAV", (9, "m8", "test")),
        ("07f3s1t0.sph", (7, "f3", "test")),
        ("ti20/train/f1/ysf1set9.wav", (None, "f1", "train")),
        ("ti_alpha/train/f1/aaf1set9.wav", (None, "f1", "train")),
        ("00f1sat0.wav", None),
        ("7_theo_12.wav", None),
    ],
)
def test_names_of_ti46(name, wanted):
    found = parse_ti46(name)
    assert (found and (found.digit, found.speaker, found.part)) == wanted


def written(folder, names, content=lambda name, number: sphere(word(number % 10, number, n=6000))):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content(name, number))
    return folder


TIDIGITS = [
    f"tidigits/{part}/{group}/{speaker}/{digits}{production}.wav"
    for part, speakers in (("train", ("man/ae", "girl/bd")), ("test", ("woman/cf",)))
    for group, speaker in (one.split("/") for one in speakers)
    for digits in ("1", "2", "z", "o", "12z", "888")
    for production in "ab"
]
TI46 = [
    f"ti20/{part}/{speaker}/{what}{speaker}s{take}.wav"
    for part, take in (("train", "et0"), ("train", "et7"), ("test", "1t0"), ("test", "8t1"))
    for speaker in ("f1", "m8")
    for what in ("00", "01", "09", "go", "ys")
]


@pytest.mark.parametrize("packed", [False, True])
def test_tidigits(tmp_path, packed):
    folder = written(tmp_path / "corpus", TIDIGITS)
    source = folder
    if packed:
        source = tmp_path / "corpus.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name in TIDIGITS:
                archive.write(folder / name, name)
    data = read(source)
    assert [(m.name, m.shape, m.likelihood, m.role) for m in data.modalities] == [
        ("speech", (58, 12), "normal", "modality"),
        ("label", (), "categorical", "label"),
    ]
    assert len(data) == 24 and data.modalities[1].classes == (0, 1, 2) and data.has_split
    assert data.notes == ("12 recordings of anything else than a single digit are left out.",)
    assert data.describe()["split"]["test"] == 8
    assert {*data.annotations} == {"speaker", "recording"} and {*data.annotations["speaker"]} == {"ae", "bd", "cf"}
    assert {*data.annotations["speaker"][data.split == 2]} == {"cf"}
    row = data.ids.tolist().index("tidigits/train/girl/bd/za")  # several are called za
    assert data.values["label"][row] == 0 and data.annotations["recording"][row] == data.ids[row]
    samples, rate = read_sphere((folder / "tidigits/train/girl/bd/za.wav").read_bytes(), "")
    back = data.modalities[0].value_in_input_units(data.values["speech"][row].numpy())
    np.testing.assert_allclose(back, speech_features(samples, rate, "frames"), atol=1e-3)


def test_ti46_in_either_format(tmp_path):
    data = read(str(written(tmp_path / "a", TI46, lambda _, n: sphere(word(n % 5, n, n=6000), 12_500, "10"))))
    assert len(data) == 24 and data.modalities[1].classes == (0, 1, 9)
    assert data.describe()["split"]["test"] == 12 and {*data.annotations["speaker"]} == {"f1", "m8"}
    assert data.ids.tolist()[0] == "00f1s1t0" and "16 recordings" in data.notes[0]
    converted = read(written(tmp_path / "b", TI46, lambda _, n: wav(word(n % 5, n, n=6000), 12_500)))
    assert torch.equal(converted.values["speech"], data.values["speech"])


def test_a_run_takes_another_corpus_with_its_features(tmp_path):
    run = mmppl.fit("factors", written(tmp_path / "a", TIDIGITS), hyper={"latent_dim": 2})
    names = [name for name in TI46 if "/00" in name or "/01" in name]
    answer = run.query(written(tmp_path / "b", names), given=["speech"], want=["label"])
    assert answer["label"]["prob"].shape == (len(answer.ids), 3)


def test_other_folders_are_left_to_their_reader(tmp_path):
    names = [f"{digit}_anna_{take}.wav" for digit in (1, 2) for take in range(4)]
    data = read(written(tmp_path / "fsdd", names, lambda name, n: wav(word(int(name[0]), n))))
    assert data.modalities[0].shape == (8, 13) and data.annotations == {}
    sphered = read(written(tmp_path / "sphere", names, lambda name, n: sphere(word(int(name[0]), n), 8000)))
    torch.testing.assert_close(sphered.values["speech"], data.values["speech"], atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("names", "content", "message"),
    [
        (["train/man/ae/12a.wav", "train/man/ae/3zb.wav"], None, "none of its 2 recordings is that of a single digit"),
        (
            ["train/man/ae/1a.wav", "train/man/ae/noise.wav"],
            None,
            "man/ae/noise.wav: not named like a file of TIDIGITS",
        ),
        (["train/man/ae/1a.wav"], sphere(word(1))[:-5], "1a.wav: its header says 2,400 samples"),
        (["train/man/ae/1a.wav"], sphere(word(1, n=399)), "1a.wav: 19.9 ms of sound, shorter than one window"),
        (["train/man/ae/1a.wav"], b"RIFF", "1a.wav: "),
        (["a/00f1set0.wav", "a/readme.wav"], None, "a/readme.wav: not named like a file of TI46"),
    ],
)
def test_wrong_ones_are_told_in_one_line(tmp_path, names, content, message):
    folder = written(tmp_path / "corpus", names, lambda name, n: content or sphere(word(n, n=3000)))
    with pytest.raises(DataError, match=message) as error:
        read(folder)
    assert str(error.value).startswith(str(folder)) and "\n" not in str(error.value)
