"""New data are compared with the schema of a run: every difference is reported, and columns are put into its order."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...base.disk.maps import empty_like, row_blocks
from ...errors import DataError, suggest
from ...modalities.modality import Modality
from ..examine.finding import Finding, listed
from ..examine.report import TOLD, UNSEEN
from .arrays import Table

if TYPE_CHECKING:
    from ..dataset import Dataset

LISTED = 5  # a message names so many of the columns that differ, of which there may be thousands


def check_schema(
    arrays: Mapping[str, np.ndarray],
    schema: Sequence[Modality],
    features: Mapping[str, Sequence[str]],
    same: Collection[str] = (),
) -> list[Finding]:
    """Compare data with the schema of a run.

    Args:
        arrays: name → (N, *shape).
        schema: the modalities of the run.
        features: name → the names of its columns, for arrays that have them.
        same: the names of modalities that are known to be alike and need no check.

    Returns:
        A finding for each array or set of columns that the run does not know, and that is left out.

    Raises:
        DataError: the data differ, or what the run does not know has nearly the name of what it lacks; the message
            lists every difference.
    """
    known = {m.name: m for m in schema}
    absent = [key for key in known if key not in arrays]
    near = {key: suggest(key, absent).strip() for key in arrays.keys() - known.keys()}
    extra = [f"{key!r} is not in it" + (f" ({near[key]})" if near[key] else "") for key in near]
    found, told = [], [Finding(TOLD, key, f"{key}: is not in the run, and left out.") for key in sorted(near)]
    if any(near.values()) or len(near) == len(arrays):
        found += [f"{key!r} is missing" for key in absent if known[key].role == "modality"] or ["nothing is left"]
    for key in known.keys() & arrays.keys() - set(same):
        m, array = known[key], arrays[key]
        if m.features and key in features and set(m.features) != set(features[key]):
            differences = _column_differences(m, features[key])
            if set(m.features) < set(features[key]) and not m.sequence:
                told.append(_columns_left_out(m, features[key]))
                extra += differences
            else:
                found += differences
        elif m.sequence and m.features and tuple(features.get(key, m.features)) != m.features:
            found.append(f"the steps of {key!r} are in another order than {listed(m.features)}")
        elif array.shape[1:] != m.shape and not array.size == len(array) == len(array) * m.size:
            found.append(f"{key!r} has shape {array.shape[1:]}, not {m.shape}")
        strings = m.classes is not None and isinstance(m.classes[0], str)
        if (array.dtype.kind == "U") != strings:
            words = ("strings", "numbers") if array.dtype.kind == "U" else ("numbers", "strings")
            found.append(f"{key!r} holds {words[0]}, not {words[1]}")
        elif expected := m.scaling.curve.expects(array.dtype):
            found.append(f"{key!r} is {array.dtype}, not {expected}")
    if found:
        found += extra
        raise DataError(
            f"the data differ from the run's schema ({', '.join(known)}): {'; '.join(sorted(found))}. "
            "Rename, convert, add or leave out these arrays or columns."
        )
    return told


def _columns_left_out(m: Modality, found: Sequence[str]) -> Finding:
    more = [f"{m.name}:{feature}" for feature in found if feature not in set(m.features or ())]
    verb = "is" if len(more) == 1 else "are"
    return Finding(TOLD, m.name, f"{listed(more)}: {verb} not in the run, and left out.")


def with_known_classes(table: Table, schema: Sequence[Modality]) -> tuple[Table, list[Finding]]:
    """Make labels and inputs of one column missing where they have a class that the run does not know.

    Args:
        table: the parsed arrays, checked.
        schema: the modalities of the run.

    Returns:
        The table, and a finding of the kind `UNSEEN` for each modality with such rows.
    """
    observed, present, told = dict(table.observed), dict(table.present), []
    for m in schema:
        if m.name not in table.arrays or not m.classes or m.size > 1:
            continue
        array = table.arrays[m.name].reshape(-1)
        unknown = observed[m.name] & ~np.isin(array, np.asarray(m.classes))
        if unknown.any():
            observed[m.name] = observed[m.name] & ~unknown
            if m.name in present:  # a sequence of one step
                present[m.name] = present[m.name] & observed[m.name][:, None, None]
            at = np.flatnonzero(unknown).tolist()
            rows = tuple((row, f"{table.place(m.name, row)}: {array[row].item()!r}") for row in at)
            why = f"is not one of the classes {listed(m.classes, 20)}"
            taken = f"taken for missing in {len(at):,} such row{'s' * (len(at) != 1)}"
            told.append(Finding(UNSEEN, m.name, f"{rows[0][1]} {why}; {taken}.", rows=rows))
    return dataclasses.replace(table, observed=observed, present=present), told


def with_possible_values(table: Table, schema: Sequence[Modality]) -> tuple[Table, list[Finding]]:
    """Make numbers missing that the transform or likelihood of the run cannot have: single cells where encoders of the
    run see gaps, else whole rows, so that only questions about that modality are refused.

    Args:
        table: the parsed arrays, checked and in the run's order.
        schema: the modalities of the run.

    Returns:
        The table; a finding for each modality with such numbers, of the kind `UNSEEN` where it is about rows, which
        questions about them refuse, and `TOLD` where it is about cells; and one for each with values that
        the likelihood takes for others, such as proportions that rounding left outside [0, 1], which are clipped.
    """
    observed, present, told = dict(table.observed), dict(table.present), []
    for m in schema:
        if m.name not in table.arrays or m.family.values == "classes":
            continue
        wrong, why, clipped, cells = _odd_values(m, table)
        if wrong:
            place, rows = wrong[0][1], [row for row, _ in wrong]
            observed[m.name] = observed[m.name].copy()
            if m.gaps:
                there = present[m.name] = np.broadcast_to(table.there(m.name), table.arrays[m.name].shape).copy()
                for at, odd in cells:
                    there[at] &= ~odd
                observed[m.name][rows] = there[rows].reshape(len(rows), -1).any(1)
            else:
                observed[m.name][rows] = False
                if m.name in present:
                    kept = observed[m.name].reshape(-1, *[1] * (present[m.name].ndim - 1))
                    present[m.name] = present[m.name] & kept
            taken = f"taken for missing in {len(rows):,} such row{'s' * (len(rows) != 1)}"
            text = f"{place} {why.partition(';')[0].rstrip('.')}; {taken}."
            told.append(Finding(TOLD if m.gaps else UNSEEN, m.name, text, rows=tuple(wrong)))
        if clipped:
            text = f"{clipped[0][1]} is clipped to the nearest value that {m.likelihood} has"
            told.append(Finding(TOLD, m.name, f"{text}, in {len(clipped):,} such rows.", rows=tuple(clipped)))
    return dataclasses.replace(table, observed=observed, present=present), told


def _odd_values(
    m: Modality, table: Table
) -> tuple[list[tuple[int, str]], str, list[tuple[int, str]], list[tuple[slice, np.ndarray]]]:
    """The rows with observed values that a run cannot take, each with the first of them in words, and why; the rows
    with values that are clipped; and the cells of the former, in blocks of rows that have any."""
    array = table.arrays[m.name]
    wrong: list[tuple[int, str]] = []
    clipped: list[tuple[int, str]] = []
    blocks: list[tuple[slice, np.ndarray]] = []
    why = ""
    for at in row_blocks(array):
        raw = array[at].astype(np.float64).reshape(-1, *m.shape)
        seen = np.broadcast_to(table.there(m.name, at), array[at].shape).reshape(raw.shape)
        with np.errstate(all="ignore"):  # masked values may be anything
            units = m.to_model_units(raw)
            stored = m.family.as_stored(units)
            curve, family = m.scaling.curve.illegal(raw), m.family.illegal(stored)
        cells = (curve[0] | family[0]) & seen
        moved = (stored != units) & seen & ~cells if m.family.values != "counts" else np.zeros_like(cells)
        for found, rows in ((cells, wrong), (moved, clipped)):
            for row in np.flatnonzero(found.reshape(len(raw), -1).any(1)).tolist():
                column = np.argwhere(found[row].reshape(array.shape[1:]))[0].tolist() if array.ndim > 1 else []
                number = at.start + row
                rows.append((number, f"{table.place(m.name, number, column)}: {array[(number, *column)].item()!r}"))
        if cells.any():
            blocks.append((at, cells.reshape(array[at].shape)))
            why = why or (curve[1] if (curve[0] & seen).any() else family[1])
    return wrong, why, clipped, blocks


def _column_differences(m: Modality, found: Sequence[str]) -> list[str]:
    """Describe how the columns `found` differ from the features of `m`, one phrase each; [] if their order does."""
    features = m.features or ()
    here, known = set(found), set(features)
    absent = [feature for feature in features if feature not in here]
    extra = [feature for feature in found if feature not in known]
    phrases = []
    for feature in extra[:LISTED]:
        near = suggest(feature, absent).strip().replace("Did you mean ", f"Did you mean {m.name}:", 1)
        phrases.append(f"'{m.name}:{feature}' is not in it" + (f" ({near})" if near else ""))
    phrases += [f"'{m.name}:{feature}' is missing" for feature in absent[:LISTED]]
    for names, what in ((extra, "are not in it"), (absent, "are missing")):
        if len(names) > LISTED:
            phrases.append(f"{m.name!r} has {len(names) - LISTED:,} more columns that {what}")
    return phrases


def aligned(a: Modality, b: Modality) -> bool:
    """Say whether the features of two modalities have the same order.

    Args:
        a: one modality.
        b: the other.

    Returns:
        True if the names of their features agree, or if one of them has no names.
    """
    return not a.features or not b.features or a.features == b.features


def steps_in_order(
    arrays: Mapping[str, np.ndarray], features: Mapping[str, Sequence[str]], schema: Sequence[Modality]
) -> tuple[Mapping[str, np.ndarray], Mapping[str, Sequence[str]]]:
    """Put the named columns of sequences, which are their steps, into the order of the schema. The length of a row
    counts steps in that order, so this comes before anything beyond it is blanked.

    Args:
        arrays: name → (N, *shape).
        features: name → the names of its columns.
        schema: the modalities of a run; empty changes nothing.

    Returns:
        The arrays and the names of their columns. Columns with other names than those of the schema are kept as they
        are, for `check_schema` to refuse.
    """
    arrays, features = dict(arrays), dict(features)
    for m in schema:
        found = list(features.get(m.name, ()))
        if m.sequence and m.features and m.name in arrays and sorted(found) == sorted(m.features):
            arrays[m.name] = _columns(arrays[m.name], [found.index(feature) for feature in m.features])
            features[m.name] = m.features
    return arrays, features


def in_order(table: Table, schema: Sequence[Modality]) -> Table:
    """Put named columns into the order of the schema's features. Arrays without names are kept as they are.

    Args:
        table: the parsed arrays.
        schema: the modalities of a run.

    Returns:
        The table in the run's order.
    """
    arrays, features, present = dict(table.arrays), dict(table.features), dict(table.present)
    for m in schema:
        found = features.get(m.name, ())
        if not m.features or not found or m.name not in arrays or tuple(found) == m.features:
            continue
        place = {feature: i for i, feature in enumerate(found)}
        order = [place[feature] for feature in m.features]
        for of in (arrays, present) if m.name in present and not m.sequence else (arrays,):
            flat = of[m.name].reshape(len(table.ids), -1)
            of[m.name] = _columns(flat, order).reshape(len(flat), *m.shape)
        features[m.name] = m.features
    observed = dict(table.observed)
    for m in schema:  # a row may lack all cells that are left
        if m.name in present and not m.sequence:
            observed[m.name] = observed[m.name] & present[m.name].reshape(len(table.ids), -1).any(1)
    return dataclasses.replace(table, arrays=arrays, features=features, present=present, observed=observed)


def _columns(array: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """A copy with its columns (or steps) in another order, in a file if the array lies in one."""
    found = empty_like(array, (len(array), len(places), *array.shape[2:]), array.dtype)
    for rows in row_blocks(array):
        found[rows] = np.take(array[rows], places, 1)
    return found


def refuse_shorter_rows(dataset: Dataset, after: Sequence[Modality]) -> None:
    """Refuse a sequence with rows of fewer steps where a run takes all steps for measured.

    Args:
        dataset: the data.
        after: the modalities that they become.

    Raises:
        DataError: there is one; the message names it.
    """
    for m in after:
        there = dataset.present.get(m.name)
        series = there is not None and any(own.sequence for own in dataset.modalities if own.name == m.name)
        if there is not None and series and not m.sequence and not there[dataset.observed[m.name]].all():
            raise DataError(
                f"{m.name}: it is a sequence with rows of fewer than {there.shape[1]} steps, and the run knows no "
                "lengths; leave it out, or fit anew with lengths."
            )


def not_missing(dataset: Dataset, schema: Sequence[Modality]) -> list[Finding]:
    """Tell which values a run takes for missing that a data set was not read so. They cannot be found in it for sure:
    its values in model units are rounded.

    Args:
        dataset: the data.
        schema: the modalities of the run.

    Returns:
        A finding for each modality of which that is so.
    """
    read_with, told = {m.name: m.missing for m in dataset.modalities}, []
    for m in schema:
        if m.missing and m.name in read_with and set(m.missing) - set(read_with[m.name] or ()):
            values = ", ".join(m.missing)
            why = f"the run takes {values} for missing, and {dataset.name} was read without that"
            told.append(Finding(TOLD, m.name, f"{m.name}: {why}; read it with missing, or give the run the source."))
    return told
