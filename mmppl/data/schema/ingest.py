"""From named arrays to a checked `Dataset`: parse, infer or match, split, scale, encode, each stage once."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ...errors import DataError, UsageError
from ...modalities.modality import Modality
from ..annotations import set_aside
from ..dataset import Dataset
from ..examine.finding import Finding
from ..examine.report import TOLD, UNSEEN, examined, refuse_unseen
from ..split_rules import SplitRules
from ..splits import GROUP
from ..time_order import TIME
from .arrays import Table, parse_arrays
from .beside import annotations_among
from .counts import learnt_size, settled
from .encode import encode_table, stratification_groups
from .events import events_of, times_in, with_events
from .grouping.columns import with_columns
from .grouping.mixed import taken_apart
from .infer import infer_schema
from .match import (
    check_schema,
    in_order,
    steps_in_order,
    with_known_classes,
    with_possible_values,
)
from .missing.absent import Missing, with_absent, without_words
from .missing.gaps import told_of_gaps, with_gaps, with_observed, without_cells
from .missing.lengths import PREFIX, sequences_in, without_lengths
from .missing.step_masks import with_lengths_of_masks
from .order import orders_taken
from .overrides import Override, check_known, declared_aside, parse_overrides
from .parts import of_parts
from .scale import learn_scaling, observed_after_masking


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
    hide_cells: float = 0.0,
    annotations: Collection[str] = (),
    notes: Sequence[str] = (),
    missing: Missing = {},
    target: Collection[str] | None = None,
    levels: Mapping[str, Sequence[str | int]] = {},
    understood: Sequence[Finding] = (),
    tabular: bool = False,
    split: np.ndarray | None = None,
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
        hide_cells: the share of the single cells to mask at random, in modalities of several.
        annotations: the names of arrays that are annotations unless an override says what else they are; see `Dataset`.
        notes: see `Dataset`.
        missing: name → the values that stand for "missing"; see `absent`. Those of `schema` come first.
        target: the names of the labels; None goes by names.
        levels: name → the classes of an ordered column in their order.
        understood: what the reader tells of the data.
        tabular: whether the arrays are columns of a table; see `with_columns`.
        split: (N,) codes of the parts, as in `mmppl.read`; None: those of the arrays.

    Returns:
        The data in model units.

    Raises:
        DataError: the arrays are empty, inconsistent, or differ from the schema.
        UsageError: an override is wrong.
    """
    taken = taken_apart(arrays, features, as_, schema)
    missing = {part: values for name, values in missing.items() for part in taken.names([name])}
    target = None if target is None else taken.names(target)
    made = with_columns(
        taken.arrays, taken.features, taken.as_, missing=missing, target=target, schema=schema, table=tabular
    )
    arrays, features, missing, target = made.arrays, made.features, made.missing, made.target
    overrides = parse_overrides(made.as_)
    declared = made.declared | declared_aside(overrides)
    if schema is None:  # other data of a run need not have what its fit left out or set aside
        check_known(overrides, arrays, "array")
    arrays = with_observed(arrays, overrides, schema)
    for word in (GROUP, TIME):
        arrays, overrides = _with_word(arrays, overrides, word)
    beside, dropped, empty = annotations_among(arrays, overrides, annotations, schema, target)
    dropped |= {key for key, override in overrides.items() if override.ignored}
    dropped |= {f"mask_{key}" for key in dropped}
    lengths = sorted({f"{PREFIX}{key}" for key in dropped if key in arrays} & {*arrays} - {*overrides})
    dropped |= {*lengths}
    notes = (
        *notes,
        *empty,
        *(f"{key}: left out with what it is the length of; --as {key}=normal keeps it" for key in lengths),
    )
    arrays = {key: array for key, array in arrays.items() if key not in dropped}
    if split is not None:
        arrays = of_parts(arrays, split)
    arrays, annotated = set_aside(arrays, beside)
    overrides = {key: override for key, override in overrides.items() if key not in annotated}
    arrays, features = steps_in_order(arrays, features, schema or ())
    missing = _missing(missing, overrides, schema, arrays)
    arrays = with_lengths_of_masks(arrays)
    sequences = sequences_in(arrays, overrides, schema)
    of_text = {*missing} if tabular or schema is not None else {*missing} & {*taken.group_of}  # parts share values
    kept = {key: values for key, values in missing.items() if key not in of_text}
    words = kept | without_words(arrays, {key: missing[key] for key in missing if key in of_text})
    arrays, absent = with_absent(arrays, words, sequences)
    arrays, more = with_events(arrays, events_of(overrides, schema), fresh=schema is None)
    told = [*understood, *taken.told, *made.told, *absent, *more]
    table = dataclasses.replace(parse_arrays(arrays, features, sequences), levels=levels)
    if schema is not None:
        table, more = _matched(table, schema)
        modalities = tuple(schema)
        parts = _split_of_file(table, modalities, seed, annotated)
        encoded = encode_table(table, modalities, name, parts, annotated, notes)
        whole = without_lengths({key: arrays[key] for key in sequences if f"{PREFIX}{key}" not in arrays})
        more = [*more, *whole, *told_of_gaps(table, modalities)]
        findings = (*more, *(f if f.kind == UNSEEN else dataclasses.replace(f, kind=TOLD) for f in told))
        encoded = dataclasses.replace(encoded, findings=findings, declared=declared)
        return with_mask(encoded, hide, hide_seed, cells=hide_cells, fixed=True)
    _check_enough(table)
    unscaled = infer_schema(table, overrides, missing=missing, target=target)
    unscaled = tuple(dataclasses.replace(m, group=taken.group_of.get(m.name)) for m in unscaled)
    parts = _split_of_fit(table, unscaled, seed, annotated)
    unscaled = with_gaps(unscaled, table, parts)
    left, hidden = without_cells(table, unscaled, hide_cells, hide_seed) if hide_cells else (table, unscaled)
    seen = observed_after_masking(left, hidden, hide, hide_seed) if hide else left.observed
    hidden, preferred = settled(left, hidden, {m.name: (parts == 0) & seen[m.name] for m in hidden}, overrides)
    unscaled = tuple(dataclasses.replace(m, gaps=before.gaps) for m, before in zip(hidden, unscaled))
    on_all = _with_scaling(table, unscaled, parts, table.observed)
    modalities = _with_scaling(left, hidden, parts, seen) if hide or hide_cells else on_all
    encoded = encode_table(table, modalities, name, parts, annotated, notes)
    of_alphabet = [m for m in modalities if m.name not in levels]
    found = (*orders_taken(of_alphabet, overrides), *examined(encoded, times_in(table.arrays, modalities)))
    encoded = dataclasses.replace(encoded, findings=(*told, *preferred, *found), declared=declared)
    return with_mask(encoded, hide, hide_seed, cells=hide_cells, scaled_on_all=on_all)


def _with_word(
    arrays: Mapping[str, np.ndarray], overrides: dict[str, Override], word: str
) -> tuple[Mapping[str, np.ndarray], dict[str, Override]]:
    """Give the array that the user takes for the group, or for the time, of its rows that name."""
    named = [key for key, override in overrides.items() if override.likelihood == word and key in arrays]
    if len(named) > 1 or (named and named[0] != word and word in arrays):
        raise UsageError(f"--as {named[-1]}={word}: there is another {word}; name one, and leave the other out.")
    new = dict.fromkeys(named, word) | {f"mask_{key}": f"mask_{word}" for key in named}
    renamed = {new.get(key, key): array for key, array in arrays.items()}
    return renamed, {(word if key in named else key): how for key, how in overrides.items()}


def _missing(
    named: Missing, overrides: Mapping[str, Override], schema: Sequence[Modality] | None, arrays: Mapping[str, object]
) -> Missing:
    """Return name → the values that stand for "missing": the run's, the user's, or those of `--as`."""
    if schema is not None:
        of = {m.event: m.event_missing for m in schema if m.event} | {m.name: m.missing for m in schema}
        return {name: values for name, values in of.items() if values is not None and name in arrays}
    return {name: how.missing for name, how in overrides.items() if how.missing is not None} | dict(named)


def with_mask(
    dataset: Dataset,
    hide: float,
    seed: int,
    *,
    cells: float = 0.0,
    fixed: bool = False,
    scaled_on_all: tuple[Modality, ...] | None = None,
) -> Dataset:
    """Mask a share of the cells and of the modalities at random, and keep the unmasked rows in `whole`.

    Args:
        dataset: the data; it is not changed.
        hide: the share of the modalities to mask; 0 masks none.
        seed: the seed of the masks.
        cells: the share of the cells to mask; 0 masks none.
        fixed: whether the schema is that of a run; else modalities of which cells are masked have gaps from now on.
        scaled_on_all: see `Dataset`.

    Returns:
        The data set with the mask.

    Raises:
        UsageError: the share is outside [0, 1].
    """
    whole = dataclasses.replace(dataset, whole=None, scaled_on_all=scaled_on_all)
    if not hide and not cells:
        return whole
    masked = whole.mask_cells_at_random(cells, seed=seed) if cells else whole
    if cells and not fixed:
        modalities = tuple(
            dataclasses.replace(m, gaps=m.gaps or (m.name in masked.present and not m.sequence))
            for m in whole.modalities
        )
        whole, masked = (dataclasses.replace(part, modalities=modalities) for part in (whole, masked))
    masked = masked.mask_at_random(rate=hide, seed=seed) if hide else masked
    return dataclasses.replace(masked, whole=whole, scaled_on_all=scaled_on_all)


def _matched(table: Table, schema: Sequence[Modality]) -> tuple[Table, list[Finding]]:
    """Check `table` against the schema of a run, and return it with its columns in the run's order and without what
    the run does not know, and findings about that."""
    table = _with_classes_of(table, schema)
    told = check_schema(table.arrays, schema, table.features)
    table, unseen = with_known_classes(in_order(table, schema), schema)
    table, odd = with_possible_values(table, schema)
    unseen += odd
    if not any(observed.any() for observed in table.observed.values()):
        refuse_unseen(unseen, [m.name for m in schema])
        raise DataError("nothing is observed in any row; check the masks.")
    return table, told + unseen


def _split_of_file(
    table: Table, modalities: Sequence[Modality], seed: int, annotations: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return (N,) int8 codes of the parts that the file names. Without any, all rows are test rows, because as far as
    the data tell, no model was trained on them."""
    if table.split is None:
        return np.full(len(table.ids), 2, np.int8)
    strata = stratification_groups(table, modalities)
    return SplitRules.with_annotations(strata, annotations).with_valid(table.split, seed=seed)


def _with_scaling(
    table: Table, modalities: Sequence[Modality], split: np.ndarray, seen: Mapping[str, np.ndarray]
) -> tuple[Modality, ...]:
    """Return the modalities with the scaling of the train rows that are observed, name → (N,) bool."""
    train = split == 0
    scaled = (learn_scaling(m, table, train & seen[m.name]) for m in modalities)
    return tuple(learnt_size(m, table, train & seen[m.name]) for m in scaled)


def _check_enough(table: Table) -> None:
    if len(table.ids) < 2:
        raise DataError("one sample only; a model needs at least two rows, some to learn from and some to check on.")
    if not any(observed.any() for observed in table.observed.values()):
        raise DataError("nothing is observed in any row; check the masks.")


def _split_of_fit(
    table: Table, modalities: Sequence[Modality], seed: int, annotations: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return (N,) int8 codes of the parts, from the file or drawn here; every modality has a train row."""
    rules = SplitRules.with_annotations(stratification_groups(table, modalities), annotations)
    if table.split is None:
        split = rules.split(seed=seed)
    elif (table.split == 0).any():
        split = rules.with_valid(table.split, seed=seed)
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
