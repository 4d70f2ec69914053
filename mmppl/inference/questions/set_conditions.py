"""The conditions that a query sets: "as if measured there", and the totals of counts, "as if counted so deep"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.batch import SIZE
from ...core.program import Program
from ...data.dataset import Dataset
from ...errors import UsageError, suggest
from ...modalities.modality import Modality


def set_conditions(program: Program, values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Bring the values of conditions that a query sets into the units of the model.

    The latent of a row is read under the row's own conditions, for which its values were measured; what is predicted
    is decoded under the values that are set.

    Args:
        program: the program.
        values: name → a class, a number, or several where the condition is a vector; or a text of it ("0.5,1").
            "size_NAME" of counts that have a size factor → the total of a row (its library size).

    Returns:
        name → (*shape).

    Raises:
        UsageError: there is no such condition or class, or the numbers are no numbers or of another count.

    Example:
        >>> import mmppl
        >>> site = Modality("site", (), "categorical", role="condition", classes=("north", "south"))
        >>> program = mmppl.load_program("mvae")([Modality("x", (3,), "normal"), site], hidden=8)
        >>> set_conditions(program, {"site": "south"})
        {'site': tensor(1)}
    """
    own = {m.name: m for m in program.covariates}
    sizes = [f"{SIZE}{m.name}" for m in program.modalities if m.size_factor is not None]
    known = list(dict.fromkeys([*own, *sizes]))
    for name in values:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "this run has none"
            raise UsageError(f"--set-condition {name}: no condition {name!r}; {there}.{suggest(name, known)}")
    return {name: _value(own[name], value) if name in own else _total(name, value) for name, value in values.items()}


def _total(name: str, value: Any) -> Tensor:
    try:
        total = float(value)
    except (TypeError, ValueError):
        total = np.nan
    if not 0 < total < np.inf:
        raise UsageError(f"--set-condition {name}={value}: expected a total above 0, such as 1e4.")
    return torch.tensor(total, dtype=torch.float64)


def _value(m: Modality, value: Any) -> Tensor:
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    parts = list(np.asarray(value).reshape(-1)) if several else value.split(",") if _is_list(m, value) else [value]
    if len(parts) != m.size:
        raise UsageError(f"--set-condition {m.name}={value}: expected {m.size} values, not {len(parts)}.")
    if m.classes:
        named = {str(c): code for code, c in enumerate(m.classes)}
        for part in parts:
            if str(part) not in named:
                listed = ", ".join(list(named)[:20]) + (", …" if len(named) > 20 else "")
                raise UsageError(
                    f"--set-condition {m.name}: no class {str(part)!r}; there are {listed}."
                    f"{suggest(str(part), list(named))}"
                )
        return torch.tensor([named[str(part)] for part in parts]).reshape(m.shape)
    try:
        numbers = np.array([float(part) for part in parts])
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise UsageError(f"--set-condition {m.name}={value}: expected {'a number' if m.size == 1 else 'numbers'}.")
    numbers = numbers.reshape(m.shape)
    wrong, why = m.scaling.curve.illegal(numbers)
    scored = m.family.as_stored(m.to_model_units(numbers[None]))[0]
    illegal, reason = m.family.illegal(scored)
    if np.any(wrong) or np.any(illegal):
        raise UsageError(f"--set-condition {m.name}={value}: {why if np.any(wrong) else reason}")
    return torch.from_numpy(np.asarray(scored)).to(torch.get_default_dtype())


def _is_list(m: Modality, value: Any) -> bool:
    """Whether a text names several values; a class may have commas in its name."""
    return isinstance(value, str) and m.size > 1


def about_conditions(program: Program, dataset: Dataset, values: Mapping[str, Any]) -> list[str]:
    """Say which conditions are not the rows' own: those that are set, and those that rows lack.

    Args:
        program: the program.
        dataset: the rows that are asked about.
        values: the conditions that are set.

    Returns:
        At most one line for each condition.
    """
    own = {m.name for m in program.covariates}
    lines = [
        f"{name}: predicted as if it were {value} in every row; latents are read under each row's own."
        if name in own
        else f"{name.removeprefix(SIZE)}: predicted as counts of a row whose total is {value}."
        for name, value in values.items()
    ]
    for m in program.covariates:
        missing = ~dataset.observed[m.name]
        if m.name in dataset.present:
            missing |= ~dataset.present[m.name].reshape(len(dataset), -1).all(1)
        lacking = int(missing.sum())
        if lacking:
            cells = " or cells of it" if m.size > 1 else ""
            what = "as no class" if m.classes else "as the mean of the fit"
            lines.append(
                f"{m.name}: {lacking} of {len(dataset)} rows lack this condition{cells}, which is taken {what} there."
            )
    return lines
