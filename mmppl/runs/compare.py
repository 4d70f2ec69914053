"""In what fits differ, by their run.json: program, hyper-parameters, training, data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .record import RunRecord

MAX_DIFFERENCES = 6  # differences that one line tells


def settings(record: RunRecord) -> dict[str, tuple[Any, str]]:
    """Name → (what is compared, the same in words). Of what is hidden the rate counts: which entries, the seed says."""
    program, data = record.program, record.data
    numbers = json.loads(
        json.dumps({**record.hyper, **record.training, "hide": data.hide, "hide_cells": data.hide_cells})
    )  # JSON knows no tuples
    return {
        "program": (program.name, program.name),
        "source of the program": (program.sha256, f"{program.sha256[:8]}…"),
        **{name: (value, _told(value)) for name, value in numbers.items()},
        **({"terms": (list(record.terms), "; ".join(record.terms))} if record.terms else {}),
        **{f"likelihood of {m.name}": (m.likelihood, m.likelihood) for m in record.modalities},
        "data": (data.as_read, f"{data.told} ({data.n} rows, fingerprint {data.as_read[:8]}…)"),
        "seed": (record.seed, str(record.seed)),
        "device": (record.device, record.device),
    }


def _told(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def differing(records: Sequence[RunRecord], ignore: Sequence[str] = ()) -> dict[str, list[str]]:
    """Setting → its value in each fit, in words, for those that are not everywhere the same; "none" where it is not."""
    told = [settings(record) for record in records]
    none = (None, "none")
    found = {}
    for name in dict.fromkeys(name for one in told for name in one):
        values = [one.get(name, none) for one in told]
        if name not in ignore and any(value[0] != values[0][0] for value in values):
            found[name] = [words for _, words in values]
    if "program" in found:  # whose source is another, and so are its hyper-parameters
        hyper = {name for one in records for name in one.hyper if not all(name in other.hyper for other in records)}
        found = {name: words for name, words in found.items() if name not in (*hyper, "source of the program")}
    return found


def in_words(found: Mapping[str, Sequence[str]], between: str) -> str:
    """`name a{between}b` for each difference, the first `MAX_DIFFERENCES` of them."""
    each = [f"{name} {between.join(dict.fromkeys(values))}" for name, values in found.items()]
    more = f"; and {len(each) - MAX_DIFFERENCES} more" if len(each) > MAX_DIFFERENCES else ""
    return "; ".join(each[:MAX_DIFFERENCES]) + more


def alike(records: Sequence[RunRecord]) -> list[list[int]]:
    """Group fits that differ in nothing but their seeds and machines, and may therefore be averaged.

    Args:
        records: the records of the fits.

    Returns:
        The numbers of the fits in each group, in the order of the first of each.
    """
    groups: list[list[int]] = []
    for i, record in enumerate(records):
        for group in groups:
            if not differing([records[group[0]], record], ignore=("seed", "device")):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def differences(records: Sequence[RunRecord]) -> list[dict[str, str]]:
    """Say in what each fit differs from the others, apart from its seed and machine.

    Args:
        records: the records of the fits.

    Returns:
        Setting → its value in words, for each fit, with the same settings for all.
    """
    found = differing(records, ignore=("seed", "device"))
    return [{name: values[i] for name, values in found.items()} for i in range(len(records))]


def unlike(records: Sequence[RunRecord]) -> list[str]:
    """A note where runs differ in more than their seeds and machines, so that they are not averaged."""
    found = differing(records, ignore=("seed", "device"))
    return [f"the runs differ in more than the seed: {in_words(found, ' / ')}."] if found else []
