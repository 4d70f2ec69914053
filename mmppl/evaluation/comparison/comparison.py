"""What a comparison found: plain data, as JSON, and as a file of the kind that its name says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...base.files import write
from ...errors import UsageError
from ..conditioning import set_name
from .measures import MEASURES
from .ranking import Answered, mean_ranks, times_best
from .tables import csv_table, markdown, text

FEW = 5  # folds, of fewer the intervals are very wide
KINDS = (".md", ".csv", ".json")  # of files


@dataclass(frozen=True)
class Entrant:
    """One of those that are compared.

    Args:
        name: as it was given, or the method in words.
        kind: a program that was fitted here, a run that was fitted before, or a baseline without a latent.
        fits: the run folders, or names, of its fits.
        seconds: that a fit took, the mean (of a baseline with all its answers); None where nothing was fitted.
        per_row: seconds per row of its answers from a conditioning set, the mean.
        memory: bytes at the peak of the process that fitted and answered; None where it was not measured.
        warnings: in a line each.
    """

    name: str
    kind: Literal["program", "run", "baseline"]
    fits: tuple[str, ...] = ()
    seconds: float | None = None
    per_row: float | None = None
    memory: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Models side by side, on the same rows of the same data.

    Attributes:
        data: the data in words.
        tested: test rows, of all folds together.
        folds: their number; None: the data's own split.
        seeds: of the fits.
        entrants: programs, runs and baselines, in this order.
        answered: the questions with their ranks.
        failed: name → why this program or run is not among the entrants.
        notes: what a reader has to know, in a line each.
    """

    data: str
    tested: int
    folds: int | None
    seeds: tuple[int, ...]
    entrants: tuple[Entrant, ...]
    answered: tuple[Answered, ...]
    failed: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def mean_ranks(self) -> dict[str, float | None]:
        """Name of each program and run → its mean rank among them, on the questions that all of them answer."""
        return mean_ranks(self.answered, [e.name for e in self.entrants if e.kind != "baseline"])

    @property
    def times_best(self) -> dict[str, tuple[int, int]]:
        """Name → the number of questions of which it is the best or not different from it, and of those it answers."""
        return times_best(self.answered)

    def to_json(self) -> dict[str, Any]:
        """Return everything as nested dicts and lists."""
        ranks, best = self.mean_ranks, self.times_best
        entrants = [
            asdict(entrant)
            | {"mean_rank": ranks.get(entrant.name)}
            | dict(zip(("times_best", "questions"), best.get(entrant.name, (0, 0))))
            for entrant in self.entrants
        ]
        tables = [
            {
                "given": set_name(one.question.given),
                "want": one.question.target,
                "measure": one.measure.title,
                "decides": one.decides,
                "rows": one.n,
                "entries": [asdict(entry) for entry in one.entries],
            }
            for one in self.answered
        ]
        how = {"data": self.data, "tested": self.tested, "folds": self.folds, "seeds": list(self.seeds)}
        return how | {"entrants": entrants, "tables": tables, "failed": self.failed, "notes": list(self.notes)}

    def write(self, path: str | Path) -> Path:
        """Write it as a table in Markdown (.md) or CSV (.csv, one line for each question, measure and entrant), or as
        JSON (.json).

        Args:
            path: the file.

        Returns:
            The path.

        Raises:
            UsageError: the name ends otherwise.
        """
        path = check_kind(path)
        if path.suffix == ".json":
            content = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        else:
            content = markdown(self) if path.suffix == ".md" else csv_table(self)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content.encode())
        return path

    def __str__(self) -> str:
        return text(self)


def check_kind(path: str | Path) -> Path:
    """Check that a comparison can be written to a file of that name.

    Args:
        path: the file.

    Returns:
        Its path.

    Raises:
        UsageError: the name ends otherwise than `KINDS`.
    """
    path = Path(path)
    if path.suffix not in KINDS:
        raise UsageError(f"compare: {path}: a comparison is written to {', '.join(KINDS)}; choose such a name.")
    return path


def notes_on(answered: Sequence[Answered], folds: int | None, seeds: int) -> tuple[str, ...]:
    """Say how the numbers are to be read.

    Args:
        answered: the questions.
        folds: their number, or None.
        seeds: the number of seeds of each program.

    Returns:
        One line each.
    """
    how = f"paired over rows, with the spread over {seeds} seeds" if seeds > 1 else "paired over rows"
    if folds is not None:
        how = f"paired over {folds} folds and corrected for their common training rows (or over rows, if that is more)"
    found = [
        f"in brackets: difference to the best of the column ± its standard error, {how}; ≈: not different from the "
        "best (0 lies inside the 95 % interval of the difference, without correction for many comparisons)"
    ]
    if folds is None and seeds < 2:
        found.append("one fit of each program: the standard errors know nothing of other seeds (--seeds 3, --folds 5)")
    if folds is not None and folds < FEW:
        found.append(f"{folds} folds leave {folds - 1} degrees of freedom and wide intervals; {FEW} or more tell more")
    found.append("fit s: a fit (of a baseline with all answers); memory: of the process, data and libraries included")
    used = {one.measure.loss for one in answered}
    return (*found, *(measure.note for measure in MEASURES.values() if measure.note and measure.loss in used))
