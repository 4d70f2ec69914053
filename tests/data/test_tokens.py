"""Words and acoustic vectors of utterances: how they are paired, and the recipes token-pairs and mosi-tokens."""

import zipfile

import numpy as np
import pytest

import mmppl
from mmppl import read
from mmppl.data.readers.tokens import token_pairs
from mmppl.data.recipes.parts.function_words import FUNCTION_WORDS
from mmppl.errors import DataError, UsageError

WORDS = {"a": 3, "b": 1, "c": 2}  # of each utterance
SOUNDS = {"a": 2, "b": 4, "c": 1}


def arrays():
    """Vectors that say whose they are: the number of the word or sound is in every place; neither is in order."""
    of_word = np.array(["a", "c", "a", "b", "a", "c"])
    of_sound = np.array(["b", "a", "b", "c", "b", "a", "b"])
    return {
        "word": np.arange(6.0)[:, None] + np.array([0.5, 0.25, 0.125]),
        "utterance_word": of_word,
        "acoustic": np.arange(7.0)[:, None] - np.array([0.5, 0.25]),
        "utterance_acoustic": of_sound,
        "token": np.array(["the", "sad", "man", "laughs", "loud", "song"]),
        "label": np.array([0, 1, 0, 1, 0, 1]),
    }


def many(utterances=40, seed=0):
    rng = np.random.default_rng(seed)
    spoken, heard = np.repeat(np.arange(utterances), 3), np.repeat(np.arange(utterances), 4)
    return {
        "word": rng.normal(size=(len(spoken), 5)),
        "utterance_word": spoken,
        "acoustic": rng.normal(size=(len(heard), 3)),
        "utterance_acoustic": heard,
        "token": np.array([f"w{i % 7}" for i in range(len(spoken))]),
    }


def pairs_of(found):
    """(utterance, word, sound) of every pair."""
    words, sounds = np.floor(found["word"][:, 0]), np.ceil(found["acoustic"][:, 0])
    return list(zip(found["utterance"].tolist(), words.astype(int).tolist(), sounds.astype(int).tolist()))


def test_every_word_with_every_sound_of_its_utterance():
    given = arrays()
    found = token_pairs(given, "mine.npz").arrays
    wanted = [
        (u, word, sound)
        for u in "abc"
        for word in np.flatnonzero(given["utterance_word"] == u).tolist()
        for sound in np.flatnonzero(given["utterance_acoustic"] == u).tolist()
    ]
    assert pairs_of(found) == wanted and len(wanted) == 3 * 2 + 1 * 4 + 2 * 1
    assert found["token"].tolist() == [given["token"][word] for _, word, _ in wanted]
    assert found["label"].tolist() == [given["label"][word] for _, word, _ in wanted]


def test_a_cap_draws_distinct_pairs_of_the_utterance_evenly():
    every = set(pairs_of(token_pairs(arrays(), "x").arrays))
    counts = dict.fromkeys(every, 0)
    for seed in range(300):
        found = token_pairs(arrays(), "x", cap=2, seed=seed)
        pairs = pairs_of(found.arrays)
        assert len(pairs) == len(set(pairs)) == 6 and set(pairs) <= every
        assert found.notes == ["6 of 12 pairs are kept, at most 2 of an utterance."]
        for pair in pairs:
            counts[pair] += 1
    assert all(counts[pair] == 300 for pair in every if pair[0] == "c")
    assert all(60 < counts[pair] < 140 for pair in every if pair[0] == "a")  # 100 expected of each, sd 8
    again = [pairs_of(token_pairs(arrays(), "x", cap=2, seed=7).arrays) for _ in range(2)]
    assert again[0] == again[1]
    assert not token_pairs(arrays(), "x", cap=6).notes


def test_from_a_file_and_from_arrays(tmp_path):
    np.savez(tmp_path / "mine.npz", **many())
    data = read(tmp_path / "mine.npz")
    assert [(m.name, m.shape, m.likelihood, m.role) for m in data.modalities] == [
        ("word", (5,), "normal", "modality"),
        ("acoustic", (3,), "normal", "modality"),
    ]
    assert len(data) == 40 * 12 and data.name == "mine.npz" and {*data.annotations} == {"utterance", "token"}
    parts = [{*data.annotations["utterance"][data.split == part].tolist()} for part in range(3)]
    assert not parts[0] & parts[1] and not (parts[0] | parts[1]) & parts[2]  # no utterance is in two parts
    assert list(map(len, parts)) == [28, 4, 8]
    assert read(many()).fingerprint() == data.fingerprint()
    capped = read(f"token-pairs:file={tmp_path / 'mine.npz'},cap=5")
    assert len(capped) == 40 * 5 and capped.notes[0].startswith("200 of 480 pairs")
    whole = read(f"token-pairs:file={tmp_path / 'mine.npz'}")
    assert whole.fingerprint() == data.fingerprint()
    as_label = read(tmp_path / "mine.npz", as_={"token": "categorical"})
    assert [m.name for m in as_label.modalities] == ["word", "acoustic", "token"]
    assert len(read(many() | {"rate": np.zeros(1)}, as_={"rate": "ignore"})) == 480


def test_rows_that_are_pairs_already():
    rng = np.random.default_rng(0)
    given = {"word": rng.normal(size=(60, 2)), "acoustic": rng.normal(size=(60, 3)), "utterance": np.arange(60) // 3}
    data = read(given)
    assert len(data) == 60 and data.annotations["utterance"].tolist() == given["utterance"].tolist()
    assert len({(u, part) for u, part in zip(given["utterance"].tolist(), data.split.tolist())}) == 20
    assert len(read(given, as_={"utterance": "ignore"})) == 60
    with pytest.raises(DataError, match="'utterance' and also utterance_word; leave the one or the others out"):
        read(given | {"utterance_word": given["utterance"]})


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8])
def test_what_is_noise_is_an_annotation(tmp_path, kind):
    given = many()
    noise = {f"noise_{name}": (np.arange(len(given[name])) % 3 == 0).astype(kind) for name in ("word", "acoustic")}
    np.savez(tmp_path / "mine.npz", **given, **noise)
    data = read(tmp_path / "mine.npz")
    assert [m.name for m in data.modalities] == ["word", "acoustic"]
    assert {*data.annotations} == {"utterance", "token", "noise_word", "noise_acoustic"}
    assert all(data.annotations[name].dtype == bool for name in noise)
    spoken, heard = np.arange(3).repeat(4), np.tile(np.arange(4), 3)  # of each utterance
    at = np.arange(40)[:, None]
    assert np.array_equal(data.annotations["noise_word"], ((3 * at + spoken) % 3 == 0).reshape(-1))
    assert np.array_equal(data.annotations["noise_acoustic"], ((4 * at + heard) % 3 == 0).reshape(-1))
    rows = {"word": np.eye(6), "acoustic": np.eye(6), "utterance": np.arange(6), "noise_word": np.arange(6) % 2}
    assert read(rows).annotations["noise_word"].tolist() == [False, True] * 3
    with pytest.raises(DataError, match="'noise_word' is int64 of shape .* other values than true and false"):
        read(rows | {"noise_word": np.arange(6)})


@pytest.mark.parametrize("parts", [np.array(["train", "test"]), np.array([0, 2]), np.array([0.0, 2.0])])
@pytest.mark.parametrize("utterances", [3, 40])
def test_valid_rows_are_whole_utterances_where_the_file_has_train_and_test(tmp_path, parts, utterances):
    given = many(utterances)
    given["split"] = parts[(given["utterance_word"] % 3 == 2).astype(int)]
    np.savez(tmp_path / "mine.npz", **given)
    data = read(tmp_path / "mine.npz")
    found = [{*data.annotations["utterance"][data.split == part].tolist()} for part in range(3)]
    assert found[2] == {*range(2, utterances, 3)}
    assert len(found[1]) == (3 if utterances == 40 else 1) and sum(map(len, found)) == utterances
    again = read(tmp_path / "mine.npz", schema=data.modalities)
    assert again.fingerprint() == data.fingerprint()
    given["split"][given["utterance_word"] == 0] = "valid" if parts.dtype.kind == "U" else 1
    assert {*read(given).annotations["utterance"][read(given).split == 1].tolist()} == {0}


def test_a_few_utterances_are_split_as_wholes():
    for utterances in (2, 3, 4, 5):
        data = read(many(utterances))
        assert len({*zip(data.annotations["utterance"].tolist(), data.split.tolist())}) == utterances
        assert {0, 1} <= {*data.split.tolist()}
    given = many(4) | {"split": np.array([["train"]] * 12)}
    with pytest.raises(DataError, match="'split' is <U5 of shape"):
        read(given)


def test_as_many_words_as_acoustic_vectors_leave_open_whose_an_array_is():
    order = np.arange(12)
    given = {"word": np.eye(12), "utterance_word": order % 3, "acoustic": np.eye(12), "utterance_acoustic": order // 4}
    known = {"token": order.astype(str), "label": order % 2, "function_word": order > 5, "split": order % 3 % 2 * 2}
    known |= {f"{kind}_{side}": order < 9 for kind in ("mask", "noise") for side in ("word", "acoustic")}
    with pytest.raises(DataError) as error:
        read(given | known | {"pitch": np.arange(12.0)})
    assert str(error.value) == (
        "arrays: 'pitch' has 12 rows, and there are as many words as acoustic vectors; call it pitch_word or "
        "pitch_acoustic, or leave it out."
    )
    assert len(read(given | known | {"pitch": np.arange(12.0)}, as_={"pitch": "ignore"})) == 3 * 16
    found = token_pairs(given | known | {"pitch_word": order, "pitch_acoustic": order}, "x").arrays
    assert found["pitch_word"].tolist() == found["word"].argmax(1).tolist() == order.reshape(4, 3).T.repeat(4).tolist()
    assert found["pitch_acoustic"].tolist() == found["acoustic"].argmax(1).tolist()
    assert found["mask_acoustic"].tolist() == (found["pitch_acoustic"] < 9).tolist()
    with pytest.raises(DataError, match=r"'pitch_word' has shape \(7,\); give it 6 \(word\) rows, or leave"):
        read(arrays() | {"pitch_word": np.arange(7)})


def test_words_come_first_whatever_the_order_of_the_file(tmp_path):
    paired = {"acoustic": np.eye(9), "label": np.arange(9) % 2, "word": np.eye(9), "utterance": np.arange(9) // 3}
    for given in (dict(reversed(many().items())), paired):
        np.savez(tmp_path / "mine.npz", **given)
        for source in (given, tmp_path / "mine.npz", f"token-pairs:file={tmp_path / 'mine.npz'}"):
            assert [m.name for m in read(source).modalities if m.role == "modality"] == ["word", "acoustic"]
    assert [m.name for m in read(paired).modalities] == ["word", "label", "acoustic"]


def test_a_run_answers_about_other_utterances():
    run = mmppl.fit("factors", many(), hyper={"latent_dim": 2})
    other = many(6, seed=1)
    answer = run.query(other, given=["word"], want=["acoustic"])
    assert len(answer.ids) == 6 * 12 and (run.dataset(other).split == 2).all()


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("hide", [0.0, 0.3])
def test_training_rows_do_not_pass_for_test_rows_of_the_same_file(tmp_path, paired, hide):
    given = many(20)
    if paired:
        given = {"word": given["word"], "acoustic": given["word"][:, ::-1] + 1, "utterance": given["utterance_word"]}
    np.savez(tmp_path / "t.npz", **given)
    fit = mmppl.fit("factors", tmp_path / "t.npz", hyper={"latent_dim": 2}, hide=hide, out=tmp_path / "run")
    wanted = read(tmp_path / "t.npz").split
    for run in (fit, mmppl.Run.load(tmp_path / "run")):
        found = run.dataset(str(tmp_path / "t.npz"))
        assert found.has_split and np.array_equal(found.split, wanted)
        judged = run.evaluate(str(tmp_path / "t.npz"))
        assert (judged["split"], judged["rows"]) == ("test", (wanted == 2).sum())
    np.savez(tmp_path / "t.npz", **{name: array[3:] for name, array in given.items() if "acoustic" not in name},
             **{name: array[3 if paired else 4:] for name, array in given.items() if "acoustic" in name})  # fmt: skip
    assert (run.dataset(str(tmp_path / "t.npz")).split == 2).all()  # other rows


def test_missing_words_are_missing_in_their_pairs():
    given = many()
    given["word"][4] = np.nan
    data = read(given)
    assert (~data.observed["word"]).sum() == 4 and (data.annotations["utterance"][~data.observed["word"]] == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"utterance_word": np.array(["a", "c", "a", "b", "a", "d"])},
            "utterance 'd' has words but no acoustic vectors",
        ),
        (
            {"utterance_acoustic": np.array(["b", "a", "e", "c", "f", "a", "b"])},
            r"utterance 'e' has acoustic vectors but no words \(nor have 1 others\); add them",
        ),
        ({"utterance_word": np.array(["a"] * 5)}, r"'utterance_word' is <U1 of shape \(5,\); give one utterance"),
        ({"utterance_word": np.zeros(6)}, "'utterance_word' is float64"),
        ({"utterance_word": np.zeros(6, int)}, "utterance 0 has words but no acoustic vectors"),
        ({"id": np.arange(6)}, "'id' names words or acoustic vectors"),
        ({"mood": np.arange(9)}, r"'mood' has shape \(9,\); give it 6 \(word\) or 7 \(acoustic\) rows"),
        ({"word": np.zeros((0, 3)), "utterance_word": np.zeros(0, "<U1")}, "'word' has no rows"),
    ],
)
def test_wrong_ones_are_told_in_one_line(tmp_path, change, message):
    np.savez(tmp_path / "mine.npz", **(arrays() | change))
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path / "mine.npz")
    assert str(error.value).startswith(f"{tmp_path / 'mine.npz'}: ") and "\n" not in str(error.value)


def test_pairs_that_do_not_fit_are_refused_before_they_are_made(monkeypatch):
    n = 60_000  # 3.6 thousand million pairs
    given = {"word": np.zeros((n, 1)), "acoustic": np.zeros((n, 1))}
    given |= {f"utterance_{name}": np.zeros(n, int) for name in given}
    monkeypatch.setattr("mmppl.base.memory.available", lambda: 2**32)
    with pytest.raises(DataError, match=r"^x: 3,600,000,000 pairs of words and acoustic vectors \(cap=… bounds them\)"):
        token_pairs(given, "x")
    assert len(token_pairs(given, "x", cap=100).arrays["word"]) == 100


def test_the_recipe_needs_a_file(tmp_path):
    with pytest.raises(UsageError, match="token-pairs: name a file"):
        read("token-pairs")
    with pytest.raises(UsageError, match="cap=-1; give a number of pairs"):
        read(f"token-pairs:file={tmp_path / 'mine.npz'},cap=-1")
    with pytest.raises(DataError, match="no such file"):
        read(f"token-pairs:file={tmp_path / 'mine.npz'}")


TEXTS = ["THE FILM WAS GREAT", "UM I LOVED THE CAST", "THE FILM WAS BAD", "GREAT CAST XXX", "THE END", "BAD END"] * 4


@pytest.fixture
def root(tmp_path):
    """CMU-MOSI with 24 utterances of 12 videos, and GloVe of two sizes."""
    n = len(TEXTS)
    video, segment = np.array([f"v{i // 2:02}" for i in range(n)]), np.arange(n, dtype=np.int16) % 2 + 1
    score = np.linspace(-3, 3, n).astype(np.float32)
    (tmp_path / "cmu_mosi").mkdir()
    np.savez(
        tmp_path / "cmu_mosi" / "mosi_utterance.npz", audio=3 * np.eye(n, 30, dtype=np.float32) - 1, score=score,
        text=np.zeros((n, 2)), split=np.where(np.arange(n) < 18, 0, 2).astype(np.uint8),
        video_id=video, segment=segment,
    )  # fmt: skip
    rows = [f"{i},{v},{s},0,1,0,1,x,x,{text}" for i, (v, s, text) in enumerate(zip(video, segment, TEXTS))]
    head = "row,video_id,segment,start_s,end_s,score,label_binary,split,split_std,transcript"
    (tmp_path / "cmu_mosi" / "mosi_segments.csv").write_text("\n".join([head, *rows]) + "\n")
    (tmp_path / "glove").mkdir()
    words = ["the", "film", "was", "great", "loved", "cast", "bad", "end", "never", "um"]
    vectors = np.arange(len(words))[:, None] + np.zeros((len(words), 4), np.float32)
    np.savez(tmp_path / "glove" / "glove4_subset.npz", vectors=vectors)
    (tmp_path / "glove" / "glove4_subset_words.txt").write_text("\n".join(words) + "\n")
    return tmp_path


def test_words_of_mosi(root):
    data = read("mosi-tokens:min_count=1", root=root)
    assert [(m.name, m.shape, m.likelihood, m.role) for m in data.modalities] == [
        ("word", (4,), "normal", "modality"),
        ("acoustic", (30,), "normal", "modality"),
        ("label", (), "categorical", "label"),
    ]
    spoken = [(i, word) for i, text in enumerate(TEXTS) for word in text.lower().split()]
    kept = [(i, word) for i, word in spoken if word not in ("i", "xxx")]
    assert data.notes == (
        "8 of 80 words have no vector in glove4_subset.npz, and 0 more occur fewer than 1 times; they are left out.",
    )
    assert data.annotations["token"].tolist() == [word for _, word in kept]
    assert data.annotations["utterance"].tolist() == [f"v{i // 2:02}/{i % 2 + 1}" for i, _ in kept]
    assert data.annotations["function_word"].tolist() == [word in ("the", "was", "um") for _, word in kept]
    order = ["the", "film", "was", "great", "loved", "cast", "bad", "end", "never", "um"]
    back = data.modalities[0].value_in_input_units(data.values["word"].numpy())[:, 0]
    np.testing.assert_allclose(back, [order.index(word) for _, word in kept], atol=1e-4)
    heard = data.modalities[1].value_in_input_units(data.values["acoustic"].numpy()).argmax(1)
    assert heard.tolist() == [i for i, _ in kept]
    score = data.annotations["score"]
    assert [data.modalities[2].classes[code] for code in data.values["label"]] == [
        "positive" if one >= 0 else "negative" for one in score
    ]
    assert (data.split == 2).tolist() == [i >= 18 for i, _ in kept]
    videos = [{name.partition("/")[0] for name in data.annotations["utterance"][data.split == part]} for part in (0, 1)]
    assert len(videos[1]) == 1 and len(videos[0]) == 8 and not videos[0] & videos[1]
    rarer = read("mosi-tokens:min_count=8", root=root)
    assert {*rarer.annotations["token"]} == {"the", "film", "was", "great", "cast", "bad", "end"}
    assert "and 8 more occur fewer than 8 times" in rarer.notes[0]


def test_vectors_as_published_come_first_where_they_have_200_dimensions(root):
    numbers = " ".join(["0.5"] * 199)
    lines = [f"{word} {number} {numbers}" for number, word in enumerate(("film", "the", "zzz", "cast"))]
    (root / "glove" / "glove.6B.200d.txt").write_text("\n".join(lines) + "\n")
    data = read("mosi-tokens:min_count=1", root=root)
    assert data.modalities[0].shape == (200,) and {*data.annotations["token"]} == {"film", "the", "cast"}
    back = data.modalities[0].value_in_input_units(data.values["word"].numpy())[:, 0]
    np.testing.assert_allclose(
        back, [{"film": 0, "the": 1, "cast": 3}[one] for one in data.annotations["token"]], atol=1e-4
    )
    (root / "glove" / "glove.6B.200d.txt").write_text("\n".join([*lines, "bad 1 2"]) + "\n")
    with pytest.raises(DataError, match=r"glove.6B.200d.txt: line 5 \('bad'\) is not a word and as many numbers"):
        read("mosi-tokens", root=root)


def test_files_of_mosi_that_are_wrong(root, monkeypatch, tmp_path_factory):
    monkeypatch.delenv("MMPPL_DATA", raising=False)
    with pytest.raises(DataError, match="needs mosi_utterance.npz, mosi_segments.csv in ROOT/cmu_mosi, and glove.6B"):
        read("mosi-tokens")
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match=f"put mosi_utterance.npz, mosi_segments.csv into {empty}/cmu_mosi"):
        read("mosi-tokens", root=empty)
    with pytest.raises(UsageError, match="min_count=0; give 1 or more"):
        read("mosi-tokens:min_count=0", root=root)
    with pytest.raises(DataError, match="no word occurs 1,000 times"):
        read("mosi-tokens:min_count=1000", root=root)
    table = root / "cmu_mosi" / "mosi_segments.csv"
    text = table.read_text()
    table.write_text(text.replace("v03,1", "v03,9"))
    with pytest.raises(DataError, match="its rows are not the utterances of mosi_utterance.npz"):
        read("mosi-tokens", root=root)
    table.write_text(text.replace("transcript", "words"))
    with pytest.raises(DataError, match="one lacks video_id, segment, transcript"):
        read("mosi-tokens", root=root)
    table.write_text(text)
    words = root / "glove" / "glove4_subset_words.txt"
    words.write_text("the\nfilm\n")
    with pytest.raises(DataError, match=r"'vectors' has shape \(10, 4\) where glove4_subset_words.txt has 2 words"):
        read("mosi-tokens", root=root)
    words.write_text("\n".join("zyxwvutsrq"))
    with pytest.raises(DataError, match="none of the 11 words has a vector in it"):
        read("mosi-tokens", root=root)
    words.unlink()
    with pytest.raises(DataError, match="glove4_subset_words.txt: cannot be read"):
        read("mosi-tokens", root=root)
    (root / "glove" / "glove4_subset.npz").unlink()
    with pytest.raises(DataError, match=f"put glove.6B.200d.txt .* into {root}/glove"):
        read("mosi-tokens", root=root)
    with zipfile.ZipFile(root / "cmu_mosi" / "mosi_utterance.npz", "w") as archive:
        archive.writestr("nothing.txt", "")
    with pytest.raises(DataError, match="mosi_utterance.npz"):
        read("mosi-tokens", root=root)


def test_function_words():
    assert {"the", "of", "i", "um", "dont", "don't", "was", "and"} <= FUNCTION_WORDS
    assert not {"great", "love", "movie", "hate", "sad", "hell", "good", "bad", "think"} & FUNCTION_WORDS
    assert all(word == word.lower() and " " not in word for word in FUNCTION_WORDS)


def test_real_utterances(data_root):
    if not (data_root / "cmu_mosi").is_dir() or not (data_root / "glove").is_dir():
        pytest.skip("needs cmu_mosi/ and glove/ in the folder with the data sets")
    data = read("mosi-tokens", root=data_root)
    assert len(data) == 21_893 and data.values["acoustic"].shape[1] == 73
    utterances = [{*data.annotations["utterance"][data.split == part].tolist()} for part in range(3)]
    assert sum(map(len, utterances)) == len(utterances[0] | utterances[1] | utterances[2])
    assert 0.6 < data.annotations["function_word"].mean() < 0.75
    assert "2,059 of 27,540 words have no vector" in data.notes[0]
