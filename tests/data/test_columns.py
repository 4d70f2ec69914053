"""Columns become modalities: groups of the user, of a run and of a schema file."""

import numpy as np
import pandas as pd
import pytest

import mmppl
from mmppl.data.schema.grouping.column_names import as_text, matched, names_columns, parted

N = 60
RNG = np.random.default_rng(3)
LABS = {name: RNG.normal(size=N) for name in ("crp", "alb", "IL-6 (a:b), x", "gene_b", "gene_a")}
COLUMNS = LABS | {
    "age": RNG.integers(18, 90, N),
    "sex": np.array(["f", "m", "f"] * (N // 3)),
    "label": np.arange(N) % 2,
}


def modalities(source, **how):
    return [(m.name, m.shape, m.features) for m in mmppl.read(source, **how).modalities]


@pytest.fixture
def table(tmp_path):
    pd.DataFrame(COLUMNS).drop(columns="IL-6 (a:b), x").to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_a_group_has_the_values_of_its_columns_in_its_order(table):
    want = mmppl.read({"lab": np.stack([COLUMNS["alb"], COLUMNS["crp"]], 1), **{"age": COLUMNS["age"]}})
    for source in (COLUMNS, pd.DataFrame(COLUMNS).rename(columns={"IL-6 (a:b), x": "il6"}), table):
        got = mmppl.read(source, as_={"lab": "alb,crp", "*": "ignore", "age": "normal"})
        assert [m.name for m in got.modalities] == ["lab", "age"]
        np.testing.assert_array_equal(got.values["lab"], want.values["lab"])
        assert got.modalities[0].features == ("alb", "crp")


def test_patterns_names_in_python_and_what_a_group_is():
    as_ = {"gene": "gene_*", "lab": ["crp", "IL-6 (a:b), x"], "alb": "ignore"}
    assert modalities(COLUMNS, as_=as_)[:2] == [
        ("lab", (2,), ("crp", "IL-6 (a:b), x")), ("gene", (2,), ("gene_b", "gene_a")),
    ]  # fmt: skip
    rest = {"alb": "ignore", "IL-6 (a:b), x": "ignore"}
    found = mmppl.read(COLUMNS, as_={"lab": "crp,gene_?:laplace:scale=2,role=label", **rest})
    lab = found.modalities[0]
    assert (lab.likelihood, lab.scale, lab.role, lab.size) == ("laplace", 2.0, "label", 3)
    one = mmppl.read(COLUMNS, as_={"inflammation": "crp", "gene": "gene_*", **rest}).modalities
    assert one[0].name == "inflammation" and one[0].features == ("crp",)


def test_columns_move_from_one_group_of_the_header_to_another():
    frame = pd.DataFrame({"x:a": LABS["crp"], "x:b": LABS["alb"], "y:c": LABS["gene_a"], "z": LABS["gene_b"]})
    found = modalities(frame, as_={"y": ["c", "x:b", "z"]})
    assert found == [("x", (1,), ("a",)), ("y", (3,), ("c", "x:b", "z"))]
    values = mmppl.read(frame, as_={"y": ["c", "x:b", "z"]})
    y = values.modalities[1].value_in_input_units(values.values["y"].numpy())
    np.testing.assert_allclose(y, np.stack([LABS["gene_a"], LABS["alb"], LABS["gene_b"]], 1), atol=1e-6)


@pytest.mark.parametrize(
    "text, columns", [("normal", 0), ("normal:scale=1,role=label", 0), ("ignore", 0), ("crp", 1), ("crp,", 1),
                      ("a*", 1), ("normal,abnormal", 1), ("nomal", 0), ("a[:]b,c:normal:scale=1", 1)],
)  # fmt: skip
def test_columns_and_likelihoods_are_told_apart(text, columns):
    assert names_columns(text, {"crp": 0}) == bool(columns)


def test_names_with_signs_are_quoted():
    names = ["a,b", "c:d", "e*", "f[0]", "plain"]
    patterns, rest = parted(as_text(names) + ":normal:scale=1")
    assert matched("g", patterns, [*names, "ex", "aXb"]) == names and rest == "normal:scale=1"


def test_the_ids_may_be_any_column():
    found = mmppl.read({"who": np.array([f"p{i}" for i in range(20)]), "x": np.arange(20.0)}, as_={"who": "id"})
    assert found.ids[3] == "p3" and found.declared == {"who": "id"}


def test_whole_numbers_with_gaps_stay_whole_in_a_group():
    ints = {"a": pd.array([1, 2, None] * 20, dtype="Int64"), "b": pd.array([3, 4, None] * 20, dtype="Int64")}
    found = mmppl.read(pd.DataFrame(ints | {"x": LABS["crp"]}), as_={"g": "a,b"})
    assert (~found.observed["g"]).sum() == 20


HOW = {"as_": {"lab": ["crp", "alb"], "gene": "gene_*", "age": "ignore"}, "target": "label"}


def test_a_run_groups_the_columns_of_other_data_itself(table, tmp_path):
    data = mmppl.read(table, **HOW)
    assert data.declared == {"lab": "crp,alb", "gene": "gene_*", "age": "ignore"}
    assert mmppl.read(table, as_=data.declared, target="label").fingerprint() == data.fingerprint()
    model = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, hidden=4, layers=1), ignored=["age"])
    new = pd.DataFrame(COLUMNS).drop(columns=["IL-6 (a:b), x", "label"]).iloc[:4, ::-1].assign(more=1.0)
    new.to_csv(tmp_path / "new.csv", index=False)
    for source in (tmp_path / "new.csv", new):
        found = model.dataset(source)
        assert any("more: is not in the run" in line for line in model.warnings(found))
        for name in ("lab", "gene", "sex"):
            np.testing.assert_array_equal(found.values[name], data.values[name][:4])


def test_a_run_knows_the_column_of_the_ids(tmp_path):
    arrays = {"who": np.array([f"p{i}" for i in range(20)]), "x": np.arange(20.0)}
    data = mmppl.read(arrays, as_={"who": "id"})
    model = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, hidden=4, layers=1), ids="who")
    assert model.dataset(arrays).ids[3] == "p3"


@pytest.mark.slow
def test_a_fitted_run_answers_about_a_plain_table(table, tmp_path):
    run = mmppl.fit("mvae", table, epochs=1, hyper={"hidden": 4, "layers": 1}, out=tmp_path / "run", **HOW)
    assert run.record.data.declared["lab"] == "crp,alb"
    again = mmppl.Run.load(tmp_path / "run")
    assert again.data().fingerprint() == run.record.data.fingerprint
    answer = again.query(table, given="lab,gene", want="sex", draws=2, split="all")
    assert answer["sex"]["prob"].shape == (N, 2)


SOURCES = {
    "frame": pd.DataFrame(COLUMNS).rename(columns={"IL-6 (a:b), x": "il6"}),
    "headers": pd.DataFrame({"x:a": LABS["crp"], "x:b": LABS["alb"], "when": pd.date_range("2026-01-01", periods=N)}),
    "arrays": {
        "img": RNG.integers(0, 255, (N, 4, 4)).astype(np.uint8), "bits": RNG.integers(0, 2, (N, 5)).astype(float),
        "frac": RNG.random(N), "y": RNG.integers(0, 3, N), "label_x": RNG.normal(size=N), "who": np.arange(N) // 2,
        "count": RNG.poisson(90, N), "wide": np.exp(4 * RNG.normal(size=(N, 2))),
        "seq": RNG.normal(size=(N, 5, 2)), "length_seq": RNG.integers(1, 6, N),
    },
    "clinic": {
        "stage": np.array(["low", "medium", "high"] * (N // 3)), "grade": np.array(["a/b", "c", "d"] * (N // 3)),
        "rna": RNG.poisson(RNG.gamma(2, 3, (N, 60)) * RNG.gamma(2, 1, (N, 1))), "g": RNG.normal(size=(N, 2)),
        "os": RNG.gamma(2, 3, N), "event_os": np.arange(N) % 2, "batch": np.array(["a", "b"] * (N // 2)),
        "when": np.arange(N), "holes": np.where(RNG.random((N, 3)) < 0.2, np.nan, RNG.normal(size=(N, 3))),
    },
    "mixed": pd.DataFrame({
        "clin:age": RNG.integers(20, 90, N), "clin:bmi": RNG.normal(25, 3, N), "clin:sex": ["f", "m"] * (N // 2),
        "clin:stage": ["low", "medium", "high"] * (N // 3), "x": RNG.normal(size=N),
    }),
}  # fmt: skip
HOWS = {
    "frame": [{}, {"target": "sex"}, {"as_": {"lab": "crp,il6:laplace:scale=2", "alb": "annotation"}},
              {"missing": {"age": ["20"]}, "as_": {"age": "normal", "gene_a": "ignore"}}],
    "headers": [{}, {"as_": {"x": "normal:scale=0.5"}}],
    "arrays": [{}, {"as_": {"who": "group", "frac": "normal"}}, {"target": "count,y"}],
    "clinic": [{"as_": {"stage": "ordinal:order=low/medium/high", "grade": "ordinal:order=a/b<d<c", "os": "weibull",
                        "rna": "nb:size=none", "batch": "condition", "when": "time"}},
               {"as_": {"os": "weibull", "rna": "nb:size=total", "event_os": "bernoulli:missing=7"}},
               {"as_": {"os": "weibull:event=when", "event_os": "group"}, "missing": {"when": [*range(2, N)]}}],
    "mixed": [{}, {"target": "clin"}, {"missing": {"clin": ["low", "25"]}, "target": "x"},
              {"as_": {"clin": "age:normal,bmi:normal,sex:categorical,stage:ordinal:order=low/medium/high"}},
              {"as_": {"clin": "age:normal:scale=2,stage:ordinal"}, "target": "clin_age"}],
}  # fmt: skip


@pytest.mark.parametrize("kind, at", [(kind, at) for kind, hows in HOWS.items() for at in range(len(hows))])
def test_a_schema_file_gives_the_same_data_again(kind, at, tmp_path):
    before = mmppl.read(SOURCES[kind], **HOWS[kind][at])
    mmppl.write_schema(before, tmp_path / "schema.toml")
    after = mmppl.read(SOURCES[kind], schema_file=tmp_path / "schema.toml")
    assert after.fingerprint() == before.fingerprint() and after.modalities == before.modalities


def test_the_parts_of_a_group_may_be_edited(tmp_path):
    file = tmp_path / "schema.toml"
    mmppl.write_schema(mmppl.read(SOURCES["mixed"]), file)
    text = file.read_text()
    file.write_text(text.replace('["age", "bmi"]', '["bmi"]').replace('"categorical"', '"ordinal"', 1))
    read = mmppl.read(SOURCES["mixed"], schema_file=file)
    assert {m.name: (m.likelihood, m.features) for m in read.modalities if m.group} == {
        "clin_numbers": ("normal", ("bmi",)), "clin_sex": ("ordinal", ("sex",)),
        "clin_stage": ("categorical", ("stage",)),
    }  # fmt: skip
    own = mmppl.read(SOURCES["mixed"], schema_file=file, as_={"clin": "age:normal"})
    assert [m.name for m in own.modalities if m.group] == ["clin_normal"]
    file.write_text(text.replace("[modality.clin_numbers]", "[modality.numbers]"))
    with pytest.raises(
        mmppl.DataError, match=r"numbers\]: a part of the group 'clin' is called after it; call it clin_"
    ):
        mmppl.read(SOURCES["mixed"], schema_file=file)


def test_a_column_may_be_called_by_the_word_of_what_it_is():
    arrays = {"time": np.arange(20), "condition": np.array(["a", "b"] * 10), "x": np.arange(20.0) ** 2}
    data = mmppl.read(arrays, as_={"time": "time", "condition": "condition"})
    assert [*data.annotations] == ["time"] and {m.name: m.role for m in data.modalities}["condition"] == "condition"


@pytest.mark.parametrize("how", [["gene:a", "gene:c"], "gene:a,gene:c:normal", "gene:[ac]"])
def test_columns_of_another_group_are_called_by_their_addresses(how):
    frame = pd.DataFrame({f"gene:{name}": RNG.normal(size=20) for name in "abc"} | {"x": np.arange(20.0)})
    assert {m.name: m.features for m in mmppl.read(frame, as_={"pw": how}).modalities} == {
        "gene": ("b",), "x": None, "pw": ("gene:a", "gene:c")
    }  # fmt: skip


def test_an_edited_schema_file_counts_and_the_caller_comes_first(table, tmp_path):
    file = tmp_path / "schema.toml"
    mmppl.write_schema(mmppl.read(table, as_={"lab": "crp,alb"}), file)
    text = file.read_text()
    assert 'columns = ["crp", "alb"]' in text and "# sex: few different texts" in text
    file.write_text(text.replace('"crp", ', "").replace("[modality.age]", "[modality.age]\nmissing = [20]"))
    read = mmppl.read(table, schema_file=file)
    assert read.modalities[0].features == ("alb",) and "crp" not in {m.name for m in read.modalities}
    assert next(m for m in read.modalities if m.name == "age").missing == ("20",)
    own = mmppl.read(table, schema_file=file, as_={"lab": "laplace:scale=2"}, target="sex")
    assert (own.modalities[0].likelihood, own.modalities[0].features) == ("laplace", ("alb",))
    assert [m.name for m in own.modalities if m.role == "label"] == ["sex"]
    with pytest.raises(mmppl.DataError, match="is there already"):
        mmppl.write_schema(read, file)
