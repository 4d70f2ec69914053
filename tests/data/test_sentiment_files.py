"""CMU-MOSI and CMU-MOSEI in the layouts that are public, on small files made here."""

import builtins
import pickle

import numpy as np
import pytest

import mmppl
from mmppl.data.convert import convert_pickle
from mmppl.data.readers.papers.multibench import from_the_start
from mmppl.data.readers.sdk import averaged

h5py = pytest.importorskip("h5py", reason="the .csd files are HDF5")
SIZES = {"text": 5, "audio": 4, "vision": 3}
T = 6


def parts(numbers=1, seed=0, counts=(8, 3, 4)):
    """MultiBench: left-padded arrays, and the rows without padding."""
    r = np.random.default_rng(seed)
    data, rows = {}, []
    for part, count in zip(("train", "valid", "test"), counts):
        lengths = r.integers(1, T + 1, count)
        found = {name: np.zeros((count, T, size), np.float32) for name, size in SIZES.items()}
        for at, length in enumerate(lengths):
            row = {name: r.normal(size=(length, size)).astype(np.float32) for name, size in SIZES.items()}
            for name, array in row.items():
                found[name][at, T - length :] = array
            rows.append(row)
        found["labels"] = r.uniform(-3, 3, (count, 1, numbers))
        found["id"] = np.array([[f"video-{part}-{at // 2}[{at % 2}]"] for at in range(count)])
        data[part] = found
    return data, rows


def check(found, rows):
    for name, size in SIZES.items():
        m = next(m for m in found.modalities if m.name == name)
        assert m.sequence and m.shape == (T, size)
        values = m.value_in_input_units(found.values[name].numpy())
        there = found.present[name][..., 0].numpy()
        assert there.sum(1).tolist() == [len(row[name]) for row in rows]
        np.testing.assert_allclose(values[there], np.concatenate([row[name] for row in rows]), atol=1e-5)


def flat(data, sign="_"):
    return {f"{part}{sign}{name}": array for part, found in data.items() for name, array in found.items()}


@pytest.mark.parametrize(
    "form", ["mapping", "flat mapping", "npz", "npz with /", "npz, the part last", "pickle", "other names of parts"]
)
def test_multibench(tmp_path, form):
    data, rows = parts()
    source = data if form == "mapping" else flat(data)
    if form == "other names of parts":
        source = {{"valid": "dev"}.get(part, part): found for part, found in data.items()}
    elif "npz" in form:
        source = tmp_path / "mosi_raw.npz"
        of_parts = flat(data, "/" if "/" in form else "_")
        if "last" in form:
            of_parts = {"_".join(reversed(name.split("_"))): array for name, array in of_parts.items()}
        np.savez(source, **of_parts)
    elif form == "pickle":
        (tmp_path / "mosi_raw.pkl").write_bytes(pickle.dumps(data))
        source = tmp_path / "mosi_raw.npz"
        convert_pickle(tmp_path / "mosi_raw.pkl", source)
    found = mmppl.read(source)
    assert [len(found.rows(part)) for part in ("train", "valid", "test")] == [8, 3, 4]
    check(found, rows)
    score = next(m for m in found.modalities if m.name == "score")
    assert (score.role, score.likelihood, score.shape) == ("label", "laplace", ())
    labels = np.concatenate([part["labels"] for part in data.values()]).ravel()
    np.testing.assert_allclose(score.value_in_input_units(found.values["score"].numpy()), labels, atol=1e-6)
    assert found.annotations["video"][:3].tolist() == ["video-train-0", "video-train-0", "video-train-1"]
    assert found.ids[0] == "video-train-0[0]"
    assert (
        next(m for m in mmppl.read(source, as_={"score": "normal"}).modalities if m.name == "score").role == "modality"
    )


def test_mosei_numbers_without_a_value_and_rows_without_text():
    data, rows = parts(numbers=7)
    data["train"]["audio"][0, -1] = -np.inf
    data["train"]["vision"][0, -1, 0] = np.nan
    data["test"]["text"][1] = 0
    found = mmppl.read(data)
    assert set(found.annotations) >= {"video", "happiness", "sadness", "anger", "surprise", "disgust", "fear"}
    assert any("5 numbers are NaN or infinite" in note for note in found.notes)
    assert any("1 rows have no text" in note for note in found.notes)
    assert found.observed["text"].sum() == 14 and not found.observed["text"][12] and found.observed["audio"][12]
    audio = next(m for m in found.modalities if m.name == "audio")
    last = len(rows[0]["audio"]) - 1
    np.testing.assert_allclose(audio.value_in_input_units(found.values["audio"].numpy())[0, last], 0, atol=1e-6)


def test_padding_is_found_on_either_side_and_steps_between_stay():
    values = np.array([[0, 0, 1, 0, 2], [0, 3, 4, 5, 6], [1, 2, 3, 4, 0]], float)[..., None]
    moved, length = from_the_start(values, values[..., 0] != 0)
    assert length.tolist() == [3, 4, 5] and moved[..., 0].tolist() == [
        [1, 0, 2, 0, 0],
        [3, 4, 5, 6, 0],
        [1, 2, 3, 4, 0],
    ]
    values = values[:, ::-1]
    same, length = from_the_start(values, values[..., 0] != 0)
    assert same is values and length.tolist() == [3, 4, 5]
    empty = np.zeros((2, 3, 1))
    assert from_the_start(empty, empty[..., 0] != 0)[1].tolist() == [0, 0]


def test_streams_of_different_numbers_of_steps_have_lengths_of_their_own():
    data, rows = parts()
    for found in data.values():
        found["audio"] = np.pad(found["audio"], ((0, 0), (0, 3), (0, 0)))  # now it ends in padding, too
        found["audio_lengths"] = np.full(len(found["audio"]), T)
    found = mmppl.read(data)
    assert (found.present["audio"].sum(1) == T).all() and found.present["text"].sum() == sum(
        len(r["text"]) for r in rows
    )
    data["train"]["audio_lengths"] = np.full(8, 50)
    with pytest.raises(mmppl.DataError, match="audio: its lengths"):
        mmppl.read(data)


def test_what_is_no_such_layout_stays_what_it_is():
    r = np.random.default_rng(0)
    images = {"audio": r.random((30, 8, 8)), "vision": r.random((30, 8, 8)), "labels": np.arange(30) % 2}
    assert {m.name: m.shape for m in mmppl.read(images).modalities} == {"audio": (8, 8), "vision": (8, 8), "labels": ()}
    data, _ = parts()
    for found in data.values():
        found["labels"] = np.sign(found["labels"])
    label = mmppl.read(data).modalities[-1]
    assert (label.name, label.role, label.classes) == ("label", "label", (-1, 1))
    for change, says in (
        ({"labels": np.zeros((8, 3))}, "one number, or seven"),
        ({"id": np.zeros(3)}, "differ in length"),
    ):
        data, _ = parts()
        data["train"] |= change
        with pytest.raises(mmppl.DataError, match=says):
            mmppl.read(data)


def test_mag_bert(tmp_path):
    """Lists of ((words, visual, acoustic), label, segment)."""
    _, rows = parts()
    samples = [
        ((["so", "good", "it", "is", "a", "film"][: len(row["text"])], row["vision"], row["audio"]),
         np.array([[at / 4 - 2.0]]), f"clip_{at}")
        for at, row in enumerate(rows)
    ]  # fmt: skip
    data = {"train": samples[:8], "dev": samples[8:11], "test": samples[11:]}
    (tmp_path / "mosi.pkl").write_bytes(pickle.dumps(data, 2))
    convert_pickle(tmp_path / "mosi.pkl", tmp_path / "mosi.npz")
    found = mmppl.read(tmp_path / "mosi.npz")
    assert [len(found.rows(part)) for part in ("train", "valid", "test")] == [8, 3, 4]
    for name in ("vision", "audio"):
        assert found.present[name].sum(1).ravel().tolist() == [len(row[name]) for row in rows]
    assert found.annotations["transcript"][0] == " ".join(samples[0][0][0])
    assert found.annotations["video"][0] == "clip"
    samples[0] = ((["one"], np.zeros((2, 3)), np.zeros((1, 4))), 0.0, "x")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"train": samples}))
    with pytest.raises(mmppl.DataError, match="sample 0 has 1 words, and vision"):
        convert_pickle(tmp_path / "bad.pkl", tmp_path / "bad.npz")


WORDS = {"v1": [("so", 0, 1), ("good", 1, 2), ("it", 2, 3)], "v2": [("bad", 0.5, 1.5)]}
LABELS = {"v1": [(1.5, 0, 2), (-0.5, 2, 4)], "v2": [(-3.0, 0, 2)]}


def csd(folder, name, videos, **options):
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"{name}.csd", "w") as file:
        data = file.create_group(f"{name}/data")
        for video, (features, intervals) in videos.items():
            data.create_dataset(f"{video}/features", data=features, **options)
            data.create_dataset(f"{video}/intervals", data=np.array(intervals, float))
        file.create_group(f"{name}/metadata")
    return folder


def sdk(folder):
    times = {video: [(start, end) for _, start, end in words] for video, words in WORDS.items()}
    vectors = {video: np.arange(len(words) * 2.0).reshape(-1, 2) + 1 for video, words in WORDS.items()}
    spoken = {video: np.array([[word.encode()] for word, _, _ in words]) for video, words in WORDS.items()}
    csd(folder, "CMU_MOSI_TimestampedWordVectors_1.1", {v: (vectors[v], times[v]) for v in WORDS})
    csd(folder, "CMU_MOSI_TimestampedWords", {v: (spoken[v], times[v]) for v in WORDS})
    frames = np.array([[1.0], [3.0], [5.0], [-np.inf], [7.0]])
    csd(
        folder,
        "CMU_MOSI_COVAREP",
        {"v1": (frames, [(0, 0.5), (0.5, 1), (1, 1.5), (1.5, 2), (2, 2.5)])},
        compression="gzip",
    )
    csd(folder, "CMU_MOSI_Opinion_Labels", {
        v: (np.array([[y] for y, _, _ in each]), [(s, e) for _, s, e in each]) for v, each in LABELS.items()
    })  # fmt: skip
    return folder


def test_files_of_the_sdk(tmp_path):
    found = mmppl.read(sdk(tmp_path / "mosi"))
    assert found.ids.tolist() == ["v1[0]", "v1[1]", "v2[0]"]
    assert found.annotations["transcript"].tolist() == ["so good", "it", "bad"]
    text = next(m for m in found.modalities if m.name == "text")
    assert text.sequence and text.shape == (2, 2) and found.present["text"].sum(1).ravel().tolist() == [2, 1, 1]
    audio = next(m for m in found.modalities if m.name == "audio")
    values = audio.value_in_input_units(found.values["audio"].numpy())[..., 0]
    np.testing.assert_allclose(values[0], [2, 2.5], atol=1e-6)  # (1 + 3)/2; 5 and −inf, which counts as 0
    np.testing.assert_allclose(values[1, 0], 7, atol=1e-6)
    assert found.observed["audio"].tolist() == [True, True, False], "no frame of v2"
    score = found.modalities[-1]
    assert (score.name, score.role, score.likelihood) == ("score", "label", "laplace")
    assert len({found.split[0], found.split[1]}) == 1, "a video is in one part"


def test_averages_over_words_agree_with_a_loop():
    r = np.random.default_rng(0)
    edges = np.sort(r.uniform(0, 10, 21))
    frames, times = r.normal(size=(20, 3)), np.stack([edges[:-1], edges[1:]], 1)
    spans = np.sort(r.uniform(-1, 12, (30, 2)), 1)
    for span, mean in zip(spans, averaged(frames, times, spans)):
        rows = [frame for frame, (s, e) in zip(frames, times) if min(e, span[1]) > max(s, span[0])]
        np.testing.assert_allclose(mean, np.mean(rows, 0) if rows else np.zeros(3), atol=1e-12)
    assert averaged(frames, times, np.array([[edges[3], edges[3]]]))[0] == pytest.approx(frames[3])


def test_files_of_the_sdk_that_are_wrong(tmp_path, monkeypatch):
    folder = sdk(tmp_path / "mosi")
    one = folder / "CMU_MOSI_COVAREP.csd"
    with pytest.raises(mmppl.DataError, match="the folder"):
        mmppl.read(one)
    good = one.read_bytes()
    one.write_bytes(good[: len(good) // 2])
    with pytest.raises(mmppl.DataError, match="not a whole .csd file"):
        mmppl.read(folder)
    secret = tmp_path / "secret.csd"
    secret.write_bytes(good)
    with h5py.File(one, "w") as file:
        file.create_group("CMU_MOSI_COVAREP")["data"] = h5py.ExternalLink(str(secret), "/CMU_MOSI_COVAREP/data")
    with pytest.raises(mmppl.DataError, match="link to elsewhere"):
        mmppl.read(folder)
    one.write_bytes(good)
    csd(folder, "CMU_MOSI_openSMILE", {})
    with pytest.raises(mmppl.DataError, match="both hold audio"):
        mmppl.read(folder)
    (folder / "CMU_MOSI_openSMILE.csd").unlink()
    (folder / "CMU_MOSI_Opinion_Labels.csd").rename(folder / "other.csd")
    with pytest.raises(mmppl.DataError, match="has no Opinion_Labels"):
        mmppl.read(folder)
    real = builtins.__import__
    monkeypatch.setattr(
        builtins, "__import__", lambda name, *a, **k: real("h5py_" if name == "h5py" else name, *a, **k)
    )
    with pytest.raises(mmppl.DataError, match=r"mmppl\[csd\]"):
        mmppl.read(folder)


@pytest.mark.parametrize("word", ["val", "dev", "valid"])
def test_the_split_of_a_single_part_is_kept(word):
    data, _ = parts()
    joined = {key: np.concatenate([data[part][key] for part in data]) for key in (*SIZES, "labels")}
    found = mmppl.read(joined | {"split": np.repeat(["train", word, "test"], [8, 3, 4])})
    assert found.has_split and found.split.tolist() == [0] * 8 + [1] * 3 + [2] * 4
    assert [m.name for m in found.modalities if m.sequence] == [*SIZES]


@pytest.mark.parametrize("own", [{"eeg": np.zeros((8, 2))}, {"mask_text": np.ones(8, bool)}])
def test_data_with_more_in_them_than_the_layout_are_somebodys_own(own):
    data, _ = parts()
    own = {name: array + np.arange(8)[:, None] if array.ndim == 2 else array for name, array in own.items()}
    single = {key: array for key, array in data["train"].items() if key != "labels"}
    found = mmppl.read(single | own | {"labels": data["train"]["labels"][:, 0, 0], "id": np.arange(8)})
    assert {*own} - {m.name for m in found.modalities} <= {"mask_text"}
    with_layout = mmppl.read({**data["train"], "id": np.arange(8)} | own)
    assert {*own} - {m.name for m in with_layout.modalities} <= {"mask_text"}
