"""What a program states about its training, as plain data: stages, and groups of parameters with optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from ..errors import UsageError, suggest

if TYPE_CHECKING:
    from .batch import Batch
    from .program import Program

GradientRule = Callable[[dict[str, Tensor]], Tensor]
"""Turns the weighted gradient of each term by name, (P,) over a group's P numbers, into the one that is descended."""

Update = Callable[["Program", Iterable["Batch"]], None]
"""Sets parameters from all training rows. The iterable yields them in batches, and may be iterated several times."""

RowChoice = Callable[[Mapping[str, Tensor]], Tensor]
"""Chooses rows by what they have, as `Program.usable` does: name → (N,) bool, to (N,) bool."""

OPTIMISERS = ("adam", "adamw", "sgd")


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that one optimiser moves.

    A batch is evaluated as often as the group with the most `steps` needs, each time with new noise. A group moves at
    the last `steps` of these evaluations, together with the other groups that move then, on gradients at the same
    point.

    Args:
        name: name of the group.
        parameters: parameters of the program.
        optimiser: "adam", "adamw" or "sgd".
        lr: learning rate; None: that of the fit.
        steps: how often the group moves per batch.
        maximises: names of terms that the group ascends; it descends the others.
        weights: name of a term → the weight that it has for this group, in place of that in the loss.
        options: further arguments of the optimiser, such as betas, weight_decay or momentum.
        decayed: those of the parameters that "adam" and "adamw" pull to zero by a decoupled weight decay of their own.
            A fit adds the matrices of networks beside a linear path (`mlp(..., linear=...)`), unless the options name a
            weight decay.
        speeds: parameter → factor of its learning rate, for "adam" and "adamw". A fit adds those of linear maps
            (`mmppl.nn.mlp.speeds_of`), unless any is named.
        rule: combines the gradients of single terms, such as those of several decoders, into one; None: their sum.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> Group("critic", nn.Linear(2, 1).parameters(), lr=1e-4, steps=5, maximises=("tc",)).optimiser
        'adam'
    """

    name: str
    parameters: Iterable[nn.Parameter]
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float | None = None
    steps: int = 1
    maximises: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    decayed: Iterable[nn.Parameter] = ()
    speeds: Mapping[nn.Parameter, float] = field(default_factory=dict)
    rule: GradientRule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(dict.fromkeys(self.parameters)))
        object.__setattr__(self, "decayed", tuple(self.decayed))
        object.__setattr__(self, "maximises", _names(self.maximises))
        if self.optimiser not in OPTIMISERS:
            known = ", ".join(OPTIMISERS)
            raise UsageError(
                f"group {self.name}: no optimiser {self.optimiser!r}; choose from {known}."
                + suggest(str(self.optimiser), OPTIMISERS)
            )
        if self.lr is not None and not self.lr > 0:
            raise UsageError(f"group {self.name}: lr {self.lr} is not positive.")
        if self.steps < 1:
            raise UsageError(f"group {self.name}: {self.steps} steps per batch; choose at least one.")


@dataclass(frozen=True)
class Stage:
    """A part of a fit: which groups move, which terms count, and for how long.

    Parameters of other groups keep their bits during a stage. Each stage begins with new optimisers, and the schedule
    of the learning rate runs over each stage. `progress` runs over the whole fit.

    Args:
        name: name of the stage.
        share: share of the epochs that the stages without `epochs` divide among themselves, relative to the others.
        epochs: the number of epochs; None: see `share`.
        groups: names of the groups that move; None: all.
        terms: names of the terms that count, while the others have weight 0; None: all.
        update: "gradient": a step of each group's optimiser per batch; "lbfgs": L-BFGS on all training rows, one call
            of torch.optim.LBFGS per epoch, without dropout and always with the same noise; a function: it is called
            once per epoch, without gradients, with the program and an iterable of batches, and sets parameters of the
            stage's groups in place, in closed form or as one iteration of EM. What it has to keep between calls belongs
            in buffers.
        rows: the training rows that the steps of the stage learn from; None: all. An epoch has as many steps as any
            other, so that it may pass several times over few rows.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> Stage("finish", epochs=5, groups=("decoder",), terms=("nll.image",)).update
        'gradient'
    """

    name: str = "fit"
    share: float = 1.0
    epochs: int | None = None
    groups: tuple[str, ...] | None = None
    terms: tuple[str, ...] | None = None
    update: Literal["gradient", "lbfgs"] | Update = "gradient"
    rows: RowChoice | None = None

    def __post_init__(self) -> None:
        for name in ("groups", "terms"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _names(getattr(self, name)))
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"stage {self.name}: {self.epochs} epochs; choose at least one.")
        if not self.share > 0:
            raise UsageError(f"stage {self.name}: share {self.share} is not positive.")
        if not callable(self.update) and self.update not in ("gradient", "lbfgs"):
            raise UsageError(f"stage {self.name}: update {self.update!r} is neither gradient, lbfgs nor a function.")
        if self.rows is not None and self.update != "gradient":
            raise UsageError(f"stage {self.name}: only gradient steps choose rows; leave rows out.")


def _names(given: Any) -> tuple[str, ...]:
    """One name, which may be given by itself, or several."""
    return (given,) if isinstance(given, str) else tuple(given)
