"""The door: raw arrays become modalities and tensors in model units, or a message that says what is wrong with them.

What an array is follows from its type and shape (`declare`), from the user's word, or from the schema of a run.
Missing values are filled here, once, with zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, UsageError, suggest
from ...modalities.modality import Modality
from ..dataset import Dataset
from ..missing import staying
from ..splits import stratified, stratifying, with_valid
from .arrays import Table, take_apart
from .infer import Override, chunks, declare, parse_overrides
from .match import aligned, compare, in_order


def admit(
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
    table = take_apart(arrays, features)
    if schema is None:
        modalities, split = _found(table, said, seed, hide, hide_seed)
    else:
        table = _with_classes_of(table, schema)
        compare(table.arrays, schema, table.features)
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


def refit(dataset: Dataset, *, as_: Mapping[str, str], schema: Sequence[Modality] | None) -> Dataset:
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
        compare(arrays, schema, table.features, same)
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
    if (word.likelihood == "categorical") != (m.classes is not None) or word.transform not in (None, m.transform):
        raise UsageError(f"--as {m.name}: the values of {dataset.name} are made for {m.likelihood}, {m.transform}.")
    value = dataset.values[m.name]
    if word.likelihood == "bernoulli" and not ((value >= 0) & (value <= 1)).all():
        raise UsageError(f"--as {m.name}: not all values of {dataset.name} lie in [0, 1]; choose normal or laplace.")
    return dataclasses.replace(m, likelihood=word.likelihood, scale=word.scale, role=word.role or m.role)


def _check_known(said: Mapping[str, Override], there: Mapping[str, object], kind: str) -> None:
    for key in said:
        if key not in there:
            raise UsageError(f"--as {key}: no {kind} {key!r}; there are {', '.join(there)}.{suggest(key, list(there))}")


def _found(
    table: Table, said: Mapping[str, Override], seed: int, hide: float, hide_seed: int
) -> tuple[tuple[Modality, ...], np.ndarray]:
    """Schema and split of data that come without a schema."""
    n = len(table.ids)
    if n < 2:
        raise DataError("one sample only; a model needs at least two rows, some to learn from and some to check on.")
    if not any(observed.any() for observed in table.observed.values()):
        raise DataError("nothing is observed in any row; check the masks.")
    modalities = []
    for name, array in table.arrays.items():
        observed = table.observed[name]
        if not observed.any():
            raise DataError(f"{name!r} is observed in no row; leave it out (--as {name}=ignore).")
        framed = name in table.features
        modality = declare(name, array, observed, said.get(name), gaps=name in table.gaps, columns=framed)
        if modality.likelihood == "categorical":
            modality = dataclasses.replace(modality, classes=_classes(table, name))
        columns = table.features.get(name)
        modalities.append(dataclasses.replace(modality, features=tuple(columns) if columns else None))
    if not any(m.role == "modality" for m in modalities):
        raise DataError(
            f"only labels here ({', '.join(m.name for m in modalities)}); say which is a modality, "
            f"--as {modalities[0].name}=normal:role=modality."
        )
    groups = _groups(table, modalities)
    if table.split is None:
        split = stratified(groups, seed=seed)
    elif (table.split == 0).any():
        split = with_valid(table.split, groups, seed=seed)
    else:
        raise DataError("'split' has no train rows (0 or train); mark some.")
    for m in modalities:
        if not (table.observed[m.name] & (split == 0)).any():
            raise DataError(f"{m.name!r} is observed in no train row; leave it out (--as {m.name}=ignore).")
    stays = _staying(table, modalities, hide, hide_seed)
    return tuple(_scaled(m, table, (split == 0) & stays[m.name]) for m in modalities), split


def _staying(table: Table, modalities: Sequence[Modality], rate: float, seed: int) -> Mapping[str, np.ndarray]:
    """(N,) by name: where a modality is observed and `Dataset.hide` would leave it."""
    names = [m.name for m in modalities if m.role == "modality"]
    before = torch.stack([torch.from_numpy(table.observed[name]) for name in names], -1)
    after = staying(before, names, rate=rate, patterns=None, keep_one=True, seed=seed)
    return table.observed | {name: after[:, i].numpy() for i, name in enumerate(names)}


def _classes(table: Table, name: str) -> tuple[str | int, ...]:
    array, observed = table.arrays[name], table.observed[name]
    seen = array[observed]
    if seen.dtype.kind == "f" and (np.mod(seen, 1) != 0).any():
        row = int(np.flatnonzero(observed)[np.argwhere(np.mod(seen, 1) != 0)[0][0]])
        raise DataError(
            f"{table.place(name, row)}: a class is a whole number or a string; round them or choose normal."
        )
    classes = np.unique(seen if seen.dtype.kind == "U" else seen.astype(np.int64)).tolist()
    if len(classes) < 2:
        raise DataError(f"{name!r} has one class only ({classes[0]!r}); leave it out (--as {name}=ignore).")
    return tuple(classes)


def _groups(table: Table, modalities: Sequence[Modality]) -> np.ndarray:
    """(N,) codes of the label that a split is stratified by, −1 where it is missing."""
    label = stratifying([m for m in modalities if m.name in table.arrays])
    if label is None:
        return np.zeros(len(table.ids), dtype=np.int64)
    return np.where(table.observed[label.name], _codes(table, label).reshape(-1), -1)


def _scaled(m: Modality, table: Table, use: np.ndarray) -> Modality:
    """`m` with mean and standard deviation of the rows to use (float64, two passes, no copy of the array); 0 and 1
    where there are none."""
    if m.transform not in ("standardise", "log1p"):
        return m
    array = table.arrays[m.name]

    def moment(power: int, centre: np.ndarray) -> np.ndarray:
        total = np.zeros(array.shape[1:])
        for rows in chunks(array):
            part = array[rows][use[rows]].astype(np.float64)
            total += (((np.log1p(part) if m.transform == "log1p" else part) - centre) ** power).sum(0)
        return total / max(use.sum(), 1)

    with np.errstate(all="ignore"):  # what cannot be transformed is named when the values are
        mean = moment(1, np.zeros(()))
        sd = np.sqrt(moment(2, mean))
    if m.transform == "standardise" and not np.isfinite(sd).all():
        raise DataError(f"{m.name!r}: values too large to be squared; rescale them.")
    # A constant feature has the rounding of its mean for a spread; dividing by that would blow up what comes later.
    sd = np.where(sd > 1e-13 * np.abs(mean), sd, 1.0)
    return dataclasses.replace(m, shift=tuple(mean.ravel().tolist()), spread=tuple(sd.ravel().tolist()))


def _filled(table: Table, modalities: Sequence[Modality], name: str, split: np.ndarray) -> Dataset:
    n = len(table.ids)
    nowhere = np.zeros(n, dtype=bool)
    return Dataset(
        name=name,
        modalities=tuple(modalities),
        values={m.name: _tensor(m, table) for m in modalities},
        observed={m.name: torch.from_numpy(table.observed.get(m.name, nowhere).copy()) for m in modalities},
        ids=table.ids,
        split=split,
        has_split=table.split is not None,
    )


def _tensor(m: Modality, table: Table) -> Tensor:
    """(N, *shape) values in model units, zeros where missing."""
    n = len(table.ids)
    if m.name not in table.arrays:
        return torch.zeros((n, *m.shape), dtype=torch.float32 if m.classes is None else torch.int64)
    observed = table.observed[m.name]
    if m.classes is not None:
        codes = _codes(table, m)
        return torch.from_numpy(np.where(observed.reshape(n, *[1] * len(m.shape)), codes, 0))
    array = table.arrays[m.name].reshape(n, *m.shape)
    values = np.empty(array.shape, dtype=np.float32)
    for rows in chunks(array):
        raw = array[rows].astype(np.float64)
        with np.errstate(all="ignore"):  # under the mask lies anything
            wrong, why = _illegal(m, raw)
            values[rows] = m.to_model_units(raw)
        seen = observed[rows].reshape(-1, *[1] * len(m.shape))
        for cells, reason in ((wrong, why), (~np.isfinite(values[rows]), "is too large for float32; rescale it.")):
            if (cells & seen).any():
                row, column = np.argwhere((cells & seen).reshape(len(raw), -1))[0]
                table.bad(m.name, rows.start + int(row), int(column), reason)
        values[rows][~observed[rows]] = 0
    return torch.from_numpy(values)


def _illegal(m: Modality, raw: np.ndarray) -> tuple[np.ndarray, str]:
    """Cells that the modality cannot hold, and why."""
    if m.transform == "image":
        return (raw < 0) | (raw > 255), "is not a grey value from 0 to 255."
    if m.transform == "log1p":
        return raw < 0, "is negative, and this modality is a count."
    if m.likelihood == "bernoulli":
        return (raw < 0) | (raw > 1), "lies outside [0, 1], where a Bernoulli lives; rescale it, or fit it as normal."
    return np.zeros(raw.shape, dtype=bool), ""


def _codes(table: Table, m: Modality) -> np.ndarray:
    """(N, *shape) int64 places in `m.classes`; anything where missing."""
    array, classes = table.arrays[m.name].reshape(len(table.ids), *m.shape), np.asarray(m.classes)
    order = np.argsort(classes)
    codes = order[np.searchsorted(classes[order], array).clip(max=len(classes) - 1)]
    wrong = (classes[codes] != array) & table.observed[m.name].reshape(-1, *[1] * len(m.shape))
    if wrong.any():
        row, column = np.argwhere(wrong.reshape(len(array), -1))[0]
        listed = ", ".join(map(str, classes[:20])) + (", …" if len(classes) > 20 else "")
        table.bad(m.name, int(row), int(column), f"is not one of the classes {listed}; correct or mask it.")
    return codes.astype(np.int64)
