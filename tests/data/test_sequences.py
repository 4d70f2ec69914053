"""Sequences at the door: lengths, what is blanked, scaling over the steps that exist, fingerprints, wrong lengths."""

import numpy as np
import pandas as pd
import pytest
import torch

import mmppl
from mmppl.errors import DataError, UsageError

N, T, F = 24, 6, 2


def arrays(filler=0.0, *, dtype=np.float64):
    rng = np.random.default_rng(0)
    series, length = rng.normal(3, 2, (N, T, F)).astype(dtype), rng.integers(1, T + 1, N)
    series[np.arange(T) >= length[:, None]] = filler
    return {"watch": series, "length_watch": length, "age": rng.normal(size=N), "label": np.arange(N) % 2}


def test_schema_values_and_masks():
    data, given = mmppl.read(arrays()), arrays()
    watch = data.modalities[0]
    assert (watch.name, watch.shape, watch.sequence, watch.likelihood) == ("watch", (T, F), True, "normal")
    assert [m.name for m in data.modalities] == ["watch", "age", "label"]
    assert not any(m.sequence or "sequence" in m.to_json() for m in data.modalities[1:])
    assert mmppl.Modality.from_json(watch.to_json()) == watch and watch.to_json()["sequence"] is True
    there = data.present["watch"]
    assert there.shape == (N, T, 1) and torch.equal(there.sum((1, 2)), torch.from_numpy(given["length_watch"]))
    assert data.values["watch"][~there.expand(N, T, F)].eq(0).all()
    back = watch.value_in_input_units(data.values["watch"].numpy())
    np.testing.assert_allclose(back[there[..., 0]], given["watch"][there[..., 0]], rtol=1e-5, atol=1e-5)


def test_each_feature_has_one_scale_learnt_from_the_train_steps_that_exist():
    data, given = mmppl.read(arrays()), arrays()
    train = data.split == 0
    steps = np.concatenate([row[:n] for row, n in zip(given["watch"][train], given["length_watch"][train])])
    watch = data.modalities[0]
    np.testing.assert_allclose(np.reshape(watch.shift, (T, F)), np.broadcast_to(steps.mean(0), (T, F)))
    np.testing.assert_allclose(np.reshape(watch.spread, (T, F)), np.broadcast_to(steps.std(0), (T, F)))


@pytest.mark.parametrize("filler", [np.nan, np.inf, 1e30, -7.0])
def test_what_stands_beyond_a_length_does_not_matter(filler):
    one, other = mmppl.read(arrays()), mmppl.read(arrays(filler))
    assert one.fingerprint() == other.fingerprint() and one.modalities == other.modalities
    assert torch.equal(one.values["watch"], other.values["watch"])
    counts = mmppl.read(arrays(0, dtype=np.int64) | {"age": np.ones(N)}).modalities[0]
    wild = mmppl.read(arrays(-9, dtype=np.int64) | {"age": np.ones(N)}).modalities[0]
    assert counts == wild and counts.transform == "standardise"  # some of these whole numbers are negative


def test_a_length_changes_the_fingerprint():
    longer = arrays() | {"length_watch": np.full(N, T)}
    assert mmppl.read(arrays()).fingerprint() != mmppl.read(longer).fingerprint()
    assert mmppl.read(longer).present["watch"].all()


def test_a_dataset_with_fillers_has_the_same_fingerprint():
    from mmppl.testing.samples import overwritten

    data = mmppl.read(arrays())
    wild = overwritten(data, 1e30)
    assert not torch.equal(wild.values["watch"], data.values["watch"]) and wild.fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (
            T + 1,
            f"'length_watch', row 3: 7 is no length, a whole number from 0 to the {T} steps of 'watch'; correct it.",
        ),
        (-1, "'length_watch', row 3: -1 is no length"),
        (2.5, "'length_watch', row 3: 2.5 is no length"),
        (np.nan, "'length_watch', row 3: nan is no length"),
    ],
)
def test_wrong_lengths_name_the_row(length, message):
    given = arrays()
    given["length_watch"] = given["length_watch"].astype(np.float64 if length != T + 1 and length != -1 else np.int64)
    given["length_watch"][3] = length
    with pytest.raises(DataError) as error:
        mmppl.read(given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_wrong_arrays_of_lengths():
    with pytest.raises(DataError, match="'length_watch' is <U1 of shape .*; give one whole number per row"):
        mmppl.read(arrays() | {"length_watch": np.full(N, "a")})
    with pytest.raises(DataError, match="arrays differ in length"):
        mmppl.read(arrays() | {"length_watch": np.ones(3, int)})


def test_a_row_of_length_0_lacks_the_modality_and_is_told():
    given = arrays()
    given["length_watch"][[2, 5]] = 0
    data = mmppl.read(given)
    assert not data.observed["watch"][[2, 5]].any() and data.observed["watch"].sum() == N - 2
    assert data.notes == ("watch: 2 rows of length 0 lack it",)


def test_values_within_a_length_are_examined_as_elsewhere():
    given = arrays(np.nan)
    given["length_watch"][4] = 2
    given["watch"][4, :2] = 1.0
    given["watch"][4, 1, 0] = -np.inf
    with pytest.raises(DataError, match=r"'watch', row 4, column \(1, 0\): -inf is in an observed row"):
        mmppl.read(given)
    given["watch"][4, :2] = np.nan  # all that it has
    assert not mmppl.read(given).observed["watch"][4]


def test_masks_and_lengths_together():
    given = arrays() | {"mask_watch": np.arange(N) != 7}
    given["length_watch"][7] = 99  # of a row that is masked
    data = mmppl.read(given)
    assert not data.observed["watch"][7] and not data.present["watch"][7].any()


def test_which_arrays_are_sequences():
    """Numbers (N, T) have one feature; a column length_x beside a single number x, or without x, is a modality."""
    given = arrays()
    flat = mmppl.read(given | {"watch": given["watch"][..., 0]})
    assert flat.modalities[0].shape == (T, 1) and flat.modalities[0].sequence
    petals = mmppl.read(
        {"petal": np.arange(N) * 1.5, "length_petal": np.arange(N) * 0.7, "length_leaf": np.ones(N) * 0.2}
    )
    assert [m.name for m in petals.modalities] == ["petal", "length_petal", "length_leaf"]
    own = mmppl.read(given, as_={"length_watch": "normal"})
    assert not own.modalities[0].sequence and own.modalities[1].name == "length_watch"
    left = mmppl.read(given, as_={"watch": "ignore"})
    assert [m.name for m in left.modalities] == ["age", "label"]


def test_bits_words_and_overrides():
    given, rng = arrays(), np.random.default_rng(1)
    words = rng.choice(["a", "b", "c"], (N, T))
    words[np.arange(T) >= given["length_watch"][:, None]] = "beyond"
    bits = rng.random((N, T, F)) < 0.5
    data = mmppl.read(
        {"words": words, "length_words": given["length_watch"], "bits": bits, "length_bits": given["length_watch"]}
    )
    by_name = {m.name: m for m in data.modalities}
    assert by_name["words"].classes == ("a", "b", "c") and by_name["words"].shape == (T, 1)
    assert by_name["bits"].likelihood == "bernoulli" and all(m.sequence for m in data.modalities)
    grey = mmppl.read(given | {"watch": rng.integers(0, 255, (N, T, F)).astype(np.uint8)}).modalities[0]
    assert grey.likelihood == "normal"  # no image
    laplace = mmppl.read(given, as_={"watch": "laplace:scale=0.5"}).modalities[0]
    assert (laplace.likelihood, laplace.scale, laplace.sequence) == ("laplace", 0.5, True)


def test_ragged_lists_are_padded():
    given = arrays()
    rows = [row[:n] for row, n in zip(given["watch"], given["length_watch"])]
    for ragged in (rows, [torch.from_numpy(row) for row in rows]):
        data = mmppl.read({"watch": ragged, "age": given["age"], "label": given["label"]})
        assert data.modalities == mmppl.read(given).modalities and data.present["watch"].any(0).all()
        assert torch.equal(data.values["watch"], mmppl.read(given).values["watch"])
    with pytest.raises(DataError, match="ragged"):
        mmppl.read({"watch": [np.ones((2, 3)), np.ones((2, 4))], "age": given["age"][:2]})


def test_new_data_have_fewer_steps_or_no_lengths_but_not_more_steps():
    data, given = mmppl.read(arrays()), arrays()
    short = mmppl.read({"watch": given["watch"][:3, :4], "length_watch": np.array([4, 1, 0])}, schema=data.modalities)
    assert short.values["watch"].shape == (3, T, F) and short.present["watch"].sum((1, 2)).tolist() == [4, 1, 0]
    whole = mmppl.read({"watch": given["watch"][:3, :4]}, schema=data.modalities)
    assert whole.present["watch"].sum((1, 2)).tolist() == [4, 4, 4]
    padded = np.zeros((3, T + 2, F))
    cut = mmppl.read({"watch": padded, "length_watch": np.array([T, 1, 2])}, schema=data.modalities)
    assert cut.values["watch"].shape == (3, T, F)
    with pytest.raises(DataError, match=f"'watch', row 0 has {T + 1} steps, and the run knows {T} at most"):
        mmppl.read({"watch": padded, "length_watch": np.array([T + 1, 1, 2])}, schema=data.modalities)
    none = mmppl.read({"age": given["age"]}, schema=data.modalities)
    assert none.present["watch"].shape == (N, T, 1) and not none.present["watch"].any()


def test_rows_masks_and_other_schemas_carry_the_lengths():
    data = mmppl.read(arrays())
    some = data.take(torch.tensor([5, 1]))
    assert torch.equal(some.present["watch"], data.present["watch"][[5, 1]])
    assert torch.equal(data.batch(torch.tensor([5, 1]), ("watch",)).present["watch"], some.present["watch"])
    hidden = mmppl.read(arrays(), hide=0.5, hide_seed=1)
    lost = ~hidden.observed["watch"]
    assert (
        lost.any() and not hidden.present["watch"][lost].any() and hidden.whole.present["watch"][lost].any((1, 2)).all()
    )
    assert hidden.fingerprints()["as_read"] == data.fingerprints()["as_read"]
    wild = data.replaced({"watch": torch.full_like(data.values["watch"], 7.0)})
    assert wild.values["watch"][~data.present["watch"].expand(N, T, F)].eq(0).all()
    again = mmppl.read(data, schema=mmppl.read(arrays() | {"watch": 2 * arrays()["watch"]}).modalities)
    assert torch.equal(again.present["watch"], data.present["watch"])
    assert again.values["watch"][~data.present["watch"].expand(N, T, F)].eq(0).all()


def test_described():
    data = mmppl.read(arrays())
    lengths = arrays()["length_watch"]
    found = data.describe()["modalities"]
    assert found[0]["lengths"] == [lengths.min(), float(torch.from_numpy(lengths).median()), lengths.max()]
    assert "lengths" not in found[1]


def test_refused_schemas():
    with pytest.raises(UsageError, match="a sequence has the shape"):
        mmppl.Modality("x", (4,), "normal", sequence=True)


def test_a_batch_shows_steps_and_hides_what_does_not_exist():
    m = mmppl.Modality("x", (3, 2), "normal", sequence=True)
    value = torch.tensor([[[1.0, 2], [3, 4], [torch.nan, 9]], [[5, 6], [7, 8], [9, 9]]])
    there = torch.tensor([[[True], [True], [False]], [[True], [False], [False]]])
    observed = {"x": torch.tensor([True, False])}
    batch = mmppl.Batch({"x": value}, observed, torch.arange(2), 2, ("x",), present={"x": there})
    assert batch.value("x").tolist() == [[[1, 2], [3, 4], [0, 0]], [[0, 0]] * 3]
    assert batch.input(m).tolist() == [[1, 2, 1, 3, 4, 1, 0, 0, 0], [0] * 9] and m.input_size == 9
    steps, exists = batch.steps(m)
    assert torch.equal(steps, batch.value("x")) and exists.tolist() == [[True, True, False], [False] * 3]
    plain = mmppl.Modality("x", (2,), "normal")
    batch = mmppl.Batch({"x": torch.ones(2, 2)}, observed, torch.arange(2), 2, ("x",))
    steps, exists = batch.steps(plain)
    assert steps.tolist() == [[[1, 1]], [[0, 0]]] and exists.tolist() == [[True], [False]]


def test_data_sets_of_a_run_with_other_ideas_of_lengths():
    """A Dataset without lengths is answered like its arrays; one with lengths, by a run that knows none, is refused."""
    given = arrays()
    run = mmppl.fit("mvae", given, hyper=dict(hidden=4, latent_dim=2), epochs=1)
    plain = {key: array for key, array in given.items() if key != "length_watch"}
    asked = dict(given=["watch"], want=["age"], split="all")
    found, wanted = (run.query(data, **asked)["age"]["mean"] for data in (mmppl.read(plain), plain))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.ptp(found) > 1e-4
    other = mmppl.fit("mvae", plain, hyper=dict(hidden=4, latent_dim=2), epochs=1)
    with pytest.raises(DataError, match="^watch: it is a sequence with rows of fewer than 6 steps[^\n]*$"):
        other.query(mmppl.read(given), **asked)


def test_what_stands_for_missing_counts_within_lengths_alone():
    given = arrays()
    given["watch"][:, 0] = np.where(np.arange(N)[:, None] == 3, -9, given["watch"][:, 0])
    given["watch"][np.arange(T) >= given["length_watch"][:, None]] = -9
    observed = mmppl.read(given, missing={"watch": [-9]}).observed["watch"]
    assert observed.tolist() == [row != 3 for row in range(N)]
    flat = {"x": np.arange(2.0 * N).reshape(N, 2), "length_x": np.ones(N)}
    flat["x"][3, 1] = -9
    found = mmppl.read(flat, as_={"length_x": "normal"}, missing={"x": [-9]})  # no lengths, and so no padding
    assert found.present["x"][3].tolist() == [True, False]


def test_lengths_of_what_is_ignored_are_told():
    given = {"fish": np.arange(N) * 1.5, "length_fish": np.arange(N) * 0.5, "x": np.arange(2.0 * N).reshape(N, 2)}
    found = mmppl.read(given, as_={"fish": "ignore"})
    assert [m.name for m in found.modalities] == ["x"] and "length_fish: left out" in found.notes[0]
    kept = mmppl.read(given, as_={"fish": "ignore", "length_fish": "normal"})
    assert [m.name for m in kept.modalities] == ["length_fish", "x"]


def frame_of_steps():
    rng = np.random.default_rng(4)
    length = rng.integers(1, 5, N)
    steps = {f"w:{step}": rng.normal(size=N) for step in range(4)}
    return pd.DataFrame({**steps, "length_w": length, "age": rng.normal(size=N), "label": np.arange(N) % 2})


def test_steps_that_are_columns_have_the_order_of_the_run():
    frame = frame_of_steps()
    fitted = mmppl.read(frame)
    shuffled = mmppl.read(frame[["w:2", "age", "w:3", "w:0", "length_w", "w:1", "label"]], schema=fitted.modalities)
    assert torch.equal(shuffled.present["w"], fitted.present["w"]) and not fitted.present["w"].all()
    assert torch.equal(shuffled.values["w"], fitted.values["w"])


@pytest.mark.parametrize("at", [0, 4])
def test_columns_that_are_no_steps_of_the_run_are_refused(at):
    frame = frame_of_steps()
    fitted = mmppl.read(frame)
    frame.insert(at, "w:more", 9.0)
    with pytest.raises(DataError, match="'w:more' is not in it"):
        mmppl.read(frame, schema=fitted.modalities)


def test_a_dataset_whose_steps_have_another_order_is_refused():
    frame = frame_of_steps()
    other = mmppl.read(frame[["w:3", "w:2", "w:1", "w:0", "length_w", "age", "label"]])  # blanked in this order
    with pytest.raises(DataError, match="the steps of 'w' are in another order than 0, 1, 2, 3"):
        mmppl.read(other, schema=mmppl.read(frame).modalities)


def test_a_sequence_without_lengths_is_told():
    given = arrays()
    schema = mmppl.read(given).modalities
    plain = {name: array for name, array in given.items() if name != "length_watch"}
    for source in (plain, mmppl.read(plain)):
        data = mmppl.read(source, schema=schema)
        assert data.present["watch"].shape == (N, T, 1) and data.present["watch"].all()
        back = data.modalities[0].value_in_input_units(data.values["watch"].numpy())
        np.testing.assert_allclose(back, plain["watch"], rtol=1e-5, atol=1e-5)
        told = [finding.text for finding in data.findings if finding.kind == "told"]
        assert told == ["watch: no length_watch, so every row has all 6 steps."]
    assert not [finding for finding in mmppl.read(given, schema=schema).findings if finding.kind == "told"]
    without = {"age": given["age"], "label": given["label"]}
    assert not [finding for finding in mmppl.read(without, schema=schema).findings if "steps" in finding.text]
