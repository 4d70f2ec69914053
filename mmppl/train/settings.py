"""Settings of a fit: `FitSettings`, its defaults, and where they come from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..base.choices import DEVICES, PRECISIONS, SCHEDULES, Device, Precision, Schedule, choice
from ..base.typed_json import from_json
from ..core.hyperparameters import check_hyper, hyper_parameters
from ..core.program import Program
from ..errors import UsageError, suggest

OF_THE_RECORD = ("seed", "device")  # settings that run.json has beside `training`, not in it


@dataclass(frozen=True)
class FitSettings:
    """How a program is trained. Plain data, checked when made; run.json has it as `training`.

    Args:
        epochs: passes over the training rows, of all stages together.
        batch_size: rows per step.
        lr: learning rate of the groups that name none.
        schedule: of the learning rate over each stage: "cosine" falls to 0, "constant" stays.
        clip: bound of the norm of each group's gradient; None: no bound.
        patience: stop after so many epochs without a better validation loss, and keep the best epoch's weights instead
            of the last one's (watched in the last stage); None: never.
        calibrate: whether noise, temperatures and exponents of experts are fitted to the validation rows afterwards.
        precision: "bf16" runs the networks under autocast.
        seed: of all random draws; 64 bits.
        device: "cpu", "cuda", or "auto": the GPU where there is a usable one.
        gradient_rule: name of the function that combines gradients, given in the call; None: their sum.
        version: of these settings.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> FitSettings(epochs=2).batch_size
        128
    """

    epochs: int = 30
    batch_size: int = 128
    lr: float = 1e-3
    schedule: Schedule = "cosine"
    clip: float | None = None
    patience: int | None = None
    calibrate: bool = True
    precision: Precision = "fp32"
    seed: int = 0
    device: Device = "auto"
    gradient_rule: str | None = None
    version: int = 1

    VERSION: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', '-')} {getattr(self, name)} is not positive.")
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
        return from_json(cls, {**data, "seed": seed, "device": device}, "training.", whole=True)


OF_A_PROGRAM = ("epochs", "batch_size", "lr", "schedule", "clip", "patience", "calibrate", "precision")
"""What a program, a preset or a call may set."""

OF_THE_FIT = (*OF_A_PROGRAM, *OF_THE_RECORD, "gradient_rule", "version", "data", "program", "hide")
"""What a run is told apart by beside its hyper-parameters, none of which can have one of these names."""


def settings_for(
    cls: type[Program],
    hyper: Mapping[str, Any],
    preset: str | None,
    *,
    seed: int = 0,
    device: str = "auto",
    **given: Any,
) -> tuple[dict[str, Any], FitSettings]:
    """Hyper-parameters and settings: the call over the preset over the program's over the library's.

    Args:
        cls: the program.
        hyper: hyper-parameters of the call.
        preset: a name in `cls.presets`.
        seed: of the fit.
        device: of the fit.
        given: settings of the call by name; None where it gives none.

    Raises:
        UsageError: an unknown preset, setting or hyper-parameter, or a value that is out of range.
    """
    for name in hyper_parameters(cls):
        if name in OF_THE_FIT:
            raise UsageError(
                f"{cls.__name__}: a hyper-parameter cannot be called {name}, as what belongs to every fit; rename it."
            )
    for name in cls.training:
        if name not in OF_A_PROGRAM:
            raise UsageError(
                f"{cls.__name__}: no training setting is called {name!r}; there are {', '.join(OF_A_PROGRAM)}."
                + suggest(name, OF_A_PROGRAM)
            )
    chosen: dict[str, Any] = {}
    if preset is not None:
        if preset not in cls.presets:
            known = sorted(cls.presets)
            raise UsageError(
                f"{cls.__name__} has no preset {preset!r}; it has {', '.join(known) or 'none'}."
                + suggest(preset, known)
            )
        chosen = cls.presets[preset]
    training = {**cls.training, **{k: v for k, v in chosen.items() if k in OF_A_PROGRAM}}
    training |= {k: v for k, v in given.items() if v is not None}
    hyper = {**{k: v for k, v in chosen.items() if k not in OF_A_PROGRAM}, **hyper}
    settings = FitSettings(**training, seed=seed, device=device)  # type: ignore[arg-type]
    return check_hyper(cls, hyper), settings


def choose_device(name: str) -> torch.device:
    """The device of a fit.

    Raises:
        UsageError: "cuda", and there is no usable GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: this machine has no usable GPU. Use --device cpu.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
