"""A group of columns of several kinds: each kind a modality of its own, all of them asked about by the group's name."""

import numpy as np
import pytest

import mmppl
from mmppl import DataError, UsageError, read

pandas = pytest.importorskip("pandas")
N = 60


def frame(rows=slice(None)):
    r = np.random.default_rng(0)
    u = r.normal(size=N)
    columns = {
        "gene:a": u + r.normal(size=N), "gene:b": u - r.normal(size=N),
        "clin:age": np.round(50 + 10 * u), "clin:sex": np.where(u + r.normal(size=N) > 0, "f", "m"),
        "clin:crp": 2 * u + r.normal(size=N), "clin:smoker": (r.random(N) < 0.4).astype(int),
        "clin:stage": r.integers(1, 4, N),
    }  # fmt: skip
    return pandas.DataFrame(columns)[rows]


HOW = "age:normal,crp:normal,sex:categorical,smoker:bernoulli,stage:ordinal"


def shapes(data):
    return {m.name: (m.likelihood, m.shape, m.features, m.group) for m in data.modalities}


def test_numbers_and_strings_come_apart_by_themselves():
    assert shapes(read(frame())) == {
        "gene": ("normal", (2,), ("a", "b"), None),
        "clin_numbers": ("normal", (4,), ("age", "crp", "smoker", "stage"), "clin"),
        "clin_sex": ("categorical", (), ("sex",), "clin"),
    }


def test_every_column_has_the_likelihood_that_it_is_given():
    data = read(frame(), as_={"clin": HOW})
    assert shapes(data) == {
        "gene": ("normal", (2,), ("a", "b"), None),
        "clin_normal": ("normal", (2,), ("age", "crp"), "clin"),
        "clin_sex": ("categorical", (), ("sex",), "clin"),
        "clin_bernoulli": ("bernoulli", (), ("smoker",), "clin"),
        "clin_stage": ("ordinal", (), ("stage",), "clin"),
    }
    (m,) = (m for m in data.modalities if m.name == "clin_normal")
    np.testing.assert_allclose(m.value_in_input_units(data.values[m.name].numpy()), frame()[["clin:age", "clin:crp"]],
                               rtol=1e-5, atol=1e-5)  # fmt: skip
    arrays = {"x": np.arange(6.0), "clin": np.stack([np.arange(6.0), [0, 1] * 3], -1)}
    named = mmppl.data.schema.ingest.from_arrays(
        arrays, name="mine", features={"clin": ("age", "sex")}, as_={"clin": "sex:categorical"}
    )
    assert [m.name for m in named.modalities] == ["x", "clin_numbers", "clin_sex"]


def test_gaps_are_those_of_the_column():
    gaps = frame()
    gaps.loc[3, "clin:sex"], gaps.loc[5, ["clin:age", "clin:crp"]] = None, np.nan
    data = read(gaps, as_={"clin": HOW})
    missing = {name: (~seen).nonzero().flatten().tolist() for name, seen in data.observed.items() if not seen.all()}
    assert missing == {"clin_sex": [3], "clin_normal": [5]}


def test_a_group_is_given_wanted_and_a_target():
    target = read(frame(), as_={"clin": HOW}, target="clin")
    assert [m.role for m in target.modalities] == ["modality", *["label"] * 4]
    data = read(frame(), as_={"clin": HOW})
    run = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, hidden=4, latent_dim=2), data=data)
    said = run.query(frame(slice(0, 3)), given=["gene"], want=["clin"], split="all", draws=4)
    assert [*said.want] == ["clin_normal", "clin_sex", "clin_bernoulli", "clin_stage"]
    assert said["clin_sex"]["prob"].shape == (3, 2) and said["clin_normal"]["mean"].shape == (3, 2)
    less = frame(slice(0, 3))[["clin:stage", "clin:sex", "clin:crp", "clin:age", "clin:smoker"]].assign(**{"clin:x": 1})
    again = run.query(less, given=["clin"], want=["gene"], split="all", draws=4)
    whole = run.query(frame(slice(0, 3)), given=["clin"], want=["gene"], split="all", draws=4)
    np.testing.assert_allclose(again["gene"]["mean"], whole["gene"]["mean"], rtol=1e-6)
    assert [*mmppl.evaluate(run, conditioning_sets=["clin"], metrics=["rmse.gene"])["n"]] == [
        "clin_normal+clin_sex+clin_bernoulli+clin_stage"
    ]


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("age:normal,weight:normal", UsageError, "clin: it has no column 'weight'; it has age, sex, crp"),
        ("age:normal,sex", UsageError, "is not COLUMN:LIKELIHOOD,…"),
        ("age:gauss", UsageError, "--as clin_age: no likelihood 'gauss'"),
        ("sex:normal", UsageError, "--as clin_normal: its values are strings"),
    ],
)
def test_a_wrong_override_is_one_line(how, error, says):
    with pytest.raises(error, match=says):
        read(frame(), as_={"clin": how})


def test_other_misuse_is_one_line():
    with pytest.raises(UsageError, match="--as lab: there are no columns lab:…"):
        read(frame(), as_={"lab": "age:normal"})
    with pytest.raises(DataError, match="'clin_sex' is an array, and also a part of the group 'clin'"):
        read(frame().assign(clin_sex=1.0))
