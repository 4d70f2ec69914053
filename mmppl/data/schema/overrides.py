"""The user's overrides: what `--as NAME=...` says about a modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np

from ...errors import UsageError, suggest
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Role, Scale
from ...modalities.transforms import TRANSFORMS
from ..annotations import WORD
from ..splits import GROUP
from ..time_order import TIME

CONDITION: Final = "condition"  # the role, and the word that leaves the likelihood to the values


@dataclass(frozen=True)
class Override:
    """One parsed `--as NAME=likelihood:key=value,…`. None means that the inferred value stays.

    Args:
        likelihood: the name of a likelihood; "ignore", "annotation", "group" or "time"; or "condition", which leaves
            the likelihood to the values.
        scale: a positive number, or a word that the likelihood knows ("learned", "shared", "predicted").
        role: "modality", "label" or "condition".
        transform: the name of a transform.
        missing: the values that stand for "missing", as text.
        size: of counts, "total" if their means are proportional to their row's total, "none" if they are not.
        order: the classes as texts, lowest first, for likelihoods of ordered classes.
        event: the name of the array that says which survival times are those of events.
        df: the degrees of freedom of a Student's t.
    """

    likelihood: str
    scale: Scale | None = None
    role: Role | None = None
    transform: str | None = None
    missing: tuple[str, ...] | None = None
    size: Literal["total", "none"] | None = None
    order: tuple[str, ...] | None = None
    event: str | None = None
    df: float | None = None

    @property
    def ignored(self) -> bool:
        """True if the array is to be left out."""
        return self.likelihood == "ignore"

    @property
    def annotated(self) -> bool:
        """True if the array is an annotation, which no program sees."""
        return self.likelihood in (WORD, GROUP, TIME)


def declared_aside(overrides: Mapping[str, Override]) -> dict[str, str]:
    """Say what overrides take out of the modalities.

    Args:
        overrides: name → the parsed override.

    Returns:
        Name → "ignore", "annotation", "group" or "time", without the overrides that say anything else.

    Example:
        >>> declared_aside(parse_overrides({"age": "normal", "person": "group"}))
        {'person': 'group'}
    """
    return {name: how.likelihood for name, how in overrides.items() if how.ignored or how.annotated}


def parse_overrides(as_: Mapping[str, str]) -> dict[str, Override]:
    """Parse overrides.

    Args:
        as_: name → "likelihood[:key=value,…]", "condition", "ignore", "annotation", "group" or "time".

    Returns:
        name → `Override`.

    Raises:
        UsageError: a likelihood, key or value is unknown.
    """
    return {name: _parse(name, text) for name, text in as_.items()}


def _parse(name: str, text: str) -> Override:
    likelihood, _, rest = text.partition(":")
    aside = ("ignore", WORD, GROUP, TIME)
    known = (*LIKELIHOODS, CONDITION, *aside)
    if likelihood not in known:
        raise UsageError(
            f"--as {name}: no likelihood {likelihood!r}, nor such a column; choose from {', '.join(known)}."
            f"{suggest(likelihood, known)}"
        )
    choices = {"role": get_args(Role), "transform": (*TRANSFORMS,), "size": ("total", "none")}
    found: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if likelihood in aside or (likelihood == CONDITION and key != "missing"):
            raise UsageError(f"--as {name}: {likelihood} takes no keys, not {part!r}; leave it out.")
        if key == "missing":
            found[key] = tuple(filter(None, value.split("/")))
        elif key == "order" and LIKELIHOODS[likelihood].kind == "ranks":
            found[key] = tuple(value.split("<" if "<" in value else "/"))
        elif key == "event" and LIKELIHOODS[likelihood].kind == "survival":
            found[key] = value
        elif key in LIKELIHOODS[likelihood].fixable:
            found[key] = _number(name, likelihood, key, value)
        elif key == "scale":
            found[key] = _scale(name, likelihood, value, LIKELIHOODS[likelihood].scales)
        elif key not in choices:
            raise UsageError(
                f"--as {name}: no key {key!r}; there are scale, role, transform, missing, size of counts, order of an "
                f"ordinal, event of a weibull, and df of a student.{suggest(key, [*choices])}"
            )
        elif value not in choices[key]:
            raise UsageError(
                f"--as {name}: {key}={value!r} is none of {', '.join(choices[key])}.{suggest(value, choices[key])}"
            )
        elif key == "size" and LIKELIHOODS[likelihood].values != "counts":
            raise UsageError(f"--as {name}: {likelihood} is no likelihood of counts, which have a size; leave it out.")
        else:
            found[key] = value
    if likelihood == CONDITION:
        found["role"] = CONDITION
    return Override(likelihood, **found)


def _scale(name: str, likelihood: str, text: str, words: tuple[str, ...]) -> Scale:
    if not words:
        raise UsageError(f"--as {name}: {likelihood} has no scale; leave it out.")
    return cast(Scale, text) if text in words else _number(name, likelihood, "scale", text, words)


def _number(name: str, likelihood: str, key: str, text: str, words: tuple[str, ...] = ()) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not 0 < number < np.inf:
        what = f"neither a positive number nor {' nor '.join(words)}" if words else "no positive number"
        raise UsageError(f"--as {name}: {key}={text!r} of {likelihood} is {what}.{suggest(text, words)}")
    return number


def check_known(overrides: Mapping[str, Override], there: Mapping[str, object], kind: str) -> None:
    """Check that everything that overrides name is there.

    Args:
        overrides: the overrides by name.
        there: what there is, by name.
        kind: what it is, for the message.

    Raises:
        UsageError: a name is unknown.
    """
    for key in overrides:
        if key not in there:
            raise UsageError(f"--as {key}: no {kind} {key!r}; there are {', '.join(there)}.{suggest(key, list(there))}")
