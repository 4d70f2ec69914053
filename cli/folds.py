"""`mmppl evaluate --folds`: cross-validate a program."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmppl.errors import UsageError

from ..base.text import printable
from ..evaluation.tables import lines_of, metric_table
from .output import as_json
from .progress import talk


def folds_text(
    programs: Sequence[Path],
    data: str | None,
    folds: int,
    given: Mapping[str, Any],
    settings: Mapping[str, Any],
    json: bool,
) -> str:
    """Fit and evaluate a program on each fold, and return what is printed.

    Args:
        programs: what stands where runs do without folds: one program.
        data: the file or recipe; None: the program's own.
        folds: their number.
        given: what `mmppl.evaluate_folds` takes.
        settings: those of `mmppl.fit`, None where nothing is said.
        json: whether it is one JSON object.

    Returns:
        The table of means ± standard deviations over the folds, or the JSON object.

    Raises:
        UsageError: there are several programs, or no data.
    """
    if len(programs) != 1:
        raise UsageError(f"--folds {folds}: name one PROGRAM, which is fitted anew for each fold.")
    import mmppl

    program = str(programs[0])
    cls = mmppl.load_program(program)
    data = data or cls.default_data
    if not data:
        raise UsageError(f"--folds {folds}: name the data, --data FILE.")
    said = {name: value for name, value in settings.items() if value is not None}
    with talk() as log:
        found = mmppl.evaluate_folds(program, data, folds=folds, log=log, **given, **said)
    if json:
        return as_json(found)
    rows = sum(one["rows"] for one in found["runs"])
    head = f"{printable(program)}: {folds} folds, {rows:,} rows tested: mean ± standard deviation over folds"
    each = [f"{one['run']}: {warning}" for one in found["runs"] for warning in one["warnings"]]
    return "\n\n".join([head, metric_table(found["mean"], found["sd"], found["n"]), *lines_of(each)])
