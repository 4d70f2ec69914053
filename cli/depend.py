"""`mmppl depend`: estimate how far the modalities of a data set depend on each other."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from mmppl.errors import DataError, UsageError, suggest

from ..base.text import number
from .options import As, Download, Json, Root, names, pairs
from .output import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mmppl import Dataset, Modality


def depend(
    data: Annotated[str, typer.Argument(metavar="DATA", help="File or recipe.")],
    between: Annotated[str, typer.Option(metavar="NAME,NAME", help="Modalities or labels, two or more.")] = "",
    method: Annotated[str, typer.Option(metavar="nwj|dv|js|infonce|smile", help="What trains the critic.")] = "nwj",
    steps: Annotated[int, typer.Option(metavar="N", help="Steps of the critic.")] = 2_000,
    level: Annotated[float, typer.Option(metavar="P", help="Of the interval.")] = 0.95,
    seed: Annotated[int, typer.Option(metavar="S", help="Of weights, batches and permutations.")] = 0,
    root: Root = None,
    as_: As = [],
    download: Download = False,
    json: Json = False,
) -> str:
    """Estimate the total correlation of modalities in nats, by a critic that is read on rows it was not trained on.

    \b
    mmppl depend digits-three --between image,profile
    mmppl depend mine.npz --between text,audio,video --method dv --json
    """
    import mmppl
    from mmppl.data.splits import GROUP, PARTS

    dataset = mmppl.read(data, root=root, as_=pairs("--as", as_), download=download)
    known = {m.name: m for m in dataset.modalities}
    wanted = names(between) or [name for name, m in known.items() if m.role == "modality"]
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"--between: no modality {name!r}; there are {', '.join(known)}.{suggest(name, list(known))}"
            )
    if len(set(wanted)) < max(2, len(wanted)):
        raise UsageError(f"--between {','.join(wanted)}: name two different modalities, or more.")
    arrays = [_numbers(dataset, known[name]) for name in wanted]
    _check_whole(arrays, wanted)
    kept = dataset.has_split or GROUP in dataset.annotations  # rows of a group lie in one part of any split
    fresh = dataset.split == PARTS.index("test") if kept else None
    found = dataclasses.asdict(
        mmppl.dependency(*arrays, method=method, steps=steps, level=level, seed=seed, fresh=fresh)
    )
    return as_json(found) if json else _text(found, wanted)


def _numbers(dataset: "Dataset", m: "Modality") -> "Tensor":
    """(N, columns) as an encoder sees them; NaN in rows that lack the modality or cells of it."""
    here, present = dataset.observed[m.name].unsqueeze(-1), dataset.present.get(m.name)
    if present is not None and not m.sequence:  # the mask of cells is no column
        columns = m.family.as_input(m, dataset.values[m.name])
        return columns.where(here & present.flatten(1).all(1, keepdim=True), float("nan"))
    columns = m.as_input(dataset.values[m.name], present)
    return columns.where(here, float("nan"))


def _check_whole(arrays: "Sequence[Tensor]", wanted: "Sequence[str]") -> None:
    """Refuse too few rows that lack nothing, and say what they lack."""
    from mmppl.objectives.dependence.estimate import FEWEST

    lacking = [array.isnan().any(1) for array in arrays]
    whole = sum(int(not any(row)) for row in zip(*(rows.tolist() for rows in lacking)))
    counts = {name: int(rows.sum()) for name, rows in zip(wanted, lacking) if rows.any()}
    if whole < FEWEST and counts:
        told = ", ".join(f"{name} in {count:,} rows" for name, count in counts.items())
        raise DataError(
            f"--between {','.join(wanted)}: {whole:,} rows of {len(arrays[0]):,} have every cell, and a critic needs "
            f"{FEWEST}; cells are missing of {told}. Leave that out, or fill its cells."
        )


def _text(found: dict[str, object], wanted: list[str]) -> str:
    between, left = ", ".join(wanted), found["left_out"]
    low, high, tc = (number(found[name]) for name in ("low", "high", "tc"))
    lines = [f"total correlation of {between}: {tc} nats ({low} to {high}), read on {found['fresh']:,} fresh rows"]
    lines += [f"{left:,} rows lack one of them and were left out"] if left else []
    lines += [] if found["converged"] else [f"not converged: {found['reason']}"]
    return "\n".join(lines)
