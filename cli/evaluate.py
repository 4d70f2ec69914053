"""`mmppl evaluate`: measure how good the answers of one or several runs are."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mmppl.errors import UsageError

from ..base.choices import SPLITS, choice
from ..base.text import printable
from ..evaluation.tables import compared_table, lines_of, metric_table
from .folds import folds_text
from .options import (
    As,
    Cache,
    Download,
    Json,
    Missing,
    OwnProgram,
    QueryOptions,
    Root,
    Store,
    Strict,
    Target,
    Trust,
    Use,
    names,
    pairs,
    values,
)
from .output import as_json
from .progress import say, talk


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders; those alike but for the seed are averaged. With --folds: a program."
        ),
    ],
    data: Annotated[str | None, typer.Option(metavar="D", help="File or recipe; default: the data of the fit.")] = None,
    split: Annotated[str, typer.Option(metavar="PART", help="test, train, valid or all.")] = "test",
    metric: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="Only metrics that begin so, e.g. error or rmse.noisy; all: every metric."),
    ] = [],
    given: Annotated[
        list[str],
        typer.Option(metavar="a,b", help="A conditioning set; may be repeated; default: subsets of the modalities."),
    ] = [],
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws of the latent per row.")] = 32,
    evidence_draws: Annotated[int, typer.Option(metavar="N", min=2, help="Draws per row for the evidence.")] = 128,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of the draws, and of fits with --folds.")] = 0,
    folds: Annotated[
        int | None, typer.Option(metavar="K", min=2, help="Cross-validate a program: fit it once for each fold.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the runs of the folds; those that are there are done.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="P", help="With --folds: settings by name, or a TOML file.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="With --folds: passes of each fit.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="With --folds: or gradient steps at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="With --folds: rows per step.")] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="With --folds: Adam's learning rate.")] = None,
    calibrate: Annotated[
        bool | None, typer.Option("--calibrate/--no-calibrate", help="With --folds: calibrate each fit afterwards.")
    ] = None,
    as_: As = [],
    target: Target = None,
    missing: Missing = [],
    strict: Strict = False,
    hide: Annotated[float, typer.Option(metavar="RATE", help="With --folds: hide this share at random.")] = 0.0,
    hide_cells: Annotated[
        float, typer.Option("--hide-cells", metavar="RATE", help="With --folds: hide single cells, and score them.")
    ] = 0.0,
    download: Download = False,
    set_: QueryOptions = [],
    root: Root = None,
    store: Store = None,
    cache: Cache = None,
    program: OwnProgram = None,
    use: Use = [],
    trust: Trust = False,
    json: Json = False,
) -> str:
    """Measure how well RUN answers from each conditioning set, on the rows that have it: errors beside anchors without
    a latent model, intervals, calibration, and what its latent tells about the labels (probe, precision, nmi). Runs of
    different programs or settings are shown side by side.

    Some metrics are computed only on request, since they may take minutes: coherence, whether classifiers, which are
    trained once and kept in $MMPPL_CACHE, find the given class in generated modalities; nll, each modality in nats
    beside training means; evidence, ln p of the other modalities by importance sampling.

    \b
    mmppl evaluate runs/cmmd
    mmppl evaluate runs/seed-0 runs/seed-1 runs/seed-2 --metric error
    mmppl evaluate runs/mopoe --metric probe --metric coherence --set answers=mixture
    mmppl evaluate --folds 5 mvae --data mine.npz --set latent_dim=10 --out runs/folds
    """
    choice("--split", split, SPLITS)
    changes, sets = pairs("--set", set_), [names(text) for text in given]
    of_fits = dict(preset=preset, epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, calibrate=calibrate)
    of_data: dict[str, Any] = dict(as_=pairs("--as", as_), target=target, missing=values(missing), hide=hide)
    of_data |= dict(hide_cells=hide_cells)
    of_data |= dict(strict=strict, download=download, root=root)
    if folds is not None:
        if split != "test" or trust or program is not None:
            raise UsageError(f"--folds {folds}: it takes no --split, --program or --trust-program; leave them out.")
        asked: dict[str, Any] = dict(metrics=metric or None, conditioning_sets=sets or None, seed=seed, out=out)
        asked |= dict(draws=draws, evidence_draws=evidence_draws, **of_data)
        return folds_text(runs, data, folds, asked, of_fits | {"hyper": changes, "use": use}, json)
    alone = [name for name, value in (of_fits | of_data | {"out": out}).items() if value and name != "root"]
    if alone:
        raise UsageError(
            f"evaluate: --{alone[0].strip('_').replace('_', '-')} is for fits; name --folds K, or leave it out."
        )
    import mmppl
    from mmppl.evaluation.summary import side_by_side, summarise
    from mmppl.runs.compare import alike, differences, unlike

    loaded = [mmppl.Run.load(path, program=program, trust=trust, use=use).with_options(**changes) for path in runs]
    records = [run.record for run in loaded]
    with talk() as log:
        options: dict[str, Any] = dict(split=split, metrics=metric or None, conditioning_sets=sets or None, seed=seed)
        options |= dict(draws=draws, evidence_draws=evidence_draws, root=root, log=log)
        found = [mmppl.evaluate(run, data, **options) for run in loaded]
    if len(found) == 1:
        head = f"{printable(found[0]['run'])}: {found[0]['rows']:,} {split} rows"
        table = metric_table(found[0]["metrics"], n=found[0]["n"])
        return as_json(found[0]) if json else "\n\n".join([head, table, *lines_of(found[0]["warnings"])])
    groups = alike(records)
    if len(groups) == 1:
        both = summarise(found)
        head = f"{len(found)} runs, {split} rows: mean ± standard deviation"
        table = metric_table(both["mean"], both["sd"], _same([one["n"] for one in found]))
    else:
        both = side_by_side(found, groups, differences(records), unlike(records))
        head = f"{len(found)} runs, {split} rows, side by side"
        table = compared_table(both["groups"])
    for warning in both["warnings"]:
        say(warning)
    each = [f"{one['run']}: {warning}" for one in found for warning in one["warnings"]]
    return as_json(both) if json else "\n\n".join([head, table, *lines_of(each)])


def _same(counts: list[dict[str, int]]) -> dict[str, int]:
    """Conditioning set → the number of rows, where it is the same for all runs."""
    return {key: n for key, n in counts[0].items() if all(one.get(key) == n for one in counts)}
