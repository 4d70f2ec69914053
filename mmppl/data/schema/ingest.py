"""From named arrays to a checked `Dataset`: parse, infer or match, split, scale, encode, each stage once, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ...errors import DataError, UsageError, suggest
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from ..dataset import Dataset
from ..splits import stratified_split, with_valid
from .arrays import Table, parse_arrays
from .encode import _filled, _groups
from .infer import infer_schema
from .match import aligned, check_schema, in_order
from .overrides import Override, parse_overrides
from .scale import _kept_after_masking, _scaled, with_input_scaling


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    name: str,
    features: Mapping[str, Sequence[str]] = {},
    as_: Mapping[str, str] = {},
    schema: Sequence[Modality] | None = None,
    seed: int = 0,
    hide: float = 0.0,
    hide_seed: int = 0,
) -> Dataset:
    """Make a `Dataset` of arrays: parse them, infer or match their schema, split, scale, encode, each once.

    Args:
        arrays: (N, *shape) each; `id`, `split` and `mask_<name>` are special.
        name: name of the data set.
        features: names of the columns of an array, which become those of its features.
        as_: as in `mmppl.read`, like all that follow.
        schema: the modalities of a run.
        seed: of the split.
        hide: the share of the modalities that are masked at random.
        hide_seed: of what is masked.
    Returns:
        The data in model units.
    Raises:
        DataError: arrays that are empty, inconsistent, or differ from the schema.
        UsageError: a wrong `as_`.
    """
    said = parse_overrides(as_)
    _check_known(said, arrays, "array")
    dropped = {key for key, word in said.items() if word.ignored}
    arrays = {key: a for key, a in arrays.items() if key not in dropped and key.removeprefix("mask_") not in dropped}
    table = parse_arrays(arrays, features)
    if schema is not None:
        table, modalities = _matched(table, schema), tuple(schema)
        split = _split_of_file(table, modalities, seed)
        return with_mask(_filled(table, modalities, name, split), hide, hide_seed)
    _check_enough(table)
    unscaled = infer_schema(table, said)
    split = _split_of_fit(table, unscaled, seed)
    on_all = _learnt(table, unscaled, split, table.observed)
    modalities = on_all
    if hide:
        modalities = _learnt(table, unscaled, split, _kept_after_masking(table, unscaled, hide, hide_seed))
    return with_mask(_filled(table, modalities, name, split), hide, hide_seed, scaled_on_all=on_all)


def with_mask(
    dataset: Dataset, hide: float, seed: int, *, scaled_on_all: tuple[Modality, ...] | None = None
) -> Dataset:
    """The same rows with a share of the modalities masked at random, and in `whole` as they were.

    Args:
        dataset: is not changed.
        hide: the share; 0 masks nothing.
        seed: of what is masked.
        scaled_on_all: see `Dataset`.
    Raises:
        UsageError: a share outside [0, 1].
    """
    whole = dataclasses.replace(dataset, whole=None, scaled_on_all=scaled_on_all)
    if not hide:
        return whole
    return dataclasses.replace(whole.mask_at_random(rate=hide, seed=seed), whole=whole, scaled_on_all=scaled_on_all)


def _matched(table: Table, schema: Sequence[Modality]) -> Table:
    """`table` in the order of a run's features, once it is known to have what the schema says."""
    table = _with_classes_of(table, schema)
    check_schema(table.arrays, schema, table.features)
    table = in_order(table, schema)
    if not any(observed.any() for observed in table.observed.values()):
        raise DataError("nothing is observed in any row; check the masks.")
    return table


def _split_of_file(table: Table, modalities: Sequence[Modality], seed: int) -> np.ndarray:
    """(N,) int8 codes of the parts that the file names; without any, all rows are test rows: as far as the data say,
    nothing here was trained on."""
    if table.split is None:
        return np.full(len(table.ids), 2, np.int8)
    return with_valid(table.split, _groups(table, modalities), seed=seed)


def _learnt(
    table: Table, modalities: Sequence[Modality], split: np.ndarray, seen: Mapping[str, np.ndarray]
) -> tuple[Modality, ...]:
    """The modalities with the scaling of the train rows that are seen, name → (N,) bool."""
    train = split == 0
    return tuple(_scaled(m, table, train & seen[m.name]) for m in modalities)


def _check_enough(table: Table) -> None:
    if len(table.ids) < 2:
        raise DataError("one sample only; a model needs at least two rows, some to learn from and some to check on.")
    if not any(observed.any() for observed in table.observed.values()):
        raise DataError("nothing is observed in any row; check the masks.")


def _split_of_fit(table: Table, modalities: Sequence[Modality], seed: int) -> np.ndarray:
    """(N,) int8 codes of the parts: those of the file, or drawn here; every modality has a train row."""
    groups = _groups(table, modalities)
    if table.split is None:
        split = stratified_split(groups, seed=seed)
    elif (table.split == 0).any():
        split = with_valid(table.split, groups, seed=seed)
    else:
        raise DataError("'split' has no train rows (0 or train); mark some.")
    for m in modalities:
        if not (table.observed[m.name] & (split == 0)).any():
            raise DataError(f"{m.name!r} is observed in no train row; leave it out (--as {m.name}=ignore).")
    return split


def _with_classes_of(table: Table, schema: Sequence[Modality]) -> Table:
    """`table` without classes of which no row has one: an empty column is no string and no number."""
    empty = {m.name for m in schema if m.classes and m.name in table.arrays and not table.observed[m.name].any()}
    return dataclasses.replace(table, arrays={name: a for name, a in table.arrays.items() if name not in empty})


def with_schema(dataset: Dataset, *, as_: Mapping[str, str], schema: Sequence[Modality] | None) -> Dataset:
    """Take a data set that is in model units already by the user's word, or into the units of a run.

    Args:
        dataset: is not changed.
        as_: changes likelihood, scale and role; the values stay in the units that the recipe gave them.
        schema: the modalities of a run, or None.
    Raises:
        DataError: the data differ from the schema.
        UsageError: a wrong `as_`.
    """
    said = parse_overrides(as_)
    before = {m.name: m for m in dataset.modalities}
    _check_known(said, before, "modality")
    before = {key: m for key, m in before.items() if key not in said or not said[key].ignored}
    if not any(m.role == "modality" for m in before.values()):
        raise UsageError(f"--as: {dataset.name} has no modality left; ignore less.")
    if schema is None:
        after = tuple(_reworded(m, said.get(m.name), dataset) for m in before.values())
    else:
        after = tuple(schema)
    table = Table(
        {}, {m.name: dataset.observed[m.name].numpy() for m in before.values()}, dataset.ids, True, dataset.split,
        {m.name: m.features for m in before.values() if m.features},
    )  # fmt: skip
    same = {m.name for m in after if m.name in before and _alike(m, before[m.name])}
    for key in before.keys() - same:
        table.arrays[key] = _in_input_units(before[key], dataset.values[key].numpy())
    if schema is not None:
        arrays = {key: dataset.values[key].numpy() for key in before if key in same} | table.arrays
        check_schema(arrays, schema, table.features, same)
        table = in_order(table, schema)
    moved = _filled(table, tuple(m for m in after if m.name not in same), dataset.name, dataset.split)
    fresh = dataset.refresh

    def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
        assert fresh is not None  # else it is not handed out below
        return {key: value for key, value in fresh(seed, epoch).items() if key in same}

    return dataclasses.replace(
        dataset,
        modalities=after,
        values={m.name: (dataset if m.name in same else moved).values[m.name] for m in after},
        observed={m.name: (dataset if m.name in same else moved).observed[m.name] for m in after},
        refresh=None if fresh is None else refresh,
        whole=None,
        scaled_on_all=None,
    )


def _alike(a: Modality, b: Modality) -> bool:
    """Whether both have the same values in model units, in the same places."""
    units = [(m.shape, m.classes, m.transform, m.shift, m.spread) for m in (a, b)]
    return units[0] == units[1] and aligned(a, b)


def _in_input_units(m: Modality, value: np.ndarray) -> np.ndarray:
    return m.value_in_input_units(value) if m.classes is None else np.asarray(m.classes)[value]


def _reworded(m: Modality, word: Override | None, dataset: Dataset) -> Modality:
    if word is None:
        return m
    family = LIKELIHOODS[word.likelihood]
    if (family.values == "classes") != (m.classes is not None) or word.transform not in (None, m.transform):
        raise UsageError(f"--as {m.name}: the values of {dataset.name} are made for {m.likelihood}, {m.transform}.")
    if family.values != "classes":
        value = dataset.values[m.name][dataset.observed[m.name]].numpy()
        wrong, why = family.illegal(value)
        if wrong.any():
            first = value[wrong][0].item()
            raise UsageError(f"--as {m.name}: {first!r}, a value of {dataset.name} in the units of the model, {why}")
    again = dataclasses.replace(m, likelihood=word.likelihood, scale=word.scale, role=word.role or m.role)
    use = dataset.observed[m.name].numpy() & (dataset.split == 0)
    return with_input_scaling(again, dataset.values[m.name].numpy(), use)


def _check_known(said: Mapping[str, Override], there: Mapping[str, object], kind: str) -> None:
    for key in said:
        if key not in there:
            raise UsageError(f"--as {key}: no {kind} {key!r}; there are {', '.join(there)}.{suggest(key, list(there))}")
