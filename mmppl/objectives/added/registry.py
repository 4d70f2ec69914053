"""Added terms by name: `name:option=value,option=value`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...base.annotated import as_type, not_of
from ...base.random import generator
from ...base.registry import Registry
from ...core.added_terms import PLACE, AddedTerm, add_terms
from ...core.batch import Batch
from ...core.program import Program
from ...errors import UsageError, suggest

Make = Callable[..., AddedTerm]
"""Called with the program, a few rows of the data, the method and seed, and with options by name."""

TERMS: Registry[Make] = Registry("term", __package__, aside=("registry",))


@dataclass(frozen=True)
class TermSpec:
    """A term to be added, as `fit(terms=[...])` takes it; the text of it is that of `--term`.

    Args:
        name: of the term and, after a dot, of its method.
        options: name → value.

    Raises:
        UsageError: an unknown term, method or option, or a value of another type.

    Example:
        >>> TermSpec.read("tc.nwj:on=z,weight=0.1").options
        {'on': 'z', 'weight': 0.1}
        >>> str(TermSpec("tc.dv", {"weight": 1}))
        'tc.dv:weight=1.0'
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        family, _, method = self.name.partition(".")
        known = [f"{one}.{way}" if way else one for one in TERMS for way in getattr(TERMS[one], "methods", ("",))]
        if self.name not in known:
            near = suggest(self.name, known)
            what = f"{family} has no method {method!r}" if family in TERMS else f"no term {self.name!r}"
            raise UsageError(f"--term {self.name}: {what}; there are {', '.join(known)}.{near}")
        kinds = options_of(TERMS[family])
        object.__setattr__(self, "options", {n: self._checked(n, v, kinds) for n, v in self.options.items()})

    def _checked(self, name: str, value: Any, kinds: Mapping[str, Any]) -> Any:
        if name not in kinds:
            known = list(kinds)
            raise UsageError(
                f"--term {self.name}: no option {name!r}; it has {', '.join(known)}.{suggest(name, known)}"
            )
        try:
            return as_type(value, kinds[name])
        except (TypeError, ValueError, KeyError):
            raise UsageError(f"--term {self.name}: {name}={value} is {not_of(kinds[name], value)}") from None

    @classmethod
    def read(cls, text: str) -> TermSpec:
        """Read the text of `--term`.

        Args:
            text: "name" or "name:option=value,option=value".

        Returns:
            The term.

        Raises:
            UsageError: it has another form, or see above.
        """
        name, _, rest = text.partition(":")
        options = {}
        for part in filter(None, rest.split(",")):
            option, equals, value = part.partition("=")
            if not option or not equals:
                raise UsageError(f"--term {text}: {part!r}: expected NAME=VALUE.")
            if option in options:
                raise UsageError(f"--term {text}: {option} is given twice; leave one out.")
            options[option] = value
        return cls(name, options)

    def __str__(self) -> str:
        options = ",".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.name}:{options}" if options else self.name


def options_of(make: Make) -> dict[str, Any]:
    """The options of a term: the keyword-only arguments of what makes it.

    Args:
        make: the class or function.

    Returns:
        name → annotated type.
    """
    function = make.__init__ if inspect.isclass(make) else make
    given = inspect.signature(function).parameters.values()
    hints = {p.name: p.annotation for p in given if p.kind is p.KEYWORD_ONLY}
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=hints), inspect.unwrap(function).__globals__)


def specs_of(terms: str | TermSpec | Sequence[str | TermSpec]) -> tuple[TermSpec, ...]:
    """The terms that a call names, each as a `TermSpec`.

    Args:
        terms: texts or specs, or a single one.

    Returns:
        The specs, in their order.

    Raises:
        UsageError: one is wrong.
    """
    terms = [terms] if isinstance(terms, str | TermSpec) else terms
    return tuple(TermSpec.read(term) if isinstance(term, str) else term for term in terms)


def add(program: Program, specs: Sequence[TermSpec], rows: Batch, seed: int) -> None:
    """Build terms and add them to a program, whose weights and random stream stay as they are.

    Args:
        program: on its device.
        specs: which.
        rows: a few rows of the data.
        seed: of the terms' first weights and own random streams.

    Raises:
        UsageError: the program has not what a term wants, or two terms have the same name.
    """
    if not specs:
        return
    if hasattr(program, PLACE):
        raise UsageError(f"{type(program).__name__} has an attribute {PLACE!r}, where added terms are kept; rename it.")
    made: list[AddedTerm] = []
    device = program.progress.device
    values, observed = ({n: t.to(device) for n, t in part.items()} for part in (rows.values, rows.observed))
    rows = Batch(values, observed, rows.index.to(device), rows.size, rows.encoded)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for spec in specs:
            family, _, method = spec.name.partition(".")
            own = generator(seed, "term", str(spec.name)).initial_seed()
            torch.manual_seed(own)
            term = TERMS[family](program, rows, method, own, **spec.options).to(device)
            for name in term.names:
                if any(name in other.names for other in made):
                    raise UsageError(f"--term {spec}: there are two terms {name}; leave one out.")
            made.append(term)
    add_terms(program, made)
