"""Where settings are searched for: ranges and choices of a program's hyper-parameters and of the settings of a fit."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...base.annotated import as_type, in_words, not_of
from ...core.hyperparameters import check_hyper, hyper_parameters, hyper_type
from ...core.program import Program
from ...errors import UsageError, suggest
from ..settings import OF_A_PROGRAM, training_type, training_value

OF_A_TRIAL = tuple(name for name in OF_A_PROGRAM if name not in ("folds", "validation"))
"""Settings of a fit that may be searched. How rows are held out inside a fit is no way to be better on other rows."""
LOG = ":log"
FORMS = "LOW..HIGH, LOW..HIGH:log or A|B|C"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        low: the smallest.
        high: the largest.
        whole: whether they are whole numbers.
        log: whether each factor has the same chance, and not each difference.
    """

    low: float
    high: float
    whole: bool
    log: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """Its ends."""
        return self.low, self.high

    def has(self, value: Any) -> bool:
        """Return whether a value lies in it."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        return f"{self.low:.15g}..{self.high:.15g}{LOG if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """Some values.

    Args:
        values: text → the value that it spells.
    """

    values: Mapping[str, Any]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All of them."""
        return tuple(self.values.values())

    def has(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return self.name_of(value) is not None

    def name_of(self, value: Any) -> str | None:
        """Return the text of a value; None: it is none of them."""
        same = (text for text, one in self.values.items() if type(one) is type(value) and one == value)
        return next(same, None)

    def __str__(self) -> str:
        return "|".join(self.values)


Space = Mapping[str, Range | Choices]


def parse_search(cls: type[Program], search: str | Sequence[str] | Mapping[str, Any]) -> dict[str, Range | Choices]:
    """Read what is to be searched.

    Args:
        cls: the program, whose signature says which settings are whole numbers, numbers, switches or words.
        search: texts such as "latent_dim=8..64,lr=1e-4..1e-1:log" and "kernel=paper|mixture"; or name → "LOW..HIGH", or
            a sequence of values to choose from.

    Returns:
        name → where its values come from, in the order given.

    Raises:
        UsageError: a name is no setting or is given twice, a range is empty or of a setting that is no number, or a
            value is not of the setting's type.

    Example:
        >>> import mmppl
        >>> found = parse_search(mmppl.load_program("cmmd"), "latent_dim=8..64,omega=0..1,kernel=paper|mixture")
        >>> {name: str(where) for name, where in found.items()}
        {'latent_dim': '8..64', 'omega': '0..1', 'kernel': 'paper|mixture'}
    """
    found: dict[str, Range | Choices] = {}
    for name, value in _pairs(search):
        known = [*hyper_parameters(cls), *OF_A_TRIAL]
        if name not in known:
            raise UsageError(
                f"search: {cls.__name__} has no setting {name!r}; it has {', '.join(known)}.{suggest(name, known)}"
            )
        if name in found:
            raise UsageError(f"search {name}: it is searched twice; leave one out.")
        found[name] = _where(cls, name, value)
    if not found:
        raise UsageError(f"search: it names no setting; write NAME={FORMS}.")
    return found


def _pairs(search: str | Sequence[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    if isinstance(search, Mapping):
        return list(search.items())
    found = []
    for text in [search] if isinstance(search, str) else search:
        for part in re.split(r",(?=\s*\w+\s*=)", text):  # a comma inside a value, as in weights=1,20|1,1, stays
            name, equals, value = part.partition("=")
            if not equals or not name.strip():
                raise UsageError(f"search {part.strip() or text}: expected NAME={FORMS}.")
            found.append((name.strip(), value.strip()))
    return found


def _where(cls: type[Program], name: str, value: Any) -> Range | Choices:
    kind = hyper_type(cls, name) if name in hyper_parameters(cls) else training_type(name)
    if not isinstance(value, str):
        if not isinstance(value, Sequence) or not value:
            raise UsageError(f"search {name}: {value!r} is no text {FORMS}, and no sequence of values to choose from.")
        return _choices(cls, name, {str(one): one for one in value}, "|".join(map(str, value)))
    if not value:
        raise UsageError(f"search {name}=: it has no values; write {name}={FORMS}.")
    if ".." not in value:
        return _choices(cls, name, {part.strip(): part.strip() for part in value.split("|")}, value)
    return _range(name, kind, value)


def _choices(cls: type[Program], name: str, parts: Mapping[str, Any], text: str) -> Choices:
    if len(parts) < 2:
        raise UsageError(f"search {name}={text}: it is one value; give {FORMS}, or set it with --set or an option.")
    values = {}
    for part, value in parts.items():
        if part == "" or value == "":
            raise UsageError(f"search {name}={text}: a choice is empty; write none for nothing, or leave it out.")
        try:
            values[part] = (
                check_hyper(cls, {name: value})[name] if name in hyper_parameters(cls) else training_value(name, value)
            )
        except UsageError as error:
            raise UsageError(f"search {name}={text}: {error}") from None
    return Choices(values)


def _range(name: str, kind: Any, text: str) -> Range:
    parts = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    number = next((one for one in (float, int) if one in parts), None)
    if number is None:
        raise UsageError(f"search {name}={text}: {name} is {in_words(kind)}, which has no range; list values, A|B|C.")
    log = text.endswith(LOG)
    ends = [end.strip() for end in text.removesuffix(LOG).split("..", 1)]
    low, high = (_number(name, text, end, number) for end in ends)
    if low >= high:
        raise UsageError(f"search {name}={text}: the range is empty; write the smaller end first, and another behind.")
    if log and low <= 0:
        raise UsageError(f"search {name}={text}: on a logarithmic scale both ends are above 0.")
    return Range(low, high, number is int, log)


def _number(name: str, text: str, end: str, number: type) -> Any:
    try:
        return as_type(end, number)
    except (TypeError, ValueError):
        raise UsageError(f"search {name}={text}: {end or 'an end'} is {not_of(number, end)}") from None
