"""`mmppl bench`: measure how fast kernels and training steps are on this machine."""

from typing import Annotated, Any

import typer

from mmppl.errors import MMPPLError

from ..base.choices import DEVICES, choice
from ..base.text import columns, number
from .options import Json
from .output import as_json
from .progress import talk


def bench(
    only: Annotated[
        list[str], typer.Option(metavar="GROUP", help="Only product, pairs, likelihood or step; default: all.")
    ] = [],
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the kernels run.")] = "auto",
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Number of CPU threads.")] = 1,
    rounds: Annotated[int, typer.Option(metavar="N", min=2, help="Interleaved rounds; ratios are their medians.")] = 7,
    seconds: Annotated[float, typer.Option(metavar="S", min=1e-3, help="Time of each candidate per round.")] = 0.25,
    json: Json = False,
) -> str:
    """Time kernels and a training step against eager and hand-written PyTorch, and against the machine's limit.

    The limit is a program that moves the same bytes or multiplies the same matrices, and does nothing else. A time is
    printed only if the result agrees with float64 or with the hand-written model.

    \b
    mmppl bench
    mmppl bench --only step --threads 2 --json
    """
    from mmppl.bench.case import Row, WrongResult
    from mmppl.bench.table import GROUPS, table
    from mmppl.train.settings import choose_device

    for group in only:
        choice("--only", group, GROUPS)
    choice("--device", device, DEVICES)
    with talk() as log:

        def logged(row: Row) -> None:
            log(f"{row.name}, {row.shape}: {row.ratio:.3g} times faster than {row.over}")

        try:
            found = table(
                tuple(only) or GROUPS,
                device=choose_device(device).type,
                threads=threads,
                rounds=rounds,
                seconds=seconds,
                logged=logged,
            )
        except WrongResult as error:
            raise MMPPLError(f"{error} Please report it with the output of `mmppl bench --json`.") from None
    return as_json(found) if json else _text(found)


def _text(found: dict[str, Any]) -> str:
    head = ["", "", "ms", "faster", "than", "of the limit's time", "spread"]
    rows = [
        [
            row["name"],
            row["shape"],
            number(row["ms"]),
            f"{row['ratio']:.3g} ×",
            row["over"],
            "-" if row["limit_ratio"] is None else f"{row['limit_ratio']:.3g} ×",
            f"{row['spread']:.0%}",
        ]
        for row in found["rows"]
    ]
    return f"{found['device']}, {found['threads']} thread(s)\n\n{columns([head, *rows])}"
