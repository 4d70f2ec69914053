"""From named arrays to a checked Dataset: every stage once, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ...errors import DataError, UsageError, suggest
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from ..dataset import Dataset
from ..splits import with_valid
from .arrays import Table, parse_arrays
from .encode import _filled, _groups
from .infer import _found
from .match import aligned, check_schema, in_order
from .overrides import Override, parse_overrides
from .scale import with_input_scaling


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
    """Arrays by name → a `Dataset`.

    Args:
        arrays: (N, *shape) each; `id`, `split` and `mask_<name>` are special.
        name: name of the data set.
        features: names of the columns of an array, which become those of its features.
        as_, schema, seed, hide, hide_seed: as in `mmppl.read`.
    Raises:
        DataError: arrays that are empty, inconsistent, or differ from the schema.
        UsageError: a wrong `as_`.
    """
    said = parse_overrides(as_)
    _check_known(said, arrays, "array")
    dropped = {key for key, word in said.items() if word.ignored}
    arrays = {key: a for key, a in arrays.items() if key not in dropped and key.removeprefix("mask_") not in dropped}
    table = parse_arrays(arrays, features)
    if schema is None:
        modalities, split = _found(table, said, seed, hide, hide_seed)
    else:
        table = _with_classes_of(table, schema)
        check_schema(table.arrays, schema, table.features)
        table = in_order(table, schema)
        modalities = tuple(schema)
        if not any(observed.any() for observed in table.observed.values()):
            raise DataError("nothing is observed in any row; check the masks.")
        split = np.full(len(table.ids), 2, np.int8)  # nothing here was trained on, as far as the data say
        if table.split is not None:
            split = with_valid(table.split, _groups(table, modalities), seed=seed)
    return _filled(table, modalities, name, split)


def _with_classes_of(table: Table, schema: Sequence[Modality]) -> Table:
    """`table` without classes of which no row has one: an empty column is no string and no number."""
    empty = {m.name for m in schema if m.classes and m.name in table.arrays and not table.observed[m.name].any()}
    return dataclasses.replace(table, arrays={name: a for name, a in table.arrays.items() if name not in empty})


def with_schema(dataset: Dataset, *, as_: Mapping[str, str], schema: Sequence[Modality] | None) -> Dataset:
    """A data set that is in model units already, under the user's word or in the units of a run.

    `as_` changes likelihood, scale and role; the values stay in the units that the recipe gave them.
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
