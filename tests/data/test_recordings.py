"""Folders and zip files of recordings: what they become, and how wrong ones are reported."""

import zipfile

import numpy as np
import pytest
import torch
from small_wavs import wav, word

import mmppl
from mmppl import read
from mmppl.data.readers.speech.mfcc import SHAPES, speech_features
from mmppl.data.readers.speech.recordings import convert_cells, parse_name, read_utterances
from mmppl.data.readers.speech.wav import read_wav
from mmppl.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Three digits, two speakers, six takes each."""
    place = tmp_path / "recordings"
    place.mkdir()
    for digit in (1, 2, 7):
        for number, speaker in enumerate(("anna", "jean_luc")):
            for take in range(6):
                (place / f"{digit}_{speaker}_{take}.wav").write_bytes(wav(word(digit, 10 * number + take)))
    return place


def packed(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"inside/{file.relative_to(folder)}")
        archive.writestr("__MACOSX/inside/._1_anna_0.wav", b"x")
    return path


def test_names():
    assert [parse_name(name) for name in ("7_theo.wav", "_a_1.wav", "7_theo_x.wav", "theo.wav")] == [None] * 4
    one = parse_name("somewhere/seven_jean_luc_12.wav")
    assert (one.label, one.speaker, one.take) == ("seven", "jean_luc", 12)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_from_names(folder, kind):
    (folder / "README.txt").write_text("not a recording")
    (folder / ".hidden.wav").write_bytes(b"x")
    data = read(str(folder) if kind == "folder" else packed(folder))
    assert [(m.name, m.shape, m.likelihood, m.role, m.transform) for m in data.modalities] == [
        ("speech", (8, 13), "normal", "modality", "standardise"),
        ("label", (), "categorical", "label", "none"),
    ]
    assert len(data) == 36 and data.modalities[1].classes == (1, 2, 7) and not data.has_split
    assert data.ids.tolist() == sorted(f.stem for f in folder.glob("[0-9]*.wav"))
    row = data.ids.tolist().index("7_jean_luc_3")
    assert data.values["label"][row] == 2
    samples, rate = read_wav((folder / "7_jean_luc_3.wav").read_bytes(), "")
    back = data.modalities[0].value_in_input_units(data.values["speech"][row].numpy())
    np.testing.assert_allclose(back, speech_features(samples, rate, "segments"), atol=1e-3)
    assert data.name == ("recordings" if kind == "folder" else "recordings.zip")


def test_labels_that_are_words_and_files_in_folders(folder):
    for file in [*folder.iterdir()]:
        digit, rest = file.name.split("_", 1)
        (folder / digit).mkdir(exist_ok=True)
        file.rename(folder / digit / f"{dict(zip('127', ('one', 'two', 'seven')))[digit]}_{rest}")
    assert read(folder).modalities[1].classes == ("one", "seven", "two")


def test_a_csv_names_files_labels_and_parts(folder):
    lines = ["file,label,split,age"]
    for number, file in enumerate(sorted(folder.glob("*.wav"))[::2]):
        lines.append(f"{file.name},{'low' if number % 3 else 'high'},{'test' if number % 2 else 'train'},{number}.5")
    lines[2] = lines[2].replace(",low", ",")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n\n", encoding="utf-8-sig")
    for place in (folder, packed(folder)):  # in the zip, all of it lies in a folder
        data = read(place, as_={"age": "normal"})
        assert len(data) == 18 and data.has_split and data.modalities[1].classes == ("high", "low")
        assert [m.name for m in data.modalities] == ["speech", "label", "age"]
        assert not data.observed["label"][1] and data.observed["label"].sum() == 17
        assert (data.split[1::2] == 2).all() and (data.split[::2] != 2).all()


def test_no_labels_at_all(folder):
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"take{number}.wav")
    assert list(read(folder).values) == ["speech"]


def test_a_run_reads_recordings_as_its_own_features(folder, tmp_path):
    arrays = read_utterances(folder, "mean")
    assert arrays["speech"].shape == (36, *SHAPES["mean"])
    run = mmppl.fit("mvae", arrays, hyper=dict(latent_dim=2, hidden=8), epochs=2, out=tmp_path / "run")
    again = run.query(folder, want=["label"], split="all")
    wanted = run.query(arrays, want=["label"], split="all")
    np.testing.assert_allclose(again["label"]["prob"], wanted["label"]["prob"], atol=1e-6)


def test_a_run_finds_its_folder_again(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = mmppl.fit("mvae", "recordings", hyper=dict(latent_dim=2, hidden=8), epochs=1, out=tmp_path / "run")
    monkeypatch.chdir("/")
    assert torch.equal(mmppl.Run.load(run.folder).data().values["speech"], run.fitted_on.values["speech"])


def test_a_recipe_is_a_recipe_where_a_folder_has_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename("digits-three")
    assert read("digits-three").name == "digits-three:seed=0" and read("./digits-three").name == "digits-three"


def csv(text):
    return lambda folder: (folder / "labels.csv").write_text(text)


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda f: [file.unlink() for file in f.iterdir()], "no .wav file in it; give an .npz file, or"),
        (lambda f: (f / "noise.wav").write_bytes(wav(word(1))), "noise.wav: its name contains no label, unlike others"),
        (lambda f: (f / "1_anna_0.wav").write_bytes(b""), "1_anna_0.wav: an empty file"),
        (lambda f: (f / "1_anna_0.wav").write_bytes(wav(word(1))[:99]), "1_anna_0.wav: truncated"),
        (lambda f: (f / "1_anna_0.wav").write_bytes(wav(word(1), channels=2)), "1_anna_0.wav: 2 channels"),
        (lambda f: (f / "1_anna_0.wav").write_bytes(wav(word(1), bits=24)), "1_anna_0.wav: 24-bit"),
        (lambda f: (f / "1_anna_0.wav").write_bytes(wav(word(1), rate=44101)), "1_anna_0.wav: 44,101 Hz cannot"),
        (lambda f: (f / "1_anna_0.wav").write_bytes(b"ID3\4" * 9), "1_anna_0.wav: not a wav file"),
        (lambda f: [(f / name).write_text("file") for name in ("a.csv", "b.csv")], "several .csv files"),
        (csv("name,label\n1_anna_0.wav,1\n"), "labels.csv: its columns are name, label; there must be file"),
        (csv("file;label\n1_anna_0.wav;1\n"), "labels.csv: its columns are separated by ';' ('file;label'); write"),
        (csv("File\tlabel\n1_anna_0.wav\t1\n"), "its columns are separated by '\\t' ('File\\tlabel'); write it with"),
        (csv("label,File\n1,1_anna_0.wav\n"), "labels.csv: it has a column 'File'; name that one 'file'"),
        (csv(""), "its columns are none"),
        (csv("file,file\n"), "its columns are file, file"),
        (csv("file,speech\n1_anna_0.wav,3"), "no speech"),
        (csv("file,label\n"), "no rows"),
        (csv("file,label\n1_anna_0.wav,1,2\n"), "row 1 has 3 cells where the head has 2"),
        (csv("file,label\n1_ana_0.wav,1\n"), "row 1 lists '1_ana_0.wav', which is not there. Did you mean 1_anna"),
        (csv("file,label\n1_anna_0.wav,1\n1_anna_0.wav,2\n"), "'id': '1_anna_0' occurs in rows 0 and 1"),
        (lambda f: (f / "labels.csv").write_bytes(b"file,label\n\xff\xfe,1\n"), "not a CSV in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_refused(folder, spoil, says):
    spoil(folder)
    with pytest.raises(DataError, match="^[^\n]*$") as error:
        read(folder)
    assert says in str(error.value)


def test_zip_files_that_are_broken(folder, tmp_path):
    whole = packed(folder).read_bytes()
    path = tmp_path / "broken.zip"
    at = whole.index(b"1_anna_0.wav") + 400  # within the samples of that file
    for content, says in [
        (whole[:-40], "not a whole .zip file"),
        (b"", "not a whole .zip file"),
        (whole[:at] + bytes(9) + whole[at + 9 :], "cannot be unpacked"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^[^\n]*{says}[^\n]*$"):
            read(path)
    with pytest.raises(DataError, match="no such file"):
        read("nowhere.zip")


@pytest.mark.parametrize(
    "cells, typed",
    [
        (["1", "-2", ""], [1, -2, None]),
        (["0.5", "1e3"], [0.5, 1000.0]),
        (["01", "1"], ["01", "1"]),
        (["1_0", "10"], ["1_0", "10"]),
        (["a", ""], ["a", None]),
    ],
)
def test_cells_are_numbers_only_if_they_are_written_as_such(cells, typed):
    assert convert_cells(cells).tolist() == typed


@pytest.mark.parametrize("name, says", [("solo.wav", "by the folder or .zip"), ("table.xlsx", "read it with pandas")])
def test_other_formats_are_refused_with_a_way_to_read_them(name, says, tmp_path):
    (tmp_path / name).write_bytes(b"RIFF")
    with pytest.raises(DataError, match=f"^[^\\n]*{name}: [^\\n]*{says}[^\\n]*$"):
        read(tmp_path / name)
