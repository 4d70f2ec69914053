"""Settings of a fit: `FitSettings`, its defaults, and where they come from."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from ..base.annotated import as_type, not_of
from ..base.choices import (
    DEVICES,
    GRADIENTS,
    PRECISIONS,
    SCHEDULES,
    Device,
    Gradients,
    Precision,
    Schedule,
    choice,
)
from ..base.typed_json import from_json
from ..core.hyperparameters import check_hyper, hyper_parameters
from ..core.program import Program
from ..errors import UsageError, suggest
from .tuning.preset_file import names_a_file, read_preset

OF_THE_RECORD = ("seed", "device")  # settings that run.json has beside `training`, not in it


@dataclass(frozen=True)
class FitSettings:
    """How a program is trained. Plain data, checked when made; run.json has it as `training`.

    Either `epochs` says how long, or `steps` does. With `epochs` all of them are taken, and the last weights are kept;
    with `steps` fewer may be, as many as serve held-out rows best. `budget.rule.resolve` fills in what is None.

    Args:
        epochs: passes over the training rows, of all stages together; None: see `steps`.
        steps: gradient steps at most, of all stages together; None, and no epochs: by a rule from rows and parameters.
        batch_size: rows per step; None: 128 with `epochs`, else by a rule from the rows.
        lr: learning rate of the groups that name none.
        schedule: of the learning rate over each stage: "cosine" falls to 0, "constant" stays.
        clip: bound of the norm of each group's gradient; None: no bound.
        patience: stop after so many epochs (lines of metrics.jsonl) without a better validation loss, and keep the best
            epoch's weights instead of the last one's (watched in the last stage, once no weight of a term changes any
            more); None: with `epochs` never; with `steps` by a rule, where a refit follows.
        validation: share of the rows that are not test rows to hold out; None: the validation rows that the data have.
        folds: held out in turn to choose the number of steps; 1: the validation rows alone; None: by a rule.
        refit: whether training begins again on all rows that are not test rows, for the number of steps that served the
            held-out rows best; None: with `steps`, where the data bring no validation rows of their own.
        calibrate: whether noise, temperatures and exponents of experts are fitted to the validation rows afterwards.
        precision: "bf16" runs the networks under autocast.
        gradients: rule by which the gradients of decoders that share a latent are combined there (`combine_gradients`);
            None: their sum.
        seed: of all random draws; 64 bits.
        device: "cpu", "cuda", or "auto": the GPU where there is a usable one.
        gradient_rule: name of the function that combines gradients, given in the call; None: their sum.
        version: of these settings.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> FitSettings(epochs=2).schedule
        'cosine'
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float = 1e-3
    schedule: Schedule = "cosine"
    clip: float | None = None
    patience: int | None = None
    validation: float | None = None
    folds: int | None = None
    refit: bool | None = None
    calibrate: bool = True
    precision: Precision = "fp32"
    gradients: Gradients | None = None
    seed: int = 0
    device: Device = "auto"
    gradient_rule: str | None = None
    version: int = 2

    VERSION: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size", "folds"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"{name.replace('_', '-')} {number} is not positive.")
        if self.epochs is not None and self.steps is not None:
            raise UsageError(f"epochs {self.epochs} and steps {self.steps}: one of them says how long; leave one out.")
        if self.validation is not None and not 0 <= self.validation < 1:
            raise UsageError(f"validation {self.validation} is not a share from 0 to below 1.")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UsageError(f"clip {self.clip} is not a positive number.")
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience {self.patience} is not at least one epoch.")
        if not self.lr > 0 or not math.isfinite(self.lr):
            raise UsageError(f"lr {self.lr} is not positive.")
        if not -(2**63) <= self.seed < 2**64:
            raise UsageError(f"seed {self.seed} has more than 64 bits; choose a smaller one.")
        for name, words in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("device", DEVICES)):
            choice(name, getattr(self, name), words)
        if self.gradients is not None:
            choice("gradients", self.gradients, GRADIENTS)
        if self.version != self.VERSION:
            raise UsageError(f"settings of version {self.version}, this one reads {self.VERSION}; fit again.")

    def to_json(self) -> dict[str, Any]:
        """`training` of run.json."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in OF_THE_RECORD}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, seed: int, device: str = "auto") -> FitSettings:
        """The settings of what `to_json` gave, with the seed and device that it leaves out.

        Raises:
            ValueError: a setting is missing, unknown or of another type.
        """
        return from_json(cls, {"gradients": None, **data, "seed": seed, "device": device}, "training.", whole=True)


OF_A_PROGRAM = (
    "epochs", "steps", "batch_size", "lr", "schedule", "clip", "patience", "validation", "folds", "refit", "calibrate",
    "precision", "gradients",
)  # fmt: skip
"""What a program, a preset or a call may set."""

OF_THE_FIT = (*OF_A_PROGRAM, *OF_THE_RECORD, "gradient_rule", "version", "data", "program", "hide", "hide_cells")
"""What a run is told apart by beside its hyper-parameters, none of which can have one of these names."""


def settings_for(
    cls: type[Program],
    hyper: Mapping[str, Any],
    preset: str | Path | None,
    *,
    seed: int = 0,
    device: str = "auto",
    **given: Any,
) -> tuple[dict[str, Any], FitSettings]:
    """Hyper-parameters and settings: the call over the preset over the program's over the library's.

    Args:
        cls: the program.
        hyper: hyper-parameters of the call.
        preset: a name in `cls.presets`, or a preset file.
        seed: of the fit.
        device: of the fit.
        given: settings of the call by name; None where it gives none.

    Raises:
        UsageError: an unknown preset, setting or hyper-parameter, or a value that is out of range.
        DataError: the preset file is no TOML.
    """
    for name in hyper_parameters(cls):
        if name in OF_THE_FIT:
            raise UsageError(
                f"{cls.__name__}: a hyper-parameter cannot be called {name}, as what belongs to every fit; rename it."
            )
    _check_names(cls.__name__, cls.training)
    of_preset, chosen = preset_of(cls, preset)
    training = over(over(cls.training, chosen), {k: v for k, v in given.items() if v is not None})
    settings = FitSettings(**training, seed=seed, device=device)  # type: ignore[arg-type]
    return check_hyper(cls, {**of_preset, **hyper}), settings


def preset_of(cls: type[Program], preset: str | Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find what a preset sets.

    Args:
        cls: the program.
        preset: a name in `cls.presets`, else a preset file; None sets nothing.

    Returns:
        Its hyper-parameters, and its settings of a fit.

    Raises:
        UsageError: there is no such preset; or a file sets what the program does not have, or to another type.
        DataError: the file is no TOML.
    """
    if preset is None:
        return {}, {}
    if preset in cls.presets:
        chosen = cls.presets[str(preset)]
        of_fit = {k: v for k, v in chosen.items() if k in OF_A_PROGRAM}
        return {k: v for k, v in chosen.items() if k not in OF_A_PROGRAM}, of_fit
    if not names_a_file(preset):
        known = sorted(cls.presets)
        raise UsageError(
            f"{cls.__name__} has no preset {preset!r}; it has {', '.join(known) or 'none'}. A file is named by its "
            f"path.{suggest(str(preset), known)}"
        )
    file = read_preset(preset)
    for table, others, elsewhere in (
        (file.hyper, OF_A_PROGRAM, "training"),
        (file.training, hyper_parameters(cls), "hyper"),
    ):
        if wrong := [name for name in table if name in others]:
            raise UsageError(f"{preset}: {wrong[0]} belongs under [{elsewhere}]; move it there.")
    _check_names(str(preset), file.training)
    try:
        return check_hyper(cls, file.hyper), {n: training_value(n, value) for n, value in file.training.items()}
    except UsageError as error:
        raise UsageError(f"{preset}: {error}") from None


def training_type(name: str) -> Any:
    """Return the annotated type of a setting of a fit."""
    return typing.get_type_hints(FitSettings)[name]


def training_value(name: str, value: Any) -> Any:
    """Read a value of a setting of a fit, or the text of one, as its type.

    Raises:
        UsageError: it is of another type.
    """
    kind = training_type(name)
    try:
        return as_type(value, kind)
    except (TypeError, ValueError, KeyError):
        raise UsageError(f"{name}={value} is {not_of(kind, value)}") from None


def _check_names(whose: str, training: Mapping[str, Any]) -> None:
    for name in training:
        if name not in OF_A_PROGRAM:
            raise UsageError(
                f"{whose}: no training setting is called {name!r}; there are {', '.join(OF_A_PROGRAM)}."
                + suggest(name, OF_A_PROGRAM)
            )


def over(under: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings over others; epochs replace steps, and steps epochs.

    Example:
        >>> over({"epochs": 5, "lr": 0.1}, {"steps": 100})
        {'lr': 0.1, 'steps': 100}
    """
    length = {"epochs", "steps"}
    return {**{k: v for k, v in under.items() if not (k in length and length & above.keys())}, **above}


def choose_device(name: str) -> torch.device:
    """The device of a fit.

    Raises:
        UsageError: "cuda", and there is no usable GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: this machine has no usable GPU. Use --device cpu.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
