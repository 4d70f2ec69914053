"""The user's overrides: what `--as NAME=...` says about a modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from ...errors import UsageError, suggest
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Scale
from ...modalities.transforms import TRANSFORMS
from ..annotations import WORD
from ..splits import GROUP


@dataclass(frozen=True)
class Override:
    """One parsed `--as NAME=likelihood:key=value,…`. None means that the inferred value stays.

    Args:
        likelihood: the name of a likelihood, or "ignore", "annotation" or "group".
        scale: a positive number, or a word that the likelihood knows ("learned", "shared", "predicted").
        role: "modality" or "label".
        transform: the name of a transform.
        missing: the values that stand for "missing", as text.
        order: the classes as texts, lowest first, for likelihoods of ordered classes.
        event: the name of the array that says which survival times are those of events.
    """

    likelihood: str
    scale: Scale | None = None
    role: Literal["modality", "label"] | None = None
    transform: str | None = None
    missing: tuple[str, ...] | None = None
    order: tuple[str, ...] | None = None
    event: str | None = None

    @property
    def ignored(self) -> bool:
        """True if the array is to be left out."""
        return self.likelihood == "ignore"

    @property
    def annotated(self) -> bool:
        """True if the array is an annotation, which no program sees."""
        return self.likelihood in (WORD, GROUP)


def declared_aside(overrides: Mapping[str, Override]) -> dict[str, str]:
    """Say what overrides take out of the modalities.

    Args:
        overrides: name → the parsed override.

    Returns:
        Name → "ignore", "annotation" or "group", without the overrides that say anything else.

    Example:
        >>> declared_aside(parse_overrides({"age": "normal", "person": "group"}))
        {'person': 'group'}
    """
    return {name: how.likelihood for name, how in overrides.items() if how.ignored or how.annotated}


def parse_overrides(as_: Mapping[str, str]) -> dict[str, Override]:
    """Parse overrides.

    Args:
        as_: name → "likelihood[:key=value,…]", "ignore", "annotation" or "group".

    Returns:
        name → `Override`.

    Raises:
        UsageError: a likelihood, key or value is unknown.
    """
    return {name: _parse(name, text) for name, text in as_.items()}


def _parse(name: str, text: str) -> Override:
    likelihood, _, rest = text.partition(":")
    aside = ("ignore", WORD, GROUP)
    known = (*LIKELIHOODS, *aside)
    if likelihood not in known:
        raise UsageError(
            f"--as {name}: no likelihood {likelihood!r}; choose from {', '.join(known)}.{suggest(likelihood, known)}"
        )
    choices = {"role": ("modality", "label"), "transform": (*TRANSFORMS,)}
    found: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if likelihood in aside:
            raise UsageError(f"--as {name}: {likelihood} takes no keys, not {part!r}; leave it out.")
        if key == "missing":
            found[key] = tuple(filter(None, value.split("/")))
        elif key == "order" and LIKELIHOODS[likelihood].kind == "ordinal":
            found[key] = tuple(value.split("<" if "<" in value else "/"))
        elif key == "event" and LIKELIHOODS[likelihood].kind == "survival":
            found[key] = value
        elif key == "scale":
            found[key] = _scale(name, likelihood, value, LIKELIHOODS[likelihood].scales)
        elif key not in choices:
            raise UsageError(
                f"--as {name}: no key {key!r}; there are scale, role, transform, missing, order of an ordinal, and "
                f"event of a weibull.{suggest(key, [*choices])}"
            )
        elif value not in choices[key]:
            raise UsageError(
                f"--as {name}: {key}={value!r} is none of {', '.join(choices[key])}.{suggest(value, choices[key])}"
            )
        else:
            found[key] = value
    return Override(likelihood, **found)


def _scale(name: str, likelihood: str, text: str, words: tuple[str, ...]) -> Scale:
    if not words:
        raise UsageError(f"--as {name}: {likelihood} has no scale; leave it out.")
    if text in words:
        return cast(Scale, text)
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not 0 < number < np.inf:
        raise UsageError(
            f"--as {name}: scale={text!r} of {likelihood} is neither a positive number nor {' nor '.join(words)}."
            f"{suggest(text, words)}"
        )
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
