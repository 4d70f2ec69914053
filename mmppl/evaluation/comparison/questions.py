"""What models can be compared on: the questions that several of them answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...core.program import Program
from ...core.roles import generates
from ...errors import UsageError
from ..conditioning import default_conditioning_sets, ordered_set, set_name


class Question(NamedTuple):
    """What a modality is, given others.

    Args:
        given: the names that are given, in the order of the data.
        target: the name that is asked about.
        evidence: whether the question is ln p of all modalities together, whose names `target` joins.
    """

    given: tuple[str, ...]
    target: str
    evidence: bool = False

    def __str__(self) -> str:
        return f"{self.target} given {set_name(self.given)}"


def common_questions(
    programs: Mapping[str, Program],
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
    *,
    evidence: bool = False,
) -> dict[Question, list[str]]:
    """Find the questions that at least two programs answer (or the only one).

    Args:
        programs: name → program.
        conditioning_sets: what is given; None: what each program is evaluated with by default, taken together.
        evidence: whether programs that condition on nothing are also asked for ln p of what they generate.

    Returns:
        question → the names of the programs that answer it.

    Raises:
        UsageError: a name is unknown, or a program answers none of the questions that any other does.
    """
    first = next(iter(programs.values()))
    if conditioning_sets is None:
        every = [given for program in programs.values() for given in default_conditioning_sets(program)]
    else:
        every = [ordered_set(first, names) for names in conditioning_sets]
    order = {m.name: place for place, m in enumerate(first.modalities)}
    sets = sorted(dict.fromkeys(every), key=lambda given: (len(given), [order.get(name, 0) for name in given]))
    found: dict[Question, list[str]] = {}
    for given in sets:
        for name, program in programs.items():
            if program.can_answer(given) is None:
                for target in program.targets():
                    if target not in given:
                        found.setdefault(Question(given, target), []).append(name)
    for name, program in programs.items():
        if evidence and not program.conditions and generates(program):
            found.setdefault(Question((), set_name(generates(program)), True), []).append(name)
    shared = {question: names for question, names in found.items() if len(names) >= min(2, len(programs))}
    alone = [name for name in programs if not any(name in names for names in shared.values())]
    if alone:
        why = [reason for name in alone for given in sets if (reason := programs[name].can_answer(given))]
        raise UsageError(
            f"compare: {', '.join(alone)}: no question that any other answers, too"
            f"{f' ({why[0]})' if why else ''}; leave it out, or name what is given (--given)."
        )
    return shared
