"""New data are compared with the schema of a run: every difference is reported, and columns are put into its order."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ...errors import DataError, suggest
from ...modalities.modality import Modality
from .arrays import Table

LISTED = 5  # a message names so many of the columns that differ, of which there may be thousands


def check_schema(
    arrays: Mapping[str, np.ndarray],
    schema: Sequence[Modality],
    features: Mapping[str, Sequence[str]],
    same: Collection[str] = (),
) -> None:
    """Compare data with the schema of a run.

    Args:
        arrays: name → (N, *shape).
        schema: the modalities of the run.
        features: name → the names of its columns, for arrays that have them.
        same: the names of modalities that are known to be alike and need no check.

    Raises:
        DataError: the data differ; the message lists every difference.
    """
    known = {m.name: m for m in schema}
    absent = [key for key in known if key not in arrays]
    near = {key: suggest(key, absent).strip() for key in arrays.keys() - known.keys()}
    found = [f"{key!r} is not in it" + (f" ({near[key]})" if near[key] else "") for key in near]
    if found:
        found += [f"{key!r} is missing" for key in absent if known[key].role == "modality"]
    for key in known.keys() & arrays.keys() - set(same):
        m, array = known[key], arrays[key]
        if m.features and key in features and set(m.features) != set(features[key]):
            found += _column_differences(m, features[key])
        elif array.shape[1:] != m.shape and not array.size == len(array) == len(array) * m.size:
            found.append(f"{key!r} has shape {array.shape[1:]}, not {m.shape}")
        strings = m.classes is not None and isinstance(m.classes[0], str)
        if (array.dtype.kind == "U") != strings:
            words = ("strings", "numbers") if array.dtype.kind == "U" else ("numbers", "strings")
            found.append(f"{key!r} holds {words[0]}, not {words[1]}")
        elif expected := m.scaling.curve.expects(array.dtype):
            found.append(f"{key!r} is {array.dtype}, not {expected}")
    if found:
        raise DataError(
            f"the data differ from the run's schema ({', '.join(known)}): {'; '.join(sorted(found))}. "
            "Rename, convert, add or leave out these arrays or columns."
        )


def _column_differences(m: Modality, found: Sequence[str]) -> list[str]:
    """Describe how the columns `found` differ from the features of `m`, one phrase each; [] if only their order does.
    """
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


def in_order(table: Table, schema: Sequence[Modality]) -> Table:
    """Put named columns into the order of the schema's features. Arrays without names are kept as they are.

    Args:
        table: the parsed arrays.
        schema: the modalities of a run.

    Returns:
        The table in the run's order.
    """
    arrays, features = dict(table.arrays), dict(table.features)
    for m in schema:
        found = features.get(m.name, ())
        if not m.features or not found or m.name not in arrays or tuple(found) == m.features:
            continue
        place = {feature: i for i, feature in enumerate(found)}
        array = arrays[m.name]
        flat = array.reshape(len(array), -1)
        arrays[m.name] = np.take(flat, [place[feature] for feature in m.features], 1).reshape(array.shape)
        features[m.name] = m.features
    return dataclasses.replace(table, arrays=arrays, features=features)
