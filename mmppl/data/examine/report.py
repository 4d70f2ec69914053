"""What is told of data: in short when a fit begins, and what `strict` refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from .finding import Finding
from .registry import Examined, examine

if TYPE_CHECKING:
    from ..dataset import Dataset

MOST = 8  # lines of a short report
TOLD = "told"  # the kind of findings that accompany the answers about other data than those of the fit
UNSEEN = "unseen-level"  # the kind of findings about classes that a run does not know


def examined(dataset: Dataset, arrays: Mapping[str, np.ndarray]) -> tuple[Finding, ...]:
    """Examine the arrays that a data set was made of.

    Args:
        dataset: the data set.
        arrays: name → (N, *shape) in the units of the input.

    Returns:
        The findings, those that are suspected first.
    """
    observed = {name: seen.numpy() for name, seen in dataset.observed.items()}
    present = {name: there.numpy() for name, there in dataset.present.items()}
    how = (dataset.split, dataset.has_split, dataset.annotations, present)
    return examine(Examined(dataset.modalities, arrays, dataset.values, observed, *how))


def understood(dataset: Dataset, most: int = MOST) -> str:
    """Say in one line what data were taken for, so that a wrong guess is seen before anything is learnt from it.

    Args:
        dataset: the data.
        most: how many modalities are named.

    Returns:
        The line.

    Example:
        >>> import mmppl
        >>> understood(mmppl.read("digits-two-view"), most=2)
        'digits-two-view:rotate=fixed,seed=0: 1,797 rows; rotated (8×8, bernoulli), noisy (8×8, normal), 1 more'
    """
    words = []
    for m in dataset.modalities[:most]:
        how = m.likelihood if m.classes is None else f"{len(m.classes)} classes"
        shape = "×".join(map(str, m.shape)) + " at most" * m.sequence
        words.append(f"{m.name} ({', '.join(part for part in (shape, how, m.role * (m.role != 'modality')) if part)})")
    more = [f"{len(dataset.modalities) - most} more"] if len(dataset.modalities) > most else []
    return f"{dataset.name}: {len(dataset):,} rows; {', '.join(words + more)}"


def short_report(dataset: Dataset, most: int = MOST) -> list[str]:
    """Return the lines that a fit begins with: what the data were taken for, and what is suspected.

    Args:
        dataset: the data.
        most: how many findings are told.

    Returns:
        One line each.
    """
    told = [f.text for f in dataset.findings if f.suspected or f.kind == "missing"]
    more = [f"and {len(told) - most} more findings; `mmppl data` lists all."] if len(told) > most else []
    return [understood(dataset), *told[:most], *more]


def refuse_suspected(dataset: Dataset) -> None:
    """Refuse data in which something is suspected.

    Args:
        dataset: the data.

    Raises:
        DataError: something is; the message is the first line.
    """
    lines = [finding.text for finding in dataset.findings if finding.suspected]
    if lines:
        more = f" (and {len(lines) - 1} more; `mmppl data` lists all)" if len(lines) > 1 else ""
        raise DataError(f"{dataset.name}: {lines[0]}{more}")


def refuse_unseen(findings: Sequence[Finding], names: Sequence[str]) -> None:
    """Refuse classes that a run does not know, where a question depends on them.

    Args:
        findings: those of the data.
        names: what is given, or scored.

    Raises:
        DataError: one of these has such a class; the message names it and its row.
    """
    for finding in findings:
        if finding.kind == UNSEEN and finding.name in names:
            raise DataError(finding.text.partition(";")[0] + "; correct or mask it.")
