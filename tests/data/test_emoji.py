"""The recipe emoji, on small files made here and on the real ones where they are."""

import csv

import numpy as np
import pytest

import mmppl

TAGS = ["face smile", "face", "animal face", "animal", "", "rare", "face animal smile", "smile"]
PART = ["train", "train", "train", "train", "valid", "test", "test", "test"]
NAMES = ["big smile", "smile", "cat face", "cat: face", "xyzzy", "face", "cat", "smile"]


@pytest.fixture
def root(tmp_path):
    """Eight emoji. Row 4 has row 0's first drawing, row 6 that of row 5, and row 7 row 1's second drawing."""
    r, n = np.random.default_rng(0), len(TAGS)
    a, b = (r.integers(0, 256, size=(n, 4, 4, 3), dtype=np.uint8) for _ in range(2))
    a[4], a[6], b[7] = a[0], a[5], b[1]
    (tmp_path / "emoji").mkdir()
    codes = np.array([("train", "valid", "test").index(part) for part in PART], np.uint8)
    np.savez(tmp_path / "emoji" / "emoji_32.npz", image_a=a, image_b=b, category=np.zeros(n, np.uint8), split=codes)
    with open(tmp_path / "emoji" / "emoji_text.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["row", "codepoints", "name", "tags", "category", "split"])
        table.writerows([i, f"1F{i}", NAMES[i], TAGS[i], ["Food & Drink", "Flags"][i % 2], PART[i]] for i in range(n))
    (tmp_path / "glove").mkdir()
    np.savez(tmp_path / "glove" / "glove100_subset.npz", vectors=np.arange(12, dtype=np.float32).reshape(3, 4) ** 2)
    (tmp_path / "glove" / "glove100_subset_words.txt").write_text("smile\ncat\nface\n")
    return tmp_path


def test_drawings_tags_and_category(root):
    data = mmppl.read("emoji:least=2", root=root)
    assert [(m.name, m.shape, m.role, m.likelihood) for m in data.modalities] == [
        ("image", (3, 4, 4), "modality", "bernoulli"), ("other", (3, 4, 4), "modality", "bernoulli"),
        ("tags", (2,), "label", "bernoulli"), ("category", (), "label", "categorical"),
    ]  # fmt: skip
    assert data.modalities[2].features == ("face", "animal")  # smile has one train row, the others none
    assert data.ids.tolist() == ["1F0", "1F1", "1F2", "1F3", "1F5", "1F6"]  # a test row may repeat another one
    assert [len(data.rows(part)) for part in ("train", "valid", "test")] == [4, 0, 2]
    assert data.values["tags"].tolist() == [[1, 0], [1, 0], [1, 1], [0, 1], [0, 0], [1, 1]]
    assert data.annotations["title"].tolist() == [NAMES[i] for i in (0, 1, 2, 3, 5, 6)]
    assert any("2 tags have at least 2 train rows; 1 rows have none" in note for note in data.notes)
    assert any("2 valid and test rows have a drawing" in note and "left out" in note for note in data.notes)
    assert mmppl.read(data.name, root=root).fingerprint() == data.fingerprint()


def test_options(root):
    data = mmppl.read("emoji:least=2,maker=noto,other=false,tags=modality,text=glove,repeats=keep", root=root)
    assert [(m.name, m.role) for m in data.modalities] == [
        ("image", "modality"), ("words", "modality"), ("tags", "modality"), ("category", "label"),
    ]  # fmt: skip
    with np.load(root / "emoji" / "emoji_32.npz") as file:
        wanted = np.moveaxis(file["image_b"], -1, 1) / 255
    np.testing.assert_allclose(data.values["image"], wanted, atol=1e-6)
    assert len(data) == 8 and not data.observed["words"][4] and data.observed["words"].sum() == 7
    m = data.modalities[1]
    found = m.value_in_input_units(data.values["words"].numpy())
    np.testing.assert_allclose(found[0], [0, 1, 4, 9], atol=1e-4)  # "big" has no vector
    np.testing.assert_allclose(found[3], (np.arange(4, 8) ** 2 + np.arange(8, 12) ** 2) / 2, atol=1e-4)


def test_smaller_drawings_are_means_of_squares(root):
    small, whole = (mmppl.read(f"emoji:least=2,side={side}", root=root) for side in (2, 4))
    squares = whole.values["other"].unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    np.testing.assert_allclose(small.values["other"], squares, atol=0.51 / 255)
    with pytest.raises(mmppl.UsageError, match="^emoji: side=3: drawings are 4×4; give a side that divides it.$"):
        mmppl.read("emoji:side=3", root=root)


def without(path, name):
    with np.load(path) as file:
        np.savez(path, **{key: file[key] for key in file.files if key != name})


@pytest.mark.parametrize(
    ("damage", "spec", "says"),
    [
        (lambda folder: (folder / "emoji_text.csv").unlink(), "emoji", "put emoji_32.npz, emoji_text.csv into"),
        (lambda folder: without(folder / "emoji_32.npz", "image_b"), "emoji", "'image_b' is missing"),
        (lambda folder: without(folder / "emoji_32.npz", "split"), "emoji", "its rows are not those of"),
        (lambda folder: (folder / "emoji_text.csv").write_text("name\nx\n"), "emoji", "has no column codepoints"),
        (lambda folder: (folder / "emoji_text.csv").write_bytes(b"\xff"), "emoji", "not a table in UTF-8"),
        (lambda folder: None, "emoji", "no tag has 10 train rows; the most frequent has 3"),
    ],
    ids=["no table", "no drawings", "no split", "no column", "no text", "rare tags"],
)
def test_files_that_are_not_what_they_should_be(root, damage, spec, says):
    damage(root / "emoji")
    with pytest.raises(mmppl.MMPPLError, match=f"^[^\n]*{says}[^\n]*$"):
        mmppl.read(spec, root=root)


def test_the_real_files(data_root):
    if not (data_root / "emoji").is_dir():
        pytest.skip("no emoji in the data")
    data = mmppl.read("emoji", root=data_root)
    assert [len(data.rows(part)) for part in ("train", "valid", "test")] == [1540, 196, 170]
    tags, category = data.modalities[-2:]
    assert tags.shape == (117,) and tags.features[:2] == ("flag", "face") and len(category.classes) == 10
    assert data.values["tags"][data.rows("train")].sum(0).min() >= 10
