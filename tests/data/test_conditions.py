"""Conditions at the door: what `--as NAME=condition` makes of an array, and what is told."""

import numpy as np
import pytest
import torch

from mmppl import Modality, Program, UsageError, load_program, read
from mmppl.core.loading import default_program
from mmppl.errors import DataError

N = 40
RNG = np.random.default_rng(0)
ARRAYS = {
    "gene": RNG.normal(size=(N, 5)),
    "prot": RNG.normal(size=(N, 3)),
    "batch": np.array(["A", "B", "C"])[np.arange(N) % 3],
    "visit": np.arange(N) % 4 + 1,
    "sex": np.arange(N) % 2 == 0,
    "age": RNG.normal(50, 9, N),
    "place": RNG.normal(size=(N, 2)),
    "label": np.arange(N) // 2 % 2,
}
AS = dict.fromkeys(["batch", "visit", "sex", "place"], "condition") | {"age": "normal:role=condition"}


def test_the_values_say_what_kind_of_condition_it_is():
    kinds = {m.name: (m.likelihood, m.role, m.classes) for m in read(ARRAYS, as_=AS).modalities}
    assert kinds["batch"] == ("categorical", "condition", ("A", "B", "C"))
    assert kinds["visit"] == ("categorical", "condition", (1, 2, 3, 4))
    assert kinds["sex"] == ("categorical", "condition", (0, 1))
    assert kinds["age"] == kinds["place"] == ("normal", "condition", None)
    assert kinds["gene"][1] == "modality" and kinds["label"][1] == "label"


def test_nothing_hides_a_condition_and_no_pattern_counts_it():
    data = read(ARRAYS, as_=AS, hide=0.5)
    assert all(data.observed[name].all() for name in AS) and not data.observed["gene"].all()
    assert set(data.describe()["patterns"]) <= {"gene+prot", "gene", "prot"}


def test_a_target_leaves_conditions_alone_and_a_schema_of_a_run_brings_them_back():
    data = read(ARRAYS, as_=AS, target="label")
    again = read({name: ARRAYS[name] for name in ("gene", "batch")}, schema=data.modalities)
    assert again.modalities == data.modalities and not again.observed["age"].any()
    assert torch.equal(again.values["batch"], data.values["batch"])


def test_what_is_wrong_is_said_in_a_line():
    for as_, words in (
        ({"batch": "condition:scale=1"}, "takes no keys"),
        ({"bach": "condition"}, "Did you mean batch"),
        ({"age": "normal:role=conditon"}, "condition"),
    ):
        with pytest.raises(UsageError, match=words):
            read(ARRAYS, as_=as_)
    with pytest.raises(DataError, match="only labels and conditions"):
        read({"batch": ARRAYS["batch"], "label": ARRAYS["label"]}, as_={"batch": "condition"})


def test_the_examination_tells_lacking_conditions_and_classes_without_training_rows():
    split = np.where(ARRAYS["batch"] == "C", 2, np.arange(N) % 2)
    seen = np.arange(N) > 2
    data = read(ARRAYS | {"split": split, "mask_batch": seen}, as_=AS)
    told = [finding.text for finding in data.findings if finding.kind == "conditions"]
    assert told[0].startswith("batch: 3 rows lack this condition, which is taken for no class")
    assert told[1] == "batch: no training row is of C: nothing is learnt of it"


class Plain(Program):
    """A program with decoders of its own, which know nothing of conditions."""


def test_a_program_that_takes_no_conditions_says_so():
    data = read(ARRAYS, as_=AS)
    with pytest.raises(UsageError, match="Plain: age, batch, place, sex, visit: it takes no conditions"):
        Plain(data.modalities)
    assert Plain([m for m in data.modalities if m.role != "condition"]).covariates == ()
    with pytest.raises(UsageError, match="conditions only"):
        load_program("mvae")([m for m in data.modalities if m.role == "condition"])
    with pytest.raises(UsageError, match="one vector per row"):
        Modality("watch", (5, 2), "normal", sequence=True, role="condition")


def test_a_condition_is_no_modality_of_a_program_and_its_columns_stand_behind_every_input():
    data = read(ARRAYS, as_=AS)
    program = load_program("mvae")(data.modalities, hidden=4, layers=1, latent_dim=2)
    assert program.encoded == ("gene", "prot") and program.targets() == ("gene", "prot", "label")
    assert [m.name for m in program.covariates] == ["age", "batch", "place", "sex", "visit"]
    batch = data.batch(torch.arange(4), program.encoded)
    columns = batch.input(program.modality("gene"))[:, 5:]
    assert columns.shape == (4, 1 + 3 + 2 + 2 + 4) == (4, program.modality("gene").covariate_size)
    assert columns[:, 1:4].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_where_no_program_is_named_one_is_chosen_that_takes_conditions():
    name, why = default_program(28, schema=read(ARRAYS, as_=AS).modalities)
    assert name == "mvae" and why == "No program is named: mvae, as there are conditions."
