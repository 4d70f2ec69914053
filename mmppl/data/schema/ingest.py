"""From named arrays to a checked `Dataset`: parse, infer or match, split, scale, encode, each stage once."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import Tensor

from ...errors import DataError, UsageError, suggest
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from ..annotations import set_aside
from ..dataset import Dataset
from ..examine.finding import Finding
from ..examine.report import TOLD, examined
from ..splits import GROUP, stratified_split, with_valid
from .absent import Missing, with_absent
from .arrays import Table, parse_arrays
from .encode import encode_table, stratification_groups
from .infer import infer_schema
from .lengths import PREFIX, sequences_in, without_lengths
from .match import aligned, check_schema, in_order, steps_in_order, with_known_classes
from .overrides import Override, declared_aside, parse_overrides
from .scale import learn_scaling, observed_after_masking, with_input_scaling
from .targets import with_targets


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
    annotations: Collection[str] = (),
    notes: Sequence[str] = (),
    missing: Missing = {},
    target: Collection[str] | None = None,
) -> Dataset:
    """Make a `Dataset` of named arrays.

    Args:
        arrays: name → (N, *shape); `id`, `split` and `mask_<name>` have a meaning of their own.
        name: the name of the data set.
        features: name → the names of its columns, which become the names of its features.
        as_: overrides, as in `mmppl.read`.
        schema: the modalities of a run, or None to infer them.
        seed: the seed of the split.
        hide: the share of the modalities to mask at random.
        hide_seed: the seed of that mask.
        annotations: the names of arrays that are annotations unless an override says what else they are; see `Dataset`.
        notes: see `Dataset`.
        missing: name → the values that stand for "missing"; see `absent`. Those of `schema` come first.
        target: the names of the labels; None goes by names.

    Returns:
        The data in model units.

    Raises:
        DataError: the arrays are empty, inconsistent, or differ from the schema.
        UsageError: an override is wrong.
    """
    overrides = parse_overrides(as_)
    declared = declared_aside(overrides)
    if schema is None:  # other data of a run need not have what its fit left out or set aside
        _check_known(overrides, arrays, "array")
    arrays, overrides = _with_group(arrays, overrides)
    beside = _annotations(overrides, annotations, schema)
    dropped = {key for key, override in overrides.items() if override.ignored}
    dropped |= {f"mask_{key}" for key in dropped} | {f"{PREFIX}{key}" for key in dropped if key in arrays}
    arrays = {key: array for key, array in arrays.items() if key not in dropped}
    arrays, annotated = set_aside(arrays, beside)
    overrides = {key: override for key, override in overrides.items() if key not in annotated}
    arrays, features = steps_in_order(arrays, features, schema or ())
    missing = _missing(missing, overrides, schema, arrays)
    arrays, told = with_absent(arrays, missing)
    sequences = sequences_in(arrays, overrides, schema)
    table = parse_arrays(arrays, features, sequences)
    if schema is not None:
        table, more = _matched(table, schema)
        modalities = tuple(schema)
        split = _split_of_file(table, modalities, seed, annotated.get(GROUP))
        encoded = encode_table(table, modalities, name, split, annotated, notes)
        whole = without_lengths({key: arrays[key] for key in sequences if f"{PREFIX}{key}" not in arrays})
        findings = (*more, *whole, *(dataclasses.replace(finding, kind=TOLD) for finding in told))
        return with_mask(dataclasses.replace(encoded, findings=findings, declared=declared), hide, hide_seed)
    _check_enough(table)
    unscaled = infer_schema(table, overrides, missing=missing, target=target)
    split = _split_of_fit(table, unscaled, seed, annotated.get(GROUP))
    on_all = _with_scaling(table, unscaled, split, table.observed)
    modalities = on_all
    if hide:
        modalities = _with_scaling(table, unscaled, split, observed_after_masking(table, unscaled, hide, hide_seed))
    encoded = encode_table(table, modalities, name, split, annotated, notes)
    found = examined(encoded, table.arrays)
    encoded = dataclasses.replace(encoded, findings=(*told, *found), declared=declared)
    return with_mask(encoded, hide, hide_seed, scaled_on_all=on_all)


def _with_group(
    arrays: Mapping[str, np.ndarray], overrides: dict[str, Override]
) -> tuple[Mapping[str, np.ndarray], dict[str, Override]]:
    """Give the array that the user takes for the group of its rows that name."""
    named = [key for key, override in overrides.items() if override.likelihood == GROUP and key in arrays]
    if len(named) > 1 or (named and named[0] != GROUP and GROUP in arrays):
        raise UsageError(f"--as {named[-1]}=group: there is another group; name one, and leave the other out.")
    renamed = {(GROUP if key in named else key): array for key, array in arrays.items()}
    return renamed, {(GROUP if key in named else key): how for key, how in overrides.items()}


def _missing(
    named: Missing, overrides: Mapping[str, Override], schema: Sequence[Modality] | None, arrays: Mapping[str, object]
) -> Missing:
    """Return name → the values that stand for "missing": the run's, the user's, or those of `--as`."""
    if schema is not None:
        return {m.name: m.missing for m in schema if m.missing is not None and m.name in arrays}
    return {name: how.missing for name, how in overrides.items() if how.missing is not None} | dict(named)


def _annotations(
    overrides: Mapping[str, Override], given: Collection[str], schema: Sequence[Modality] | None
) -> set[str]:
    """Return the names of annotations: the user's, and those of the reader that nobody takes for modalities."""
    known = {m.name for m in schema or ()}
    given = {*given, GROUP}
    named = {key for key, override in overrides.items() if override.annotated}
    return {key for key in named | {key for key in given if key not in overrides} if key not in known}


def with_mask(
    dataset: Dataset, hide: float, seed: int, *, scaled_on_all: tuple[Modality, ...] | None = None
) -> Dataset:
    """Mask a share of the modalities at random, and keep the unmasked rows in `whole`.

    Args:
        dataset: the data; it is not changed.
        hide: the share to mask; 0 masks nothing.
        seed: the seed of the mask.
        scaled_on_all: see `Dataset`.

    Returns:
        The data set with the mask.

    Raises:
        UsageError: the share is outside [0, 1].
    """
    whole = dataclasses.replace(dataset, whole=None, scaled_on_all=scaled_on_all)
    if not hide:
        return whole
    return dataclasses.replace(whole.mask_at_random(rate=hide, seed=seed), whole=whole, scaled_on_all=scaled_on_all)


def _matched(table: Table, schema: Sequence[Modality]) -> tuple[Table, list[Finding]]:
    """Check `table` against the schema of a run, and return it with its columns in the run's order and without what
    the run does not know, and findings about that."""
    table = _with_classes_of(table, schema)
    told = check_schema(table.arrays, schema, table.features)
    table, unseen = with_known_classes(in_order(table, schema), schema)
    if not any(observed.any() for observed in table.observed.values()):
        raise DataError("nothing is observed in any row; check the masks.")
    return table, told + unseen


def _split_of_file(table: Table, modalities: Sequence[Modality], seed: int, units: np.ndarray | None) -> np.ndarray:
    """Return (N,) int8 codes of the parts that the file names. Without any, all rows are test rows, because as far as
    the data tell, no model was trained on them."""
    if table.split is None:
        return np.full(len(table.ids), 2, np.int8)
    return with_valid(table.split, stratification_groups(table, modalities), seed=seed, units=units)


def _with_scaling(
    table: Table, modalities: Sequence[Modality], split: np.ndarray, seen: Mapping[str, np.ndarray]
) -> tuple[Modality, ...]:
    """Return the modalities with the scaling of the train rows that are observed, name → (N,) bool."""
    train = split == 0
    return tuple(learn_scaling(m, table, train & seen[m.name]) for m in modalities)


def _check_enough(table: Table) -> None:
    if len(table.ids) < 2:
        raise DataError("one sample only; a model needs at least two rows, some to learn from and some to check on.")
    if not any(observed.any() for observed in table.observed.values()):
        raise DataError("nothing is observed in any row; check the masks.")


def _split_of_fit(table: Table, modalities: Sequence[Modality], seed: int, units: np.ndarray | None) -> np.ndarray:
    """Return (N,) int8 codes of the parts, from the file or drawn here; every modality has a train row."""
    groups = stratification_groups(table, modalities)
    if table.split is None:
        split = stratified_split(groups, seed=seed, units=units)
    elif (table.split == 0).any():
        split = with_valid(table.split, groups, seed=seed, units=units)
    else:
        raise DataError("'split' has no train rows (0 or train); mark some.")
    for m in modalities:
        if not (table.observed[m.name] & (split == 0)).any():
            raise DataError(f"{m.name!r} is observed in no train row; leave it out (--as {m.name}=ignore).")
    return split


def _with_classes_of(table: Table, schema: Sequence[Modality]) -> Table:
    """Return `table` without class arrays that no row has: an empty column is neither strings nor numbers."""
    empty = {m.name for m in schema if m.classes and m.name in table.arrays and not table.observed[m.name].any()}
    return dataclasses.replace(table, arrays={name: a for name, a in table.arrays.items() if name not in empty})


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
        _check_known(overrides, there, "modality")
    overrides = {key: override for key, override in overrides.items() if key in there}
    annotations, overrides = _annotations_of(dataset, before, overrides)
    before = {key: m for key, m in before.items() if key not in overrides or not overrides[key].ignored}
    if not any(m.role == "modality" for m in before.values()):
        raise UsageError(f"--as: {dataset.name} has no modality left; ignore less.")
    told = list(dataset.findings)
    if schema is None:
        after = tuple(_overridden(m, overrides.get(m.name), dataset) for m in before.values())
        after = with_targets(after, target, overrides)
    else:
        after = tuple(schema)
    plain = [m for m in after if m.sequence and m.name in before and m.name not in dataset.present]
    all_steps = {m.name: dataset.observed[m.name].numpy()[:, None, None].repeat(m.shape[0], 1) for m in plain}
    table = Table(
        {}, {m.name: dataset.observed[m.name].numpy() for m in before.values()}, dataset.ids, True, dataset.split,
        {m.name: m.features for m in before.values() if m.features},
        present=all_steps | {key: there.numpy() for key, there in dataset.present.items() if key in before},
    )  # fmt: skip
    same = {m.name for m in after if m.name in before and _alike(m, before[m.name])}
    for key in before.keys() - same:
        table.arrays[key] = _in_input_units(before[key], dataset.values[key].numpy())
    if schema is not None:
        arrays = {key: dataset.values[key].numpy() for key in before if key in same} | table.arrays
        told = check_schema(arrays, schema, table.features, same)
        table, unseen = with_known_classes(in_order(table, schema), schema)
        told += [*_not_missing(dataset, schema), *without_lengths(all_steps), *unseen]
    moved = encode_table(table, tuple(m for m in after if m.name not in same), dataset.name, dataset.split)
    fresh = dataset.refresh

    def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
        assert fresh is not None  # `refresh` is returned only then
        return {key: value for key, value in fresh(seed, epoch).items() if key in same}

    return dataclasses.replace(
        dataset,
        modalities=after,
        values={m.name: (dataset if m.name in same else moved).values[m.name] for m in after},
        observed={m.name: (dataset if m.name in same else moved).observed[m.name] for m in after},
        present={m.name: (dataset if m.name in same else moved).present[m.name] for m in after if m.sequence},
        refresh=None if fresh is None else refresh,
        annotations=annotations,
        findings=tuple(told),
        declared={key: how for key, how in declared.items() if how != GROUP or GROUP in annotations},
        whole=None,
        scaled_on_all=None,
    )


def _not_missing(dataset: Dataset, schema: Sequence[Modality]) -> list[Finding]:
    """Tell which values a run takes for missing that a data set was not read so. They cannot be found in it for sure:
    its values in model units are rounded."""
    read_with, told = {m.name: m.missing for m in dataset.modalities}, []
    for m in schema:
        if m.missing and m.name in read_with and set(m.missing) - set(read_with[m.name] or ()):
            values = ", ".join(m.missing)
            why = f"the run takes {values} for missing, and {dataset.name} was read without that"
            told.append(Finding(TOLD, m.name, f"{m.name}: {why}; read it with missing, or give the run the source."))
    return told


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


def _in_input_units(m: Modality, value: np.ndarray) -> np.ndarray:
    return m.value_in_input_units(value) if m.classes is None else np.asarray(m.classes)[value]


def _overridden(m: Modality, override: Override | None, dataset: Dataset) -> Modality:
    if override is None:
        return m
    family = LIKELIHOODS[override.likelihood]
    if (family.values == "classes") != (m.classes is not None) or override.transform not in (None, m.transform):
        raise UsageError(f"--as {m.name}: the values of {dataset.name} are made for {m.likelihood}, {m.transform}.")
    if family.values != "classes":
        value = dataset.values[m.name][dataset.observed[m.name]].numpy()
        wrong, why = family.illegal(value)
        if wrong.any():
            first = value[wrong][0].item()
            raise UsageError(f"--as {m.name}: {first!r}, a value of {dataset.name} in the units of the model, {why}")
    again = dataclasses.replace(m, likelihood=override.likelihood, scale=override.scale, role=override.role or m.role)
    use = dataset.observed[m.name].numpy() & (dataset.split == 0)
    there = dataset.present.get(m.name)
    return with_input_scaling(again, dataset.values[m.name].numpy(), use, None if there is None else there.numpy())


def _check_known(overrides: Mapping[str, Override], there: Mapping[str, object], kind: str) -> None:
    for key in overrides:
        if key not in there:
            raise UsageError(f"--as {key}: no {kind} {key!r}; there are {', '.join(there)}.{suggest(key, list(there))}")
