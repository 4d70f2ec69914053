"""Rows of one group, such as the visits of a person, stay together in every split that is drawn."""

import numpy as np
import pytest

import mmppl
from mmppl.data.read import read
from mmppl.data.splits import stratified_folds, stratified_split
from mmppl.errors import DataError, UsageError
from mmppl.train.budget.held_out import hold_out
from mmppl.train.settings import FitSettings

PEOPLE = np.repeat(np.arange(60), 8)
RNG = np.random.default_rng(2)
SHUFFLED = RNG.permutation(480)


def arrays(people, **more):
    rng = np.random.default_rng(0)
    n = len(people)
    return {"voice": rng.normal(size=(n, 3)), "face": rng.normal(size=(n, 2)), "group": people} | more


@pytest.mark.parametrize(
    "people",
    [
        PEOPLE,
        PEOPLE[SHUFFLED],
        np.array([f"P{i:03d}" for i in PEOPLE]),
        np.repeat(np.arange(50), RNG.integers(1, 20, 50)),
    ],
    ids=["in order", "shuffled", "by text", "of unequal sizes"],
)
def test_no_group_is_in_two_parts(people):
    label = np.isin(people, np.unique(people)[::2])
    for more in ({}, {"label": label}, {"split": np.isin(people, np.unique(people)[:10]) * 2}):
        data = read(arrays(people, **more))
        parts = [set(people[data.split == code].tolist()) for code in range(3)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert all(parts)
        assert "group" not in data.values and (data.annotations["group"] == people).all()


def test_another_column_can_be_the_group():
    given = arrays(PEOPLE)
    given["person"] = given.pop("group")
    by_name = read(given, as_={"person": "group"})
    assert by_name.fingerprint() == read(arrays(PEOPLE)).fingerprint()
    with pytest.raises(UsageError, match="there is another group"):
        read(arrays(PEOPLE, person=PEOPLE), as_={"person": "group"})
    with pytest.raises(UsageError, match="takes no keys"):
        read(given, as_={"person": "group:role=label"})


def test_groups_keep_the_shares_of_classes():
    classes = np.arange(60)[PEOPLE] % 3 == 0
    split = stratified_split(classes.astype(int), seed=0, units=PEOPLE)
    assert np.bincount(split).tolist() == [42 * 8, 6 * 8, 12 * 8]
    assert [classes[split == code].mean() for code in range(3)] == pytest.approx([1 / 3] * 3)
    fold = stratified_folds(classes.astype(int), 5, seed=0, units=PEOPLE)
    assert all(len(np.unique(fold[person == PEOPLE])) == 1 for person in range(60))
    assert [np.bincount(PEOPLE[fold == i], minlength=60).astype(bool).sum() for i in range(5)] == [12] * 5


@pytest.mark.parametrize(("folds", "validation"), [(5, None), (None, 0.2), (None, None)])
def test_what_a_fit_holds_out_are_whole_groups(folds, validation):
    data = read(arrays(PEOPLE[SHUFFLED]))
    program = mmppl.load_program("mvae")(data.modalities, hidden=4, layers=1)
    held = hold_out(program, data, FitSettings(folds=folds, validation=validation))
    assert len(held) == (folds or 1)
    for fold in held:
        train, valid = (set(data.annotations["group"][rows.numpy()].tolist()) for rows in (fold.train, fold.valid))
        assert train and valid and not train & valid


def test_ids_that_repeat_say_what_to_do():
    with pytest.raises(DataError, match="'id': 0 occurs in rows 0 and 1; [^\n]*call it group"):
        read({"x": np.zeros((480, 1)), "id": PEOPLE})


def test_a_run_finds_its_split_again(tmp_path):
    given = arrays(PEOPLE)
    given["person"] = given.pop("group")
    np.savez(tmp_path / "d.npz", **given)
    small = {"hidden": 4, "layers": 1}
    how = {"as_": {"person": "group"}}
    fitted = mmppl.fit("mvae", tmp_path / "d.npz", hyper=small, epochs=1, out=tmp_path / "run", **how)
    run = mmppl.Run.load(tmp_path / "run")
    assert (run.data().split == fitted.data().split).all()
    again = run.dataset(str(tmp_path / "d.npz"))
    assert (again.split == fitted.data().split).all()
    new = {name: array[:3] for name, array in given.items() if name != "person"}
    assert len(run.query(new, given="voice", want="face").ids) == 3


@pytest.mark.parametrize("how", ["group", "annotation"])
def test_a_run_of_a_dataset_finds_its_split_in_the_source(how):
    given = arrays(PEOPLE)
    given["person"] = given.pop("group")
    data = mmppl.read(given, as_={"person": how})
    run = mmppl.fit("mvae", data, hyper={"hidden": 4, "layers": 1}, epochs=1)
    again = run.dataset(given)
    assert again.has_split and (again.split == data.split).all()
    assert run.record.data.declared == {"person": how}
    assert len(run.query(given, given="voice", want="face", draws=2).ids) == (data.split == 2).sum()


def test_a_group_that_is_left_out_later_is_forgotten():
    given = arrays(PEOPLE)
    given["person"] = given.pop("group")
    data = mmppl.read(given, as_={"person": "group"})
    assert data.declared == mmppl.read(data).declared == {"person": "group"}
    assert mmppl.read(data, as_={"group": "ignore"}).declared == {"group": "ignore"}
