"""Settings of a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from ..core.hyperparameters import check_hyper, hyper_parameters
from ..core.program import Program
from ..errors import UsageError, suggest

DEFAULTS: dict[str, Any] = dict(
    epochs=30, batch_size=128, lr=1e-3, schedule="cosine", clip=None, patience=None, precision="fp32"
)


OF_THE_FIT = (*DEFAULTS, "seed", "device", "data", "program", "hide")


"""What a run is told apart by beside its hyper-parameters, none of which can have one of these names."""


def _settings(
    cls: type[Program], hyper: Mapping[str, Any], preset: str | None, **given: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyper-parameters and training settings: the call over the preset over the program's over the library's."""
    for name in hyper_parameters(cls):
        if name in OF_THE_FIT:
            raise UsageError(
                f"{cls.__name__}: a hyper-parameter cannot be called {name}, as what belongs to every fit; rename it."
            )
    for name in cls.training:
        if name not in DEFAULTS:
            known = list(DEFAULTS)
            raise UsageError(
                f"{cls.__name__}: no training setting is called {name!r}; there are {', '.join(known)}."
                + suggest(name, known)
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
    training = {**DEFAULTS, **cls.training, **{k: v for k, v in chosen.items() if k in DEFAULTS}}
    training |= {k: v for k, v in given.items() if v is not None}
    for name in ("epochs", "batch_size"):
        if training[name] < 1:
            raise UsageError(f"{name.replace('_', '-')} {training[name]} is not positive.")
    if training["clip"] is not None and not training["clip"] > 0:
        raise UsageError(f"clip {training['clip']} is not positive.")
    if training["patience"] is not None and training["patience"] < 1:
        raise UsageError(f"patience {training['patience']} is not at least one epoch.")
    if not training["lr"] > 0 or not math.isfinite(training["lr"]):
        raise UsageError(f"lr {training['lr']} is not positive.")
    for name, words in (("schedule", ("cosine", "constant")), ("precision", ("fp32", "bf16"))):
        if training[name] not in words:
            raise UsageError(f"{name} {training[name]!r} is neither {words[0]} nor {words[1]}.")
    hyper = {**{k: v for k, v in chosen.items() if k not in DEFAULTS}, **hyper}
    return check_hyper(cls, hyper), training


def choose_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is a usable one; UsageError for "cuda" where there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {name!r} is none of auto, cpu, cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: this machine has no usable GPU. Use --device cpu.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
