"""The words that a setting may be, and their check: commands make it before they load PyTorch, the library for callers
from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from ..errors import UsageError, suggest

Device = Literal["auto", "cpu", "cuda"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["fp32", "bf16"]
Gradients = Literal["norm", "pcgrad", "imtl", "graddrop", "mgda", "cagrad"]  # rules that combine several
Method = Literal["guide", "importance"]
Split = Literal["train", "valid", "test", "all"]
Store = Literal["auto", "memory", "disk"]  # where data are kept

DEVICES: tuple[str, ...] = get_args(Device)
SCHEDULES: tuple[str, ...] = get_args(Schedule)
PRECISIONS: tuple[str, ...] = get_args(Precision)
GRADIENTS: tuple[str, ...] = get_args(Gradients)
METHODS: tuple[str, ...] = get_args(Method)
SPLITS: tuple[str, ...] = get_args(Split)
STORES: tuple[str, ...] = get_args(Store)


def choice(setting: str, value: str, allowed: Sequence[str]) -> str:
    """Check that a value is one of the words that a setting may be.

    Args:
        setting: the name of the setting or option, for the message.
        value: the value.
        allowed: the words.

    Returns:
        The value.

    Raises:
        UsageError: it is none of them; the message suggests the nearest.

    Example:
        >>> choice("--method", "guide", METHODS)
        'guide'
    """
    if value not in allowed:
        raise UsageError(f"{setting} {value}: choose from {', '.join(allowed)}.{suggest(str(value), list(allowed))}")
    return value
