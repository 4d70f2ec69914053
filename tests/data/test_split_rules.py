"""Rules of splits: time order, several labels, and folds that respect groups, strata and time."""

import numpy as np
import pytest

from mmppl import UsageError, read
from mmppl.data.split_rules import SplitRules
from mmppl.data.splits import combined
from mmppl.data.time_order import by_time, order_of
from mmppl.errors import DataError

RNG = np.random.default_rng(0)
N = 120
DAYS = np.array([f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in RNG.permutation(N)])
WHEN = DAYS.astype("datetime64[D]")
ARRAYS = {
    "x": RNG.normal(size=(N, 4)), "day": DAYS, "person": RNG.integers(0, 30, N), "label": np.arange(N) % 2,
    "y": RNG.permutation(N) % 3,
}  # fmt: skip


def test_by_time_the_latest_rows_are_test_and_the_ones_before_valid():
    data = read(ARRAYS, as_={"day": "time", "person": "ignore"})
    times = data.annotations["time"].astype("datetime64[D]")
    parts = [times[data.split == code] for code in range(3)]
    assert [len(part) for part in parts] == [84, 12, 24]
    assert parts[0].max() < parts[1].min() and parts[1].max() < parts[2].min()


def test_rows_of_the_same_time_stay_together_and_dates_sort_as_dates():
    times = np.repeat(np.arange(6), [1, 2, 9, 1, 1, 6])
    part = by_time(order_of(times), (0.7, 0.1, 0.2))
    assert all(len(set(part[times == time])) == 1 for time in range(6)) and part[-1] == 2 and part[0] == 0
    assert order_of(np.array(["2024-05", "2024-01-31", "2023-12-31T23:59"])).tolist() == [2, 1, 0]
    assert order_of(np.array(["2024-5-1", "2024-01-01 0:00", "2024-1-1 9:30", "2024-10-02"])).tolist() == [2, 0, 1, 3]


def test_a_person_lies_in_one_part_by_time_too():
    data = read(ARRAYS, as_={"day": "time", "person": "group"})
    for person in np.unique(ARRAYS["person"]):
        assert len(set(data.split[data.annotations["group"] == person])) == 1
    last = {p: max(DAYS[ARRAYS["person"] == p]) for p in np.unique(ARRAYS["person"])}
    newest = [max(last[p] for p in set(ARRAYS["person"][data.split == code])) for code in range(3)]
    assert newest == sorted(newest)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["1/2/2024", "2/2/2024"], "time, row 0: '1/2/2024' is no date that can be read; write dates as 2024-05-31"),
        (["2024-01-01"] * 2, "all rows have the same time"),
    ],
)
def test_what_is_no_time_is_said_in_a_line(times, words):
    with pytest.raises(DataError, match=words):
        read({"x": RNG.normal(size=(40, 2)), "day": np.repeat(times, 20)}, as_={"day": "time"})


def test_valid_rows_of_a_file_with_train_and_test_are_its_latest_train_rows():
    split = np.where(np.arange(N) % 4 == 0, 2, 0)
    data = read(ARRAYS | {"split": split}, as_={"day": "time", "person": "ignore"})
    assert ((data.split == 2) == (split == 2)).all()
    assert WHEN[data.split == 0].max() < WHEN[data.split == 1].min()


def test_several_labels_are_stratified_by_their_cross():
    data = read(ARRAYS, as_=dict.fromkeys(["day", "person"], "ignore"))
    cells = ARRAYS["label"] * 3 + ARRAYS["y"]
    for cell in range(6):
        rows = cells == cell
        for code, share in enumerate((0.7, 0.1, 0.2)):
            assert abs((data.split[rows] == code).sum() - share * rows.sum()) <= 1


def test_one_label_is_stratified_as_ever_and_small_cells_share_the_stratum_before():
    label = np.array([0] * 30 + [1] * 25)[:, None]
    assert combined([label], 55).tolist() == label[:, 0].tolist()
    second = np.array([0] * 27 + [1] * 3 + [0] * 12 + [1] * 13)[:, None]
    strata = combined([label, second], 55)
    assert len(set(strata[:27])) == 1 and len(set(strata[27:30])) == 1 and strata[30] != strata[-1]
    assert len(set(strata)) == 4  # the 3 rows are the rest of stratum 0
    assert combined([], 3).tolist() == [0, 0, 0]


def test_a_row_of_several_ones_counts_under_the_rarest():
    many = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0], [-1, -1, -1], [1, 1, 0]])
    assert combined([many], 7).tolist() == [2, 1, 3, 0, 1, -1, 2]


@pytest.mark.parametrize("units", [None, ARRAYS["person"]], ids=["rows", "people"])
def test_every_row_is_tested_once_and_people_are_never_on_both_sides(units):
    rules = SplitRules(ARRAYS["label"], units=units)
    found = rules.folds(5, seed=0)
    assert (np.sum([codes == 2 for codes in found], 0) == 1).all() and all((codes >= 0).all() for codes in found)
    if units is not None:
        assert not any(set(units[codes == 0]) & set(units[codes == 2]) for codes in found)


def test_folds_by_time_learn_from_what_is_older_alone():
    found = SplitRules(np.zeros(N, int), times=DAYS).folds(4, seed=0)
    for codes in found:
        assert WHEN[codes == 0].max() < WHEN[codes == 2].min()
        assert not (codes == -1).any() or WHEN[codes == 2].max() < WHEN[codes == -1].min()
    assert [int((codes == 0).sum()) for codes in found] == [24, 48, 72, 96]


@pytest.mark.parametrize("rules", [SplitRules(np.zeros(3, int)), SplitRules(np.zeros(9, int), times=np.arange(9) // 3)])
def test_more_folds_than_there_is_anything_are_refused(rules):
    with pytest.raises(UsageError, match="4 folds: too few"):
        rules.check_folds(rules.folds(4, seed=0))


def test_parts_that_are_given_replace_those_of_the_source_and_teach_the_scale():
    split = np.where(np.arange(N) < 30, 0, np.where(np.arange(N) < 100, 2, -1))
    arrays = {"x": ARRAYS["x"] + (np.arange(N) >= 30)[:, None] * 1e3, "label": ARRAYS["label"]}
    data = read(arrays, split=split)
    assert len(data) == 100 and data.ids.tolist() == list(range(100)) and (data.split[30:] == 2).all()
    assert (data.split[:30] == 1).sum() == 3 and data.drawn_valid
    assert abs(np.array(data.modalities[0].shift)).max() < 1  # learnt from the first 30 rows alone
    recipe = read("digits-two-view", split=np.r_[np.zeros(900, int), np.full(897, 2)])
    assert (recipe.split[900:] == 2).all() and (recipe.split[:900] == 1).sum() == 90
    for wrong in (split[:5], split.astype(float), np.full(N, 3)):
        with pytest.raises(UsageError, match="split: "):
            read(arrays, split=wrong)
