"""The plan of a fit: the groups of a program's parameters, and which stage each epoch belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from ...core.added_terms import added_terms
from ...core.program import Program
from ...core.stages import GradientRule, Group, Stage
from ...errors import UsageError, suggest
from ...nn.mlp import LinearPath, speeds_of

REST = "program"  # name of the group of all parameters that no other group names


@dataclass(frozen=True)
class PlannedStage:
    """A stage with its place in a fit.

    Args:
        number: counted from 0.
        stage: as the program gives it.
        groups: that move in it.
        first: its first epoch, counted from 1.
        epochs: how many it has.
    """

    number: int
    stage: Stage
    groups: tuple[Group, ...]
    first: int
    epochs: int

    @property
    def last(self) -> int:
        """Its last epoch."""
        return self.first + self.epochs - 1


def groups_of(program: Program, rule: GradientRule | None = None) -> dict[str, Group]:
    """Name → group, of all parameters that can move, each in one group.

    Args:
        program: declares groups.
        rule: of the groups that have none.

    Raises:
        UsageError: a group without a parameter or of another's, two groups of one name, or one parameter in two groups.
    """
    who = type(program).__name__
    names = {parameter: name for name, parameter in program.named_parameters()}
    owner: dict[nn.Parameter, str] = {}
    found: dict[str, Group] = {}
    for group in (*program.parameter_groups(), *_groups_of_added(program)):
        if group.name in found or group.name == REST:
            raise UsageError(f"{who}: two groups are called {group.name!r}; rename one.")
        for parameter in group.parameters:
            if parameter not in names:
                raise UsageError(f"{who}: group {group.name!r} has a parameter that is none of the program's; drop it.")
            if parameter in owner:
                raise UsageError(
                    f"{who}: {names[parameter]} is in the groups {owner[parameter]!r} and {group.name!r}, and cannot "
                    "have two optimisers; leave it in one."
                )
            owner[parameter] = group.name
        moving = [parameter for parameter in group.parameters if parameter.requires_grad]
        if not moving:
            raise UsageError(f"{who}: group {group.name!r} names no parameter that can move; drop the group.")
        found[group.name] = replace(group, parameters=moving)
    rest = [parameter for parameter in names if parameter.requires_grad and parameter not in owner]
    if rest:
        found = {REST: Group(REST, rest)} | found
    beside, fast = _beside_linear_paths(program), speeds_of(program)
    for name, group in found.items():
        if not group.decayed and "weight_decay" not in group.options:
            group = replace(group, decayed=[p for p in group.parameters if p in beside])
        if not group.speeds:
            group = replace(group, speeds={p: fast[p] for p in group.parameters if p in fast})
        found[name] = group if group.rule else replace(group, rule=rule)
    return found


def _groups_of_added(program: Program) -> list[Group]:
    """The groups of added terms, where the program's own method does not give them: where it has one of its own."""
    if type(program).parameter_groups is Program.parameter_groups:
        return []
    parts = [part for term in added_terms(program) for part in term.modules()]
    return [group for part in parts for group in getattr(part, "parameter_groups", list)()]


def _beside_linear_paths(program: Program) -> set[nn.Parameter]:
    """The matrices of networks that begin at zero beside a linear path; neither biases nor the scales of norms."""
    paths = [module for module in program.modules() if isinstance(module, LinearPath)]
    return {p for path in paths for p in path.network.parameters() if p.ndim > 1}


def plan_stages(program: Program, epochs: int, rule: GradientRule | None = None) -> tuple[PlannedStage, ...]:
    """The stages of a fit of so many epochs.

    Raises:
        UsageError: no stage, an unknown group, a stage that names no parameter, or epochs that do not fit the stages'.
    """
    who, stages, groups = type(program).__name__, list(program.stages()), groups_of(program, rule)
    if not stages:
        raise UsageError(f"{who}: stages() gives none; give at least Stage().")
    stages = with_added_terms(program, stages, list(groups))
    planned: list[PlannedStage] = []
    for number, (stage, count) in enumerate(zip(stages, _epochs_of(who, stages, epochs))):
        for name in stage.groups or ():
            if name not in groups:
                known = list(groups)
                raise UsageError(
                    f"{who}: stage {stage.name!r} names no group of the program by {name!r}; there are "
                    f"{', '.join(known)}.{suggest(name, known)}"
                )
        moving = tuple(group for name, group in groups.items() if stage.groups is None or name in stage.groups)
        if not moving:
            raise UsageError(f"{who}: stage {stage.name!r} names no parameter; give it a group, or drop it.")
        if stage.terms == ():
            raise UsageError(f"{who}: in stage {stage.name!r} no term counts; name one, or drop the stage.")
        if stage.update == "lbfgs" and any(group.maximises or group.rule for group in moving):
            raise UsageError(f"{who}: stage {stage.name!r}: L-BFGS neither maximises a term nor follows a rule.")
        first = planned[-1].last + 1 if planned else 1
        planned.append(PlannedStage(number, stage, moving, first, count))
    return tuple(planned)


def with_added_terms(program: Program, stages: Sequence[Stage], groups: Sequence[str]) -> list[Stage]:
    """The stages of a program to which terms were added: they count, and their groups move, wherever the group
    "program" moves by gradient steps, and in no other stage.

    Args:
        program: the program.
        stages: as it gives them.
        groups: the names of all groups.

    Raises:
        UsageError: there is no such stage.
    """
    terms = list(added_terms(program))
    if not terms:
        return list(stages)
    names = tuple(name for term in terms for name in term.names)
    own = tuple(g.name for term in terms for part in term.modules() for g in getattr(part, "parameter_groups", list)())
    others = tuple(group for group in groups if group not in own)
    found, any_ = [], False
    for stage in stages:
        moving = others if stage.groups is None else stage.groups
        if stage.update == "gradient" and REST in moving:
            any_ = True
            counting = None if stage.terms is None else (*stage.terms, *names)
            found.append(replace(stage, groups=(*moving, *own), terms=counting))
        else:
            found.append(replace(stage, groups=moving))
    if not any_:
        raise UsageError(
            f"--term {names[0]}: {type(program).__name__} is not fitted by gradient steps, which a term needs."
        )
    return found


def _epochs_of(who: str, stages: Sequence[Stage], epochs: int) -> list[int]:
    """Epochs of each stage: as it says, or its share of what the others leave."""
    fixed = sum(stage.epochs or 0 for stage in stages)
    shares = [stage.share for stage in stages if stage.epochs is None]
    left = epochs - fixed
    if left < len(shares) or (left and not shares):
        needed = f"at least {fixed + len(shares)}" if shares else f"exactly {fixed}"
        raise UsageError(f"{who}: epochs {epochs} do not fit its {len(stages)} stages; they need {needed}.")
    found, before, ends = [], 0, 0.0
    for stage in stages:
        if stage.epochs is not None:
            found.append(stage.epochs)
            continue
        shares = shares[1:]
        ends += stage.share
        total = sum(s.share for s in stages if s.epochs is None)
        end = min(max(round(left * ends / total), before + 1), left - len(shares))  # each stage gets one at least
        found.append(end - before)
        before = end
    return found


def at_epoch(plan: Sequence[PlannedStage], epoch: int) -> PlannedStage:
    """The stage that an epoch, counted from 1, belongs to."""
    return next(planned for planned in plan if epoch <= planned.last)


def check_terms(program: Program, plan: Sequence[PlannedStage], names: Sequence[str]) -> None:
    """Whether the objective has all terms that stages and groups speak of.

    Raises:
        UsageError: it lacks one.
    """
    for planned in plan:
        speaks = [(f"stage {planned.stage.name!r}", planned.stage.terms or ())]
        speaks += [(f"group {group.name!r}", (*group.maximises, *group.weights)) for group in planned.groups]
        for who, wanted in speaks:
            for name in wanted:
                if name not in names:
                    raise UsageError(
                        f"{type(program).__name__}: {who} names no term of the objective by {name!r}; there are "
                        f"{', '.join(names)}.{suggest(name, list(names))}"
                    )
