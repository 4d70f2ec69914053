"""The order of classes, for likelihoods of ordered classes: given by the user, numeric, or alphabetical and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...errors import UsageError, suggest
from ...modalities.modality import Modality
from ..examine.finding import Finding
from .overrides import Override

Classes = tuple[str | int, ...]


def in_given_order(name: str, classes: Sequence[str | int], order: Sequence[str] | None) -> Classes:
    """Put classes into their order.

    Args:
        name: the modality, for messages.
        classes: the classes, as they occur in the data.
        order: the classes as texts, lowest first; it may have more than occur. None: numbers, and texts that are all
            numbers, by their value, other texts by the alphabet.

    Returns:
        The classes that occur, in this order.

    Raises:
        UsageError: the order lacks a class, or has one twice.

    Example:
        >>> in_given_order("stage", ["high", "low", "medium"], ["low", "medium", "high"])
        ('low', 'medium', 'high')
        >>> in_given_order("grade", ["10", "2"], None)
        ('2', '10')
    """
    if order is None:
        numbers = [_number(one) for one in classes]
        by_value = None not in numbers and len(set(numbers)) == len(numbers)
        return tuple(sorted(classes, key=_number if by_value else None))  # type: ignore[arg-type]
    place = {text: i for i, text in enumerate(order)}
    if len(place) < len(order):
        twice = next(text for text in order if list(order).count(text) > 1)
        raise UsageError(f"--as {name}: order has {twice!r} twice; name every class once.")
    for one in classes:
        if str(one) not in place:
            near = suggest(str(one), list(place))
            raise UsageError(f"--as {name}: order lacks {one!r}, a class that occurs; add it in its place.{near}")
    return tuple(sorted(classes, key=lambda one: place[str(one)]))


def orders_taken(modalities: Sequence[Modality], overrides: Mapping[str, Override]) -> Iterator[Finding]:
    """Tell of classes whose order is that of the alphabet, which is rarely what is meant.

    Args:
        modalities: the schema.
        overrides: name → what the user says about it.

    Yields:
        A suspicion for each such modality.
    """
    for m in modalities:
        given = m.name in overrides and overrides[m.name].order is not None
        if m.family.kind != "ranks" or given or None not in map(_number, m.classes or ()):
            continue
        taken = " < ".join(str(one) for one in m.classes or ())
        way = f"--as {m.name}={m.likelihood}:order=LOWEST/…/HIGHEST"
        text = f"{m.name}: its classes are taken in the order {taken}; {way} gives another."
        yield Finding("order", m.name, text, suspected=True)


def _number(one: str | int) -> float | None:
    try:
        return float(one)
    except ValueError:
        return None
