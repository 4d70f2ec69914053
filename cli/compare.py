"""`mmppl compare`: put programs and runs side by side on the same rows."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.choices import DEVICES, choice
from .fit import Interrupted
from .options import (
    As,
    Cache,
    Download,
    Json,
    Missing,
    Root,
    Schema,
    Store,
    Strict,
    Target,
    Trust,
    Use,
    names,
    schema_options,
)
from .output import as_json, to_go_on
from .progress import talk

BASELINES, RANKS = ("global", "linear", "boosting"), ("log_loss", "error")


def compare(
    context: typer.Context,
    contenders: Annotated[
        list[str],
        typer.Argument(
            metavar="PROGRAM|RUN...",
            help="Programs, perhaps with settings (mvae, mopoe:latent_dim=8,lr=1e-4, my.py@preset), or run folders.",
        ),
    ],
    data: Annotated[
        str | None, typer.Option(metavar="D", help="File or recipe; default: the data of the first run or program.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="K", min=2, help="Fit each program on K folds; default: the data's own split.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Without folds: so many fits of each program.")] = 1,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the first fit, of draws and of --hide.")] = 0,
    given: Annotated[
        list[str],
        typer.Option(metavar="a,b", help="A conditioning set; may be repeated; default: subsets of the modalities."),
    ] = [],
    baseline: Annotated[
        list[str],
        typer.Option(metavar="WAY", help="Only global, linear or boosting; default: all that take seconds."),
    ] = [],
    rank_by: Annotated[
        str, typer.Option(metavar="log_loss|error", help="Which measure of a class decides its ranks.")
    ] = "log_loss",
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws of the latent per row.")] = 32,
    evidence_draws: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Compare ln p of a row, too, with so many draws.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables: .md, .csv (a line for each number) or .json.")
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the fits; those that are there are done. Default runs/compare-<time>."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many processes fit at a time, each fit in its own.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes of each fit.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Or gradient steps at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Rows per step.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Adam's learning rate.")] = None,
    calibrate: Annotated[
        bool | None, typer.Option("--calibrate/--no-calibrate", help="Calibrate each fit afterwards.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    threads: Annotated[int | None, typer.Option(metavar="N", help="Of the processor, for each fit.")] = None,
    as_: As = [],
    target: Target = None,
    missing: Missing = [],
    schema: Schema = None,
    strict: Strict = False,
    hide: Annotated[float, typer.Option(metavar="RATE", help="Hide this share of the modalities at random.")] = 0.0,
    hide_cells: Annotated[float, typer.Option(metavar="RATE", help="Hide this share of the single values.")] = 0.0,
    download: Download = False,
    root: Root = None,
    store: Store = None,
    cache: Cache = None,
    use: Use = [],
    trust: Trust = False,
    json: Json = False,
) -> str:
    """Fit programs on the same rows (or take runs that were), ask them the same questions, and rank them beside simple
    methods without a latent model. Each difference to the best has a standard error that pairs rows and folds.

    \b
    mmppl compare factors mvae mopoe --data mine.npz --folds 5 --out table.md
    mmppl compare mvae mvae:latent_dim=40 my.py@large --data mine.npz --seeds 3
    mmppl compare runs/a runs/b:answers=mixture factors --given image --given image,word
    """
    choice("--device", device, DEVICES)
    choice("--rank-by", rank_by, RANKS)
    for way in baseline:
        choice("--baseline", way, BASELINES)
    said: dict[str, Any] = schema_options(schema, as_, missing, target)
    of_fits = dict(epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, calibrate=calibrate, threads=threads)
    said |= {name: value for name, value in of_fits.items() if value is not None}
    folder = out_dir or Path("runs") / f"compare-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        import mmppl
        from mmppl.evaluation.comparison.comparison import check_kind

        if out is not None:
            check_kind(out)
        with talk() as log:
            found = mmppl.compare(
                contenders, data, folds=folds, seeds=seeds, seed=seed, baselines=baseline or None,  # type: ignore[arg-type]
                conditioning_sets=[names(text) for text in given] or None, rank_by=rank_by,  # type: ignore[arg-type]
                draws=draws, evidence_draws=evidence_draws, out_dir=folder, jobs=jobs, trust=trust, use=use, log=log,
                root=root, hide=hide, hide_cells=hide_cells, download=download, strict=strict, device=device, **said,
            )  # fmt: skip
            if out is not None:
                log(f"written: {found.write(out)}")
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on(folder, context.obj)) from None
    return as_json(found.to_json()) if json else str(found)


def _how_to_go_on(folder: Path, words: Sequence[str]) -> str:
    """The command line that was given, completed so that it finds what is done."""
    if not folder.is_dir():
        return "interrupted before a fit began; nothing is kept"
    return to_go_on(words, "--out-dir", folder)
