"""Terms that a fit adds to a program's own objective, with networks of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .stages import Group

if TYPE_CHECKING:
    from .batch import Batch
    from .program import Program
    from .terms import Terms

PLACE = "term"  # attribute of the program that holds them, and the beginning of their names in its weights


class AddedTerm(nn.Module):
    """A term of the loss that a program does not know of. Its weights lie in the run's, and no query reads them.

    Attributes:
        names: of the terms that it adds.
    """

    names: tuple[str, ...] = ()

    def forward(self, program: Program, batch: Batch) -> Terms:
        """What it adds to the objective on a batch."""
        raise NotImplementedError

    def parameter_groups(self) -> Sequence[Group]:
        """Groups of its own parameters."""
        return []


class AddedTerms(nn.ModuleDict):
    """The terms that were added to a program, by name."""


def add_terms(program: Program, terms: Sequence[AddedTerm]) -> None:
    """Add terms to a program.

    Args:
        program: gets an attribute `term`.
        terms: on the program's device.
    """
    found = {term.names[0].replace(".", "_"): term for term in terms}
    program.add_module(PLACE, AddedTerms(found))


def added_terms(program: nn.Module) -> Iterator[AddedTerm]:
    """The terms that were added to a program.

    Args:
        program: the program.

    Yields:
        Each.
    """
    found = getattr(program, PLACE, None)
    if isinstance(found, AddedTerms):
        yield from found.values()  # type: ignore[misc]


def own_state(program: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers of a program without those of added terms.

    Args:
        program: the program.

    Returns:
        name → tensor, as in `state_dict`.
    """
    state: dict[str, Any] = dict(program.state_dict())
    return without_added(state) if any(True for _ in added_terms(program)) else state


def without_added(state: Mapping[str, Any]) -> dict[str, Any]:
    """What of a state, or of anything else by the names of tensors, belongs to no added term.

    Args:
        state: name → anything.

    Returns:
        The same without the names that begin with "term.".
    """
    return {name: value for name, value in state.items() if not name.startswith(f"{PLACE}.")}
