"""A survival time and the array that says whether its event happened become one array: a censored time is negative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import DataError, suggest
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from ..examine.finding import Finding
from ..examine.report import UNSEEN
from .overrides import Override

PREFIX = "event_"


def events_of(overrides: Mapping[str, Override], schema: Sequence[Modality] | None) -> dict[str, str]:
    """Name the arrays that say whether an event happened.

    Args:
        overrides: name → what the user says about it.
        schema: the modalities of a run, or None.

    Returns:
        Name of a survival time → name of that array: the one that the user names, or `event_<name>`.
    """
    if schema is not None:
        return {m.name: m.event for m in schema if m.event}
    kinds = {name: LIKELIHOODS[how.likelihood].kind for name, how in overrides.items() if how.likelihood in LIKELIHOODS}
    return {name: overrides[name].event or f"{PREFIX}{name}" for name, kind in kinds.items() if kind == "survival"}


def with_events(
    arrays: Mapping[str, np.ndarray], events: Mapping[str, str], fresh: bool = True
) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """Join times with their events.

    Args:
        arrays: name → (N, *shape), with masks.
        events: as `events_of` finds them; times that the arrays lack are passed over.
        fresh: whether a model is to learn from these rows, so that some event has to happen.

    Returns:
        The arrays without those of the events, in which a time without its event is negative, and a row without a time
        or without a word about its event is masked; and a finding for each time that such rows have. Where nothing is
        learnt from the rows, a time whose array of events is not there is left out, and told.

    Raises:
        DataError: the array of the events is missing and needed, or holds something else than 0 and 1, a time is not
            positive, or no event happens.

    Example:
        >>> arrays, told = with_events({"os": np.array([2.0, 5.0]), "event_os": np.array([1, 0])}, {"os": "event_os"})
        >>> arrays
        {'os': array([ 2., -5.])}
    """
    found, told = dict(arrays), []
    for name, event in events.items():
        time = arrays.get(name)
        if time is None or time.dtype.kind not in "iuf" or time.size != len(time):
            continue  # there is none, or it is refused later
        if event not in arrays and not fresh:
            found.pop(name)
            found.pop(f"mask_{name}", None)
            near = suggest(event, [key for key in arrays if key != name])
            why = f"no array {event!r} says which times are events, and without it {name} is taken for missing"
            told.append(Finding(UNSEEN, name, f"{name}: {why}; add it to use the times.{near}"))
            continue
        if event not in arrays:
            raise DataError(
                f"{name!r}: no array {event!r} says which times are events (1) and at which a row was last seen "
                f"without it (0); add it, or name another, --as {name}=weibull:event=ARRAY."
                f"{suggest(event, [key for key in arrays if key != name])}"
            )
        timed, known = _seen(arrays, name), _seen(arrays, event)
        happened = _happened(arrays, event, known & timed)
        _check_positive(arrays, name, known & timed)
        if fresh and not happened[known & timed].any():
            raise DataError(
                f"{name!r}: no event happens in any row ({event!r} is 0 throughout), and nothing tells how long it "
                f"takes; leave it out (--as {name}=ignore)."
            )
        signed = np.where(happened, 1.0, -1.0) * np.abs(time.reshape(len(time)).astype(np.float64))
        found[name] = np.where(known & timed, signed, np.nan)
        found.pop(f"mask_{name}", None)
        if unknown := int((timed & ~known).sum()):
            rows = f"{unknown:,} row{'s' * (unknown != 1)}"
            told.append(Finding("missing", name, f"{name}: {rows} with a time and no {event!r} are taken for missing."))
    for event in events.values():
        if any(name in found and other == event for name, other in events.items()):
            found.pop(event, None)
            found.pop(f"mask_{event}", None)
    return found, told


def times_in(arrays: Mapping[str, np.ndarray], modalities: Sequence[Modality]) -> dict[str, np.ndarray]:
    """Return the arrays with survival times as the user has them, without the sign of what is censored."""
    times = {m.name for m in modalities if m.family.kind == "survival"}
    return {name: np.abs(array) if name in times else array for name, array in arrays.items()}


def refuse_other_times(before: Mapping[str, Modality], after: Sequence[Modality]) -> None:
    """Refuse to make survival times of numbers without events, or numbers of survival times.

    Args:
        before: name → the modality as a data set has it.
        after: the modalities that they become.

    Raises:
        DataError: there is such a modality.
    """
    for m in after:
        if m.name in before and (m.family.kind == "survival") != (before[m.name].family.kind == "survival"):
            raise DataError(
                f"{m.name}: as a survival time it is read together with its events; read the arrays anew, with "
                f"--as {m.name}=weibull or without."
            )


def _seen(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """(N,) bool, the rows that have a value which is neither masked nor NaN."""
    array, mask = arrays[name], arrays.get(f"mask_{name}")
    seen = np.ones(len(array), dtype=bool) if mask is None or mask.shape != (len(array),) else mask.astype(bool)
    return seen & ~np.isnan(array.reshape(len(array), -1)[:, 0]) if array.dtype.kind == "f" else seen


def _happened(arrays: Mapping[str, np.ndarray], event: str, rows: np.ndarray) -> np.ndarray:
    """(N,) bool."""
    array = arrays[event]
    if array.dtype.kind not in "biuf" or array.size != len(array):
        raise DataError(f"{event!r} is {array.dtype} of shape {array.shape}; give 1 (it happened) or 0 per row.")
    flat = array.reshape(len(array))
    wrong = np.flatnonzero(rows & (flat != 0) & (flat != 1))
    if len(wrong):
        raise DataError(
            f"{_place(arrays, event, wrong[0])}: {flat[wrong[0]].item()!r} says neither that the event happened (1) "
            "nor that it did not (0); recode it."
        )
    return np.asarray(flat == 1)


def _check_positive(arrays: Mapping[str, np.ndarray], name: str, rows: np.ndarray) -> None:
    flat = arrays[name].reshape(len(rows))
    wrong = np.flatnonzero(rows & (flat <= 0))
    if len(wrong):
        raise DataError(
            f"{_place(arrays, name, wrong[0])}: {flat[wrong[0]].item()!r} is no time until an event, which is "
            "positive; correct or mask it (half a day for events on the first day)."
        )


def _place(arrays: Mapping[str, np.ndarray], name: str, row: np.intp) -> str:
    ids = arrays.get("id")
    known = "" if ids is None or ids.shape[:1] != arrays[name].shape[:1] else f" (id {ids[row].item()!r})"
    return f"{name!r}, row {row}{known}"
