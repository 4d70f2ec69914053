"""metrics.jsonl: one line per epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.typed_json import from_json
from ..errors import DataError


@dataclass(frozen=True)
class Loss:
    """The loss of an epoch.

    Args:
        train: mean over the training rows, in nats per row.
        valid: mean over the validation rows; None without any.
    """

    train: float
    valid: float | None


@dataclass(frozen=True)
class Epoch:
    """What a line has; callbacks of one's own may have added more.

    Args:
        epoch: counted from 1.
        train: term → mean over the training rows.
        valid: term → mean over the validation rows.
        weights: term → weight.
        loss: their weighted sums.
        metrics: name → value, on the validation rows.
    """

    epoch: int
    train: dict[str, float]
    valid: dict[str, float]
    weights: dict[str, float]
    loss: Loss
    metrics: dict[str, Any]


def parse_history(data: bytes, where: Path) -> list[Mapping[str, Any]]:
    """Parse metrics.jsonl.

    Args:
        data: the whole lines of the file.
        where: its path, for messages.

    Returns:
        One dict per line.

    Raises:
        DataError: a line is not what a fit writes.
    """
    lines: list[Mapping[str, Any]] = []
    for number, text in enumerate(data.splitlines(), 1):
        try:
            line = json.loads(text.decode())
            known = {name: line[name] for name in Epoch.__dataclass_fields__}
            if from_json(Epoch, known).epoch != number:
                raise ValueError(f"epoch is {line['epoch']}, expected {number}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise DataError(f"{where}:{number}: damaged ({reason!s:.100}). Restore it or fit again.") from None
        lines.append(line)
    return lines
