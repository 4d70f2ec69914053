"""Who has entered a comparison, checked before anything is fitted, and what they are all asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...base.turns import own_settings
from ...core.program import Program
from ...errors import DataError, FitError, MMPPLError, UsageError
from ...evaluation.comparison.questions import Question, common_questions
from ...runs.compare import alike
from ...runs.run import Run
from ..folds.source import Source
from ..settings import settings_for
from .contender import Contender, split_text


@dataclass(frozen=True)
class Entered:
    """Programs and runs.

    Args:
        programs: name → program with its settings.
        classes: the same names → its class.
        runs: name → a run, or several that differ in nothing but their seeds.
        names: of all, in the order in which they were given.
    """

    programs: Mapping[str, Contender]
    classes: Mapping[str, type[Program]]
    runs: Mapping[str, Sequence[Run]]
    names: Sequence[str]

    @property
    def are_files(self) -> bool:
        """Whether all programs can be loaded again, by another process."""
        return not any(isinstance(contender.program, type) for contender in self.programs.values())


@dataclass(frozen=True)
class Asked:
    """The questions of a comparison.

    Args:
        by: question → the names of those who answer it.
        fixed_length: the names of programs all of whose stages have numbers of epochs of their own, such as one of a
            closed form.
    """

    by: Mapping[Question, Sequence[str]]
    fixed_length: frozenset[str]

    @property
    def questions(self) -> list[Question]:
        """All of them."""
        return list(self.by)

    def of(self, name: str) -> list[Question]:
        """Those that a contender answers."""
        return [question for question, names in self.by.items() if name in names]


def enter(
    contenders: Sequence[str | Path | type[Program] | Contender | Run],
    *,
    trust: bool = False,
    use: Sequence[str | Path] = (),
) -> Entered:
    """Tell programs from runs, load both, and check settings and options.

    Args:
        contenders: see `mmppl.compare`.
        trust: execute the programs that runs bring.
        use: see `mmppl.fit`.

    Raises:
        UsageError: a program, run or setting is unknown, or one is named twice.
    """
    programs: dict[str, Contender] = {}
    runs: list[Run] = []
    order: list[Contender | Run] = []
    for one in contenders:
        found = _contender_or_run(one, trust, use)
        order.append(found)
        if isinstance(found, Run):
            runs.append(found)
        elif found.name in programs:
            raise UsageError(f"compare: {found.name} is named twice; leave one out, or give it other settings.")
        else:
            programs[found.name] = found
    if not order:
        raise UsageError("compare: name programs or run folders.")
    classes = {name: contender.check() for name, contender in programs.items()}
    groups = _groups(runs)
    names = {id(group[0]): name for name, group in groups.items()}
    firsts = (one.name if isinstance(one, Contender) else names.get(id(one)) for one in order)
    for name in groups:
        if name in programs:
            raise UsageError(f"compare: {name} is the name of a program and of a run; rename the folder.")
    return Entered(programs, classes, groups, [name for name in firsts if name is not None])


def _contender_or_run(one: Any, trust: bool, use: Sequence[str | Path]) -> Contender | Run:
    if isinstance(one, Contender | Run):
        return one
    if isinstance(one, type):
        return Contender(one)
    what, preset, values = split_text(str(one))
    if not os.path.isdir(what):
        return Contender.parse(str(one))
    if preset is not None:
        raise UsageError(f"compare: {one}: {what} is a run, and a preset is for fits; leave @{preset} out.")
    return Run.load(what, trust=trust, use=use).with_options(**values)


def _groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Name → runs that may be averaged: of one program, settings, data and options."""
    found: dict[str, list[Run]] = {}
    for numbers in alike([run.record for run in runs]):
        by_options: dict[str, list[Run]] = {}
        for number in numbers:
            by_options.setdefault(str(sorted(runs[number].options.items())), []).append(runs[number])
        for group in by_options.values():
            seeds = [run.record.seed for run in group]
            if len(set(seeds)) < len(seeds):
                raise UsageError(
                    f"compare: {group[0].name} is there twice, or another run is alike, seed and all; leave one out."
                )
            options = ",".join(f"{name}={value}" for name, value in group[0].options.items())
            name = group[0].name + (f":{options}" if options else "")
            name += f" and {len(group) - 1} more" if len(group) > 1 else ""
            if name in found:
                raise UsageError(f"compare: two runs are called {name}; save one of them under another name.")
            found[name] = group
    return found


def questions_for(
    entered: Entered,
    source: Source,
    conditioning_sets: Sequence[str | Sequence[str]] | None,
    failed: dict[str, str],
    *,
    evidence: bool = False,
) -> Asked:
    """Find what everybody is asked, from programs without weights.

    Args:
        entered: programs and runs.
        source: the data.
        conditioning_sets: what is given, or None.
        failed: receives the programs that refuse the data, name → why.
        evidence: whether ln p is asked for, too.

    Returns:
        The questions.

    Raises:
        DataError: a run was fitted on other data, or with another split.
        UsageError: there is no common question.
        FitError: all programs refuse the data.
    """
    dataset = source.part(0)
    built: dict[str, Program] = {}
    for name in entered.names:
        if name in entered.runs:
            for run in entered.runs[name]:
                if not run.is_fitted_on(dataset):
                    raise DataError(
                        f"compare: {run.name} was fitted on {run.record.data.told}, not on these rows in this split "
                        "and units (fingerprint differs); name its data, or fit its program here."
                    )
            built[name] = entered.runs[name][0].program
            continue
        try:
            with own_settings(), torch.random.fork_rng(devices=[]):
                built[name] = entered.classes[name](dataset.modalities, **_checked(entered, name))
        except MMPPLError as error:
            failed[name] = " ".join(str(error).split())
        except Exception as error:  # its own code: whatever is wrong with it, the others are compared
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if not built:
        raise FitError(none_left(failed))
    fixed = frozenset(name for name, program in built.items() if all(stage.epochs for stage in program.stages()))
    return Asked(common_questions(built, conditioning_sets, evidence=evidence), fixed)


def none_left(failed: Mapping[str, str]) -> str:
    """Say why there is nobody to compare."""
    return f"compare: no contender is left. {'; '.join(f'{name}: {why}' for name, why in failed.items())}"


def _checked(entered: Entered, name: str) -> dict[str, Any]:
    """The hyper-parameters of the contender, those of its preset included."""
    contender = entered.programs[name]
    return settings_for(entered.classes[name], contender.hyper, contender.preset)[0]
