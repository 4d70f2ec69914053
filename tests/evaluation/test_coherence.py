"""Coherence of programs whose answer is known, and classifiers that are trained once."""

import dataclasses
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from reference.asked import asked as as_model
from torch import nn

import mmppl
from mmppl.distributions.gaussian import Gaussian, standard_normal
from mmppl.evaluation import classifiers, coherence
from mmppl.kernels.codegen import cache

pytestmark = pytest.mark.slow

COHERENCE = ["coherence"]


class Copy(mmppl.Program):
    """z = (1, 0, 0), (0, 1, 0) or (0, 0, 1), the class that `signs` or else `image` shows. What is decoded from it has
    that class, or for names in `blind` is of class 0 whatever z is."""

    def __init__(self, modalities, blind=()):
        super().__init__(modalities)
        self.blind = blind
        self.unit = nn.Parameter(torch.ones(()))

    def model(self, batch):
        with batch.plates():
            z = pyro.sample("z", standard_normal(3))
            for m in self.each_modality():
                code = torch.eye(3)[0].expand(z.shape) if m.name in self.blind else z
                top = torch.nn.functional.one_hot(code.argmax(-1), 3).float()
                shape = {"signs": 1, "image": 64, "word": 2, "label": 1}[m.name]
                if m.name == "image":
                    output = 20 * (top @ PICTURES.flatten(1)) - 10
                else:
                    output = 20 * torch.cat([top] * shape, -1)
                mmppl.observe(m, lambda _, output=output: output, z, batch)

    def guide(self, batch):
        shown = {"signs": batch.values["signs"], "image": batch.values["image"].flatten(1) @ PICTURES.flatten(1).T / 20}
        shown["word"] = torch.nn.functional.one_hot(batch.values["word"][:, 0], 3).float()
        z = torch.zeros(*batch.seen.shape[:-1], 3)
        for name in self.encoded:
            z = torch.where(batch.sees(name).unsqueeze(-1), shown[name].clamp(0, 1), z)
        blank = ~batch.seen.any(-1, keepdim=True)
        with batch.plates():
            pyro.sample("z", Gaussian(z, torch.where(blank, 0.0, -9.0).expand_as(z)))


PICTURES = torch.zeros(3, 8, 8)
for i in range(3):
    PICTURES[i, 2 * i : 2 * i + 3, 1:7] = 1


def asking(data, **known):
    """A run of the program on these data."""
    return as_model(Copy(data.modalities, **known), data)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "kept", partial(cache._checked, tmp_path))
    monkeypatch.setattr(classifiers, "keep", partial(cache._write, tmp_path))
    monkeypatch.setattr(classifiers, "STEPS", 150)
    return tmp_path / "classifiers"


@pytest.fixture
def data():
    """600 rows of three classes: `signs` one-hot, `image` a bar among noise, `word` of two letters."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 600)
    arrays = {
        "signs": np.eye(3, dtype=np.float32)[label],
        "image": np.clip(PICTURES.numpy()[label] + rng.uniform(0, 0.05, (600, 8, 8)).astype(np.float32), 0, 1),
        "word": np.array([list("aa"), list("bb"), list("cc")])[label],
        "label": label,
    }
    return mmppl.read(arrays)


def test_what_copies_the_class_is_coherent(data):
    metrics = mmppl.evaluate(asking(data), metrics=COHERENCE)["metrics"]
    assert metrics["coherence.signs"] == {"image": 1, "word": 1, "image+word": 1}
    assert metrics["coherence.image"] == {"signs": 1, "word": 1, "signs+word": 1}
    assert metrics["coherence.word"] == {"signs": 1, "image": 1, "signs+image": 1}
    assert metrics["coherence_joint"] == {"nothing": 1}  # all decoded from one z
    assert all(metrics[f"judge_accuracy.{name}"] == 1 for name in ("signs", "image", "word"))
    one = mmppl.evaluate(asking(data), metrics=["coherence.image"])["metrics"]
    assert set(one) == {"coherence.image", "judge_accuracy.image", "left_out"}
    joint = mmppl.evaluate(asking(data), metrics=["coherence_joint"])["metrics"]
    assert {name.partition(".")[0] for name in joint} >= {"coherence_joint", "judge_accuracy"} and len(joint) == 5


def test_what_ignores_the_class_is_right_by_chance(data):
    metrics = mmppl.evaluate(asking(data, blind=("image",)), metrics=COHERENCE)["metrics"]
    test = data.rows("test")
    share = float((data.values["label"][test] == 0).double().mean())
    assert metrics["coherence.image"] == {key: pytest.approx(share) for key in ("signs", "word", "signs+word")}
    assert metrics["coherence.word"]["signs"] == 1
    assert metrics["coherence_joint"]["nothing"] == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / len(test)))


def test_rows_without_what_is_given_do_not_count(data):
    """The answer for them is a guess, and would say how many there are."""
    hidden = dataclasses.replace(data.mask_at_random(rate={"signs": 0.5}, keep_one=False, seed=1), split=data.split)
    result = mmppl.evaluate(asking(hidden), metrics=["coherence.word"], conditioning_sets=["signs", "image", []])
    assert result["metrics"]["coherence.word"] == {"signs": 1, "image": 1, "nothing": pytest.approx(1 / 3, abs=0.15)}
    test = hidden.rows("test")
    assert result["n"]["signs"] == int(hidden.observed["signs"][test].sum()) < result["n"]["image"] == len(test)


def test_coherence_is_computed_on_request_and_only_where_it_can_be(data, monkeypatch):
    monkeypatch.setattr(coherence, "classifier_of", lambda *a, **k: pytest.fail("a classifier was asked for"))
    metrics = mmppl.evaluate(asking(data))["metrics"]
    assert not any(name.startswith(("coherence", "judge")) for name in metrics) and "probe.label" in metrics
    monkeypatch.undo()
    with pytest.raises(mmppl.UsageError, match="no metric 'coherence'"):
        blank = mmppl.read({"a": np.eye(3, dtype=np.float32)[[0, 1, 2] * 10]})
        mmppl.evaluate(asking(blank), metrics=COHERENCE)


def test_a_modality_that_has_no_label_in_training_has_no_coherence(data):
    train = data.split == 0
    observed = data.observed | {"word": data.observed["word"] & torch.from_numpy(~train)}
    logged = []
    run = asking(dataclasses.replace(data, observed=observed))
    metrics = mmppl.evaluate(run, metrics=COHERENCE, log=logged.append)["metrics"]
    assert "coherence.word" not in metrics and "coherence_joint" not in metrics and metrics["coherence.image"]
    assert any("no coherence of word" in line for line in logged)


def test_classifiers_are_trained_once(data, own_cache, monkeypatch):
    run = asking(data)
    before = mmppl.evaluate(run, metrics=COHERENCE)["metrics"]
    assert len(list(own_cache.iterdir())) == 3 and all(file.suffix == ".safetensors" for file in own_cache.iterdir())
    train = classifiers._train
    monkeypatch.setattr(classifiers, "_train", lambda *a: pytest.fail("a classifier was trained again"))
    assert mmppl.evaluate(run, metrics=COHERENCE)["metrics"] == before
    trained = []
    monkeypatch.setattr(classifiers, "_train", lambda *a: trained.append(a[1].name) or train(*a))
    # No classifier learns from test rows; other train rows, another schema and a damaged file do not take the kept one.
    image = data.values["image"].clone()
    image[data.rows("test")] = 0.5
    mmppl.evaluate(asking(data.replaced({"image": image})), metrics=["coherence.image"])
    assert trained == []
    image[data.rows("train")[0], 0, 0] += 1e-3
    mmppl.evaluate(asking(data.replaced({"image": image})), metrics=["coherence.image"])
    assert trained == ["image"]
    label = data.values["label"].clone()
    first = data.rows("train")[0]
    label[first] = (label[first] + 1) % 3
    mmppl.evaluate(asking(data.replaced({"label": label})), metrics=["coherence.image"])
    assert trained == ["image"] * 2
    for file in own_cache.iterdir():
        file.write_bytes(file.read_bytes()[:-8])
    mmppl.evaluate(run, metrics=["coherence.word"])
    assert trained == ["image", "image", "word"]


def test_classifiers_learn_from_what_a_fit_hid(monkeypatch, tmp_path):
    """So runs that hid other values share them."""
    monkeypatch.setattr(classifiers, "STEPS", 20)
    small = {"hidden": 8, "layers": 1}
    sizes = []
    train = classifiers._train
    monkeypatch.setattr(classifiers, "_train", lambda *a: sizes.append(len(a[3])) or train(*a))
    for seed in (0, 1):
        run = mmppl.fit("mvae", hide=0.5, seed=seed, hyper=small, epochs=1, out=tmp_path / str(seed))
        for asked in (run, mmppl.Run.load(run.folder)):
            found = asked.evaluate(metrics=["coherence.profile"], conditioning_sets=["image"])
            assert found["metrics"]["coherence.profile"] and found["n"]["image"] < found["rows"]
    assert sizes == [len(run.data().rows("train"))]
    assert not run.data().observed["profile"].all() and run.data(hidden=False).observed["profile"].all()


def test_a_classifier_does_not_depend_on_earlier_draws(data, own_cache):
    of = {m.name: m for m in data.modalities}
    train = data.take(data.rows("train"))
    torch.manual_seed(1)
    one = classifiers.classifier_of(of["image"], of["label"], train)
    for file in own_cache.iterdir():
        file.unlink()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = classifiers.classifier_of(of["image"], of["label"], train)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    kept = classifiers.classifier_of(of["image"], of["label"], train, fresh=False)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), kept.state_dict().values()))
    assert classifiers.classifier_of(of["signs"], of["label"], train, fresh=False) is None


def test_what_lies_under_the_mask_does_not_matter(data):
    some = data.mask_at_random(rate=0.4, seed=3)
    filled = dataclasses.replace(
        some,
        values={
            name: torch.where(
                some.observed[name].reshape(-1, *[1] * (value.ndim - 1)), value, torch.full_like(value, 2)
            )
            for name, value in some.values.items()
        },
    )
    before, after = (mmppl.evaluate(asking(d), metrics=COHERENCE)["metrics"] for d in (some, filled))
    assert before == after and before["coherence.image"]["signs"] == 1


@pytest.mark.parametrize(
    "m",
    [
        mmppl.Modality("m", (28, 28), "bernoulli"),
        mmppl.Modality("m", (3, 32, 40)),
        mmppl.Modality("m", (5, 7, 3)),
        mmppl.Modality("m", (1, 1)),
        mmppl.Modality("m", (2, 3, 2, 2)),
        mmppl.Modality("m", (9,)),
        mmppl.Modality("m", ()),
        mmppl.Modality("m", (), "categorical", classes=("a", "b", "c")),
        mmppl.Modality("m", (5,), "categorical", classes=("a", "b", "c")),
        mmppl.Modality("m", (2, 2), "categorical", classes=("a", "b", "c")),
    ],
    ids=str,
)
def test_every_modality_has_a_classifier(m):
    value = torch.zeros(3, *m.shape, dtype=torch.int64) if m.classes else torch.rand(3, *m.shape)
    codes = classifiers.predict(classifiers.classifier_network(m, 4).eval(), m.as_input(value))
    assert codes.shape == (3,) and codes.dtype == np.int64 and (codes < 4).all()


def test_classifiers_see_values_in_model_units():
    """Numbers come back from a query in the units of the input."""
    rng = np.random.default_rng(0)
    label = np.arange(300) % 2
    data = mmppl.read({"a": 1000 + 50 * label[:, None] + rng.normal(size=(300, 2)), "label": label})
    m = data.modalities[0]
    assert m.transform == "standardise"
    classifier = classifiers.classifier_of(m, data.modalities[1], data.take(data.rows("train")))
    mean = m.value_in_input_units(data.values["a"].numpy())
    value = coherence._classifier_input(m, {"mean": mean, "std": np.ones(2)})
    torch.testing.assert_close(value, data.values["a"], rtol=1e-4, atol=1e-4)
    assert (classifiers.predict(classifier, value) == label).all()


def test_a_classifier_sees_the_probabilities_of_classes():
    """A word of which only the place is open has no likeliest letters, but is of its class."""
    m = mmppl.Modality("word", (3,), "categorical", classes=(" ", "a", "b"))
    prob = np.zeros((1, 3, 3))
    prob[0, :, 0], prob[0, :, 2] = 2 / 3, 1 / 3  # "b" at one of three places
    shown = coherence._classifier_input(m, {"prob": prob})
    assert torch.equal(shown, torch.from_numpy(prob.reshape(1, 9)).float())


def test_a_classifier_of_counts_sees_what_was_decoded():
    """The mean of a count is e^(m + v/2) − 1; a classifier sees m, as it saw the counts that it learnt from."""
    m = mmppl.Modality("counts", (2,), "normal", transform="log1p", shift=(1.0, 2.0), spread=(0.5, 2.0))
    decode, variance = np.array([[0.3, -0.4]]), np.array([[1.0, 0.25]])
    mean, square = m.to_input_units(decode, variance)
    shown = coherence._classifier_input(m, {"mean": mean, "std": np.sqrt(square)})
    torch.testing.assert_close(shown, torch.from_numpy(decode).float(), rtol=1e-5, atol=1e-5)
