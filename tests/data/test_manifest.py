"""Tables whose cells name files: images, recordings, arrays and texts."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from small_wavs import wav, word

from mmppl.data.read import read
from mmppl.data.readers.manifest.files import with_files
from mmppl.data.readers.registry import Arrays, Request
from mmppl.data.readers.speech.encoded import read_encoded
from mmppl.data.readers.speech.mfcc import speech_features
from mmppl.errors import DataError

N = 6
DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (N, 5, 4), np.uint8)
COLOUR = DRAW.integers(0, 256, (N, 5, 4, 3), np.uint8)


MAKERS = {
    "grey{}.png": lambda path, row: Image.fromarray(GREY[row]).save(path),
    "colour{}.TIF": lambda path, row: Image.fromarray(COLOUR[row]).save(path),
    "word{}.wav": lambda path, row: path.write_bytes(wav(word(row % 3, row))),
    "array{}.npy": lambda path, row: np.save(path, GREY[row] / 7),
    "note{}.txt": lambda path, row: path.write_text(f" {['cat', 'dog'][row % 2]}\n"),
}


def make(folder, forms=MAKERS):
    """Files in a folder, six of each form."""
    (folder / "in").mkdir()
    for form in forms:
        for row in range(N):
            MAKERS[form](folder / "in" / form.format(row), row)


@pytest.fixture
def folder(tmp_path):
    make(tmp_path)
    return tmp_path


def named(form, missing=()):
    return np.array(["" if row in missing else f"in/{form.format(row)}" for row in range(N)])


def found(folder, columns, **request):
    arrays = Arrays({name: np.asarray(column) for name, column in columns.items()}, "mine")
    return with_files(arrays, folder / "list.csv", Request(**request))


def test_files_of_every_kind(folder):
    arrays = found(
        folder,
        {
            "grey": named("grey{}.png", [2]), "colour": named("colour{}.TIF"), "word": named("word{}.wav", [0]),
            "array": named("array{}.npy"), "note": named("note{}.txt"), "age": DRAW.normal(size=N),
            "mask_array": np.arange(N) != 4,
        },
    ).arrays  # fmt: skip
    there = np.arange(N) != 2
    assert np.array_equal(arrays["grey"][there], GREY[there]) and np.array_equal(arrays["mask_grey"], there)
    assert np.array_equal(arrays["colour"], COLOUR) and "mask_colour" not in arrays
    spoken = (np.rint(word(1, 1) * 2**15) / 2**15).astype(np.float32)
    wanted = speech_features(spoken, 8000, "segments").numpy()
    assert np.allclose(arrays["word"][1], wanted, atol=1e-3) and arrays["mask_word"].tolist() == [False] + [True] * 5
    assert np.array_equal(arrays["array"][:4], GREY[:4] / 7) and np.array_equal(arrays["mask_array"], np.arange(N) != 4)
    assert arrays["note"].tolist() == ["cat", "dog"] * 3


def test_a_parquet_file_may_list_files(folder):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {"grey": pa.array([None, *named("grey{}.png")[1:].tolist()]), "label": [0, 1] * 3, "x": [1.5] * 5 + [2.0]}
    pq.write_table(pa.table(rows), folder / "list.parquet")
    data = read(folder / "list.parquet")
    mine = read({"grey": GREY, "mask_grey": np.arange(N) > 0, "label": np.array([0, 1] * 3), "x": np.array(rows["x"])})
    assert data.fingerprint() == mine.fingerprint()


def test_columns_that_stay_text(folder):
    column = named("grey{}.png")
    for columns, request in (
        ({"id": column}, {}),
        ({"x": column}, {"as_": {"x": "annotation"}}),
        ({"x": np.where(np.arange(N) == 3, "other", column)}, {}),
        ({"x": np.where(np.arange(N) == 3, "in/word0.wav", column)}, {}),
    ):
        (name,) = columns
        assert found(folder, columns, **request).arrays[name].tolist() == columns[name].tolist()
    elsewhere = found(folder, {"x": np.char.replace(column, "in/", "out/")})
    assert elsewhere.arrays["x"].dtype.kind == "U"
    assert elsewhere.notes == [f"x: names of images that are not in {folder}, taken for mere text"]


def test_an_annotation_keeps_the_names_of_files(folder):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"file": named("grey{}.png"), "x": GREY[:, 0, 0] / 3}), folder / "list.parquet")
    data = read(folder / "list.parquet", as_={"file": "annotation"})
    assert data.annotations["file"].tolist() == named("grey{}.png").tolist()


def test_arrays_of_unequal_length_are_sequences(folder):
    for row in range(N):
        np.save(folder / f"in/array{row}.npy", GREY[row, : 1 + row % 3])
    arrays = found(folder, {"x": named("array{}.npy", [1])}).arrays
    assert arrays["length_x"].tolist() == [1, 0, 3, 1, 2, 3] and np.array_equal(arrays["x"][2], GREY[2, :3])


def test_a_run_decides_on_the_form_of_recordings_and_of_empty_columns(folder):
    rows = found(folder, {"word": named("word{}.wav"), "grey": named("grey{}.png")}).arrays
    schema = read(rows).modalities
    longer = tuple(dataclasses.replace(m, shape=(58, 12), shift=None, spread=None) for m in schema if m.name == "word")
    assert found(folder, {"word": named("word{}.wav")}, schema=longer).arrays["word"].shape == (N, 58, 12)
    empty = found(folder, {"word": named("word{}.wav"), "grey": np.full(N, np.nan)}, schema=schema).arrays
    assert {*empty} == {"word"} and not read(empty, schema=schema).observed["grey"].any()


@pytest.mark.parametrize("mode, kind, shape", [("1", np.uint8, ()), ("I;16", np.uint16, ()), ("P", np.uint8, (3,)),
                                               ("CMYK", np.uint8, (3,)), ("RGBA", np.uint8, (3,)),
                                               ("LA", np.uint8, ()), ("F", np.float32, ())])  # fmt: skip
def test_modes_of_images(tmp_path, mode, kind, shape):
    (tmp_path / "in").mkdir()
    suffix = "tif" if mode in ("CMYK", "F") else "png"
    for row in range(N):
        image = Image.fromarray(GREY[row])
        if mode == "I;16":
            image = Image.fromarray(GREY[row].astype(np.uint16) * 200)
        elif mode != "L":
            image = image.convert("RGB").convert(mode) if mode in ("P", "CMYK", "RGBA") else image.convert(mode)
        image.save(tmp_path / f"in/x{row}.{suffix}")
    array = found(tmp_path, {"x": named(f"x{{}}.{suffix}")}).arrays["x"]
    assert array.dtype == kind and array.shape == (N, 5, 4, *shape)
    if mode == "I;16":
        assert np.array_equal(array, GREY.astype(np.uint16) * 200)
    elif mode in ("LA", "F"):
        assert np.array_equal(array, GREY)
    elif mode == "RGBA":
        assert np.array_equal(array[..., 1], GREY)


def test_images_are_turned_as_the_camera_says(tmp_path):
    (tmp_path / "in").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    for row in range(N):
        Image.fromarray(GREY[row]).save(tmp_path / f"in/x{row}.png", exif=turned)
    assert np.array_equal(found(tmp_path, {"x": named("x{}.png")}).arrays["x"], np.rot90(GREY, -1, (1, 2)))


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_encoded_recordings(tmp_path, suffix):
    soundfile = pytest.importorskip("soundfile")
    for take in range(2):
        soundfile.write(tmp_path / f"{take}_anna_0.{suffix}", word(take), 8000)
    content = (tmp_path / f"1_anna_0.{suffix}").read_bytes()
    samples, rate = read_encoded(content, "a")
    assert rate == 8000 and len(samples) == len(word(1))
    assert np.abs(samples - word(1)).max() < (1e-4 if suffix == "flac" else 0.2)
    for end in range(1, len(content), len(content) // 40):
        with pytest.raises(DataError, match="^a: [^\n]*$"):
            read_encoded(content[:end], "a")
    read_utterances = read(tmp_path)  # a folder of recordings
    assert read_utterances.modalities[0].name == "speech" and read_utterances.annotations == {}


def test_without_soundfile_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(DataError, match=r"a: reading it takes soundfile; install it with pip install 'mmppl\[audio\]'"):
        read_encoded(b"fLaC", "a")


def transparent(path):
    Image.fromarray(np.concatenate([COLOUR[0], GREY[0][..., None]], -1)).save(path)


def several(path):
    Image.fromarray(GREY[0]).save(path, format="GIF", save_all=True, append_images=[Image.fromarray(GREY[1])])


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


SPOILT = [
    ("grey{}.png", lambda p: p.unlink(), "grey3.png: cannot be read (No such file"),
    ("grey{}.png", lambda p: p.write_bytes(b""), "grey3.png: not an image"),
    ("grey{}.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "grey3.png: not an image"),
    ("grey{}.png", lambda p: p.write_bytes(p.read_bytes()[:-30]), "grey3.png: a damaged image"),
    ("grey{}.png", lambda p: p.write_text("<html>"), "grey3.png: not an image, it begins b'<html>'"),
    (
        "grey{}.png",
        lambda p: Image.fromarray(GREY[0, :4]).save(p),
        "(row 3) is 4 × 4 pixels, grey (8 bits), and in/grey0",
    ),
    (
        "grey{}.png",
        lambda p: Image.fromarray(COLOUR[0]).save(p),
        "(row 3) is 4 × 5 pixels, colour (8 bits), and in/grey0",
    ),
    ("grey{}.png", lambda p: Image.fromarray(GREY[0].astype(np.uint16)).save(p), "is 4 × 5 pixels, grey (16 bits)"),
    ("grey{}.png", transparent, "grey3.png: partly transparent; put it on a background"),
    ("grey{}.png", several, "grey3.png: 2 images in one file"),
    ("grey{}.png", lambda p: (p.unlink(), p.mkdir()), "grey3.png: a folder where a file is needed"),
    ("word{}.wav", cut, "word3.wav: truncated; its header says"),
    ("word{}.wav", lambda p: p.write_bytes(b""), "word3.wav: an empty file"),
    ("word{}.wav", lambda p: p.write_bytes(b"ID3" * 9), "word3.wav: not a wav file"),
    ("word{}.wav", lambda p: p.write_bytes(wav(np.zeros(100), bits=24)), "word3.wav: 24-bit samples"),
    ("word{}.wav", lambda p: p.write_bytes(wav(np.zeros(100), channels=2)), "word3.wav: 2 channels; mix them"),
    ("array{}.npy", cut, "array3.npy: cannot be read (its header says"),
    ("array{}.npy", lambda p: p.write_bytes(b"PK"), "array3.npy: not a whole .npy file"),
    ("array{}.npy", lambda p: np.save(p, GREY[0, :, :3]), "'x' has shape (5, 3) in row 3 and (5, 4) in row 0"),
    ("array{}.npy", lambda p: np.save(p, np.array(["a"])), "'x', row 3 is <U1, and row 0 float64"),
    ("array{}.npy", lambda p: np.save(p, np.array([{}])), "array3.npy' is an array of Python objects"),
    ("note{}.txt", lambda p: p.write_bytes(b"\xff\xfe"), "note3.txt: a text that is not UTF-8"),
    ("note{}.txt", lambda p: p.write_text("a" * 20_000), "note3.txt: 20,000 characters, where 10,000"),
]


@pytest.mark.parametrize("form, spoil, says", SPOILT)
def test_files_that_are_refused(tmp_path, form, spoil, says):
    make(tmp_path, [form])
    spoil(tmp_path / "in" / form.format(3))
    with pytest.raises(DataError, match="^[^\n]*$") as error:
        found(tmp_path, {"x": named(form)})
    message = str(error.value)
    assert says in message and "list.csv" in message and ("row 3" in message)
