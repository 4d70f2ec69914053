"""From a `Dataset` in model units to another schema: overrides of the user, or the units of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import Tensor

from ...errors import UsageError
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from ..annotations import set_aside
from ..dataset import Dataset
from ..splits import GROUP
from ..time_order import TIME
from .arrays import Table
from .counts import with_size_factor
from .encode import encode_table
from .events import refuse_other_times
from .match import aligned, check_schema, in_order, not_missing, refuse_shorter_rows, with_known_classes
from .missing.gaps import told_of_gaps
from .missing.lengths import without_lengths
from .order import in_given_order, orders_taken
from .overrides import CONDITION, Override, check_known, declared_aside, parse_overrides
from .scale import with_input_scaling
from .targets import with_targets


def with_schema(
    dataset: Dataset, *, as_: Mapping[str, str], schema: Sequence[Modality] | None,
    target: Collection[str] | None = None,
) -> Dataset:  # fmt: skip
    """Apply the user's overrides to a data set that is already in model units, or bring it into the units of a run.

    Args:
        dataset: the data; it is not changed.
        as_: changes of likelihood, scale and role; the values keep the units that the recipe gave them.
        schema: the modalities of a run, or None.
        target: the names of the labels, or None.

    Returns:
        The data with the new schema.

    Raises:
        DataError: the data differ from the schema.
        UsageError: an override is wrong.
    """
    overrides = parse_overrides(as_)
    declared = dataset.declared | declared_aside(overrides)
    before = {m.name: m for m in dataset.modalities}
    there = {**before, **dataset.annotations}
    if schema is None:
        check_known(overrides, there, "modality")
    overrides = {key: override for key, override in overrides.items() if key in there}
    annotations, overrides = _annotations_of(dataset, before, overrides)
    before = {key: m for key, m in before.items() if key not in overrides or not overrides[key].ignored}
    if not any(m.role == "modality" for m in before.values()):
        raise UsageError(f"--as: {dataset.name} has no modality left; ignore less.")
    told = list(dataset.findings)
    if schema is None:
        after = tuple(_overridden(m, overrides.get(m.name), dataset) for m in before.values())
        after = with_targets(after, target, overrides)
        told += orders_taken([m for m in after if m.name in overrides], overrides)
    else:
        after = tuple(schema)
    refuse_other_times(before, after)
    plain = before.keys() - dataset.present.keys()
    whole = {m.name for m in after if m.name in before and before[m.name].sequence and not m.sequence}  # of all steps
    table = Table(
        {}, {m.name: dataset.observed[m.name].numpy() for m in before.values()}, dataset.ids, True, dataset.split,
        {m.name: m.features for m in before.values() if m.features},
        present={key: there.numpy() for key, there in dataset.present.items() if key in before and key not in whole},
        sequences=[m.name for m in before.values() if m.sequence],
    )  # fmt: skip
    refuse_shorter_rows(dataset, after)
    same = {m.name for m in after if m.name in before and _alike(m, before[m.name])}
    for key in before.keys() - same:
        table.arrays[key] = _in_input_units(before[key], dataset.values[key].numpy())
    if schema is not None:
        arrays = {key: dataset.values[key].numpy() for key in before if key in same} | table.arrays
        told = check_schema(arrays, schema, table.features, same)
        table, unseen = with_known_classes(in_order(table, schema), schema)
        series = without_lengths({m.name: dataset.values[m.name] for m in schema if m.sequence and m.name in plain})
        told += [*not_missing(dataset, schema), *series, *unseen, *told_of_gaps(table, schema)]
    moved = encode_table(table, tuple(m for m in after if m.name not in same), dataset.name, dataset.split)
    present = {key: there for key, there in dataset.present.items() if key in same} | moved.present
    fresh = dataset.refresh

    def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
        assert fresh is not None  # `refresh` is returned only then
        return {key: value for key, value in fresh(seed, epoch).items() if key in same}

    return dataclasses.replace(
        dataset,
        modalities=after,
        values={m.name: (dataset if m.name in same else moved).values[m.name] for m in after},
        observed={m.name: (dataset if m.name in same else moved).observed[m.name] for m in after},
        present=present,
        source=dataset.source.only({m.name for m in after if m.name in before and _placed_alike(m, before[m.name])}),
        refresh=None if fresh is None else refresh,
        annotations=annotations,
        findings=tuple(told),
        declared={key: how for key, how in declared.items() if how not in (GROUP, TIME) or how in annotations},
        whole=None if dataset.whole is None else with_schema(dataset.whole, as_={}, schema=after),
        scaled_on_all=None,
    )


def _annotations_of(
    dataset: Dataset, modalities: Mapping[str, Modality], overrides: Mapping[str, Override]
) -> tuple[dict[str, np.ndarray], dict[str, Override]]:
    """Return the annotations after overrides, and the overrides that are left to the modalities."""
    found, left = dict(dataset.annotations), dict(overrides)
    for key, override in overrides.items():
        if key in found:
            if override.ignored:
                del found[key]
            elif not override.annotated:
                raise UsageError(f"--as {key}: it is an annotation of {dataset.name}, which no program sees.")
            del left[key]
        elif override.annotated:
            value, seen = _in_input_units(modalities[key], dataset.values[key].numpy()), dataset.observed[key]
            set_aside({key: value, f"mask_{key}": seen.numpy(), "id": dataset.ids}, [key])
            found[key] = value
            left[key] = Override("ignore")
    return found, left


def _alike(a: Modality, b: Modality) -> bool:
    """Say whether both have the same values in model units, in the same places."""
    units = [(m.shape, m.sequence, m.classes, m.transform, m.shift, m.spread) for m in (a, b)]
    return units[0] == units[1] and aligned(a, b)


def _placed_alike(a: Modality, b: Modality) -> bool:
    """Say whether both have the same features in the same places, in whatever units."""
    return a.shape == b.shape and a.features == b.features and a.classes is None and b.classes is None


def _in_input_units(m: Modality, value: np.ndarray) -> np.ndarray:
    return m.value_in_input_units(value) if m.classes is None else np.asarray(m.classes)[value]


def _overridden(m: Modality, override: Override | None, dataset: Dataset) -> Modality:
    if override is None:
        return m
    if override.likelihood == CONDITION:
        return dataclasses.replace(m, role=CONDITION)
    family = LIKELIHOODS[override.likelihood]
    if (family.values == "classes") != (m.classes is not None) or override.transform not in (None, m.transform):
        raise UsageError(f"--as {m.name}: the values of {dataset.name} are made for {m.likelihood}, {m.transform}.")
    if family.values != "classes":
        value = dataset.values[m.name][dataset.observed[m.name]].numpy()
        wrong, why = family.illegal(value)
        if wrong.any():
            first = value[wrong][0].item()
            raise UsageError(f"--as {m.name}: {first!r}, a value of {dataset.name} in the units of the model, {why}")
    again = dataclasses.replace(
        m, likelihood=override.likelihood, scale=override.scale, role=override.role or m.role, size_factor=None,
        df=override.df,
    )  # fmt: skip
    if family.kind == "ranks":
        again = dataclasses.replace(again, classes=in_given_order(m.name, m.classes or (), override.order))
    use = dataset.observed[m.name].numpy() & (dataset.split == 0)
    value, present = dataset.values[m.name].numpy(), dataset.present.get(m.name)
    there = None if present is None else present.numpy()
    again = with_input_scaling(again, value, use, there)
    if override.size != "total":
        return again
    return with_size_factor(again, value[use], np.ones(1, bool) if there is None else there[use])
