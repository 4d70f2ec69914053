import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

import mmppl
from mmppl.data.read import read
from mmppl.errors import DataError, UsageError
from mmppl.modalities.modality import Modality

N = 40
RNG = np.random.default_rng(0)
REAL = RNG.normal(5, 3, (N, 3))
UNIT = RNG.uniform(0, 1, (N, 4))
LABEL = np.arange(N) % 4


def base(**changes):
    return {"x": REAL, "label": LABEL} | changes


def only(dataset, name):
    return next(m for m in dataset.modalities if m.name == name)


@pytest.mark.parametrize(
    "name, array, likelihood, role, transform, shape",
    [
        ("a", UNIT, "normal", "modality", "standardise", (4,)),
        ("a", UNIT[:, :1], "normal", "modality", "standardise", (1,)),
        ("a", np.where(UNIT < 0.2, 0, UNIT), "normal", "modality", "standardise", (4,)),
        ("a", np.where(UNIT < 0.3, 0, UNIT), "bernoulli", "modality", "none", (4,)),
        ("a", np.where(UNIT > 0.7, 1, UNIT), "bernoulli", "modality", "none", (4,)),
        ("a", UNIT.reshape(N, 2, 2), "bernoulli", "modality", "none", (2, 2)),
        ("a", (UNIT > 0.5).astype(float), "bernoulli", "modality", "none", (4,)),
        ("a", UNIT[:, 0], "normal", "modality", "standardise", ()),
        ("a", UNIT * 1.01 + 0.01, "normal", "modality", "standardise", (4,)),
        ("a", REAL.astype(np.float16), "normal", "modality", "standardise", (3,)),
        ("a", RNG.integers(0, 256, (N, 2, 3)).astype(np.uint8), "bernoulli", "modality", "image", (2, 3)),
        ("a", RNG.integers(0, 256, (N, 6)).astype(np.uint8), "normal", "modality", "log1p", (6,)),
        ("a", RNG.integers(0, 256, (N, 2, 3)).astype(np.int16), "normal", "modality", "log1p", (2, 3)),
        ("a", RNG.integers(-5, 5, (N, 6)), "normal", "modality", "standardise", (6,)),
        ("a", np.arange(N), "normal", "modality", "log1p", ()),
        ("a", np.arange(N) % 3, "categorical", "modality", "none", ()),
        ("a", (np.arange(N) % 3)[:, None], "categorical", "modality", "none", ()),
        ("a", RNG.integers(0, 2, (N, 6)).astype(np.uint8), "bernoulli", "modality", "none", (6,)),
        ("a", RNG.integers(0, 2, (N, 2, 3)).astype(np.uint8), "bernoulli", "modality", "none", (2, 3)),
        ("a", RNG.integers(0, 2, (N, 5)), "bernoulli", "modality", "none", (5,)),
        ("a", RNG.integers(0, 4096, (N, 4, 3)).astype(np.uint16), "bernoulli", "modality", "image12", (4, 3)),
        ("a", RNG.integers(0, 65536, (N, 3, 4, 4)).astype(np.uint16), "bernoulli", "modality", "image16", (3, 4, 4)),
        ("a", RNG.integers(0, 1000, (N, 4, 4, 4)).astype(np.uint16), "bernoulli", "modality", "image10", (4, 4, 4)),
        ("a", RNG.integers(0, 1000, (N, 4)).astype(np.uint16), "normal", "modality", "log1p", (4,)),
        ("label_2", np.arange(N), "normal", "label", "log1p", ()),
        ("label_2", np.arange(N) % 20, "categorical", "label", "none", ()),
        ("y", (np.arange(N) % 3).astype(float), "categorical", "label", "none", ()),
        ("y", REAL[:, 0], "normal", "label", "standardise", ()),
        ("a", UNIT > 0.5, "bernoulli", "modality", "none", (4,)),
        ("y", UNIT[:, 0] > 0.5, "categorical", "label", "none", ()),
        ("a", np.array(["wt", "ko"] * 20), "categorical", "modality", "none", ()),
        ("label", np.array(["wt", "ko"] * 20), "categorical", "label", "none", ()),
        ("a", np.array([list("ab "), list("b  ")] * 20), "categorical", "modality", "none", (3,)),
    ],
)
def test_the_table(name, array, likelihood, role, transform, shape):
    data = read({"x": REAL, name: array})
    m = only(data, name)
    assert (m.likelihood, m.role, m.transform, m.shape) == (likelihood, role, transform, shape)
    value = data.values[name]
    assert value.shape == (N, *shape) and value.dtype == (torch.float32 if m.classes is None else torch.int64)
    if m.classes is None:  # answers come back in the units of the input
        back = m.value_in_input_units(value.numpy())
        np.testing.assert_allclose(back, array.reshape(back.shape), rtol=1e-5, atol=1e-5)
        assert not (likelihood == "bernoulli" and value.max() > 1)
    else:
        assert np.array_equal(np.array(m.classes)[value.numpy()], array.reshape(value.shape))


def kinds(data, name):
    m = only(data, name)
    return m.likelihood, m.role, m.transform, m.classes


@pytest.mark.parametrize("distinct, likelihood", [(20, "categorical"), (21, "normal"), (48, "normal")])
def test_few_values_are_at_most_twenty(distinct, likelihood):
    values = np.arange(100) % distinct
    data = read({"x": np.arange(100.0) / 7, "age": values, "y": values})
    assert {only(data, name).likelihood for name in ("age", "y")} == {likelihood}


@pytest.mark.parametrize(
    "name, values",
    [
        ("sex", np.arange(N) % 2),
        ("age", np.arange(N) + 20),
        ("change", np.arange(N) - 20),
        ("column", (np.arange(N) % 3)[:, None]),
        ("counts", RNG.poisson(9, (N, 2))),
        ("here", RNG.integers(0, 2, (N, 3))),
    ],
)
def test_gaps_do_not_change_what_a_column_is(name, values):
    gapped = values.astype(float)
    gapped[7] = np.nan

    def columns(values):
        headers = [name] if values.ndim == 1 else [f"{name}:{i}" for i in range(values.shape[1])]
        return pd.DataFrame({"x": REAL[:, 0]} | dict(zip(headers, values.reshape(N, -1).T)))

    for whole, gaps in ((columns(values), columns(gapped)), ({"x": REAL, name: values}, {"x": REAL, name: gapped})):
        if isinstance(whole, dict) and name == "here":
            assert kinds(read(gaps), name) == kinds(read(whole | {name: values.astype(float)}), name)
            continue  # several zeros and ones in an array of floats are a Bernoulli
        assert kinds(read(whole), name) == kinds(read(gaps), name)
        assert read(gaps).observed[name].tolist() == [row != 7 for row in range(N)]


def test_floats_stay_floats():
    images = RNG.integers(0, 2, (N, 2, 3)).astype(float)
    sure = np.arange(N) % 3 + 0.0  # without a gap, or with a mask, a float is meant
    gapped = {"x": REAL, "image": images, "tenths": REAL[:, 0].round(1), "large": 2.0**60 * (np.arange(N) % 3)}
    for name in ("image", "tenths", "large"):
        gapped[name][3] = np.nan
    data = read(gapped | {"sure": sure, "masked": sure, "mask_masked": np.arange(N) != 3})
    assert {name: only(data, name).likelihood for name in ("image", "tenths", "large", "sure", "masked")} == {
        "image": "bernoulli"
    } | dict.fromkeys(("tenths", "large", "sure", "masked"), "normal")
    assert only(data, "large").transform == "standardise"


def test_proportions_may_leave_the_unit_interval_later():
    """Methylation beta values: rounding brings one to 1.003, which is no reason to refuse a row, nor is a gap."""
    gapped = UNIT.copy()
    gapped[7] = np.nan
    schema = read({"x": REAL, "beta": gapped}).modalities
    assert kinds(read({"x": REAL, "beta": gapped}), "beta") == kinds(read({"x": REAL, "beta": UNIT}), "beta")
    later = UNIT.copy()
    later[5, 1] = 1.003
    value = read({"x": REAL, "beta": later}, schema=schema)
    assert value.modalities == schema and value.values["beta"].isfinite().all()


def test_scaling_is_that_of_observed_train_rows():
    x, split = REAL.copy(), np.array(["train", "test"] * 19 + ["valid"] * 2)
    x[0], x[1] = np.nan, 1e6
    data = read(base(x=x, split=split, mask_x=np.arange(N) != 2))
    used = REAL[(split == "train") & (np.arange(N) > 2)]
    m = only(data, "x")
    np.testing.assert_allclose(m.shift, used.mean(0), rtol=1e-12)
    np.testing.assert_allclose(m.spread, used.std(0), rtol=1e-12)
    assert data.observed["x"].tolist() == [False, True, False] + [True] * 37
    assert (data.values["x"][[0, 2]] == 0).all() and data.has_split


def test_a_constant_feature_stays_finite():
    x = REAL.copy()
    x[:, 1] = 0.1 + 0.2
    data = read(base(x=x))
    assert only(data, "x").spread[1] == 1 and data.values["x"][:, 1].abs().max() < 1e-6


def test_what_lies_under_the_mask_does_not_matter():
    mask = np.arange(N) % 5 != 0
    prints = []
    for filler in (0, 1000, np.nan, np.inf):
        x, label = REAL.copy(), LABEL.astype(float)
        x[~mask], label[~mask] = filler, filler
        prints.append(read(base(x=x, label=label, mask_x=mask, mask_label=mask)).fingerprint())
    assert len(set(prints)) == 1


def test_splits():
    free = read(base())
    assert not free.has_split and free.describe()["split"] == {"train": 28, "valid": 4, "test": 8}
    assert (np.bincount(LABEL[free.split == 2]) == 2).all() and (np.bincount(LABEL[free.split == 0]) == 7).all()
    assert not np.array_equal(free.split, read(base(), seed=1).split)
    given = np.array([0, 2] * 20)
    tenth = read(base(split=given))
    assert (tenth.split[given == 2] == 2).all() and (tenth.split == 1).sum() == 2 and tenth.has_split
    whole = np.array([0, 1] * 20)
    assert np.array_equal(read(base(split=whole)).split, whole)


def test_the_input_is_neither_changed_nor_shared():
    x = UNIT.astype(np.float32)
    copy = x.copy()
    x.flags.writeable = False
    data = read(base(x=x))
    data.values["x"].fill_(7)
    assert np.array_equal(x, copy)


def wrong(array, at, value, dtype=None):
    array = np.array(array, dtype=dtype or np.asarray(array).dtype)
    array[at] = value
    return array


@pytest.mark.parametrize(
    "arrays, says",
    [
        (base(x=wrong(REAL, (7, 2), -np.inf)), ["'x'", "row 7", "column 2", "inf"]),
        (base(x=wrong(REAL, 7, np.inf)), ["'x'", "row 7", "column 0"]),
        (base(x=wrong(REAL.reshape(N, 3, 1), (7, 2, 0), np.inf), id=np.arange(N) + 100), ["row 7", "107", "(2, 0)"]),
        (base(x=wrong(REAL[:, 0], 9, np.inf)), ["row 9"]),
        (base(x=[[1.0, 2.0]] * 39 + [[1.0]]), ["'x'", "ragged"]),
        (base(x=np.array([{}] * N)), ["'x'", "objects"]),
        (base(x=np.array([None, "a"] * 20).reshape(N // 2, 2)), ["'x'", "objects"]),
        (base(x=REAL + 1j), ["'x'", "complex128"]),
        (base(x=np.array(["2020-01-01"] * N, dtype="datetime64[D]")), ["'x'", "datetime64"]),
        (base(x=np.zeros((N, 0))), ["'x'", "no features"]),
        (base(x=np.zeros((0, 3))), ["'x'", "no rows"]),
        (base(x=np.float64(3)), ["'x'", "single value"]),
        (base(x=REAL[:-1]), ["x 39", "label 40", "differ in length"]),
        ({"x": REAL[:1], "label": LABEL[:1]}, ["one sample only"]),
        (base(label=np.ones(N, int)), ["'label'", "one class only"]),
        (base(x=np.full((N, 3), np.nan)), ["'x'", "observed in no row"]),
        ({"x": np.full((N, 3), np.nan)}, ["nothing is observed"]),
        (base(x=wrong(REAL, slice(20), np.nan), split=np.repeat([0, 2], 20)), ["'x'", "no train row"]),
        (base(split=np.full(N, 2)), ["no train rows"]),
        (base(split=wrong(np.zeros(N, int), 5, 3)), ["'split'", "row 5", "3"]),
        (base(split=wrong(["train"] * N, 5, "vali")), ["row 5", "vali", "Did you mean valid?"]),
        (base(id=wrong(np.arange(N), 7, 3)), ["'id'", "3 occurs in rows 3 and 7"]),
        (base(id=REAL[:, 0]), ["'id'", "float64"]),
        (base(mask_X=np.ones(N, bool)), ["mask_X", "no array"]),
        (base(mask_x=np.ones((N, 2), bool)), ["mask_x", "(40, 2)", "(40, 3)"]),
        (base(mask_x=np.arange(N)), ["mask_x", "true or false"]),
        ({"label": LABEL}, ["only labels"]),
        ({"id": np.arange(N)}, ["no modality"]),
        ({"a.b": REAL}, ["'a.b'", "rename"]),
        ({"z": REAL}, ["'z'", "rename"]),
        ({"modalities": REAL}, ["'modalities'", "rename"]),
        ({"train": REAL}, ["'train'", "rename"]),
        ({"copy": REAL}, ["'copy'", "rename"]),
        (base(x=REAL * 1e200), ["'x'", "too large"]),
        (base(x=wrong(REAL, 0, 1e200), split=np.array([2] + [0] * 39)), ["'x'", "row 0", "float32"]),
    ],
)
def test_bad_data_is_named(arrays, says):
    with pytest.raises(DataError, match="^[^\n]+$") as error:
        read(arrays)
    assert all(text in str(error.value) for text in says), error.value


def test_a_column_of_texts_is_no_label():
    with pytest.raises(DataError, match="hardly classes"):
        read({"x": np.zeros((200, 2)) + np.arange(200)[:, None], "file": np.array([f"{i}.png" for i in range(200)])})


def test_overrides():
    words = np.array([[1, 2], [2, 9]] * 20)
    as_ = {
        "x": "laplace:scale=0.5",
        "unit": "normal:scale=predicted",
        "grey": "normal",
        "words": "categorical",
        "age": "normal:role=label",
        "label": "categorical:role=modality",
        "junk": "ignore",
    }
    arrays = base(unit=UNIT, grey=UNIT.round(), words=words, age=LABEL, junk=np.zeros(3), mask_junk=np.zeros(2))
    data = read(arrays, as_=as_)
    got = {m.name: (m.likelihood, m.scale, m.role, m.transform) for m in data.modalities}
    assert got == {
        "x": ("laplace", 0.5, "modality", "standardise"),
        "unit": ("normal", "predicted", "modality", "standardise"),
        "grey": ("normal", None, "modality", "none"),  # what the type says of scaling stays
        "words": ("categorical", None, "modality", "none"),
        "age": ("normal", None, "label", "standardise"),
        "label": ("categorical", None, "modality", "none"),
    }
    assert only(data, "words").classes == (1, 2, 9) and data.values["words"][1].tolist() == [1, 2]
    counts = base(x=np.abs(REAL * 9).astype(int))
    plain = read(counts, as_={"x": "normal:transform=standardise,scale=learned"})
    assert only(plain, "x").transform == "standardise" and only(plain, "x").scale == "learned"
    assert only(read(counts, as_={"x": "laplace:transform=standardise"}), "x").likelihood == "laplace"
    for data in (counts, read(counts)):  # the exponential of a Laplace has hardly ever a variance
        with pytest.raises(UsageError, match="choose normal, or --as x=laplace:transform=standardise"):
            read(data, as_={"x": "laplace"})


@pytest.mark.parametrize(
    "as_, says",
    [
        ({"x": "norml"}, "Did you mean normal?"),
        ({"xx": "normal"}, "Did you mean x?"),
        ({"x": "normal:scal=1"}, "scale"),
        ({"x": "normal:scale=predict"}, "Did you mean predicted?"),
        ({"x": "laplace:scale=predicted"}, "laplace"),
        ({"x": "normal:scale=-1"}, "positive"),
        ({"x": "normal:scale=nan"}, "positive"),
        ({"x": "bernoulli:scale=1"}, "no scale"),
        ({"x": "normal:role=labl"}, "Did you mean label?"),
        ({"x": "normal:transform=logp"}, "log1p"),
        ({"label": "categorical:transform=log1p"}, "no transform"),
        ({"word": "normal"}, "strings"),
        ({"x": "ignore:scale=1"}, "ignore takes no keys"),
        ({"x": "ignore:role=label"}, "ignore takes no keys"),
        ({"x": "laplace:transform=log1p"}, "--as x=laplace:transform=standardise"),
    ],
)
def test_a_wrong_override_is_reported(as_, says):
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        read(base(word=np.array(["a", "b"] * 20)), as_=as_)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "as_, says",
    [
        ({"x": "bernoulli"}, ["row 0", "[0, 1]"]),
        ({"x": "categorical"}, ["row 0", "class"]),
        ({"x": "normal:transform=log1p"}, ["negative"]),
        ({"x": "bernoulli", "label": "ignore"}, ["row 0"]),
    ],
)
def test_an_override_that_does_not_fit_the_values(as_, says):
    with pytest.raises(DataError) as error:
        read(base(x=REAL - 20), as_=as_)
    assert all(text in str(error.value) for text in says), error.value


def test_read_again_with_the_schema_of_a_run():
    names = np.array(["ko", "wt"] * 20)
    counts = RNG.poisson(9, (N, 2))
    pixels = RNG.integers(0, 256, (N, 2, 2)).astype(np.uint8)
    arrays = {"x": REAL, "counts": counts, "pixels": pixels, "label": names, "number": LABEL}
    first = read(arrays)
    schema = [Modality.from_json(m.to_json()) for m in first.modalities]
    some = {name: array[30:33] for name, array in arrays.items()}
    again = read(some | {"counts": some["counts"].astype(float)}, schema=schema)
    for name in arrays:
        assert torch.equal(again.values[name], first.values[name][30:33])
    assert again.modalities == first.modalities and not again.has_split and (again.split == 2).all()
    one = read({"x": REAL[:1], "number": LABEL[:1, None]}, schema=schema)
    assert not one.observed["pixels"].any() and one.values["pixels"].shape == (1, 2, 2) and len(one) == 1
    extra = {"extra": np.zeros(2)}
    assert len(read({"x": REAL} | extra, schema=schema, as_={"extra": "ignore", "x": "normal"})) == N


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"lable": LABEL}, ["'lable'", "Did you mean label"]),
        ({"x": REAL[:, :2]}, ["'x'", "(2,)", "(3,)"]),
        ({"x": np.array([["a"] * 3] * N)}, ["'x'", "numbers"]),
        ({"word": LABEL}, ["'word'", "strings"]),
        ({"pixels": np.zeros((N, 2, 2))}, ["'pixels'", "0 to 255"]),
        ({"pixels": np.full((N, 2, 2), 256)}, ["'pixels'", "row 0", "256"]),
        ({"counts": np.full((N, 2), -1)}, ["'counts'", "row 0", "-1"]),
        ({"unit": UNIT.round() + 1}, ["'unit'", "row 0", "[0, 1]"]),
        ({"x": REAL[:, :2], "lable": LABEL}, ["'x'", "'lable'"]),
        ({"x": REAL * np.nan}, ["nothing is observed"]),
    ],
)
def test_data_that_differ_from_the_schema(changes, says):
    kept = {"counts": LABEL[:, None] + [1, 2], "pixels": np.zeros((N, 2, 2), np.uint8), "unit": UNIT.round()}
    schema = read(base(**kept, word=np.array(["a", "b"] * 20))).modalities
    with pytest.raises(DataError, match="^[^\n]+$") as error:
        read(changes, schema=schema)
    assert all(text in str(error.value) for text in says), error.value


def test_a_recipe_takes_overrides_and_the_units_of_a_run():
    data = read("digits-two-view:rotate=fresh", as_={"noisy": "laplace:scale=0.2", "rotated": "normal:role=label"})
    assert [(m.likelihood, m.scale, m.role) for m in data.modalities[:2]] == [
        ("normal", None, "label"),
        ("laplace", 0.2, "modality"),
    ]
    assert read("digits-two-view", schema=data.modalities).modalities == data.modalities
    for as_ in ({"noisy": "categorical"}, {"nois": "normal"}, {"rotated": "ignore", "noisy": "ignore"}):
        with pytest.raises(UsageError):
            read("digits-two-view", as_=as_)
    left = read("digits-two-view:rotate=fresh", as_={"rotated": "ignore"})
    assert set(left.values) == {"noisy", "label"} and left.refresh(0, 0) == {}

    ours = read("digits-three")
    image, profile, word, label = ours.modalities
    scaled = dataclasses.replace(profile, shift=(1.0,) * 32, spread=(2.0,) * 32)
    turned = dataclasses.replace(label, classes=label.classes[::-1])
    (told,) = read("digits-three", schema=[image, scaled, turned]).findings
    assert told.text == "word: is not in the run, and left out."
    moved = read("digits-three", schema=[image, scaled, turned], as_={"word": "ignore"})
    assert moved.modalities == (image, scaled, turned) and np.array_equal(moved.split, ours.split)
    for old, new in ((profile, scaled), (label, turned)):
        units = [
            np.array(m.classes)[v] if m.classes else m.value_in_input_units(v)
            for m, v in ((old, ours.values[old.name].numpy()), (new, moved.values[new.name].numpy()))
        ]
        np.testing.assert_allclose(*units, atol=1e-5)
    assert not torch.equal(moved.values["label"], ours.values["label"])
    few = [image, dataclasses.replace(label, classes=(7, 8))]
    unknown = read(ours, schema=few, as_={"word": "ignore", "profile": "ignore"})
    assert "'label', row 0" in unknown.findings[0].text and not unknown.observed["label"][0]


def frame(order=slice(None), **renamed):
    columns = {f"gene:{name}": REAL[:, i] * 10**i for i, name in enumerate(["alpha", "beta", "gamma"])}
    whole = pd.DataFrame(columns | {"word:a": ["p", "q"] * 20, "word:b": ["q", "r"] * 20, "label": LABEL})
    return whole[list(whole.columns)[order]].rename(columns={f"gene:{old}": new for old, new in renamed.items()})


def test_columns_are_matched_by_name():
    first = read(frame())
    assert only(first, "gene").features == ("alpha", "beta", "gamma") and only(first, "label").features is None
    schema = [Modality.from_json(json.loads(json.dumps(m.to_json()))) for m in first.modalities]
    assert tuple(schema) == first.modalities
    turned = frame(slice(None, None, -1))
    assert read(turned).fingerprint() != first.fingerprint() and read(turned).modalities != first.modalities
    for other in (turned, read(turned), first):  # rows in input units, and in the units of another fit
        again = read(other, schema=schema)
        assert again.modalities == first.modalities
        for name in ("gene", "word", "label"):
            torch.testing.assert_close(again.values[name], first.values[name], rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match=r"'gene', row 3, column 0 \(alpha\): -inf"):
        read(frame(slice(None, None, -1)).assign(**{"gene:alpha": wrong(REAL[:, 0], 3, -np.inf)})[frame().columns])


@pytest.mark.parametrize(
    "new, says",
    [
        (frame(gamma="gene:gama"), ["'gene:gama' is not in it (Did you mean gene:gamma?)", "'gene:gamma' is missing"]),
        (frame(alpha="gene:beta", beta="gene:alpha", gamma="gene:x"), ["'gene:x' is not in it.", "'gene:gamma'"]),
        (frame(gamma="gen:gamma"), ["'gen' is not in it", "'gene:gamma' is missing"]),
        (frame().drop(columns="gene:beta"), ["'gene:beta' is missing"]),
        (
            frame(gamma="gene:x").assign(**{f"gene:{i}": 1.0 for i in range(9)}),
            ["'gene:3' is not", "5 more columns that are not"],
        ),
        (frame().rename(columns={"word:b": "word:c"}), ["'word:c'", "'word:b' is missing"]),
    ],
)  # fmt: skip
def test_columns_that_differ_are_named(new, says):
    schema = read(frame()).modalities
    for data in (new, read(new)):
        with pytest.raises(DataError, match="^[^\n]+$") as error:
            read(data, schema=schema)
        assert all(text in str(error.value) for text in says), error.value


def test_without_names_the_places_count():
    named, plain = read(frame()), read({"gene": REAL * [1, 10, 100], "label": LABEL})
    nameless = [dataclasses.replace(m, features=None) for m in named.modalities]
    assert read(frame(), schema=nameless).modalities == tuple(nameless)  # a run from before there were names
    again = read({"gene": REAL * [1, 10, 100]}, schema=named.modalities)
    assert again.modalities == named.modalities and torch.equal(again.values["gene"], named.values["gene"])
    assert torch.equal(read(plain, schema=nameless).values["gene"], named.values["gene"])
    assert all("features" not in m.to_json() for m in plain.modalities)  # nor do fingerprints know of them
    with pytest.raises(UsageError, match="3 features need as many names"):
        Modality("gene", (3,), features=("a", "b"))


@pytest.mark.parametrize("kind", [float, int, str])
def test_what_numpy_masks_is_missing(kind):
    rng = np.random.default_rng(0)
    values = rng.integers(1, 9, (40, 2)).astype(kind)
    masked = np.ma.masked_array(values.copy(), mask=np.repeat(np.arange(40)[:, None] % 3 == 0, 2, 1))
    masked.data[masked.mask.all(1)] = -9999
    how = {"a": "categorical:role=modality"} if kind is str else {}
    data = read({"a": masked, "b": rng.normal(size=(40, 3))}, as_=how)
    plain = read({"a": values, "b": data.values["b"].numpy(), "mask_a": np.arange(40) % 3 != 0}, as_=how)
    assert torch.equal(data.observed["a"], torch.arange(40) % 3 != 0) and data.modalities[0] == plain.modalities[0]
    assert torch.equal(data.values["a"], plain.values["a"])
    assert np.array_equal(np.ma.getdata(masked)[::3], np.full((14, 2), np.array(-9999).astype(kind)))  # left as it was
    masked[1, 0] = np.ma.masked
    there = read({"a": masked, "b": rng.normal(size=(40, 3))}, as_=how).present["a"]
    assert there.sum() == 2 * data.observed["a"].sum() - 1 and not there[1, 0]


def test_a_large_offset_is_no_constant():
    z = np.random.default_rng(0).normal(size=(100, 1))
    for array, sd in ((1e13 + 1000 * z, 1000.0), (1e9 + 0.5 * z, 0.5)):
        assert read({"a": array, "b": z}).modalities[0].spread[0] == pytest.approx(sd, rel=0.2)
    assert read({"a": np.full((100, 1), 1e9 / 7), "b": z}).modalities[0].spread == (1.0,)


@pytest.mark.parametrize("empty", [None, float("nan")])
def test_rows_without_any_label_are_no_other_schema(empty):
    """An all-empty column has no type; neither has one of a single row."""
    rng = np.random.default_rng(0)
    schema = read({"a": rng.normal(size=(20, 2)), "label": np.array(["x", "y"] * 10)}).modalities
    for label in (np.array([empty] * 3, object), np.full(3, np.nan)):
        asked = read({"a": rng.normal(size=(3, 2)), "label": label}, schema=schema)
        assert not asked.observed["label"].any() and asked.observed["a"].all()
    with pytest.raises(DataError, match="'label' holds numbers, not strings"):
        read({"a": rng.normal(size=(3, 2)), "label": np.array([1, 2, 3])}, schema=schema)


@pytest.mark.parametrize("how", ["frame", "arrays", "file"])
def test_what_is_ignored_may_be_anything(how, tmp_path):
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=20), "when": np.arange(20).astype("datetime64[D]"), "b": rng.normal(size=20)}
    if how == "frame":
        data = pd.DataFrame(columns | {"odd:x": [{}] * 20, "odd:y": 1.0}, index=[f"p{i}" for i in range(20)])
    elif how == "arrays":
        data = columns | {"odd": [[1], [2, 3]]}
    else:
        data = tmp_path / "data.npz"
        np.savez(data, **columns, odd=np.array([{}, None], object))
    found = read(data, as_={"when": "ignore", "odd": "ignore"})
    assert [m.name for m in found.modalities] == ["a", "b"] and len(found) == 20
    assert found.ids[0] == ("p0" if how == "frame" else 0)
    if how == "frame":  # dates are annotations there
        assert read(data, as_={"odd": "ignore"}).annotations["when"][1] == "1970-01-02"
    else:
        with pytest.raises(DataError, match="when"):
            read(data, as_={"odd": "ignore"})
    with pytest.raises(UsageError, match="no array 'whn'"):
        read(data, as_={"whn": "ignore", "odd": "ignore", "when": "ignore"})


def test_a_class_that_the_run_does_not_know_stops_only_questions_about_its_rows():
    draw = np.random.default_rng(0)
    given = {"kind": np.array(["u", "v"] * 10), "place": draw.normal(size=(20, 2)), "label": np.arange(20) % 2}
    run = mmppl.fit("mvae", given, hyper={"hidden": 4, "layers": 1}, epochs=1)
    new = {"kind": np.array(["u", "v", "u", "v", "x", "w"]), "place": draw.normal(size=(6, 2))}
    asked = {"given": "kind,place", "want": "label", "draws": 2}
    assert len(run.query(new, rows=slice(0, 4), **asked).ids) == 4
    for rows, says in (([5, 0], "row 5: 'w'"), ([3, 4], "row 4: 'x'"), (None, "row 4: 'x'")):
        with pytest.raises(DataError, match=f"'kind', {says} is not one of the classes u, v; correct or mask it"):
            run.query(new, rows=rows, **asked)
    data = run.dataset(new)
    found = next(f for f in data.take(torch.tensor([5, 0])).findings if f.kind == "unseen-level")
    assert [row for row, _ in found.rows] == [0] and "rows" not in found.to_json()
