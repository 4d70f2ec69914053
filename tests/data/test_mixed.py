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
        read(frame(), as_={"lab": "age:normal,sex:categorical"})
    with pytest.raises(UsageError, match="--as lab: no likelihood 'age', nor such a column"):
        read(frame(), as_={"lab": "age:normal"})
    with pytest.raises(DataError, match="'clin_sex' is an array, and also a part of the group 'clin'"):
        read(frame().assign(clin_sex=1.0))


def observed(source, schema):
    data = read(source, schema=schema)
    return {name: int(seen.sum()) for name, seen in data.observed.items()}, [f.text for f in data.findings]


def test_a_plain_column_of_a_query_is_not_taken_for_that_of_a_group_if_it_is_something_else():
    whole = frame()[["gene:a", "gene:b", "clin:age", "clin:sex"]].assign(age=np.linspace(10, 15, N))
    few = whole[["age", "gene:a", "gene:b"]].iloc[:5]
    schema = read(whole).modalities
    assert observed(few, schema)[0] == {"gene": 5, "age": 5, "clin_numbers": 0, "clin_sex": 0}
    ignored = read(whole, as_={"age": "ignore"}).modalities  # and a column of the fit that it left out
    assert read(few.to_dict("series"), schema=ignored, as_={"age": "ignore"}).observed["clin_numbers"].sum() == 0
    twice = read(frame().assign(**{"lab:crp": 1.0 * np.arange(N), "lab:sex": frame()["clin:sex"]})).modalities
    assert observed(few.drop(columns="age").assign(crp=2.0), twice)[0]["lab_numbers"] == 0
    plain = frame()[["clin:age", "clin:sex"]].rename(columns=lambda name: name[5:]).iloc[:5]
    assert observed(plain, ignored)[0] == {"gene": 0, "clin_numbers": 5, "clin_sex": 5}


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_another_column_of_another_kind_takes_nothing_away(kind):
    whole = frame() if kind == "numbers" else frame().drop(columns="clin:age")
    names, more = {"numbers": (["gene:a", "gene:b"], "hello"), "texts": (["t:a", "t:b"], 1.0)}[kind]
    if kind == "texts":
        whole = whole.assign(**{"t:a": whole["clin:sex"], "t:b": whole["clin:sex"][::-1].to_numpy()})
    schema, group = read(whole).modalities, names[0][:-2]
    few = whole.iloc[:5].copy()
    few.loc[few.index[2], names[1]] = None
    data, same = (read(source, schema=schema) for source in (few.assign(**{f"{group}:note": more}), few))
    assert f"{group}:note: is not in the run, and left out." in [f.text for f in data.findings]
    for held in ("values", "observed", "present"):
        a, b = getattr(data, held), getattr(same, held)
        assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)
    with pytest.raises(DataError, match="'clin:sexx' is not in the run. Did you mean sex"):
        read(frame().rename(columns={"clin:sex": "clin:sexx"}), schema=schema)


def test_what_is_said_of_a_mixed_group_is_said_of_its_parts():
    roles = {m.name: m.role for m in read(frame(), as_={"clin": "condition"}).modalities}
    assert roles == {"gene": "modality", "clin_numbers": "condition", "clin_sex": "condition"}
    assert [m.name for m in read(frame(), as_={"clin": "ignore"}).modalities] == ["gene"]


def test_masks_of_cells_are_parted_with_their_columns():
    mask = np.ones((N, 2), dtype=bool)
    mask[5, 0], mask[7, 1] = False, False
    values = np.stack([frame()["clin:crp"], frame()["clin:smoker"]], -1)
    arrays = {"clin": values, "mask_clin": mask, "gene": values[:, :1] + 1}
    how = dict(name="mine", features={"clin": ("crp", "smoker")}, as_={"clin": "crp:normal,smoker:bernoulli"})
    data = mmppl.data.schema.ingest.from_arrays(arrays, **how)
    missing = {name: (~seen).nonzero().flatten().tolist() for name, seen in data.observed.items()}
    assert missing == {"gene": [], "clin_normal": [5], "clin_bernoulli": [7]}
    with pytest.raises(DataError, match="'mask_clin' has shape"):
        mmppl.data.schema.ingest.from_arrays(arrays | {"mask_clin": mask[:, :1]}, **how)


@pytest.mark.parametrize("kind", ["frame", "csv", "headers"])
def test_plain_columns_become_a_mixed_group_whose_values_for_missing_are_remembered(kind, tmp_path):
    columns = frame()[["clin:age", "clin:sex", "clin:crp", "gene:a"]].copy()
    columns.loc[3, "clin:age"], columns.loc[4, "clin:sex"] = -9, "Unknown"
    if kind != "headers":
        columns.columns = [name.partition(":")[2] for name in columns]
    else:
        columns = columns.rename(columns={"gene:a": "a"})

    def source(rows, wrong):
        few = columns.iloc[rows].astype(object)
        if kind == "frame":
            return columns.iloc[rows]
        few.loc[wrong, few.columns[2]] = "<5"
        few.to_csv(tmp_path / f"{wrong}.csv", index=False)
        return tmp_path / f"{wrong}.csv"

    how = {"as_": {"clin": "age:normal,crp:normal,sex:categorical"}, "missing": {"clin": ["-9", "Unknown", "<5"]}}
    data = read(source(slice(None), 7), **how)
    again = read(source(slice(0, 10), 7), schema=data.modalities)
    for found in (data, again):
        absent = (~found.present["clin_normal"]).nonzero().tolist()
        assert absent == [[3, 0], [7, 1]][: 1 + (kind != "frame")]
        assert (~found.observed["clin_sex"]).nonzero().flatten().tolist() == [4]
    for name in data.values:
        np.testing.assert_array_equal(again.values[name], data.values[name][:10])
